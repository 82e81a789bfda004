//! Opens a file, and finds out what is in it: a log, an archive, or something that is not shipped.

use std::io;
use std::time::Duration;

use logferry_protocol::stream::{Head, Offset};

use crate::clock::Now;
use crate::files::compressed::{CompressedFileError, LogText};
use crate::files::discovery::{FileRole, FoundFile};
use crate::files::{self, FileHandle, FileSystem};
use crate::tail::tracked_file::handle_budget::{HandleBudget, is_exhausted};
use crate::tail::tracked_file::{CompressedState, FileState, HeldReason, TrackedFile};

/// An incomplete compressed file that has changed is examined again once it has not changed for this time.
const ARCHIVE_IDLE: Duration = Duration::from_secs(2);

impl<H: FileHandle> TrackedFile<H> {
    /// Whether nothing of it has changed, or only what a compressor is still writing.
    pub(crate) fn is_as_found(&self, found: &FoundFile, now: Now) -> bool {
        self.stat == found.stat || self.is_being_compressed(found, now)
    }

    /// Whether it is an incomplete compressed file that has changed a moment ago, and no other file with its number.
    pub(crate) fn is_being_compressed(&self, found: &FoundFile, now: Now) -> bool {
        let age = now.wall.duration_since(found.stat.modified);
        matches!(self.state, FileState::Compressed(CompressedState::Incomplete))
            && found.path.extension() == self.path.extension()
            && age.is_ok_and(|age| age < ARCHIVE_IDLE)
    }

    /// Opens the file, unless too many are open: then it waits for [`TailedLog::open_postponed`].
    ///
    /// [`TailedLog::open_postponed`]: crate::tail::log::TailedLog::open_postponed
    pub(crate) fn open_within<F: FileSystem<FileHandle = H>>(
        &mut self,
        files: &F,
        budget: &mut HandleBudget,
        open: impl FnOnce(&mut Self, &F) -> io::Result<()>,
    ) -> io::Result<()> {
        let may_wait = self.role != FileRole::Live;
        if may_wait && budget.is_used_up() {
            self.postpone();
            return Ok(());
        }
        let opened = open(self, files);
        if self.handle.is_some() {
            budget.take();
        }
        match opened {
            Err(error) if may_wait && is_exhausted(&error) => {
                budget.use_up();
                self.postpone();
                Ok(())
            }
            opened => opened,
        }
    }

    fn postpone(&mut self) {
        self.leave(FileState::Unopened);
        self.is_waiting = true;
    }

    /// Whether it is opened later. Younger files wait for it: its lines come before theirs.
    pub(crate) fn is_postponed(&self) -> bool {
        self.is_waiting && self.handle.is_none()
    }

    /// Opens the file and looks at its beginning. A file that cannot be opened stays [`FileState::Unopened`].
    pub(crate) fn open<F: FileSystem<FileHandle = H>>(&mut self, files: &F) -> io::Result<()> {
        if self.open_only(files)? {
            self.examine();
        }
        Ok(())
    }

    /// Opens a file that was just found. If it is an archive, it waits to be examined: that takes long.
    pub(crate) fn open_found<F: FileSystem<FileHandle = H>>(&mut self, files: &F) -> io::Result<()> {
        if self.open_only(files)? {
            let is_archive = |text: &LogText<H>| text.looks_compressed();
            self.is_waiting = self.role != FileRole::Live && self.handle.as_ref().is_some_and(is_archive);
            if !self.is_waiting {
                self.examine();
            }
        }
        Ok(())
    }

    /// False if the name has gone to another file since the scan; the next scan finds that one.
    fn open_only<F: FileSystem<FileHandle = H>>(&mut self, files: &F) -> io::Result<bool> {
        self.state = FileState::Unopened;
        let handle = files.open(&self.path)?;
        let stat = handle.stat()?;
        if stat.key != self.stat.key {
            return Ok(false);
        }
        self.stat = stat;
        self.handle = Some(LogText::plain(handle));
        Ok(true)
    }

    /// Examines the file from its start; a previous state is forgotten.
    pub(crate) fn examine(&mut self) {
        let Some(text) = &mut self.handle else { return };
        let detected = text.detect_compression(self.role == FileRole::Live);
        self.detected(detected);
    }

    /// Goes on examining an archive that waits. Returns whether it is done.
    pub(crate) fn examine_some(&mut self, bytes_max: u64) -> bool {
        let Some(text) = &mut self.handle else { return true };
        match text.detect_some(bytes_max) {
            Ok(false) => return false,
            Ok(true) => self.detected(Ok(())),
            Err(error) => self.detected(Err(error)),
        }
        true
    }

    fn detected(&mut self, detected: Result<(), CompressedFileError>) {
        self.is_waiting = false;
        let Some(text) = &mut self.handle else { return };
        match detected.and_then(|()| files::beginning(text).map_err(CompressedFileError::Unreadable)) {
            Ok(beginning) => {
                self.state = Head::of(&beginning).map_or(FileState::TooShort, FileState::Unidentified);
                let plain_seen = Offset::new(beginning.len() as u64);
                self.extent = if self.is_compressed() {
                    self.size()
                } else {
                    plain_seen
                };
            }
            Err(CompressedFileError::Incomplete) => {
                tracing::debug!(path = %self.path.display(), "the compressed log is incomplete; it is read once it is complete");
                self.leave(FileState::Compressed(CompressedState::Incomplete));
            }
            Err(CompressedFileError::Damaged(error)) => {
                tracing::error!(
                    path = %self.path.display(), %error,
                    "the compressed log is damaged, nothing is shipped from it; replace it with an intact copy"
                );
                self.leave(FileState::Compressed(CompressedState::Damaged));
            }
            Err(CompressedFileError::TooDeep) => self.hold(HeldReason::TooDeep),
            Err(CompressedFileError::TooLarge) => self.hold(HeldReason::TooLarge),
            Err(CompressedFileError::Unreadable(error)) => self.read_failed(&error),
        }
    }
}
