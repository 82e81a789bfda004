//! Requests of a dead session that are carried out beside later sessions.

use super::*;

proptest! {
    /// One request of a dead session is carried out at a later moment, beside the sessions that follow: the published file
    /// is correct, and no file counts as published that is not.
    #[test]
    fn request_that_a_dead_session_left_behind_spoils_nothing(
        cuts in prop::collection::vec(cut(), 0..40),
        dies_at in 0usize..30,
        comes_after in 0usize..30,
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
        // The sessions that follow are not interrupted, except by the late request.
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
            folder.carry_out(&mut publication, Cut::None);
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
    assert_eq!(publication.step(), Step::Forget(End::RenameRefused));
}
