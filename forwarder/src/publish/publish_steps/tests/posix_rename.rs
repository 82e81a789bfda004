//! A server that refuses a plain rename and offers `posix-rename`, and a temporary file that is there already.

use super::*;

/// The plain rename was refused although the name is free.
fn refused() -> PublishSteps {
    let mut publication = not_renamed(Method::Rename, RenameOutcome::Refused);
    publication.has_posix_rename = true;
    publication.on_look_temporary(NameStatus::Present { size: Some(LEN) });
    publication
}

#[test]
fn posix_rename_comes_only_after_the_name_was_seen_to_be_free() {
    let mut publication = refused();
    assert_eq!(publication.step(), Step::Look);
    publication.on_look(NameStatus::Absent);
    assert_eq!(publication.step(), Step::Publish(Method::PosixRename));
    publication.on_publish(RenameOutcome::Done);
    assert_eq!(publication.step(), Step::End(End::Published));
}

#[test]
fn name_that_is_taken_or_cannot_be_seen_is_not_replaced() {
    let mut taken = refused();
    taken.on_look(NameStatus::Present { size: Some(LEN + 1) });
    assert_eq!(taken.step(), Step::GiveUp(End::NameTaken));
    let mut hidden = refused();
    hidden.on_look(NameStatus::Unknown);
    hidden.on_compare(FileComparison::Unreadable);
    assert_eq!(hidden.step(), Step::GiveUp(End::RenameRefused));
    // A file came meanwhile that may not be read.
    let mut unreadable = refused();
    unreadable.on_look(NameStatus::Present { size: None });
    unreadable.on_compare(FileComparison::Unreadable);
    unreadable.on_look_temporary(NameStatus::Present { size: Some(LEN) });
    assert_eq!(unreadable.step(), Step::GiveUp(End::RenameRefused));
}

#[test]
fn both_refusals_end_the_attempt() {
    let mut publication = refused();
    publication.on_look(NameStatus::Absent);
    publication.on_publish(RenameOutcome::Refused);
    publication.on_look(NameStatus::Absent);
    publication.on_look_temporary(NameStatus::Present { size: Some(LEN) });
    assert_eq!(publication.step(), Step::GiveUp(End::RenameRefused));
}

#[test]
fn small_file_that_an_earlier_attempt_had_to_leave_is_used_if_it_is_right() {
    const SMALL: u64 = RESUME_MIN - 1;
    let there = || {
        let mut publication =
            PublishSteps::new(SMALL, VerifyMode::Size, Method::Rename, EarlierAttempts::None);
        publication.on_look(NameStatus::Absent);
        assert_eq!(publication.step(), Step::Upload { from: 0 });
        publication.on_upload(UploadOutcome::NotCreated);
        publication.on_look_temporary(NameStatus::Present { size: Some(SMALL) });
        assert_eq!(publication.step(), Step::VerifyBeginning { len: SMALL });
        publication
    };
    let mut right = there();
    right.on_verify_beginning(FileStart::Same(SMALL));
    assert_eq!(right.step(), Step::Upload { from: SMALL });
    let mut other = there();
    other.on_verify_beginning(FileStart::Same(SMALL - 1));
    assert_eq!((other.step(), other.temporary()), (Step::Upload { from: 0 }, 2));
}

#[test]
fn file_that_the_server_does_not_open_again_is_left_and_the_next_name_is_taken() {
    for left in [File::Ours, File::Half] {
        let mut folder = Folder::new(PublishConditions {
            reopen_refused: true,
            ..PLAIN
        });
        folder.temporaries = BTreeMap::from([(1, left)]);
        assert_eq!(folder.attempt(), End::Published);
        assert_eq!(folder.temporaries, BTreeMap::new());
    }
}
