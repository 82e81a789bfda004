//! The order in which one file is published at one destination, as a machine without I/O. A batch, its manifest and its
//! marker each go through one, one after the other.
//!
//! It says the next [`PublishStep`], and is told what came of it. A failed step ends the attempt; the next attempt starts a
//! new machine, whatever the last one left behind. Steps, and what a crash (or a lost connection, or an answer that
//! never came) after each leaves behind:
//!
//! 1. *NameStatus* at the final name. Nothing is left behind. A file there is either ours, published before a crash, or a
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
//! 6. *NameStatus* again, because some servers replace a file when they rename. A crash is as after 5.
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
pub(crate) const TEMPORARY_NAMES_MAX: u8 = 9;

/// What is to be done next at the destination. Of several temporary names, [`PublishSteps::temporary`] is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishStep {
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
    Publish(PublishMethod),
    /// Take the note back.
    Forget(PublishOutcome),
    /// Remove the temporary name, if it is there; after the last of them it is over.
    RemoveTemporary(PublishOutcome),
    /// Nothing: it is over.
    End(PublishOutcome),
}

/// How a file gets its final name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishMethod {
    /// By a rename, where the server refuses to replace, or knows nothing better.
    Rename,
    /// By a link, which cannot replace, and the removal of the temporary name.
    Link,
}

/// How an attempt ended that no step made fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishOutcome {
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

impl PublishOutcome {
    /// Whether the file has been published.
    pub(crate) fn is_published(self) -> bool {
        matches!(self, Self::Published | Self::FoundThere | Self::TakenAway)
    }
}

/// What has a name at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameStatus {
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
pub(crate) enum FileComparison {
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
pub(crate) enum UploadOutcome {
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
pub(crate) enum RenameOutcome {
    /// It is done.
    Done,
    /// The server refused.
    Refused,
    /// The server refused, since there is no such temporary file.
    Gone,
}

/// How far the attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UploadState {
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
pub(crate) struct PublishSteps {
    len: u64,
    verify: VerifyMode,
    way: PublishMethod,
    /// Whether the ledger says that the file may have been published.
    noted: bool,
    /// Whether an earlier attempt said so.
    noted_before: bool,
    /// Which temporary name is meant, from 1.
    temporary: u8,
    /// The last one that this attempt, or the one that noted, had to do with.
    last_temporary: u8,
    /// The temporary names are only looked at to be removed.
    clearing: Option<PublishOutcome>,
    progress: UploadState,
    step: PublishStep,
}

impl PublishSteps {
    /// An attempt for a file of `len` bytes. `noted`: an earlier attempt may have published it, from this temporary name.
    pub(crate) fn new(len: u64, verify: VerifyMode, way: PublishMethod, noted: Option<u8>) -> Self {
        Self {
            len,
            verify,
            way,
            noted: noted.is_some(),
            noted_before: noted.is_some(),
            temporary: noted.unwrap_or(1),
            last_temporary: noted.unwrap_or(1),
            clearing: None,
            progress: UploadState::Fresh,
            step: PublishStep::Look,
        }
    }

    /// For a file that is known to have been published by an earlier attempt.
    pub(crate) fn over(len: u64) -> Self {
        Self {
            step: PublishStep::End(PublishOutcome::FoundThere),
            ..Self::new(len, VerifyMode::Size, PublishMethod::Rename, Some(1))
        }
    }

    /// What is to be done now; what comes of it is told by the method of the same name.
    pub(crate) fn step(&self) -> PublishStep {
        self.step
    }

    /// Which of the file's temporary names is meant by the step: 1, or the number in the name.
    pub(crate) fn temporary(&self) -> u8 {
        self.temporary
    }

    pub(crate) fn on_look(&mut self, look: NameStatus) {
        match look {
            NameStatus::Absent => self.name_is_free(),
            NameStatus::Present { size: Some(size) } if size != self.len => {
                self.leave(PublishOutcome::NameTaken)
            }
            NameStatus::Present { .. } => self.step = PublishStep::Compare { there: true },
            NameStatus::Unknown => self.step = PublishStep::Compare { there: false },
        }
    }

    pub(crate) fn on_compare(&mut self, comparison: FileComparison) {
        let there = self.step == PublishStep::Compare { there: true };
        match comparison {
            FileComparison::Same => self.clear(PublishOutcome::FoundThere),
            FileComparison::Different => self.leave(PublishOutcome::NameTaken),
            FileComparison::Unreadable if there && self.noted => {
                // It is ours if the temporary name is gone; if not, there is no way on.
                (self.progress, self.way) = (UploadState::Refused, PublishMethod::Rename);
                self.step = PublishStep::LookTemporary;
            }
            FileComparison::Unreadable if there => self.leave(PublishOutcome::Unreadable),
            FileComparison::Absent | FileComparison::Unreadable => self.name_is_free(),
        }
    }

    pub(crate) fn on_look_temporary(&mut self, look: NameStatus) {
        if let Some(ending) = self.clearing {
            return self.on_look_for_clearing(look, ending);
        }
        match (look, self.progress) {
            (NameStatus::Absent, UploadState::Gone) if !self.noted_before => {
                self.leave(PublishOutcome::RenameRefused)
            }
            (NameStatus::Absent, _) if self.noted => {
                self.remove_up_to(self.last_temporary - 1, PublishOutcome::TakenAway)
            }
            (NameStatus::Unknown, _) if self.noted => {
                self.step = PublishStep::VerifyBeginning { len: self.len }
            }
            (_, UploadState::Refused | UploadState::Gone) => self.was_refused(),
            (NameStatus::Absent, UploadState::NotMade) => {
                self.step = PublishStep::End(PublishOutcome::NotUploaded)
            }
            // A longer file could not be cut back.
            (NameStatus::Present { size: Some(len) }, _)
                if (RESUME_MIN..=self.len).contains(&len) || (self.noted && len == self.len) =>
            {
                self.step = PublishStep::VerifyBeginning { len };
            }
            (NameStatus::Present { size: None }, _) if self.noted => {
                self.step = PublishStep::VerifyBeginning { len: self.len };
            }
            (NameStatus::Unknown, UploadState::NotMade) | (NameStatus::Present { .. }, _) => {
                self.take_next_name()
            }
            _ => self.step = PublishStep::Upload { from: 0 },
        }
    }

    /// `same`: so many bytes, from the first, are the file's; `None`: there is no such file.
    pub(crate) fn on_verify_beginning(&mut self, same: Option<u64>) {
        match same {
            None if self.progress == UploadState::Gone && !self.noted_before => {
                self.leave(PublishOutcome::RenameRefused);
            }
            None if self.noted => self.remove_up_to(self.last_temporary - 1, PublishOutcome::TakenAway),
            _ if matches!(self.progress, UploadState::Refused | UploadState::Gone) => self.was_refused(),
            // A server that hangs may yet carry out the rename: what is right is not opened for writing again.
            Some(same) if self.noted && same == self.len => {
                self.progress = UploadState::Uploaded;
                self.step = PublishStep::Look;
            }
            Some(0) => self.take_next_name(),
            same => {
                self.step = PublishStep::Upload {
                    from: same.unwrap_or(0),
                };
            }
        }
    }

    pub(crate) fn on_upload(&mut self, uploaded: UploadOutcome) {
        self.progress = UploadState::Uploaded;
        match (uploaded, self.verify) {
            (UploadOutcome::NotMade, _) => {
                self.progress = UploadState::NotMade;
                self.step = PublishStep::LookTemporary;
            }
            (UploadOutcome::Failed, _) => self.leave(PublishOutcome::NotUploaded),
            (UploadOutcome::Whole, VerifyMode::Size) => self.proved(),
            (_, VerifyMode::Hash) => self.step = PublishStep::Hash,
            (_, VerifyMode::Size | VerifyMode::ReadBack) => self.step = PublishStep::ReadBack,
        }
    }

    /// `right`: the server's hash is that of the file. Another hash, or none, proves nothing.
    pub(crate) fn on_hash(&mut self, right: bool) {
        if right {
            self.proved();
        } else {
            self.step = PublishStep::ReadBack;
        }
    }

    pub(crate) fn on_read_back(&mut self, comparison: FileComparison) {
        match comparison {
            FileComparison::Same => self.proved(),
            // Where the size was wanted and is not told, there is no more to be had.
            FileComparison::Unreadable if self.verify == VerifyMode::Size => self.proved(),
            _ => self.leave(PublishOutcome::NotProved),
        }
    }

    pub(crate) fn on_note(&mut self) {
        self.noted = true;
        self.step = PublishStep::Look;
    }

    pub(crate) fn on_publish(&mut self, renamed: RenameOutcome) {
        self.step = match (renamed, self.way) {
            (RenameOutcome::Done, PublishMethod::Rename) => {
                return self.remove_up_to(self.last_temporary - 1, PublishOutcome::Published);
            }
            (RenameOutcome::Done, PublishMethod::Link) => {
                return self.remove_up_to(self.last_temporary, PublishOutcome::Published);
            }
            (RenameOutcome::Refused, _) => {
                self.progress = UploadState::Refused;
                PublishStep::Look
            }
            (RenameOutcome::Gone, _) => {
                self.progress = UploadState::Gone;
                PublishStep::Look
            }
        };
    }

    pub(crate) fn on_forget(&mut self, ending: PublishOutcome) {
        self.noted = false;
        self.clear(ending);
    }

    pub(crate) fn on_remove_temporary(&mut self, ending: PublishOutcome) {
        self.remove_up_to(self.temporary - 1, ending);
    }

    /// Nothing has the final name, as far as can be seen.
    fn name_is_free(&mut self) {
        self.step = match self.progress {
            UploadState::Fresh if self.noted || self.len >= RESUME_MIN => PublishStep::LookTemporary,
            UploadState::Fresh => PublishStep::Upload { from: 0 },
            UploadState::Uploaded => PublishStep::Publish(self.way),
            // The server may have done it and not know.
            UploadState::NotMade | UploadState::Refused | UploadState::Gone => PublishStep::LookTemporary,
        };
    }

    /// The server refused, and has not done it all the same.
    fn was_refused(&mut self) {
        if self.way == PublishMethod::Link {
            self.way = PublishMethod::Rename;
            self.step = PublishStep::Publish(self.way);
        } else {
            self.leave(PublishOutcome::RenameRefused);
        }
    }

    /// Something that is of no use has the temporary name.
    fn take_next_name(&mut self) {
        if self.temporary < TEMPORARY_NAMES_MAX {
            self.temporary += 1;
            self.last_temporary = self.temporary;
            self.progress = UploadState::Fresh;
            // What was noted was noted of another name, whose file is still there.
            (self.noted, self.noted_before) = (false, false);
            self.step = if self.len >= RESUME_MIN {
                PublishStep::LookTemporary
            } else {
                PublishStep::Upload { from: 0 }
            };
        } else if self.progress == UploadState::NotMade {
            self.leave(PublishOutcome::NotUploaded);
        } else {
            self.step = PublishStep::Upload { from: 0 };
        }
    }

    /// Removes the temporary names, and then ends.
    fn clear(&mut self, ending: PublishOutcome) {
        if self.progress == UploadState::Fresh {
            self.clearing = Some(ending);
            self.temporary = 1;
            self.step = PublishStep::LookTemporary;
        } else {
            self.remove_up_to(self.last_temporary, ending);
        }
    }

    /// RemotePaths are taken from the first on, and removed from the last on: so one that is free is behind the last.
    fn on_look_for_clearing(&mut self, look: NameStatus, ending: PublishOutcome) {
        // That the noted one was renamed is no reason for others to be gone.
        let known = if self.last_temporary > 1 {
            self.last_temporary
        } else {
            0
        };
        match look {
            NameStatus::Present { .. } if self.temporary < TEMPORARY_NAMES_MAX => self.temporary += 1,
            NameStatus::Absent => self.remove_up_to(known.max(self.temporary - 1), ending),
            NameStatus::Present { .. } | NameStatus::Unknown => {
                self.remove_up_to(TEMPORARY_NAMES_MAX, ending)
            }
        }
    }

    fn remove_up_to(&mut self, number: u8, ending: PublishOutcome) {
        if number == 0 {
            self.step = PublishStep::End(ending);
        } else {
            self.temporary = number;
            self.step = PublishStep::RemoveTemporary(ending);
        }
    }

    /// The temporary file is what it should be.
    fn proved(&mut self) {
        self.step = if self.noted {
            PublishStep::Look
        } else {
            PublishStep::Note
        };
    }

    /// Ends without having published; the temporary file is to go.
    fn leave(&mut self, ending: PublishOutcome) {
        if self.noted {
            self.step = PublishStep::Forget(ending);
        } else {
            self.clear(ending);
        }
    }
}

#[cfg(test)]
mod tests;
