//! The order in which one file is published at one destination, as a machine without I/O. A batch, its manifest and its
//! marker each go through one, one after the other.
//!
//! It says the next [`Step`], and is told what came of it. A failed step ends the attempt; the next attempt starts a
//! new machine, whatever the last one left behind. Steps, and what a crash (or a lost connection, or an answer that
//! never came) after each leaves behind:
//!
//! 1. *Look* at the final name. Nothing is left behind. A file there is either ours, published before a crash, or a
//!    stranger's: *compare* tells, by its size and all its bytes. Where the server forbids to look, comparing shows
//!    whether there is one.
//! 2. For a large file, or one whose rename was noted, *look* at the temporary name. What a crash left there is *verified*,
//!    byte for byte from its beginning. Nothing is changed. If the rename was noted and the file has neither name, it was
//!    published, and whoever it is for has taken it away: it is over, and not sent again.
//! 3. *Upload* under the temporary name, behind what was verified, or else as a new file: if something has the name, under
//!    the next one, such as `NAME.2.part`. A crash leaves a temporary file, whole or not, and nobody reads a temporary name.
//! 4. By *hash* or *read-back*, as the destination is set, prove what was uploaded. A crash is as after 3.
//! 5. *Note* in the ledger that the rename may come to pass. A crash is as after 3, and the note is right: until it is
//!    taken back, nothing but the rename takes the temporary name away.
//! 6. *Look* again, because some servers replace a file when they rename. A crash is as after 5.
//! 7. *Rename*; on a server that may replace by it, *link* the final name to the file, if it can, and then *remove* the
//!    temporary name. A crash, or a rename that was done but whose answer was lost, leaves our file under its final name,
//!    and after a link under both: step 1 of the next attempt finds it the same, removes the temporary name, and does not
//!    upload again. If it was taken away meanwhile, step 2 knows. Then the temporary names that others had left are
//!    *removed*; a crash meanwhile is as one after the rename.
//! 8. The next file, or the caller records the delivery in the ledger; a crash before that is as after 7.
//! 9. The caller moves the batch's file to `sent/`; a crash before that is mended at the next start, by the ledger.
//!
//! A rename that failed for good is *forgotten* in the ledger before the temporary file is removed. A crash between
//! the two leaves a temporary file, as after 3.
//!
//! Invariants: a rename is asked for only right after the final name was seen to be free, as far as the server shows it; a
//! file under the final name is never written to or removed; an attempt that ends without a rename leaves no temporary
//! file; no byte of a temporary file that was there before is kept unless it was read back and found to be right.
//!
//! What a dead session asked for may be carried out long after it has gone, beside the next one: the server's process hung,
//! or was slow. An *open* then makes no file where one is, nor empties it, since it asks for a new one: so nobody but the
//! session that made a temporary file writes to it, unless it is resumed, and then the dead one wrote the same bytes. A
//! *remove* takes the file of the session that asked: until then its name was taken, and the next one has another. A
//! *rename* was noted, see step 2. If a temporary file is gone all the same, the rename says so, and the attempt fails: it
//! does not pass for published unless an earlier attempt noted it. A server that knows no new files (`SSH_FXF_EXCL`) may
//! empty what is being sent; then only `verify` stands between. An open that comes after all leaves an empty temporary file.
//!
//! What is left: a connection that breaks between a link and the removal, at a server that is not OpenSSH, whose receiver
//! takes the file at that moment, has the file sent twice.

use logferry_config::VerifyMode;

/// So much of a file must be at the destination for an upload to go on from there, in bytes: sending less anew costs
/// less than reading it back.
const RESUME_MIN: u64 = if cfg!(test) { 1 << 10 } else { 8 << 20 };

/// So many temporary names a file may have.
pub(crate) const TEMPORARIES_MAX: u8 = 9;

/// What is to be done next at the destination. Of several temporary names, [`Publication::temporary`] is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// See what has the final name.
    Look,
    /// Compare what has the final name with the file, byte for byte.
    Compare {
        /// Whether it is known that something has it.
        there: bool,
    },
    /// See what has the temporary name.
    LookTemporary,
    /// Read back what has the temporary name, so many bytes, as far as it is the file's beginning.
    VerifyBeginning {
        /// In bytes.
        len: u64,
    },
    /// Upload to the temporary name.
    Upload {
        /// So many bytes are there and verified; if none, nothing may be there.
        from: u64,
    },
    /// Have the temporary file hashed there.
    Hash,
    /// Compare the temporary file with ours, byte for byte.
    ReadBack,
    /// Note in the ledger that the file may be published from now on.
    Note,
    /// Rename the temporary name to the final one, or link that to it.
    Publish(Way),
    /// Take the note back.
    Forget(Ending),
    /// Remove the temporary name, if it is there; after the last of them it is over.
    RemoveTemporary(Ending),
    /// Nothing: it is over.
    End(Ending),
}

/// How a file gets its final name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By a rename, where the server refuses to replace, or knows nothing better.
    Rename,
    /// By a link, which cannot replace, and the removal of the temporary name.
    Link,
}

/// How an attempt ended that no step made fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The file is there under its final name, by us.
    Published,
    /// It was there already.
    FoundThere,
    /// It was there, and has been taken away before it could be seen.
    TakenAway,
    /// Something else has its name.
    NameTaken,
    /// Something has its name and cannot be read.
    Unreadable,
    /// The name is free, and yet the server did not rename.
    RenameRefused,
    /// The upload failed, and the connection did not.
    NotUploaded,
    /// What is there is not what was uploaded, or it cannot be proved to be.
    NotProved,
}

impl Ending {
    /// Whether the file has been published.
    pub(crate) fn is_published(self) -> bool {
        matches!(self, Self::Published | Self::FoundThere | Self::TakenAway)
    }
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
    /// The server does not tell.
    Unknown,
}

/// How a file at the destination compares with ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// The same bytes.
    Same,
    /// Others, fewer or more.
    Different,
    /// There is none.
    Absent,
    /// The server does not let us read it.
    Unreadable,
}

/// What came of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Uploaded {
    /// The server confirmed every byte, and the size is right.
    Whole,
    /// The server confirmed every byte, and does not tell the size.
    SizeUnknown,
    /// Not so.
    Failed,
    /// The file could not be made; something may have its name.
    NotMade,
}

/// What came of a rename or a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renamed {
    /// It is done.
    Done,
    /// The server refused.
    Refused,
    /// The server refused, since there is no such temporary file.
    Gone,
}

/// How far the attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing was written.
    Fresh,
    /// No file of the temporary name could be made.
    NotMade,
    /// The temporary file is whole.
    Uploaded,
    /// The server refused the rename.
    Refused,
    /// The server refused the rename, and the file is gone.
    Gone,
}

/// One attempt to publish one file.
#[derive(Debug)]
pub(crate) struct Publication {
    len: u64,
    verify: VerifyMode,
    way: Way,
    /// Whether the ledger says that the file may have been published.
    noted: bool,
    /// Whether an earlier attempt said so.
    noted_before: bool,
    /// Which temporary name is meant, from 1.
    temporary: u8,
    /// The last one that this attempt, or the one that noted, had to do with.
    last_temporary: u8,
    /// The temporary names are only looked at to be removed.
    clearing: Option<Ending>,
    progress: Progress,
    step: Step,
}

impl Publication {
    /// An attempt for a file of `len` bytes. `noted`: an earlier attempt may have published it, from this temporary name.
    pub(crate) fn new(len: u64, verify: VerifyMode, way: Way, noted: Option<u8>) -> Self {
        Self {
            len,
            verify,
            way,
            noted: noted.is_some(),
            noted_before: noted.is_some(),
            temporary: noted.unwrap_or(1),
            last_temporary: noted.unwrap_or(1),
            clearing: None,
            progress: Progress::Fresh,
            step: Step::Look,
        }
    }

    /// For a file that is known to have been published by an earlier attempt.
    pub(crate) fn over(len: u64) -> Self {
        Self {
            step: Step::End(Ending::FoundThere),
            ..Self::new(len, VerifyMode::Size, Way::Rename, Some(1))
        }
    }

    /// What is to be done now; what comes of it is told by the method of the same name.
    pub(crate) fn step(&self) -> Step {
        self.step
    }

    /// Which of the file's temporary names is meant by the step: 1, or the number in the name.
    pub(crate) fn temporary(&self) -> u8 {
        self.temporary
    }

    pub(crate) fn on_look(&mut self, look: Look) {
        match look {
            Look::Absent => self.name_is_free(),
            Look::Present { size: Some(size) } if size != self.len => self.leave(Ending::NameTaken),
            Look::Present { .. } => self.step = Step::Compare { there: true },
            Look::Unknown => self.step = Step::Compare { there: false },
        }
    }

    pub(crate) fn on_compare(&mut self, comparison: Comparison) {
        let there = self.step == Step::Compare { there: true };
        match comparison {
            Comparison::Same => self.clear(Ending::FoundThere),
            Comparison::Different => self.leave(Ending::NameTaken),
            Comparison::Unreadable if there && self.noted => {
                // It is ours if the temporary name is gone; if not, there is no way on.
                (self.progress, self.way) = (Progress::Refused, Way::Rename);
                self.step = Step::LookTemporary;
            }
            Comparison::Unreadable if there => self.leave(Ending::Unreadable),
            Comparison::Absent | Comparison::Unreadable => self.name_is_free(),
        }
    }

    pub(crate) fn on_look_temporary(&mut self, look: Look) {
        if let Some(ending) = self.clearing {
            return self.on_look_for_clearing(look, ending);
        }
        match (look, self.progress) {
            (Look::Absent, Progress::Gone) if !self.noted_before => self.leave(Ending::RenameRefused),
            (Look::Absent, _) if self.noted => self.remove_up_to(self.last_temporary - 1, Ending::TakenAway),
            (Look::Unknown, _) if self.noted => self.step = Step::VerifyBeginning { len: self.len },
            (_, Progress::Refused | Progress::Gone) => self.was_refused(),
            (Look::Absent, Progress::NotMade) => self.step = Step::End(Ending::NotUploaded),
            // A longer file could not be cut back.
            (Look::Present { size: Some(len) }, _)
                if (RESUME_MIN..=self.len).contains(&len) || (self.noted && len == self.len) =>
            {
                self.step = Step::VerifyBeginning { len };
            }
            (Look::Present { size: None }, _) if self.noted => {
                self.step = Step::VerifyBeginning { len: self.len };
            }
            (Look::Unknown, Progress::NotMade) | (Look::Present { .. }, _) => self.take_next_name(),
            _ => self.step = Step::Upload { from: 0 },
        }
    }

    /// `same`: so many bytes, from the first, are the file's; `None`: there is no such file.
    pub(crate) fn on_verify_beginning(&mut self, same: Option<u64>) {
        match same {
            None if self.progress == Progress::Gone && !self.noted_before => {
                self.leave(Ending::RenameRefused);
            }
            None if self.noted => self.remove_up_to(self.last_temporary - 1, Ending::TakenAway),
            _ if matches!(self.progress, Progress::Refused | Progress::Gone) => self.was_refused(),
            // A server that hangs may yet carry out the rename: what is right is not opened for writing again.
            Some(same) if self.noted && same == self.len => {
                self.progress = Progress::Uploaded;
                self.step = Step::Look;
            }
            Some(0) => self.take_next_name(),
            same => {
                self.step = Step::Upload {
                    from: same.unwrap_or(0),
                };
            }
        }
    }

    pub(crate) fn on_upload(&mut self, uploaded: Uploaded) {
        self.progress = Progress::Uploaded;
        match (uploaded, self.verify) {
            (Uploaded::NotMade, _) => {
                self.progress = Progress::NotMade;
                self.step = Step::LookTemporary;
            }
            (Uploaded::Failed, _) => self.leave(Ending::NotUploaded),
            (Uploaded::Whole, VerifyMode::Size) => self.proved(),
            (_, VerifyMode::Hash) => self.step = Step::Hash,
            (_, VerifyMode::Size | VerifyMode::ReadBack) => self.step = Step::ReadBack,
        }
    }

    /// `right`: the server's hash is that of the file. Another hash, or none, proves nothing.
    pub(crate) fn on_hash(&mut self, right: bool) {
        if right {
            self.proved();
        } else {
            self.step = Step::ReadBack;
        }
    }

    pub(crate) fn on_read_back(&mut self, comparison: Comparison) {
        match comparison {
            Comparison::Same => self.proved(),
            // Where the size was wanted and is not told, there is no more to be had.
            Comparison::Unreadable if self.verify == VerifyMode::Size => self.proved(),
            _ => self.leave(Ending::NotProved),
        }
    }

    pub(crate) fn on_note(&mut self) {
        self.noted = true;
        self.step = Step::Look;
    }

    pub(crate) fn on_publish(&mut self, renamed: Renamed) {
        self.step = match (renamed, self.way) {
            (Renamed::Done, Way::Rename) => {
                return self.remove_up_to(self.last_temporary - 1, Ending::Published);
            }
            (Renamed::Done, Way::Link) => return self.remove_up_to(self.last_temporary, Ending::Published),
            (Renamed::Refused, _) => {
                self.progress = Progress::Refused;
                Step::Look
            }
            (Renamed::Gone, _) => {
                self.progress = Progress::Gone;
                Step::Look
            }
        };
    }

    pub(crate) fn on_forget(&mut self, ending: Ending) {
        self.noted = false;
        self.clear(ending);
    }

    pub(crate) fn on_remove_temporary(&mut self, ending: Ending) {
        self.remove_up_to(self.temporary - 1, ending);
    }

    /// Nothing has the final name, as far as can be seen.
    fn name_is_free(&mut self) {
        self.step = match self.progress {
            Progress::Fresh if self.noted || self.len >= RESUME_MIN => Step::LookTemporary,
            Progress::Fresh => Step::Upload { from: 0 },
            Progress::Uploaded => Step::Publish(self.way),
            // The server may have done it and not know.
            Progress::NotMade | Progress::Refused | Progress::Gone => Step::LookTemporary,
        };
    }

    /// The server refused, and has not done it all the same.
    fn was_refused(&mut self) {
        if self.way == Way::Link {
            self.way = Way::Rename;
            self.step = Step::Publish(self.way);
        } else {
            self.leave(Ending::RenameRefused);
        }
    }

    /// Something that is of no use has the temporary name.
    fn take_next_name(&mut self) {
        if self.temporary < TEMPORARIES_MAX {
            self.temporary += 1;
            self.last_temporary = self.temporary;
            self.progress = Progress::Fresh;
            // What was noted was noted of another name, whose file is still there.
            (self.noted, self.noted_before) = (false, false);
            self.step = if self.len >= RESUME_MIN {
                Step::LookTemporary
            } else {
                Step::Upload { from: 0 }
            };
        } else if self.progress == Progress::NotMade {
            self.leave(Ending::NotUploaded);
        } else {
            self.step = Step::Upload { from: 0 };
        }
    }

    /// Removes the temporary names, and then ends.
    fn clear(&mut self, ending: Ending) {
        if self.progress == Progress::Fresh {
            self.clearing = Some(ending);
            self.temporary = 1;
            self.step = Step::LookTemporary;
        } else {
            self.remove_up_to(self.last_temporary, ending);
        }
    }

    /// Names are taken from the first on, and removed from the last on: so one that is free is behind the last.
    fn on_look_for_clearing(&mut self, look: Look, ending: Ending) {
        // That the noted one was renamed is no reason for others to be gone.
        let known = if self.last_temporary > 1 {
            self.last_temporary
        } else {
            0
        };
        match look {
            Look::Present { .. } if self.temporary < TEMPORARIES_MAX => self.temporary += 1,
            Look::Absent => self.remove_up_to(known.max(self.temporary - 1), ending),
            Look::Present { .. } | Look::Unknown => self.remove_up_to(TEMPORARIES_MAX, ending),
        }
    }

    fn remove_up_to(&mut self, number: u8, ending: Ending) {
        if number == 0 {
            self.step = Step::End(ending);
        } else {
            self.temporary = number;
            self.step = Step::RemoveTemporary(ending);
        }
    }

    /// The temporary file is what it should be.
    fn proved(&mut self) {
        self.step = if self.noted { Step::Look } else { Step::Note };
    }

    /// Ends without having published; the temporary file is to go.
    fn leave(&mut self, ending: Ending) {
        if self.noted {
            self.step = Step::Forget(ending);
        } else {
            self.clear(ending);
        }
    }
}

#[cfg(test)]
mod tests;
