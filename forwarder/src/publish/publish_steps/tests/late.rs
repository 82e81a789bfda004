//! Requests of a dead session that are carried out beside later sessions.

use super::*;

/// With uploads that fail, after which an attempt removes what it has not noted.
fn breaking_cut() -> impl Strategy<Value = Cut> {
    prop_oneof![9 => cut(), 2 => Just(Cut::Refused)]
}

proptest! {
    // What these found needed three broken sessions, each at one step.
    #![proptest_config(ProptestConfig { cases: 8192, ..ProptestConfig::default() })]

    /// One request of a dead session is carried out at a later moment, beside the sessions that follow: the published file
    /// is correct, and no file counts as published that is not.
    #[test]
    fn request_that_a_dead_session_left_behind_spoils_nothing(
        cuts in prop::collection::vec(breaking_cut(), 0..40),
        dies_at in 0usize..30,
        comes_after in 0usize..30,
        later_cuts in prop::collection::vec(breaking_cut(), 0..40),
        left_behind in prop::option::of(prop_oneof![Just(File::Half), Just(File::HalfWrong)]),
        conditions in conditions(),
    ) {
        let mut folder = Folder::new(conditions);
        folder.temporaries = left_behind.map(|file| (1, file)).into_iter().collect();
        let before: Vec<_> = cuts.iter().copied().take(dies_at).chain([Cut::Late]).collect();
        let mut publication = folder.publication();
        for cut in before {
            let over = matches!(publication.step(), Step::End(_));
            if folder.carry_out(&mut publication, cut).is_none() || over {
                publication = folder.publication();
            }
        }
        // The sessions that follow may break, too, and at last one does not.
        let mut outcome = None;
        for moment in 0..200 {
            if moment == comes_after {
                folder.carry_out_late();
            }
            if let Step::End(end) = publication.step() {
                outcome = Some(end);
                if end.is_published() {
                    break;
                }
                publication = folder.publication();
            }
            let cut = later_cuts.get(moment).copied().unwrap_or(Cut::None);
            if folder.carry_out(&mut publication, cut).is_none() {
                publication = folder.publication();
            }
        }
        prop_assert!(outcome.is_some_and(End::is_published), "{:?}", outcome);
        prop_assert_eq!(folder.published, Some(File::Ours));
        folder.carry_out_late();
        prop_assert_eq!(folder.published, Some(File::Ours));
    }
}

#[test]
fn temporary_file_that_vanished_before_its_rename_is_not_taken_for_published() {
    let mut publication = not_renamed(Method::Rename, RenameOutcome::Gone);
    publication.on_look_temporary(NameStatus::Absent);
    assert_eq!(publication.step(), Step::GiveUp(End::RenameRefused));
}

/// The first session gives up and dies while it removes its file; the second one resumes or replaces that file, notes it, and
/// dies before its rename; then the first one's removal is carried out.
#[test]
fn file_that_a_dead_session_removes_late_is_not_taken_for_published() {
    let mut folder = Folder::new(PLAIN);
    let mut first = folder.publication();
    while first.step() != (Step::Upload { from: 0 }) {
        folder.carry_out(&mut first, Cut::None);
    }
    folder.upload(0, 1, Cut::None);
    first.on_upload(UploadOutcome::Failed);
    while !matches!(first.step(), Step::RemoveTemporary(_)) {
        folder.carry_out(&mut first, Cut::None);
    }
    folder.carry_out(&mut first, Cut::Late);

    let mut second = folder.publication();
    while !matches!(second.step(), Step::Publish(_)) {
        folder.carry_out(&mut second, Cut::None);
    }
    folder.carry_out_late();
    assert_eq!(folder.attempt(), End::Published);
    assert_eq!(folder.published, Some(File::Ours));
    assert_eq!(folder.temporaries, BTreeMap::new());
}
