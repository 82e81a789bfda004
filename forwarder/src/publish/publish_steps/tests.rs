//! One machine after the other against a folder in memory, cut off anywhere.

mod late;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Large enough to be resumed.
const LEN: u64 = 3 * RESUME_MIN;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    Ours,
    Half,
    /// So long, but not all of it right.
    HalfWrong,
    /// Made, and nothing written.
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

    fn compared(file: Option<Self>) -> FileComparison {
        match file {
            Some(Self::Ours) => FileComparison::Same,
            Some(_) => FileComparison::Different,
            None => FileComparison::Absent,
        }
    }
}

/// What a server does its own way.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
struct Ways {
    way: PublishMethod,
    verify: VerifyMode,
    /// A rename replaces what has the name.
    replaces: bool,
    /// A rename that was done is answered by an error.
    late_error: bool,
    /// The receiver takes every file as soon as it has its final name.
    receiver_waits: bool,
    /// Nothing is told of a name.
    stat_forbidden: bool,
}

const PLAIN: Ways = Ways {
    way: PublishMethod::Rename,
    verify: VerifyMode::Size,
    replaces: false,
    late_error: false,
    receiver_waits: false,
    stat_forbidden: false,
};

/// A destination's folder, and what the ledger notes of it.
#[derive(Debug)]
struct Folder {
    ways: Ways,
    published: Option<File>,
    /// By their numbers.
    temporaries: BTreeMap<u8, File>,
    /// What the receiver took.
    taken: Vec<File>,
    /// For which temporary name.
    noted: Option<u8>,
    /// What dead sessions asked for and the server has not carried out, each with its temporary name.
    late: Vec<(PublishStep, u8)>,
}

impl Folder {
    fn new(ways: Ways) -> Self {
        Self {
            ways,
            published: None,
            temporaries: BTreeMap::new(),
            taken: Vec::new(),
            noted: None,
            late: Vec::new(),
        }
    }

    fn publication(&self) -> PublishSteps {
        PublishSteps::new(LEN, self.ways.verify, self.ways.way, self.noted)
    }

    fn look(&self, file: Option<File>) -> NameStatus {
        match file {
            _ if self.ways.stat_forbidden => NameStatus::Unknown,
            None => NameStatus::Absent,
            Some(file) => NameStatus::Present {
                size: Some(file.size()),
            },
        }
    }

    /// How much of a temporary file is right.
    fn verified(&self, number: u8) -> Option<u64> {
        self.temporaries.get(&number).map(|file| match file {
            File::Ours | File::Half => file.size(),
            File::HalfWrong => LEN / 4,
            File::Empty | File::Foreign { .. } => 0,
        })
    }

    fn publish(&mut self, way: PublishMethod, number: u8) -> RenameOutcome {
        let Some(file) = self.temporaries.get(&number).copied() else {
            return RenameOutcome::Gone;
        };
        if self.published.is_some() && !(self.ways.replaces && way == PublishMethod::Rename) {
            return RenameOutcome::Refused;
        }
        if way == PublishMethod::Rename {
            self.temporaries.remove(&number);
        }
        if self.ways.receiver_waits {
            self.taken.push(file);
        } else {
            self.published = Some(file);
        }
        if self.ways.late_error {
            RenameOutcome::Refused
        } else {
            RenameOutcome::Done
        }
    }

    fn upload(&mut self, from: u64, number: u8, cut: Cut) -> UploadOutcome {
        if from == 0 && self.temporaries.contains_key(&number) {
            return UploadOutcome::NotMade;
        }
        let right = from == 0 || Some(from) <= self.verified(number);
        let whole = cut != Cut::Halfway;
        let file = match (whole, right) {
            (true, true) => File::Ours,
            (true, false) => File::Foreign { size: LEN },
            (false, true) => File::Half,
            (false, false) => File::HalfWrong,
        };
        self.temporaries.insert(number, file);
        if self.ways.stat_forbidden {
            UploadOutcome::SizeUnknown
        } else {
            UploadOutcome::Whole
        }
    }

    /// Carries out what a dead session asked for.
    fn carry_out_late(&mut self) {
        for (step, number) in std::mem::take(&mut self.late) {
            match step {
                // It hears of no handle, so it writes nothing.
                PublishStep::Upload { from: 0 } => {
                    drop(self.temporaries.entry(number).or_insert(File::Empty))
                }
                PublishStep::Publish(way) => drop(self.publish(way, number)),
                PublishStep::RemoveTemporary(_) => drop(self.temporaries.remove(&number)),
                _ => {}
            }
        }
    }

    /// Carries out one step as far as `cut` lets it. `None`: the answer did not come.
    fn carry_out(&mut self, publication: &mut PublishSteps, cut: Cut) -> Option<()> {
        let (step, number) = (publication.step(), publication.temporary());
        if cut == Cut::Before {
            return None;
        }
        if cut == Cut::Late {
            self.late.push((step, number));
            return None;
        }
        let (mut uploaded, mut renamed) = (UploadOutcome::Failed, RenameOutcome::Refused);
        match step {
            PublishStep::Upload { from } => uploaded = self.upload(from, number, cut),
            PublishStep::Publish(way) => {
                assert_eq!(self.noted, Some(number), "a rename that nobody would remember");
                renamed = self.publish(way, number);
            }
            PublishStep::Note => self.noted = Some(number),
            PublishStep::Forget(_) => self.noted = None,
            PublishStep::RemoveTemporary(_) => drop(self.temporaries.remove(&number)),
            _ => {}
        }
        if cut != Cut::None {
            return None;
        }
        let temporary = self.temporaries.get(&number).copied();
        match step {
            PublishStep::Look => publication.on_look(self.look(self.published)),
            PublishStep::LookTemporary => publication.on_look_temporary(self.look(temporary)),
            PublishStep::VerifyBeginning { .. } => publication.on_verify_beginning(self.verified(number)),
            PublishStep::Compare { .. } => publication.on_compare(File::compared(self.published)),
            PublishStep::ReadBack => publication.on_read_back(File::compared(temporary)),
            PublishStep::Hash => publication.on_hash(false),
            PublishStep::Upload { .. } => publication.on_upload(uploaded),
            PublishStep::Note => publication.on_note(),
            PublishStep::Publish(_) => publication.on_publish(renamed),
            PublishStep::Forget(ending) => publication.on_forget(ending),
            PublishStep::RemoveTemporary(ending) => publication.on_remove_temporary(ending),
            PublishStep::End(_) => {}
        }
        Some(())
    }

    /// An attempt without any accident.
    fn attempt(&mut self) -> PublishOutcome {
        let mut publication = self.publication();
        loop {
            if let PublishStep::End(ending) = publication.step() {
                return ending;
            }
            self.carry_out(&mut publication, Cut::None);
        }
    }
}

/// Where the connection, or the forwarder, breaks in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    None,
    Before,
    Halfway,
    AnswerLost,
    /// The server has the request, and carries it out later.
    Late,
}

fn cut() -> impl Strategy<Value = Cut> {
    prop_oneof![
        6 => Just(Cut::None),
        1 => Just(Cut::Before),
        1 => Just(Cut::Halfway),
        1 => Just(Cut::AnswerLost),
    ]
}

fn foreign() -> impl Strategy<Value = File> {
    prop_oneof![Just(LEN), 0..LEN * 2].prop_map(|size| File::Foreign { size })
}

fn ways() -> impl Strategy<Value = Ways> {
    let way = prop_oneof![Just(PublishMethod::Rename), Just(PublishMethod::Link)];
    let verify = prop_oneof![
        Just(VerifyMode::Size),
        Just(VerifyMode::Hash),
        Just(VerifyMode::ReadBack)
    ];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (way, verify, flags).prop_map(|(way, verify, (replaces, late_error, stat_forbidden))| Ways {
        way,
        verify,
        replaces,
        late_error,
        receiver_waits: false,
        stat_forbidden,
    })
}

fn upload(publication: &mut PublishSteps) {
    publication.on_look(NameStatus::Absent);
    publication.on_look_temporary(NameStatus::Absent);
    publication.on_upload(UploadOutcome::Whole);
}

#[test]
fn free_name_is_published_by_one_upload_and_one_rename() {
    let mut folder = Folder::new(PLAIN);
    assert_eq!(folder.attempt(), PublishOutcome::Published);
    assert_eq!(folder.published, Some(File::Ours));
    assert!(folder.temporaries.is_empty());
    assert_eq!(folder.attempt(), PublishOutcome::FoundThere);
}

#[test]
fn refused_rename_to_a_free_name_is_forgotten_and_leaves_no_temporary_file() {
    let mut publication = PublishSteps::new(LEN, VerifyMode::Size, PublishMethod::Rename, None);
    upload(&mut publication);
    assert_eq!(publication.step(), PublishStep::Note);
    publication.on_note();
    publication.on_look(NameStatus::Absent);
    publication.on_publish(RenameOutcome::Refused);
    publication.on_look(NameStatus::Absent);
    publication.on_look_temporary(NameStatus::Present { size: Some(LEN) });
    assert_eq!(
        publication.step(),
        PublishStep::Forget(PublishOutcome::RenameRefused)
    );
    publication.on_forget(PublishOutcome::RenameRefused);
    assert_eq!(
        publication.step(),
        PublishStep::RemoveTemporary(PublishOutcome::RenameRefused)
    );
}

#[test]
fn server_that_cannot_link_after_all_is_asked_to_rename() {
    let mut publication = PublishSteps::new(LEN, VerifyMode::Size, PublishMethod::Link, None);
    upload(&mut publication);
    publication.on_note();
    publication.on_look(NameStatus::Absent);
    assert_eq!(publication.step(), PublishStep::Publish(PublishMethod::Link));
    publication.on_publish(RenameOutcome::Refused);
    publication.on_look(NameStatus::Absent);
    publication.on_look_temporary(NameStatus::Present { size: Some(LEN) });
    assert_eq!(publication.step(), PublishStep::Publish(PublishMethod::Rename));
}

#[test]
fn failed_upload_leaves_no_temporary_file() {
    let mut publication = PublishSteps::new(LEN, VerifyMode::Size, PublishMethod::Rename, None);
    publication.on_look(NameStatus::Absent);
    publication.on_look_temporary(NameStatus::Present { size: Some(LEN) });
    assert_eq!(publication.step(), PublishStep::VerifyBeginning { len: LEN });
    publication.on_verify_beginning(Some(0));
    publication.on_upload(UploadOutcome::Failed);
    assert_eq!(
        publication.step(),
        PublishStep::RemoveTemporary(PublishOutcome::NotUploaded)
    );
}

#[test]
fn short_or_longer_temporary_file_is_not_read_back_and_the_next_name_is_taken() {
    for size in [None, Some(RESUME_MIN - 1), Some(LEN + 1)] {
        let mut publication = PublishSteps::new(LEN, VerifyMode::Size, PublishMethod::Rename, None);
        publication.on_look(NameStatus::Absent);
        publication.on_look_temporary(NameStatus::Present { size });
        assert_eq!(
            (publication.step(), publication.temporary()),
            (PublishStep::LookTemporary, 2)
        );
        publication.on_look_temporary(NameStatus::Absent);
        assert_eq!(publication.step(), PublishStep::Upload { from: 0 });
    }
    let mut small = PublishSteps::new(RESUME_MIN - 1, VerifyMode::Size, PublishMethod::Rename, None);
    small.on_look(NameStatus::Absent);
    assert_eq!(
        (small.step(), small.temporary()),
        (PublishStep::Upload { from: 0 }, 1)
    );
    small.on_upload(UploadOutcome::NotMade);
    small.on_look_temporary(NameStatus::Present { size: Some(1) });
    assert_eq!(
        (small.step(), small.temporary()),
        (PublishStep::Upload { from: 0 }, 2)
    );
    small.on_upload(UploadOutcome::NotMade);
    small.on_look_temporary(NameStatus::Absent);
    assert_eq!(
        small.step(),
        PublishStep::End(PublishOutcome::NotUploaded),
        "it was refused for another reason"
    );
}

#[test]
fn names_come_to_an_end_when_none_is_free() {
    let mut folder = Folder::new(PLAIN);
    folder.temporaries = (1..=TEMPORARY_NAMES_MAX)
        .map(|number| (number, File::Empty))
        .collect();
    assert_eq!(folder.attempt(), PublishOutcome::NotUploaded);
    assert!(folder.temporaries.is_empty(), "the next attempt has room");
    assert_eq!(folder.attempt(), PublishOutcome::Published);
}

#[test]
fn temporary_file_that_vanished_before_its_rename_is_not_taken_for_published() {
    let mut publication = PublishSteps::new(LEN, VerifyMode::Size, PublishMethod::Rename, None);
    upload(&mut publication);
    publication.on_note();
    publication.on_look(NameStatus::Absent);
    publication.on_publish(RenameOutcome::Gone);
    publication.on_look(NameStatus::Absent);
    publication.on_look_temporary(NameStatus::Absent);
    assert_eq!(
        publication.step(),
        PublishStep::Forget(PublishOutcome::RenameRefused)
    );
}

#[test]
fn upload_is_proved_as_the_destination_asks() {
    let after_upload = |verify, uploaded| {
        let mut publication = PublishSteps::new(1, verify, PublishMethod::Rename, None);
        publication.on_look(NameStatus::Absent);
        publication.on_upload(uploaded);
        publication
    };
    let mut hashed = after_upload(VerifyMode::Hash, UploadOutcome::Whole);
    assert_eq!(hashed.step(), PublishStep::Hash);
    hashed.on_hash(false);
    assert_eq!(
        hashed.step(),
        PublishStep::ReadBack,
        "another hash proves nothing"
    );
    hashed.on_read_back(FileComparison::Different);
    assert_eq!(
        hashed.step(),
        PublishStep::RemoveTemporary(PublishOutcome::NotProved)
    );

    let mut read = after_upload(VerifyMode::ReadBack, UploadOutcome::Whole);
    assert_eq!(read.step(), PublishStep::ReadBack);
    read.on_read_back(FileComparison::Unreadable);
    assert_eq!(
        read.step(),
        PublishStep::RemoveTemporary(PublishOutcome::NotProved)
    );

    // A server that tells no size: all that can be had.
    let mut blind = after_upload(VerifyMode::Size, UploadOutcome::SizeUnknown);
    assert_eq!(blind.step(), PublishStep::ReadBack);
    blind.on_read_back(FileComparison::Unreadable);
    assert_eq!(blind.step(), PublishStep::Note);
}

#[test]
fn server_that_tells_no_size_has_its_file_compared() {
    let mut publication = PublishSteps::new(LEN, VerifyMode::Size, PublishMethod::Rename, None);
    publication.on_look(NameStatus::Present { size: None });
    assert_eq!(publication.step(), PublishStep::Compare { there: true });
}

#[test]
fn file_that_cannot_be_read_is_ours_only_if_its_rename_was_noted_and_its_temporary_name_is_gone() {
    let there = NameStatus::Present { size: Some(LEN) };
    let mut strange = PublishSteps::new(LEN, VerifyMode::Size, PublishMethod::Rename, None);
    strange.on_look(there);
    strange.on_compare(FileComparison::Unreadable);
    assert_eq!(strange.step(), PublishStep::LookTemporary);
    strange.on_look_temporary(there);
    strange.on_look_temporary(NameStatus::Absent);
    assert_eq!(
        strange.step(),
        PublishStep::RemoveTemporary(PublishOutcome::Unreadable)
    );
    for (temporary, expected) in [
        (NameStatus::Absent, PublishStep::End(PublishOutcome::TakenAway)),
        (there, PublishStep::Forget(PublishOutcome::RenameRefused)),
    ] {
        let mut noted = PublishSteps::new(LEN, VerifyMode::Size, PublishMethod::Rename, Some(1));
        noted.on_look(there);
        noted.on_compare(FileComparison::Unreadable);
        noted.on_look_temporary(temporary);
        assert_eq!(noted.step(), expected);
    }
}

/// Lives that are cut off one after the other, and one that is not; how it ends.
fn lives(folder: &mut Folder, cuts: Vec<Cut>, mut at_each: impl FnMut(usize, &mut Folder)) -> PublishOutcome {
    let mut publication = folder.publication();
    for (moment, cut) in cuts.into_iter().enumerate() {
        at_each(moment, folder);
        let over = matches!(publication.step(), PublishStep::End(_));
        if folder.carry_out(&mut publication, cut).is_none() || over {
            publication = folder.publication();
        }
    }
    folder.attempt()
}

proptest! {
    /// Attempts broken off anywhere, any number of times, and a stranger who may put a file there at any moment but
    /// the one between a look and a rename.
    #[test]
    fn broken_attempts_end_in_one_right_file_or_an_untouched_foreign_one(
        cuts in prop::collection::vec(cut(), 0..60),
        stranger in prop::option::of((0usize..60, foreign())),
        left_behind in prop::option::of(prop_oneof![Just(File::Half), Just(File::HalfWrong), foreign()]),
        ways in ways(),
    ) {
        // Nothing stands in the way of a server that replaces, if a stranger comes just then.
        let ways = Ways { replaces: ways.replaces && stranger.is_none(), ..ways };
        let mut folder = Folder::new(ways);
        folder.temporaries = left_behind.map(|file| (1, file)).into_iter().collect();
        let mut left = None;
        let ending = lives(&mut folder, cuts, |moment, folder| {
            if let Some((at, file)) = stranger && at == moment && folder.published.is_none() {
                folder.published = Some(file);
                left = Some(file);
            }
        });
        prop_assert_eq!(&folder.temporaries, &BTreeMap::new());
        if let Some(file) = left {
            prop_assert_eq!(folder.published, Some(file));
            prop_assert_eq!(ending, PublishOutcome::NameTaken);
            prop_assert_eq!(folder.noted, None);
        } else {
            prop_assert_eq!(folder.published, Some(File::Ours));
            prop_assert!(matches!(ending, PublishOutcome::Published | PublishOutcome::FoundThere));
        }
    }

    /// As long as a delivery is not recorded, the file is tried again; a receiver that takes it at once gets it once.
    #[test]
    fn file_that_is_taken_at_once_is_sent_once(
        cuts in prop::collection::vec(cut(), 0..60),
        ways in ways(),
    ) {
        let ways = Ways { way: PublishMethod::Rename, receiver_waits: true, ..ways };
        let mut folder = Folder::new(ways);
        let ending = lives(&mut folder, cuts, |_, _| {});
        prop_assert!(ending.is_published());
        prop_assert_eq!(&folder.temporaries, &BTreeMap::new());
        prop_assert_eq!(folder.taken, [File::Ours]);
    }
}
