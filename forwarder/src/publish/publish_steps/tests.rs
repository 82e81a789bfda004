//! One machine after the other against a folder in memory, interrupted anywhere.

mod hidden;
mod interrupted;
mod late;
mod posix_rename;

use std::collections::BTreeMap;

use logferry_invariants::invariant_published_is_never_overwritten;
use proptest::prelude::*;

use super::*;
use PublishMethod as Method;
use PublishOutcome as End;
use PublishStep as Step;

/// Large enough to be resumed.
const LEN: u64 = 3 * RESUME_MIN;

/// More than any attempt takes.
const STEPS_MAX: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    Ours,
    Half,
    /// Half as long, with wrong bytes.
    HalfWrong,
    /// Created, with no byte written.
    Empty,
    Foreign {
        size: u64,
    },
}

impl File {
    fn size(self) -> u64 {
        match self {
            Self::Ours => LEN,
            Self::Half | Self::HalfWrong => LEN / 2,
            Self::Empty => 0,
            Self::Foreign { size } => size,
        }
    }

    fn compared(file: Option<Self>, conditions: PublishConditions) -> FileComparison {
        match file {
            _ if conditions.hides_files => FileComparison::Unreadable,
            None if conditions.missing_fails => FileComparison::Unreadable,
            Some(Self::Ours) => FileComparison::Same,
            Some(_) => FileComparison::Different,
            None => FileComparison::Absent,
        }
    }
}

/// How a server behaves.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
struct PublishConditions {
    method: Method,
    verify: VerifyMode,
    /// A rename replaces a file.
    replaces: bool,
    /// A rename that was done is answered with an error.
    late_error: bool,
    /// The receiver removes every file as soon as it has its final name.
    receiver_removes: bool,
    /// The status of a name is not told.
    stat_forbidden: bool,
    /// Of a missing file the server says only that it failed.
    missing_fails: bool,
    /// The server tells no status and opens no file for reading.
    hides_files: bool,
    /// An existing file cannot be opened for writing.
    reopen_refused: bool,
}

const PLAIN: PublishConditions = PublishConditions {
    method: Method::Rename,
    verify: VerifyMode::Size,
    replaces: false,
    late_error: false,
    receiver_removes: false,
    stat_forbidden: false,
    missing_fails: false,
    hides_files: false,
    reopen_refused: false,
};

/// A destination's folder, and the note in the ledger.
#[derive(Debug)]
struct Folder {
    conditions: PublishConditions,
    published: Option<File>,
    /// By number.
    temporaries: BTreeMap<u8, File>,
    /// The files that the receiver has removed.
    taken: Vec<File>,
    /// What the ledger says.
    earlier: EarlierAttempts,
    /// Requests of dead sessions that are not carried out yet, each with the number of the temporary name.
    late: Vec<(Step, u8)>,
}

impl Folder {
    fn new(conditions: PublishConditions) -> Self {
        Self {
            conditions,
            published: None,
            temporaries: BTreeMap::new(),
            taken: Vec::new(),
            earlier: EarlierAttempts::None,
            late: Vec::new(),
        }
    }

    fn publication(&self) -> PublishSteps {
        PublishSteps::new(LEN, self.conditions.verify, self.conditions.method, self.earlier)
    }

    fn look(&self, file: Option<File>) -> NameStatus {
        match file {
            _ if self.conditions.stat_forbidden || self.conditions.hides_files => NameStatus::Unknown,
            None if self.conditions.missing_fails => NameStatus::Unknown,
            None => NameStatus::Absent,
            Some(file) => NameStatus::Present {
                size: Some(file.size()),
            },
        }
    }

    /// The number of correct bytes at the beginning of a temporary file.
    fn verified(&self, number: u8) -> Option<u64> {
        self.temporaries.get(&number).map(|file| match file {
            File::Ours | File::Half => file.size(),
            File::HalfWrong => LEN / 4,
            File::Empty | File::Foreign { .. } => 0,
        })
    }

    fn beginning(&self, number: u8) -> FileStart {
        match self.verified(number) {
            _ if self.conditions.hides_files => FileStart::NotOpened,
            None if self.conditions.missing_fails => FileStart::NotOpened,
            None => FileStart::Absent,
            Some(same) => FileStart::Same(same),
        }
    }

    fn look_folder(&self) -> NameStatus {
        if self.conditions.stat_forbidden || self.conditions.hides_files {
            NameStatus::Unknown
        } else {
            NameStatus::Present { size: None }
        }
    }

    fn publish(&mut self, method: Method, number: u8) -> RenameOutcome {
        let Some(file) = self.temporaries.get(&number).copied() else {
            return if self.conditions.missing_fails {
                RenameOutcome::Failed
            } else {
                RenameOutcome::Gone
            };
        };
        if self.published.is_some() && !(self.conditions.replaces && method == Method::Rename) {
            return RenameOutcome::Failed;
        }
        if method == Method::Rename {
            self.temporaries.remove(&number);
        }
        if self.conditions.receiver_removes {
            self.taken.push(file);
        } else {
            let before = format!("{:?}", self.published.unwrap_or(file)).into_bytes();
            let now = format!("{file:?}").into_bytes();
            // A server that replaces would do harm here: the forwarder must not ask it to.
            assert_eq!(
                invariant_published_is_never_overwritten("NAME", &before, Some(&now)),
                Ok(())
            );
            self.published = Some(file);
        }
        if self.conditions.late_error {
            RenameOutcome::Failed
        } else {
            RenameOutcome::Done
        }
    }

    fn upload(&mut self, from: u64, number: u8, cut: Cut) -> UploadOutcome {
        if from == 0 && self.temporaries.contains_key(&number) {
            return UploadOutcome::NotCreated;
        }
        if from > 0 && self.conditions.reopen_refused {
            return UploadOutcome::NotCreated;
        }
        let right = from == 0 || Some(from) <= self.verified(number);
        let whole = !matches!(cut, Cut::Halfway | Cut::Refused);
        let file = match (whole, right) {
            (true, true) => File::Ours,
            (true, false) => File::Foreign { size: LEN },
            (false, true) => File::Half,
            (false, false) => File::HalfWrong,
        };
        self.temporaries.insert(number, file);
        if cut == Cut::Refused {
            UploadOutcome::Failed
        } else if self.conditions.stat_forbidden || self.conditions.hides_files {
            UploadOutcome::SizeUnknown
        } else {
            UploadOutcome::Whole
        }
    }

    /// The server crashes, and its temporary files lose the bytes that it had not written to its disk.
    fn lose_unsynced(&mut self) {
        for file in self.temporaries.values_mut() {
            *file = File::Empty;
        }
    }

    /// Carries out the requests of dead sessions.
    fn carry_out_late(&mut self) {
        for (step, number) in std::mem::take(&mut self.late) {
            match step {
                // The dead session gets no handle, so it writes nothing.
                Step::Upload { from: 0 } => drop(self.temporaries.entry(number).or_insert(File::Empty)),
                Step::Publish(method) => drop(self.publish(method, number)),
                Step::RemoveTemporary(_) => drop(self.temporaries.remove(&number)),
                _ => {}
            }
        }
    }

    /// Carries out one step as far as `cut` allows. `None`: the answer is lost.
    fn carry_out(&mut self, publication: &mut PublishSteps, cut: Cut) -> Option<()> {
        let (step, number) = (publication.step(), publication.temporary());
        if cut == Cut::Before {
            return None;
        }
        if cut == Cut::Late {
            self.late.push((step, number));
            return None;
        }
        if cut == Cut::ServerCrash {
            self.lose_unsynced();
            return None;
        }
        let (mut uploaded, mut renamed) = (UploadOutcome::Failed, RenameOutcome::Refused);
        match step {
            Step::Upload { from } => uploaded = self.upload(from, number, cut),
            Step::Publish(method) => {
                let noted = EarlierAttempts::Noted(number);
                assert_eq!(self.earlier, noted, "a rename without a note");
                renamed = self.publish(method, number);
            }
            Step::Note => self.earlier = EarlierAttempts::Noted(number),
            Step::GiveUp(_) => self.earlier = EarlierAttempts::GaveUp(publication.gives_up()),
            Step::Removed(_) => {
                self.earlier = match publication.in_doubt() {
                    0 => EarlierAttempts::None,
                    number => EarlierAttempts::GaveUp(number),
                };
            }
            Step::RemoveTemporary(outcome) => {
                let proof = matches!(self.earlier, EarlierAttempts::Noted(_)) && !outcome.is_published();
                assert!(!proof, "a removal beside a note");
                self.temporaries.remove(&number);
            }
            _ => {}
        }
        if !matches!(cut, Cut::None | Cut::Refused) {
            return None;
        }
        let temporary = self.temporaries.get(&number).copied();
        match step {
            Step::Look => publication.on_look(self.look(self.published)),
            Step::LookTemporary => publication.on_look_temporary(self.look(temporary)),
            Step::VerifyBeginning { .. } => publication.on_verify_beginning(self.beginning(number)),
            Step::LookFolder => publication.on_look_folder(self.look_folder()),
            Step::Compare { .. } => publication.on_compare(File::compared(self.published, self.conditions)),
            Step::ReadBack => publication.on_read_back(File::compared(temporary, self.conditions)),
            Step::Hash => publication.on_hash(false),
            Step::Upload { .. } => publication.on_upload(uploaded),
            Step::Note => publication.on_note(),
            Step::Publish(_) => publication.on_publish(renamed),
            Step::GiveUp(outcome) => publication.on_give_up(outcome),
            Step::RemoveTemporary(outcome) => publication.on_remove_temporary(outcome),
            Step::Removed(outcome) => publication.on_removed(outcome),
            Step::End(_) => {}
        }
        Some(())
    }

    /// An attempt that is not interrupted.
    fn attempt(&mut self) -> End {
        let mut publication = self.publication();
        for _ in 0..STEPS_MAX {
            if let Step::End(outcome) = publication.step() {
                return outcome;
            }
            self.carry_out(&mut publication, Cut::None);
        }
        panic!("the attempt never ends: {publication:?}");
    }
}

/// Where the connection, or the forwarder, breaks in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    None,
    Before,
    Halfway,
    AnswerLost,
    /// The server has the request and carries it out later.
    Late,
    /// The server's machine crashes, and bytes of the temporary files are lost.
    ServerCrash,
    /// The server refuses the rest of an upload, as on a full disk. The connection works. Nothing else is refused.
    Refused,
}

fn cut() -> impl Strategy<Value = Cut> {
    prop_oneof![
        6 => Just(Cut::None),
        1 => Just(Cut::Before),
        1 => Just(Cut::Halfway),
        1 => Just(Cut::AnswerLost),
    ]
}

fn conditions() -> impl Strategy<Value = PublishConditions> {
    let method = prop::sample::select(&[Method::Rename, Method::Link]);
    let verify = prop::sample::select(&[VerifyMode::Size, VerifyMode::Hash, VerifyMode::ReadBack]);
    let flags = any::<[bool; 4]>();
    (method, verify, flags).prop_map(
        |(method, verify, [replaces, late_error, stat_forbidden, reopen_refused])| PublishConditions {
            method,
            verify,
            replaces,
            late_error,
            stat_forbidden,
            reopen_refused,
            ..PLAIN
        },
    )
}

/// A first attempt, of which nothing is noted.
fn first(method: Method) -> PublishSteps {
    PublishSteps::new(LEN, VerifyMode::Size, method, EarlierAttempts::None)
}

/// A first attempt that has uploaded its file, and whose rename or link was refused.
fn not_renamed(method: Method, refusal: RenameOutcome) -> PublishSteps {
    let mut publication = first(method);
    publication.on_look(NameStatus::Absent);
    publication.on_look_temporary(NameStatus::Absent);
    publication.on_upload(UploadOutcome::Whole);
    assert_eq!(publication.step(), Step::Note);
    publication.on_note();
    publication.on_look(NameStatus::Absent);
    assert_eq!(publication.step(), Step::Publish(method));
    publication.on_publish(refusal);
    publication.on_look(NameStatus::Absent);
    publication
}

#[test]
fn free_name_is_published_by_one_upload_and_one_rename() {
    let mut folder = Folder::new(PLAIN);
    assert_eq!(folder.attempt(), End::Published);
    assert_eq!(folder.published, Some(File::Ours));
    assert!(folder.temporaries.is_empty());
    assert_eq!(folder.attempt(), End::FoundThere);
}

#[test]
fn refused_rename_to_a_free_name_is_given_up_and_leaves_no_temporary_file() {
    let mut publication = not_renamed(Method::Rename, RenameOutcome::Refused);
    publication.on_look_temporary(NameStatus::Present { size: Some(LEN) });
    assert_eq!(publication.step(), Step::GiveUp(End::RenameRefused));
    publication.on_give_up(End::RenameRefused);
    assert_eq!(publication.step(), Step::RemoveTemporary(End::RenameRefused));
    publication.on_remove_temporary(End::RenameRefused);
    assert_eq!(publication.step(), Step::Removed(End::RenameRefused));
}

#[test]
fn server_that_cannot_link_after_all_is_asked_to_rename() {
    let mut publication = not_renamed(Method::Link, RenameOutcome::Refused);
    publication.on_look_temporary(NameStatus::Present { size: Some(LEN) });
    assert_eq!(publication.step(), Step::Publish(Method::Rename));
}

#[test]
fn failed_upload_leaves_no_temporary_file() {
    let mut publication = first(Method::Rename);
    publication.on_look(NameStatus::Absent);
    publication.on_look_temporary(NameStatus::Present { size: Some(LEN) });
    assert_eq!(publication.step(), Step::VerifyBeginning { len: LEN });
    publication.on_verify_beginning(FileStart::Same(0));
    publication.on_upload(UploadOutcome::Failed);
    assert_eq!(publication.step(), Step::GiveUp(End::NotUploaded));
    publication.on_give_up(End::NotUploaded);
    assert_eq!(publication.step(), Step::RemoveTemporary(End::NotUploaded));
}

#[test]
fn short_or_longer_temporary_file_is_not_read_back_and_the_next_name_is_taken() {
    for size in [None, Some(RESUME_MIN - 1), Some(LEN + 1)] {
        let mut publication = first(Method::Rename);
        publication.on_look(NameStatus::Absent);
        publication.on_look_temporary(NameStatus::Present { size });
        assert_eq!(
            (publication.step(), publication.temporary()),
            (Step::LookTemporary, 2)
        );
        publication.on_look_temporary(NameStatus::Absent);
        assert_eq!(publication.step(), Step::Upload { from: 0 });
    }
    let mut small = PublishSteps::new(
        RESUME_MIN - 1,
        VerifyMode::Size,
        Method::Rename,
        EarlierAttempts::None,
    );
    small.on_look(NameStatus::Absent);
    assert_eq!((small.step(), small.temporary()), (Step::Upload { from: 0 }, 1));
    small.on_upload(UploadOutcome::NotCreated);
    small.on_look_temporary(NameStatus::Present { size: Some(1) });
    assert_eq!((small.step(), small.temporary()), (Step::Upload { from: 0 }, 2));
    small.on_upload(UploadOutcome::NotCreated);
    small.on_look_temporary(NameStatus::Absent);
    assert_eq!(
        small.step(),
        Step::End(End::NotUploaded),
        "it was refused for a different reason"
    );
}

#[test]
fn names_come_to_an_end_when_none_is_free() {
    let mut folder = Folder::new(PLAIN);
    folder.temporaries = (1..=TEMPORARY_NAMES_MAX)
        .map(|number| (number, File::Empty))
        .collect();
    assert_eq!(folder.attempt(), End::NotUploaded);
    assert!(folder.temporaries.is_empty(), "the next attempt has room");
    assert_eq!(folder.attempt(), End::Published);
}

#[test]
fn upload_is_proved_as_the_destination_asks() {
    let after_upload = |verify, uploaded| {
        let mut publication = PublishSteps::new(1, verify, Method::Rename, EarlierAttempts::None);
        publication.on_look(NameStatus::Absent);
        publication.on_upload(uploaded);
        publication
    };
    let mut hashed = after_upload(VerifyMode::Hash, UploadOutcome::Whole);
    assert_eq!(hashed.step(), Step::Hash);
    hashed.on_hash(false);
    assert_eq!(hashed.step(), Step::ReadBack, "another hash proves nothing");
    hashed.on_read_back(FileComparison::Different);
    assert_eq!(hashed.step(), Step::GiveUp(End::NotVerified));

    let mut read = after_upload(VerifyMode::ReadBack, UploadOutcome::Whole);
    assert_eq!(read.step(), Step::ReadBack);
    read.on_read_back(FileComparison::Unreadable);
    assert_eq!(read.step(), Step::GiveUp(End::NotVerified));

    // A server that reports no size: no better check is possible.
    let mut blind = after_upload(VerifyMode::Size, UploadOutcome::SizeUnknown);
    assert_eq!(blind.step(), Step::ReadBack);
    blind.on_read_back(FileComparison::Unreadable);
    assert_eq!(blind.step(), Step::Note);
}

#[test]
fn server_that_tells_no_size_has_its_file_compared() {
    let mut publication = first(Method::Rename);
    publication.on_look(NameStatus::Present { size: None });
    assert_eq!(publication.step(), Step::Compare { there: true });
}
