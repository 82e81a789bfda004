//! When a rotated file is closed, and its last line is given the newline that it never got.
//!
//! Writers keep a renamed file open for a while: nginx until it is told to reopen its logs. With `buffer=` nginx writes
//! the buffered lines just before it closes the file. So a rotated file is closed only when all its bytes are
//! acknowledged, and it has not changed for [`QUIET`], and no process has it open for writing. If a process has it open,
//! or if this cannot be seen, the file is closed when it has not changed for [`ABANDONED`].
//!
//! If the file grows later, the next scan sees it as long as the file has its name, and reading continues.

use std::cell::LazyCell;
use std::time::{Duration, Instant};

use logferry_protocol::stream::{Head, Offset};

use crate::clock::Now;
use crate::files::discovery::FileRole;
use crate::files::open_writers::{OpenWriters, WrittenFiles};
use crate::files::{self, FileHandle, FileSystem};
use crate::streams::tracked_stream::StreamPhase;
use crate::tail::tracked_file::{FileState, TrackedFile};

/// A rotated file may be closed after this time without a change; also the interval of the searches for its writers.
pub(crate) const QUIET: Duration = Duration::from_secs(30);

/// A rotated file is closed after this time without a change, even if some process has it open. Longer than nginx is
/// commonly told to buffer (`flush=5m`). An incomplete compressed file is reported after this time.
pub(crate) const ABANDONED: Duration = Duration::from_mins(10);

#[derive(Debug)]
pub(crate) struct ClosePolicy {
    unchanged_since: Instant,
    next_check: Instant,
    is_over: bool,
}

impl ClosePolicy {
    /// For a file that was found now, and was written to `age` ago.
    pub(crate) fn new(age: Duration, now: Now) -> Self {
        let unchanged_since = now.instant.checked_sub(age.min(ABANDONED)).unwrap_or(now.instant);
        Self {
            unchanged_since,
            next_check: unchanged_since + QUIET,
            is_over: false,
        }
    }

    pub(crate) fn may_close(&self) -> bool {
        self.is_over
    }

    pub(crate) fn file_changed(&mut self, now: Now) {
        *self = Self::new(Duration::ZERO, now);
    }

    /// Checks whether a rotated file that is read to its end may be closed.
    pub(crate) fn check(&mut self, writers: impl FnOnce() -> OpenWriters, now: Now) {
        if self.is_over || now.instant < self.next_check {
            return;
        }
        self.next_check = now.instant + QUIET;
        let is_abandoned = now.instant >= self.unchanged_since + ABANDONED;
        self.is_over = is_abandoned || writers() == OpenWriters::None;
    }
}

/// The files that are written to, looked for once in a pass over all files, and only if one of them may be closed.
pub(crate) type WriterSearch<'a> = LazyCell<WrittenFiles, Box<dyn FnOnce() -> WrittenFiles + 'a>>;

pub(crate) fn writer_search(files: &impl FileSystem) -> WriterSearch<'_> {
    LazyCell::new(Box::new(|| files.written_files()))
}

impl<H: FileHandle> TrackedFile<H> {
    /// Closes or identifies a rotated file that no process writes to any more: its last line is complete, even without a
    /// newline.
    pub(crate) fn check_close(&mut self, writers: &WriterSearch<'_>, now: Now) {
        let Some(handle) = self.handle.as_ref().filter(|_| self.role != FileRole::Live) else {
            return;
        };
        let is_at_end = match &self.state {
            FileState::TooShort => true,
            FileState::Stream(stream) => stream.phase == StreamPhase::Reading && stream.is_drained(),
            // As long as it has a name it may become a file of its own.
            FileState::Copy { .. } => self.role == FileRole::Gone,
            FileState::Unopened
            | FileState::Unidentified(_)
            | FileState::Compressed(_)
            | FileState::Held(_) => false,
        };
        if !is_at_end {
            return;
        }
        let file = self.stat.key;
        self.close_policy.check(|| writers.writers_of(file), now);
        if !self.close_policy.may_close() {
            return;
        }
        match &self.state {
            FileState::TooShort if self.size() > Offset::ZERO => match files::beginning(handle) {
                Ok(beginning) => {
                    let head = Head::of_final(&beginning);
                    self.state = head.map_or(FileState::TooShort, FileState::Unidentified);
                }
                Err(error) => self.read_failed(&error),
            },
            FileState::TooShort | FileState::Copy { .. } => self.handle = None,
            _ => {}
        }
    }

    /// Closes a file that is finished. If it changes later, the next scan sees this in its size and time.
    pub(crate) fn close_if_finished(&mut self) {
        if let Some(stream) = self.stream_in(StreamPhase::Finished).map(|stream| stream.id) {
            if self.is_compressed() {
                self.set_shipped(Some(stream));
            }
            self.handle = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For how many seconds a file stays open that was written to just now.
    fn kept(writers: OpenWriters) -> u64 {
        let start = Now::read();
        let mut policy = ClosePolicy::new(Duration::ZERO, start);
        let over = (0..=3600).find(|&second| {
            let now = start.after(Duration::from_secs(second));
            policy.check(|| writers, now);
            policy.may_close()
        });
        over.expect("within an hour")
    }

    #[test]
    fn a_file_that_a_process_may_write_to_stays_open_longer() {
        assert_eq!(kept(OpenWriters::None), 30);
        assert_eq!(kept(OpenWriters::Some), 600);
        assert_eq!(kept(OpenWriters::Unknown), 600);
    }
}
