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

    fn compared(file: Option<Self>) -> Comparison {
        match file {
            Some(Self::Ours) => Comparison::Same,
            Some(_) => Comparison::Different,
            None => Comparison::Absent,
        }
    }
}

/// What a server does its own way.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
struct Ways {
    way: Way,
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
    way: Way::Rename,
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
    late: Vec<(Step, u8)>,
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

    fn publication(&self) -> Publication {
        Publication::new(LEN, self.ways.verify, self.ways.way, self.noted)
    }

    fn look(&self, file: Option<File>) -> Look {
        match file {
            _ if self.ways.stat_forbidden => Look::Unknown,
            None => Look::Absent,
            Some(file) => Look::Present {
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

    fn publish(&mut self, way: Way, number: u8) -> Renamed {
        let Some(file) = self.temporaries.get(&number).copied() else {
            return Renamed::Gone;
        };
        if self.published.is_some() && !(self.ways.replaces && way == Way::Rename) {
            return Renamed::Refused;
        }
        if way == Way::Rename {
            self.temporaries.remove(&number);
        }
        if self.ways.receiver_waits {
            self.taken.push(file);
        } else {
            self.published = Some(file);
        }
        if self.ways.late_error {
            Renamed::Refused
        } else {
            Renamed::Done
        }
    }

    fn upload(&mut self, from: u64, number: u8, cut: Cut) -> Uploaded {
        if from == 0 && self.temporaries.contains_key(&number) {
            return Uploaded::NotMade;
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
            Uploaded::SizeUnknown
        } else {
            Uploaded::Whole
        }
    }

    /// Carries out what a dead session asked for.
    fn carry_out_late(&mut self) {
        for (step, number) in std::mem::take(&mut self.late) {
            match step {
                // It hears of no handle, so it writes nothing.
                Step::Upload { from: 0 } => drop(self.temporaries.entry(number).or_insert(File::Empty)),
                Step::Publish(way) => drop(self.publish(way, number)),
                Step::RemoveTemporary(_) => drop(self.temporaries.remove(&number)),
                _ => {}
            }
        }
    }

    /// Carries out one step as far as `cut` lets it. `None`: the answer did not come.
    fn carry_out(&mut self, publication: &mut Publication, cut: Cut) -> Option<()> {
        let (step, number) = (publication.step(), publication.temporary());
        if cut == Cut::Before {
            return None;
        }
        if cut == Cut::Late {
            self.late.push((step, number));
            return None;
        }
        let (mut uploaded, mut renamed) = (Uploaded::Failed, Renamed::Refused);
        match step {
            Step::Upload { from } => uploaded = self.upload(from, number, cut),
            Step::Publish(way) => {
                assert_eq!(self.noted, Some(number), "a rename that nobody would remember");
                renamed = self.publish(way, number);
            }
            Step::Note => self.noted = Some(number),
            Step::Forget(_) => self.noted = None,
            Step::RemoveTemporary(_) => drop(self.temporaries.remove(&number)),
            _ => {}
        }
        if cut != Cut::None {
            return None;
        }
        let temporary = self.temporaries.get(&number).copied();
        match step {
            Step::Look => publication.on_look(self.look(self.published)),
            Step::LookTemporary => publication.on_look_temporary(self.look(temporary)),
            Step::VerifyBeginning { .. } => publication.on_verify_beginning(self.verified(number)),
            Step::Compare { .. } => publication.on_compare(File::compared(self.published)),
            Step::ReadBack => publication.on_read_back(File::compared(temporary)),
            Step::Hash => publication.on_hash(false),
            Step::Upload { .. } => publication.on_upload(uploaded),
            Step::Note => publication.on_note(),
            Step::Publish(_) => publication.on_publish(renamed),
            Step::Forget(ending) => publication.on_forget(ending),
            Step::RemoveTemporary(ending) => publication.on_remove_temporary(ending),
            Step::End(_) => {}
        }
        Some(())
    }

    /// An attempt without any accident.
    fn attempt(&mut self) -> Ending {
        let mut publication = self.publication();
        loop {
            if let Step::End(ending) = publication.step() {
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
    let way = prop_oneof![Just(Way::Rename), Just(Way::Link)];
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

fn upload(publication: &mut Publication) {
    publication.on_look(Look::Absent);
    publication.on_look_temporary(Look::Absent);
    publication.on_upload(Uploaded::Whole);
}

#[test]
fn free_name_is_published_by_one_upload_and_one_rename() {
    let mut folder = Folder::new(PLAIN);
    assert_eq!(folder.attempt(), Ending::Published);
    assert_eq!(folder.published, Some(File::Ours));
    assert!(folder.temporaries.is_empty());
    assert_eq!(folder.attempt(), Ending::FoundThere);
}

#[test]
fn refused_rename_to_a_free_name_is_forgotten_and_leaves_no_temporary_file() {
    let mut publication = Publication::new(LEN, VerifyMode::Size, Way::Rename, None);
    upload(&mut publication);
    assert_eq!(publication.step(), Step::Note);
    publication.on_note();
    publication.on_look(Look::Absent);
    publication.on_publish(Renamed::Refused);
    publication.on_look(Look::Absent);
    publication.on_look_temporary(Look::Present { size: Some(LEN) });
    assert_eq!(publication.step(), Step::Forget(Ending::RenameRefused));
    publication.on_forget(Ending::RenameRefused);
    assert_eq!(publication.step(), Step::RemoveTemporary(Ending::RenameRefused));
}

#[test]
fn server_that_cannot_link_after_all_is_asked_to_rename() {
    let mut publication = Publication::new(LEN, VerifyMode::Size, Way::Link, None);
    upload(&mut publication);
    publication.on_note();
    publication.on_look(Look::Absent);
    assert_eq!(publication.step(), Step::Publish(Way::Link));
    publication.on_publish(Renamed::Refused);
    publication.on_look(Look::Absent);
    publication.on_look_temporary(Look::Present { size: Some(LEN) });
    assert_eq!(publication.step(), Step::Publish(Way::Rename));
}

#[test]
fn failed_upload_leaves_no_temporary_file() {
    let mut publication = Publication::new(LEN, VerifyMode::Size, Way::Rename, None);
    publication.on_look(Look::Absent);
    publication.on_look_temporary(Look::Present { size: Some(LEN) });
    assert_eq!(publication.step(), Step::VerifyBeginning { len: LEN });
    publication.on_verify_beginning(Some(0));
    publication.on_upload(Uploaded::Failed);
    assert_eq!(publication.step(), Step::RemoveTemporary(Ending::NotUploaded));
}

#[test]
fn short_or_longer_temporary_file_is_not_read_back_and_the_next_name_is_taken() {
    for size in [None, Some(RESUME_MIN - 1), Some(LEN + 1)] {
        let mut publication = Publication::new(LEN, VerifyMode::Size, Way::Rename, None);
        publication.on_look(Look::Absent);
        publication.on_look_temporary(Look::Present { size });
        assert_eq!(
            (publication.step(), publication.temporary()),
            (Step::LookTemporary, 2)
        );
        publication.on_look_temporary(Look::Absent);
        assert_eq!(publication.step(), Step::Upload { from: 0 });
    }
    let mut small = Publication::new(RESUME_MIN - 1, VerifyMode::Size, Way::Rename, None);
    small.on_look(Look::Absent);
    assert_eq!((small.step(), small.temporary()), (Step::Upload { from: 0 }, 1));
    small.on_upload(Uploaded::NotMade);
    small.on_look_temporary(Look::Present { size: Some(1) });
    assert_eq!((small.step(), small.temporary()), (Step::Upload { from: 0 }, 2));
    small.on_upload(Uploaded::NotMade);
    small.on_look_temporary(Look::Absent);
    assert_eq!(
        small.step(),
        Step::End(Ending::NotUploaded),
        "it was refused for another reason"
    );
}

#[test]
fn names_come_to_an_end_when_none_is_free() {
    let mut folder = Folder::new(PLAIN);
    folder.temporaries = (1..=TEMPORARIES_MAX)
        .map(|number| (number, File::Empty))
        .collect();
    assert_eq!(folder.attempt(), Ending::NotUploaded);
    assert!(folder.temporaries.is_empty(), "the next attempt has room");
    assert_eq!(folder.attempt(), Ending::Published);
}

#[test]
fn temporary_file_that_vanished_before_its_rename_is_not_taken_for_published() {
    let mut publication = Publication::new(LEN, VerifyMode::Size, Way::Rename, None);
    upload(&mut publication);
    publication.on_note();
    publication.on_look(Look::Absent);
    publication.on_publish(Renamed::Gone);
    publication.on_look(Look::Absent);
    publication.on_look_temporary(Look::Absent);
    assert_eq!(publication.step(), Step::Forget(Ending::RenameRefused));
}

#[test]
fn upload_is_proved_as_the_destination_asks() {
    let after_upload = |verify, uploaded| {
        let mut publication = Publication::new(1, verify, Way::Rename, None);
        publication.on_look(Look::Absent);
        publication.on_upload(uploaded);
        publication
    };
    let mut hashed = after_upload(VerifyMode::Hash, Uploaded::Whole);
    assert_eq!(hashed.step(), Step::Hash);
    hashed.on_hash(false);
    assert_eq!(hashed.step(), Step::ReadBack, "another hash proves nothing");
    hashed.on_read_back(Comparison::Different);
    assert_eq!(hashed.step(), Step::RemoveTemporary(Ending::NotProved));

    let mut read = after_upload(VerifyMode::ReadBack, Uploaded::Whole);
    assert_eq!(read.step(), Step::ReadBack);
    read.on_read_back(Comparison::Unreadable);
    assert_eq!(read.step(), Step::RemoveTemporary(Ending::NotProved));

    // A server that tells no size: all that can be had.
    let mut blind = after_upload(VerifyMode::Size, Uploaded::SizeUnknown);
    assert_eq!(blind.step(), Step::ReadBack);
    blind.on_read_back(Comparison::Unreadable);
    assert_eq!(blind.step(), Step::Note);
}

#[test]
fn server_that_tells_no_size_has_its_file_compared() {
    let mut publication = Publication::new(LEN, VerifyMode::Size, Way::Rename, None);
    publication.on_look(Look::Present { size: None });
    assert_eq!(publication.step(), Step::Compare { there: true });
}

#[test]
fn file_that_cannot_be_read_is_ours_only_if_its_rename_was_noted_and_its_temporary_name_is_gone() {
    let there = Look::Present { size: Some(LEN) };
    let mut strange = Publication::new(LEN, VerifyMode::Size, Way::Rename, None);
    strange.on_look(there);
    strange.on_compare(Comparison::Unreadable);
    assert_eq!(strange.step(), Step::LookTemporary);
    strange.on_look_temporary(there);
    strange.on_look_temporary(Look::Absent);
    assert_eq!(strange.step(), Step::RemoveTemporary(Ending::Unreadable));
    for (temporary, expected) in [
        (Look::Absent, Step::End(Ending::TakenAway)),
        (there, Step::Forget(Ending::RenameRefused)),
    ] {
        let mut noted = Publication::new(LEN, VerifyMode::Size, Way::Rename, Some(1));
        noted.on_look(there);
        noted.on_compare(Comparison::Unreadable);
        noted.on_look_temporary(temporary);
        assert_eq!(noted.step(), expected);
    }
}

/// Lives that are cut off one after the other, and one that is not; how it ends.
fn lives(folder: &mut Folder, cuts: Vec<Cut>, mut at_each: impl FnMut(usize, &mut Folder)) -> Ending {
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
            prop_assert_eq!(ending, Ending::NameTaken);
            prop_assert_eq!(folder.noted, None);
        } else {
            prop_assert_eq!(folder.published, Some(File::Ours));
            prop_assert!(matches!(ending, Ending::Published | Ending::FoundThere));
        }
    }

    /// As long as a delivery is not recorded, the file is tried again; a receiver that takes it at once gets it once.
    #[test]
    fn file_that_is_taken_at_once_is_sent_once(
        cuts in prop::collection::vec(cut(), 0..60),
        ways in ways(),
    ) {
        let ways = Ways { way: Way::Rename, receiver_waits: true, ..ways };
        let mut folder = Folder::new(ways);
        let ending = lives(&mut folder, cuts, |_, _| {});
        prop_assert!(ending.is_published());
        prop_assert_eq!(&folder.temporaries, &BTreeMap::new());
        prop_assert_eq!(folder.taken, [File::Ours]);
    }
}
