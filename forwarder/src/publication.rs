//! The order in which one batch is published at one destination, as a machine without I/O.
//!
//! It says the next [`Step`], and is told what came of it. A failed step ends the attempt; the next attempt starts a
//! new machine, whatever the last one left behind. Steps, and what a crash (or a lost connection, or an answer that
//! never came) after each leaves behind:
//!
//! 1. *Look* at the final name. Nothing is left behind. A file there is either ours, published before a crash, or a
//!    stranger's: *compare* tells, by its size and all its bytes.
//! 2. For a large batch, *look* at the temporary name: what a crash left there is *verified*, byte for byte from its
//!    beginning. Nothing is changed.
//! 3. *Upload* under the temporary name, behind what was verified, or else emptying it first. A crash leaves a
//!    temporary file, whole or not, and nobody reads a temporary name.
//! 4. *Look* again, because some servers replace a file when they rename. A crash is as after 3.
//! 5. *Rename*. A crash, or a rename that was done but whose answer was lost, leaves our file under its final name:
//!    step 1 of the next attempt finds it the same, and the batch is recorded without a second upload.
//! 6. The caller records the delivery in the ledger; a crash before that is as after 5.
//! 7. The caller moves the batch's file to `sent/`; a crash before that is mended at the next start, by the ledger.
//!
//! Invariants: a rename is asked for only right after the final name was seen to be free; a file under the final name
//! is never written to or removed; an attempt that ends without a rename leaves no temporary file; no byte of a
//! temporary file that was there before is kept unless it was read back and found to be the batch's.

/// So much of a batch must be at the destination for an upload to go on from there, in bytes: sending less anew costs
/// less than reading it back.
const RESUME_MIN: u64 = if cfg!(test) { 1 << 10 } else { 8 << 20 };

/// What is to be done next at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// See what has the final name.
    Look,
    /// Compare what has the final name with the batch, byte for byte.
    Compare,
    /// See what has the temporary name.
    LookTemporary,
    /// Read back what has the temporary name, so many bytes, as far as it is the beginning of the batch.
    Verify {
        /// In bytes.
        len: u64,
    },
    /// Upload to the temporary name.
    Upload {
        /// So many bytes are there and verified; if none, what is there is emptied.
        from: u64,
    },
    /// Rename the temporary name to the final one.
    Rename,
    /// Remove the temporary name, if it is there; then it is over.
    RemoveTemporary(Ending),
    /// Nothing: it is over.
    End(Ending),
}

/// How an attempt ended that no step made fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The batch is there under its final name, by us.
    Published,
    /// It was there already.
    FoundThere,
    /// Something else has its name.
    NameTaken,
    /// The name is free, and yet the server did not rename.
    RenameRefused,
    /// The upload failed, and the connection did not.
    NotUploaded,
}

/// What has a name at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing.
    Absent,
    /// A file; servers need not tell its size.
    Present {
        /// In bytes.
        size: Option<u64>,
    },
}

/// How the file under the final name compares with the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// The same bytes.
    Same,
    /// Others, fewer or more.
    Different,
}

/// What came of a rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renamed {
    /// It is done.
    Done,
    /// The server refused.
    Refused,
}

/// How far the attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing was written.
    Fresh,
    /// The temporary file is whole.
    Uploaded,
    /// The server refused the rename.
    Refused,
}

/// One attempt to publish one batch.
#[derive(Debug)]
pub(crate) struct Publication {
    len: u64,
    progress: Progress,
    step: Step,
}

impl Publication {
    /// An attempt for a batch of `len` bytes.
    pub(crate) fn new(len: u64) -> Self {
        Self {
            len,
            progress: Progress::Fresh,
            step: Step::Look,
        }
    }

    /// What is to be done now; what comes of it is told by the method of the same name.
    pub(crate) fn step(&self) -> Step {
        self.step
    }

    pub(crate) fn on_look(&mut self, look: Look) {
        self.step = match (look, self.progress) {
            (Look::Absent, Progress::Fresh) if self.len >= RESUME_MIN => Step::LookTemporary,
            (Look::Absent, Progress::Fresh) => Step::Upload { from: 0 },
            (Look::Absent, Progress::Uploaded) => Step::Rename,
            (Look::Absent, Progress::Refused) => Step::RemoveTemporary(Ending::RenameRefused),
            (Look::Present { size: Some(size) }, _) if size != self.len => {
                Step::RemoveTemporary(Ending::NameTaken)
            }
            (Look::Present { .. }, _) => Step::Compare,
        };
    }

    pub(crate) fn on_compare(&mut self, comparison: Comparison) {
        self.step = Step::RemoveTemporary(match comparison {
            Comparison::Same => Ending::FoundThere,
            Comparison::Different => Ending::NameTaken,
        });
    }

    pub(crate) fn on_look_temporary(&mut self, look: Look) {
        self.step = match look {
            // A longer file could not be cut back.
            Look::Present { size: Some(len) } if (RESUME_MIN..=self.len).contains(&len) => {
                Step::Verify { len }
            }
            Look::Present { .. } | Look::Absent => Step::Upload { from: 0 },
        };
    }

    /// `same`: so many bytes, from the first, are the batch's.
    pub(crate) fn on_verify(&mut self, same: u64) {
        self.step = Step::Upload { from: same };
    }

    /// `whole`: every byte is there.
    pub(crate) fn on_upload(&mut self, whole: bool) {
        if whole {
            self.progress = Progress::Uploaded;
            self.step = Step::Look;
        } else {
            self.step = Step::RemoveTemporary(Ending::NotUploaded);
        }
    }

    pub(crate) fn on_rename(&mut self, renamed: Renamed) {
        self.step = match renamed {
            Renamed::Done => Step::End(Ending::Published),
            Renamed::Refused => {
                self.progress = Progress::Refused;
                Step::Look
            }
        };
    }

    pub(crate) fn on_remove_temporary(&mut self, ending: Ending) {
        self.step = Step::End(ending);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Large enough to be resumed.
    const LEN: u64 = 3 * RESUME_MIN;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum File {
        Ours,
        Half,
        /// So long, but not all of it the batch's.
        HalfWrong,
        Foreign {
            size: u64,
        },
    }

    impl File {
        fn size(self) -> u64 {
            match self {
                Self::Ours => LEN,
                Self::Half | Self::HalfWrong => LEN / 2,
                Self::Foreign { size } => size,
            }
        }
    }

    fn look(file: Option<File>) -> Look {
        file.map_or(Look::Absent, |file| Look::Present {
            size: Some(file.size()),
        })
    }

    /// A destination's folder.
    #[derive(Debug, Default)]
    struct Folder {
        published: Option<File>,
        temporary: Option<File>,
    }

    impl Folder {
        /// How much of the temporary file is the batch's.
        fn verified(&self) -> u64 {
            match self.temporary {
                Some(file @ (File::Ours | File::Half)) => file.size(),
                Some(File::HalfWrong) => LEN / 4,
                Some(File::Foreign { .. }) | None => 0,
            }
        }

        /// As OpenSSH does it: never onto an existing file.
        fn rename(&mut self) -> Renamed {
            if self.published.is_some() || self.temporary.is_none() {
                return Renamed::Refused;
            }
            self.published = self.temporary.take();
            Renamed::Done
        }

        /// Carries out one step as far as `cut` lets it. `None`: the answer did not come.
        fn carry_out(&mut self, publication: &mut Publication, cut: Cut) -> Option<Ending> {
            let step = publication.step();
            if cut == Cut::Before {
                return None;
            }
            let renamed = match step {
                Step::Upload { from } => {
                    let right = from == 0 || from <= self.verified();
                    let whole = cut != Cut::Halfway;
                    self.temporary = Some(match (whole, right) {
                        (true, true) => File::Ours,
                        (true, false) => File::Foreign { size: LEN },
                        (false, true) => File::Half,
                        (false, false) => File::HalfWrong,
                    });
                    Renamed::Refused
                }
                Step::Rename => self.rename(),
                Step::RemoveTemporary(_) => {
                    self.temporary = None;
                    Renamed::Refused
                }
                Step::Look | Step::Compare | Step::LookTemporary | Step::Verify { .. } | Step::End(_) => {
                    Renamed::Refused
                }
            };
            if cut != Cut::None {
                return None;
            }
            match step {
                Step::Look => publication.on_look(look(self.published)),
                Step::LookTemporary => publication.on_look_temporary(look(self.temporary)),
                Step::Verify { .. } => publication.on_verify(self.verified()),
                Step::Compare if self.published == Some(File::Ours) => {
                    publication.on_compare(Comparison::Same);
                }
                Step::Compare => publication.on_compare(Comparison::Different),
                Step::Upload { .. } => publication.on_upload(true),
                Step::Rename => publication.on_rename(renamed),
                Step::RemoveTemporary(ending) => publication.on_remove_temporary(ending),
                Step::End(ending) => return Some(ending),
            }
            Some(Ending::RenameRefused)
        }

        /// An attempt without any accident.
        fn attempt(&mut self) -> Ending {
            let mut publication = Publication::new(LEN);
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

    #[test]
    fn free_name_is_published_by_one_upload_and_one_rename() {
        let mut folder = Folder::default();
        assert_eq!(folder.attempt(), Ending::Published);
        assert_eq!((folder.published, folder.temporary), (Some(File::Ours), None));
        assert_eq!(folder.attempt(), Ending::FoundThere);
    }

    #[test]
    fn refused_rename_to_a_free_name_leaves_no_temporary_file() {
        let mut publication = Publication::new(LEN);
        publication.on_look(Look::Absent);
        publication.on_look_temporary(Look::Absent);
        publication.on_upload(true);
        publication.on_look(Look::Absent);
        publication.on_rename(Renamed::Refused);
        publication.on_look(Look::Absent);
        assert_eq!(publication.step(), Step::RemoveTemporary(Ending::RenameRefused));
    }

    #[test]
    fn failed_upload_leaves_no_temporary_file() {
        let mut publication = Publication::new(LEN);
        publication.on_look(Look::Absent);
        publication.on_look_temporary(Look::Present { size: Some(LEN) });
        assert_eq!(publication.step(), Step::Verify { len: LEN });
        publication.on_verify(0);
        publication.on_upload(false);
        assert_eq!(publication.step(), Step::RemoveTemporary(Ending::NotUploaded));
    }

    #[test]
    fn short_or_longer_temporary_file_is_not_read_back() {
        for size in [None, Some(RESUME_MIN - 1), Some(LEN + 1)] {
            let mut publication = Publication::new(LEN);
            publication.on_look(Look::Absent);
            publication.on_look_temporary(Look::Present { size });
            assert_eq!(publication.step(), Step::Upload { from: 0 });
        }
        let mut small = Publication::new(RESUME_MIN - 1);
        small.on_look(Look::Absent);
        assert_eq!(small.step(), Step::Upload { from: 0 });
    }

    #[test]
    fn server_that_tells_no_size_has_its_file_compared() {
        let mut publication = Publication::new(LEN);
        publication.on_look(Look::Present { size: None });
        assert_eq!(publication.step(), Step::Compare);
    }

    proptest! {
        /// Attempts broken off anywhere, any number of times, and a stranger who may put a file there at any moment.
        #[test]
        fn broken_attempts_end_in_one_right_file_or_an_untouched_foreign_one(
            cuts in prop::collection::vec(cut(), 0..60),
            stranger in prop::option::of((0usize..60, foreign())),
            left_behind in prop::option::of(prop_oneof![Just(File::Half), Just(File::HalfWrong), foreign()]),
        ) {
            let mut folder = Folder {
                published: None,
                temporary: left_behind,
            };
            let mut publication = Publication::new(LEN);
            let mut left = None;
            for (moment, cut) in cuts.into_iter().enumerate() {
                if let Some((at, file)) = stranger
                    && at == moment
                    && folder.published.is_none()
                {
                    folder.published = Some(file);
                    left = Some(file);
                }
                let over = matches!(publication.step(), Step::End(_));
                if folder.carry_out(&mut publication, cut).is_none() || over {
                    publication = Publication::new(LEN);
                }
            }
            let ending = folder.attempt();
            prop_assert_eq!(folder.temporary, None);
            if let Some(file) = left {
                prop_assert_eq!(folder.published, Some(file));
                prop_assert_eq!(ending, Ending::NameTaken);
            } else {
                prop_assert_eq!(folder.published, Some(File::Ours));
                prop_assert!(matches!(ending, Ending::Published | Ending::FoundThere));
            }
        }
    }
}
