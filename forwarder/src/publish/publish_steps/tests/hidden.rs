//! Servers that do not show which files they have.

use super::interrupted::{any_cut, interrupted_attempts};
use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    /// A file is tried again until its delivery is recorded, at a server that says of a missing file only that it failed.
    #[test]
    fn file_is_sent_once_where_a_missing_file_is_a_failure(
        cuts in prop::collection::vec(any_cut(), 0..60),
        receiver_removes in any::<bool>(),
        conditions in conditions(),
    ) {
        let conditions = PublishConditions {
            method: Method::Rename,
            receiver_removes,
            missing_fails: true,
            late_error: false,
            stat_forbidden: false,
            ..conditions
        };
        let mut folder = Folder::new(conditions);
        let outcome = interrupted_attempts(&mut folder, cuts, |_, _| {});
        prop_assert!(outcome.is_published());
        prop_assert_eq!(&folder.temporaries, &BTreeMap::new());
        let arrived = folder.taken.iter().chain(&folder.published).copied().collect::<Vec<_>>();
        prop_assert_eq!(arrived, [File::Ours]);
    }

    /// The same at a server that shows no file. Its machine does not crash.
    #[test]
    fn file_is_sent_once_where_no_file_is_shown(
        cuts in prop::collection::vec(cut(), 0..60),
        receiver_removes in any::<bool>(),
        conditions in conditions(),
    ) {
        let conditions = PublishConditions {
            method: Method::Rename,
            verify: VerifyMode::Size,
            receiver_removes,
            hides_files: true,
            late_error: false,
            ..conditions
        };
        let mut folder = Folder::new(conditions);
        let outcome = interrupted_attempts(&mut folder, cuts, |_, _| {});
        prop_assert!(outcome.is_published());
        let arrived = folder.taken.iter().chain(&folder.published).copied().collect::<Vec<_>>();
        prop_assert_eq!(arrived, [File::Ours]);
    }
}

/// The rename of an earlier attempt was noted, and the server shows neither name.
fn noted_and_hidden() -> PublishSteps {
    let mut steps = PublishSteps::new(LEN, VerifyMode::Size, Method::Rename, EarlierAttempts::Noted(1));
    steps.on_look(NameStatus::Unknown);
    steps.on_compare(FileComparison::Unreadable);
    steps.on_look_temporary(NameStatus::Unknown);
    steps.on_verify_beginning(FileStart::NotOpened);
    steps.on_look(NameStatus::Unknown);
    steps.on_compare(FileComparison::Unreadable);
    assert_eq!(steps.step(), Step::Publish(Method::Rename));
    steps
}

#[test]
fn noted_rename_is_requested_again_where_neither_name_is_shown() {
    let mut done = noted_and_hidden();
    done.on_publish(RenameOutcome::Done);
    assert_eq!(done.step(), Step::End(End::Published));
    for (folder, expected) in [
        (NameStatus::Present { size: None }, Step::End(End::TakenAway)),
        (NameStatus::Unknown, Step::GiveUp(End::RenameRefused)),
    ] {
        let mut refused = noted_and_hidden();
        refused.on_publish(RenameOutcome::Failed);
        refused.on_look(NameStatus::Unknown);
        refused.on_compare(FileComparison::Unreadable);
        refused.on_look_temporary(NameStatus::Unknown);
        refused.on_verify_beginning(FileStart::NotOpened);
        assert_eq!(refused.step(), Step::LookFolder);
        refused.on_look_folder(folder);
        assert_eq!(refused.step(), expected, "{folder:?}");
    }
}

#[test]
fn repeated_rename_that_is_refused_for_another_reason_does_not_count_as_done() {
    let mut refused = noted_and_hidden();
    refused.on_publish(RenameOutcome::Refused);
    refused.on_look(NameStatus::Unknown);
    refused.on_compare(FileComparison::Unreadable);
    refused.on_look_temporary(NameStatus::Unknown);
    refused.on_verify_beginning(FileStart::NotOpened);
    assert_eq!(refused.step(), Step::GiveUp(End::RenameRefused));
}

#[test]
fn noted_file_that_is_shown_and_cannot_be_read_is_not_published() {
    for size in [RESUME_MIN, LEN] {
        let mut steps = PublishSteps::new(LEN, VerifyMode::Size, Method::Rename, EarlierAttempts::Noted(1));
        steps.on_look(NameStatus::Absent);
        steps.on_look_temporary(NameStatus::Present { size: Some(size) });
        assert_eq!(steps.step(), Step::VerifyBeginning { len: size });
        steps.on_verify_beginning(FileStart::NotOpened);
        assert_eq!((steps.step(), steps.temporary()), (Step::LookTemporary, 2));
    }
}

#[test]
fn file_that_cannot_be_read_is_ours_only_if_its_rename_was_noted_and_its_temporary_name_is_gone() {
    let there = NameStatus::Present { size: Some(LEN) };
    let mut strange = first(Method::Rename);
    strange.on_look(there);
    strange.on_compare(FileComparison::Unreadable);
    assert_eq!(strange.step(), Step::LookTemporary);
    strange.on_look_temporary(there);
    strange.on_look_temporary(NameStatus::Absent);
    assert_eq!(strange.step(), Step::GiveUp(End::Unreadable));
    for (temporary, expected) in [
        (NameStatus::Absent, Step::End(End::TakenAway)),
        (there, Step::GiveUp(End::RenameRefused)),
    ] {
        let mut noted = PublishSteps::new(LEN, VerifyMode::Size, Method::Rename, EarlierAttempts::Noted(1));
        noted.on_look(there);
        noted.on_compare(FileComparison::Unreadable);
        noted.on_look_temporary(temporary);
        assert_eq!(noted.step(), expected);
    }
}
