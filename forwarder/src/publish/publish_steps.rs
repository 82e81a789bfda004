//! The steps that publish one file at one destination, as a machine without I/O. A batch, its manifest and its marker go
//! through one machine each, one after the other; a window manifest goes through one.
//!
//! The machine gives the next [`PublishStep`] and takes its result. A failed step ends the attempt; the next attempt
//! starts a new machine, whatever the last one left behind. The steps, and the state after a crash (or a lost connection,
//! or a lost answer) in each of them:
//!
//! 1. *Look* at the final name. Nothing changes. A file there is either ours, published before a crash, or a foreign one.
//!    *Compare* decides by its size and all its bytes. Where the server forbids stat, comparing shows whether it exists.
//! 2. For a large file, or one whose rename was noted, *look* at the temporary name. A file that a crash left there is
//!    *verified*, byte for byte from its beginning. Nothing changes. If the rename was noted and neither name exists, the
//!    file was published and its receiver has removed it: it is not sent again. Some servers say of a missing file only that
//!    they failed, or let the account neither stat nor read. There the rename is requested again: the file was whole when it
//!    was noted. If the server says of that, too, only that it failed, and shows the folder but neither name, the file was
//!    published and removed.
//! 3. *Upload* under the temporary name, after the verified bytes, or as a new file. If the name is taken, the next one is
//!    used, such as `NAME.2.part`. A crash leaves a temporary file, complete or not; receivers ignore temporary names.
//! 4. Check the upload by *hash* or *read-back*, as the destination is configured. A crash is as in 3.
//! 5. *Note* in the ledger that the rename may happen. A crash is as in 3, and the note is right: until it is removed, only
//!    the rename takes the temporary name away.
//! 6. *Look* again, because some servers replace a file when they rename. A crash is as in 5.
//! 7. *Rename*. On a server whose rename may replace a file, *link* the final name to the file instead, if it can, and then
//!    *remove* the temporary name. A crash, or a lost answer to a rename that was done, leaves our file under its final
//!    name, and after a link under both: step 1 of the next attempt finds it equal, removes the temporary name, and does
//!    not upload again. If the file was removed meanwhile, step 2 detects it. Then the other temporary names are *removed*;
//!    a crash in that is as one after the rename. If the server refuses both ways, it is looked again, and
//!    `posix-rename` tried, if the server says that the name is free.
//! 8. The next file; or the caller records the delivery in the ledger. A crash before that is as in 7.
//! 9. The caller moves the batch's file to `sent/`. After a crash before that, the next start moves it, by the ledger.
//!
//! An attempt that does not publish notes that it *gives up*, with the number of the last temporary name, before it removes
//! any temporary file. A crash after that leaves temporary files, as in 3; the next attempt begins at the name after these,
//! and removes them at its end. Once all removals are answered, that note is *removed*.
//!
//! Invariants: a rename is requested only right after the final name was seen to be free, as far as the server shows it; a
//! file under the final name is never written to or removed; an attempt that ends without a rename leaves no temporary
//! file; no byte of an older temporary file is used unless it was read back and is right, or its rename was noted and the
//! server opens it to nobody.
//!
//! A request of a dead session may be carried out long after, beside the next session: the server's process hung or was
//! slow. A late *open* creates no file where one exists and does not truncate it, because it requests a new file. So only
//! the session that created a temporary file writes to it, unless another one resumes it; then the dead one wrote the same
//! bytes. A late *remove* after an attempt that gave up takes a name that no later attempt uses: its note stays. A late *rename*
//! was noted, see step 2; an attempt that gives up after another one's note leaves that name unused, too. If a temporary file
//! is missing nevertheless, the rename
//! fails with that, and so does the attempt: the file counts as published only if an earlier attempt noted it. A server
//! that does not support exclusive creation (`SSH_FXF_EXCL`) may truncate a file that is being sent; then only `verify`
//! detects it. A late open leaves an empty temporary file.
//!
//! Known gaps: nine sessions that die one after the other while they remove the same file use up its temporary names. The last
//! one is then used again, and proves nothing: a file that was published from it and removed is sent twice. A connection that
//! breaks between a link and the removal, at a server other than OpenSSH, while the receiver removes the published file, makes
//! the file be sent twice. So does a rename that was done and answered with an error, where the server shows neither name. There
//! a server's machine that crashes after the note may have lost bytes of the noted file, and nobody can see that before its
//! rename. If such a server shows the folder, and says of the rename of a file that it still has only that it failed, the file
//! counts as published and removed: it stays under its temporary name.

use logferry_config::VerifyMode;

pub(crate) use super::step::{EarlierAttempts, PublishMethod, PublishOutcome, PublishStep};
use super::step::{NoteState, UploadState};
use super::step_results::{FileComparison, FileStart, NameStatus, RenameOutcome, UploadOutcome};

/// The least number of bytes at the destination that an upload is resumed after: fewer are cheaper to send again than to
/// read back.
const RESUME_MIN: u64 = if cfg!(test) { 1 << 10 } else { 8 << 20 };

/// The most temporary names of a file.
pub(crate) const TEMPORARY_NAMES_MAX: u8 = 9;

/// One attempt to publish one file.
#[derive(Debug)]
pub(crate) struct PublishSteps {
    len: u64,
    verify: VerifyMode,
    method: PublishMethod,
    note: NoteState,
    /// The number of the temporary name that the step applies to, from 1.
    temporary: u8,
    /// The one that this attempt began at.
    first_temporary: u8,
    /// The last one that this attempt, or the one that noted, has used.
    last_temporary: u8,
    /// The temporary names up to this one were seen, or this attempt has linked the last of them.
    known: u8,
    /// Requests of dead sessions about the temporary names up to this one may still be carried out, whatever this attempt does.
    in_doubt: u8,
    /// Set while the temporary names are only looked up to be removed.
    clearing: Option<PublishOutcome>,
    /// The temporary names up to this one are to be removed before the end.
    to_remove: u8,
    /// The last temporary name in the note that this attempt gives up, once it is made.
    given_up: Option<u8>,
    /// The temporary file may be missing, by what the server said of the rename.
    may_be_missing: bool,
    /// Whether the server offers [`PublishMethod::PosixRename`].
    pub(crate) has_posix_rename: bool,
    upload_state: UploadState,
    step: PublishStep,
}

impl PublishSteps {
    /// For a file of `len` bytes.
    pub(crate) fn new(len: u64, verify: VerifyMode, method: PublishMethod, earlier: EarlierAttempts) -> Self {
        let (note, temporary, in_doubt) = match earlier {
            EarlierAttempts::None => (NoteState::None, 1, 0),
            // It may be the name of one that gave up, too, so its absence proves nothing: better twice than never.
            EarlierAttempts::Noted(number) if number >= TEMPORARY_NAMES_MAX => {
                (NoteState::OtherName, TEMPORARY_NAMES_MAX, TEMPORARY_NAMES_MAX)
            }
            EarlierAttempts::Noted(number) => (NoteState::Before, number, number),
            EarlierAttempts::GaveUp(number) => {
                let next = number.saturating_add(1).min(TEMPORARY_NAMES_MAX);
                (NoteState::None, next, number)
            }
        };
        Self {
            len,
            verify,
            method,
            note,
            temporary,
            first_temporary: temporary,
            last_temporary: temporary,
            known: 0,
            in_doubt,
            clearing: None,
            to_remove: 0,
            given_up: None,
            may_be_missing: false,
            has_posix_rename: false,
            upload_state: UploadState::Fresh,
            step: PublishStep::Look,
        }
    }

    /// For a file that an earlier attempt has published, with this outcome.
    pub(crate) fn over(len: u64, outcome: PublishOutcome) -> Self {
        Self {
            step: PublishStep::End(outcome),
            ..Self::new(
                len,
                VerifyMode::Size,
                PublishMethod::Rename,
                EarlierAttempts::None,
            )
        }
    }

    /// The step to do now. Its result is passed to the `on_…` method of the same name.
    pub(crate) fn step(&self) -> PublishStep {
        self.step
    }

    /// How the file gets its final name.
    pub(crate) fn method(&self) -> PublishMethod {
        self.method
    }

    /// The temporary name that the step applies to: 1, or the number in the name.
    pub(crate) fn temporary(&self) -> u8 {
        self.temporary
    }

    /// The last of the temporary names that requests of this attempt, or of dead sessions, may be about when it gives up.
    pub(crate) fn gives_up(&self) -> u8 {
        self.temporary.max(self.in_doubt)
    }

    /// The last of the temporary names that only requests of dead sessions may be about; 0 if there is none.
    pub(crate) fn in_doubt(&self) -> u8 {
        self.in_doubt
    }

    /// Whether the temporary name is known to exist.
    pub(crate) fn is_known(&self) -> bool {
        self.temporary <= self.known
    }

    /// Whether the temporary file is complete, or was.
    pub(crate) fn is_uploaded(&self) -> bool {
        !matches!(self.upload_state, UploadState::Fresh | UploadState::NotCreated)
    }

    pub(crate) fn on_look(&mut self, status: NameStatus) {
        match status {
            NameStatus::Absent => self.name_is_free(),
            NameStatus::Present { size: Some(size) } if size != self.len => {
                self.clear(PublishOutcome::NameTaken);
            }
            NameStatus::Present { .. } => self.step = PublishStep::Compare { there: true },
            NameStatus::Unknown => self.step = PublishStep::Compare { there: false },
        }
    }

    pub(crate) fn on_compare(&mut self, comparison: FileComparison) {
        let there = self.step == PublishStep::Compare { there: true };
        match comparison {
            FileComparison::Same => self.clear(PublishOutcome::FoundThere),
            FileComparison::Different => self.clear(PublishOutcome::NameTaken),
            FileComparison::Unreadable if there && self.is_noted() => {
                // It is ours if the temporary name is gone. If not, this attempt cannot continue.
                (self.upload_state, self.method) = (UploadState::Refused, PublishMethod::Rename);
                (self.may_be_missing, self.has_posix_rename) = (true, false);
                self.step = PublishStep::LookTemporary;
            }
            FileComparison::Unreadable if there => self.clear(PublishOutcome::Unreadable),
            FileComparison::Unreadable if self.method == PublishMethod::PosixRename => {
                self.clear(PublishOutcome::RenameRefused);
            }
            FileComparison::Absent | FileComparison::Unreadable => self.name_is_free(),
        }
    }

    pub(crate) fn on_look_temporary(&mut self, status: NameStatus) {
        if let NameStatus::Present { .. } = status {
            self.known = self.known.max(self.temporary);
        }
        if let Some(outcome) = self.clearing {
            return self.on_look_for_clearing(status, outcome);
        }
        match (status, self.upload_state) {
            (NameStatus::Absent, UploadState::Gone) if self.note != NoteState::Before => {
                self.clear(PublishOutcome::RenameRefused);
            }
            (NameStatus::Absent, _) if self.is_noted() => self.was_taken_away(),
            (NameStatus::Unknown, _) if self.is_noted() => {
                self.step = PublishStep::VerifyBeginning { len: self.len };
            }
            (_, UploadState::Refused | UploadState::Gone) => self.was_refused(),
            (NameStatus::Absent, UploadState::NotCreated) => {
                self.step = PublishStep::End(PublishOutcome::NotUploaded);
            }
            // A longer file cannot be truncated.
            (NameStatus::Present { size: Some(len) }, _)
                if (RESUME_MIN..=self.len).contains(&len) || (self.is_noted() && len == self.len) =>
            {
                self.step = PublishStep::VerifyBeginning { len };
            }
            (NameStatus::Present { size: None }, _) if self.is_noted() => {
                self.step = PublishStep::VerifyBeginning { len: self.len };
            }
            // An account that may not remove files has left it: no further one is made.
            (NameStatus::Present { size: Some(len) }, UploadState::NotCreated)
                if len == self.len && len > 0 =>
            {
                self.step = PublishStep::VerifyBeginning { len };
            }
            (NameStatus::Unknown, UploadState::NotCreated) | (NameStatus::Present { .. }, _) => {
                self.take_next_name();
            }
            _ => self.step = PublishStep::Upload { from: 0 },
        }
    }

    pub(crate) fn on_verify_beginning(&mut self, beginning: FileStart) {
        use FileStart::{Absent, NotOpened, Same};
        let noted_before = self.note == NoteState::Before;
        match (beginning, self.upload_state) {
            (Absent, UploadState::Gone) if !noted_before => self.clear(PublishOutcome::RenameRefused),
            (Absent, _) if self.is_noted() => self.was_taken_away(),
            (NotOpened, UploadState::Gone) if noted_before => self.was_taken_away(),
            (NotOpened, UploadState::Refused) if noted_before && self.may_be_missing => {
                self.step = PublishStep::LookFolder;
            }
            (_, UploadState::Refused | UploadState::Gone) => self.was_refused(),
            // A hanging server may still carry out the rename: a correct file is not opened for writing again.
            (Same(same), _) if self.is_noted() && same == self.len => self.publish_noted(),
            // It was whole when its rename was noted. The answer to another rename tells more than a server that shows no file.
            // A file that is shown may be cut short, and is not published unread.
            (NotOpened, _) if noted_before && !self.is_known() => self.publish_noted(),
            (Same(0) | NotOpened, _) => self.take_next_name(),
            // Too small to be worth a resumption.
            (Same(same), UploadState::NotCreated) if same < self.len && self.len < RESUME_MIN => {
                self.take_next_name();
            }
            (Same(from), _) => self.step = PublishStep::Upload { from },
            (Absent, _) => self.step = PublishStep::Upload { from: 0 },
        }
    }

    /// The server refused to rename a noted file again, and shows neither name. If it shows their folder, it has them not: a server
    /// that has lost its files shows nothing.
    pub(crate) fn on_look_folder(&mut self, status: NameStatus) {
        match status {
            NameStatus::Present { .. } => self.was_taken_away(),
            NameStatus::Absent | NameStatus::Unknown => self.was_refused(),
        }
    }

    pub(crate) fn on_upload(&mut self, uploaded: UploadOutcome) {
        self.upload_state = UploadState::Uploaded;
        match (uploaded, self.verify) {
            (UploadOutcome::NotCreated, _) => {
                let is_there = self.step != PublishStep::Upload { from: 0 };
                self.upload_state = UploadState::NotCreated;
                if is_there {
                    // The server does not open it again: to look at it once more would lead here again.
                    self.take_next_name();
                } else {
                    self.step = PublishStep::LookTemporary;
                }
            }
            (UploadOutcome::Failed, _) => self.clear(PublishOutcome::NotUploaded),
            (UploadOutcome::Whole, VerifyMode::Size) => self.verified(),
            (_, VerifyMode::Hash) => self.step = PublishStep::Hash,
            (_, VerifyMode::Size | VerifyMode::ReadBack) => self.step = PublishStep::ReadBack,
        }
    }

    /// `is_right`: the server's hash equals ours. A different hash, or none, proves nothing.
    pub(crate) fn on_hash(&mut self, is_right: bool) {
        if is_right {
            self.verified();
        } else {
            self.step = PublishStep::ReadBack;
        }
    }

    pub(crate) fn on_read_back(&mut self, comparison: FileComparison) {
        match comparison {
            FileComparison::Same => self.verified(),
            // Only the size was wanted, and the server does not report it: no better check is possible.
            FileComparison::Unreadable if self.verify == VerifyMode::Size => self.verified(),
            _ => self.clear(PublishOutcome::NotVerified),
        }
    }

    pub(crate) fn on_note(&mut self) {
        self.note = NoteState::Now;
        self.step = PublishStep::Look;
    }

    pub(crate) fn on_publish(&mut self, renamed: RenameOutcome) {
        self.known = match self.method {
            PublishMethod::Link => self.last_temporary,
            PublishMethod::Rename | PublishMethod::PosixRename => self.known.min(self.temporary - 1),
        };
        self.may_be_missing = renamed == RenameOutcome::Failed;
        self.upload_state = match renamed {
            RenameOutcome::Done => {
                let left = self.last_temporary - u8::from(self.method != PublishMethod::Link);
                return self.remove_up_to(left, PublishOutcome::Published);
            }
            RenameOutcome::Failed | RenameOutcome::Refused => UploadState::Refused,
            RenameOutcome::Gone => UploadState::Gone,
        };
        self.step = PublishStep::Look;
    }

    pub(crate) fn on_give_up(&mut self, outcome: PublishOutcome) {
        self.note = NoteState::None;
        self.given_up = Some(self.gives_up());
        self.remove_up_to(self.to_remove, outcome);
    }

    pub(crate) fn on_remove_temporary(&mut self, outcome: PublishOutcome) {
        self.remove_up_to(self.temporary - 1, outcome);
    }

    /// The server refused a removal: it lets this account remove none.
    pub(crate) fn on_removal_refused(&mut self, outcome: PublishOutcome) {
        self.remove_up_to(0, outcome);
    }

    pub(crate) fn on_removed(&mut self, outcome: PublishOutcome) {
        self.step = PublishStep::End(outcome);
    }

    /// Whether the file was published if this temporary name is gone.
    fn is_noted(&self) -> bool {
        match self.note {
            NoteState::None | NoteState::OtherName => false,
            NoteState::Before => true,
            NoteState::Now => self.temporary > self.in_doubt,
        }
    }

    /// The final name is free, as far as the server shows it.
    fn name_is_free(&mut self) {
        self.step = match self.upload_state {
            UploadState::Fresh if self.is_noted() || self.len >= RESUME_MIN => PublishStep::LookTemporary,
            UploadState::Fresh => PublishStep::Upload { from: 0 },
            UploadState::Uploaded => PublishStep::Publish(self.method),
            // The server may have renamed the file and reported an error.
            UploadState::NotCreated | UploadState::Refused | UploadState::Gone => PublishStep::LookTemporary,
        };
    }

    /// The noted file is published, or may be: its name is looked at again before.
    fn publish_noted(&mut self) {
        self.upload_state = UploadState::Uploaded;
        self.step = PublishStep::Look;
    }

    /// The noted file was renamed, and its receiver has removed it.
    fn was_taken_away(&mut self) {
        self.remove_up_to(self.last_temporary - 1, PublishOutcome::TakenAway);
    }

    /// The server refused the rename and did not do it.
    fn was_refused(&mut self) {
        if self.method == PublishMethod::Link {
            self.method = PublishMethod::Rename;
            self.step = PublishStep::Publish(self.method);
        } else if self.method == PublishMethod::Rename && self.has_posix_rename {
            self.method = PublishMethod::PosixRename;
            self.upload_state = UploadState::Uploaded;
            self.step = PublishStep::Look;
        } else {
            self.clear(PublishOutcome::RenameRefused);
        }
    }

    /// The temporary name is taken by a file that cannot be used.
    fn take_next_name(&mut self) {
        if self.temporary < TEMPORARY_NAMES_MAX {
            self.temporary += 1;
            self.last_temporary = self.temporary;
            self.upload_state = UploadState::Fresh;
            if self.note != NoteState::None {
                self.note = NoteState::OtherName;
            }
            self.name_is_free();
        } else if self.upload_state == UploadState::NotCreated {
            self.clear(PublishOutcome::NotUploaded);
        } else {
            self.step = PublishStep::Upload { from: 0 };
        }
    }

    /// Ends, and removes the temporary names before.
    fn clear(&mut self, outcome: PublishOutcome) {
        if self.upload_state == UploadState::Fresh {
            self.clearing = Some(outcome);
            self.temporary = self.first_temporary;
            self.step = PublishStep::LookTemporary;
        } else {
            self.remove_up_to(self.last_temporary, outcome);
        }
    }

    /// Names are taken in ascending order and removed in descending order: from the first one of this attempt on, the first free
    /// name is after the last taken one.
    fn on_look_for_clearing(&mut self, status: NameStatus, outcome: PublishOutcome) {
        // Other temporary names may exist although the noted one was renamed.
        let known = if self.last_temporary > 1 {
            self.last_temporary
        } else {
            0
        };
        match status {
            NameStatus::Present { .. } if self.temporary < TEMPORARY_NAMES_MAX => self.temporary += 1,
            NameStatus::Absent => self.remove_up_to(known.max(self.temporary - 1), outcome),
            NameStatus::Present { .. } | NameStatus::Unknown => {
                self.remove_up_to(TEMPORARY_NAMES_MAX, outcome);
            }
        }
    }

    /// Removes the temporary names up to this one, then ends. An attempt that does not publish gives up before.
    fn remove_up_to(&mut self, number: u8, outcome: PublishOutcome) {
        self.to_remove = number;
        if number > 0 {
            self.temporary = number;
        }
        let changes_anything = number > 0 || self.note != NoteState::None;
        self.step = if changes_anything && self.given_up.is_none() && !outcome.is_published() {
            PublishStep::GiveUp(outcome)
        } else if number > 0 {
            PublishStep::RemoveTemporary(outcome)
        } else if self.given_up.is_some_and(|given_up| given_up > self.in_doubt) {
            PublishStep::Removed(outcome)
        } else {
            PublishStep::End(outcome)
        };
    }

    /// The temporary file is correct.
    fn verified(&mut self) {
        self.step = if self.is_noted() {
            PublishStep::Look
        } else {
            PublishStep::Note
        };
    }
}

#[cfg(test)]
mod tests;
