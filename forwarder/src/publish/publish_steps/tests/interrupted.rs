//! Attempts that are interrupted anywhere, any number of times.

use super::*;

fn foreign() -> impl Strategy<Value = File> {
    prop_oneof![Just(LEN), 0..LEN * 2].prop_map(|size| File::Foreign { size })
}

/// With the faults after which the next attempt begins with other files than the last one knew.
pub(super) fn any_cut() -> impl Strategy<Value = Cut> {
    prop_oneof![9 => cut(), 1 => Just(Cut::ServerCrash), 3 => Just(Cut::Refused)]
}

/// Interrupted attempts, and one that is not interrupted; returns its outcome.
pub(super) fn interrupted_attempts(
    folder: &mut Folder,
    cuts: Vec<Cut>,
    mut at_each: impl FnMut(usize, &mut Folder),
) -> End {
    let mut publication = folder.publication();
    for (moment, cut) in cuts.into_iter().enumerate() {
        at_each(moment, folder);
        let over = matches!(publication.step(), Step::End(_));
        if folder.carry_out(&mut publication, cut).is_none() || over {
            publication = folder.publication();
        }
    }
    folder.attempt()
}

proptest! {
    // What these found needed several faults, each at one step.
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    /// Attempts interrupted anywhere, any number of times, and a foreign file that may appear at any moment except between a
    /// look and a rename.
    #[test]
    fn broken_attempts_end_in_one_right_file_or_an_untouched_foreign_one(
        cuts in prop::collection::vec(any_cut(), 0..60),
        stranger in prop::option::of((0usize..60, foreign())),
        left_behind in prop::option::of(prop_oneof![Just(File::Half), Just(File::HalfWrong), foreign()]),
        conditions in conditions(),
    ) {
        // A server that replaces files may replace the foreign one too.
        let conditions = PublishConditions { replaces: conditions.replaces && stranger.is_none(), ..conditions };
        let mut folder = Folder::new(conditions);
        folder.temporaries = left_behind.map(|file| (1, file)).into_iter().collect();
        let mut left = None;
        let outcome = interrupted_attempts(&mut folder, cuts, |moment, folder| {
            if let Some((at, file)) = stranger && at == moment && folder.published.is_none() {
                folder.published = Some(file);
                left = Some(file);
            }
        });
        prop_assert_eq!(&folder.temporaries, &BTreeMap::new());
        if let Some(file) = left {
            prop_assert_eq!(folder.published, Some(file));
            prop_assert_eq!(outcome, End::NameTaken);
            prop_assert!(!matches!(folder.earlier, EarlierAttempts::Noted(_)));
        } else {
            prop_assert_eq!(folder.published, Some(File::Ours));
            prop_assert!(matches!(outcome, End::Published | End::FoundThere));
        }
    }

    /// The file is tried again until its delivery is recorded; a receiver that removes it at once gets it once.
    #[test]
    fn file_that_is_removed_at_once_is_sent_once(
        cuts in prop::collection::vec(any_cut(), 0..60),
        conditions in conditions(),
    ) {
        let conditions = PublishConditions { method: Method::Rename, receiver_removes: true, ..conditions };
        let mut folder = Folder::new(conditions);
        let outcome = interrupted_attempts(&mut folder, cuts, |_, _| {});
        prop_assert!(outcome.is_published());
        prop_assert_eq!(&folder.temporaries, &BTreeMap::new());
        prop_assert_eq!(folder.taken, [File::Ours]);
    }
}

#[test]
fn attempt_gives_up_before_the_noted_file_is_removed_although_another_temporary_name_was_tried() {
    const SMALL: u64 = RESUME_MIN - 1;
    // The file that the note is about lost bytes, so the next name is taken. Its upload fails; or all names are taken.
    let at_second_name = || {
        let mut publication =
            PublishSteps::new(SMALL, VerifyMode::Size, Method::Rename, EarlierAttempts::Noted(1));
        publication.on_look(NameStatus::Absent);
        publication.on_look_temporary(NameStatus::Present { size: Some(1) });
        assert_eq!(
            (publication.step(), publication.temporary()),
            (Step::Upload { from: 0 }, 2)
        );
        publication
    };
    let mut failed = at_second_name();
    failed.on_upload(UploadOutcome::Failed);
    assert_eq!(failed.step(), Step::GiveUp(End::NotUploaded));
    failed.on_give_up(End::NotUploaded);
    assert_eq!(failed.step(), Step::RemoveTemporary(End::NotUploaded));

    let mut full = at_second_name();
    for _ in 2..=TEMPORARY_NAMES_MAX {
        full.on_upload(UploadOutcome::NotCreated);
        full.on_look_temporary(NameStatus::Present { size: Some(1) });
    }
    assert_eq!(full.step(), Step::GiveUp(End::NotUploaded));
}
