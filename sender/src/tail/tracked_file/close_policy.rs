//! When a rotated file is left: closed, its last line given the newline that it never got.
//!
//! OpenWriters keep a renamed file for a while: nginx until it is told to reopen its logs, and with `buffer=` it writes
//! what it has kept just before it closes the file. So a rotated file that is read and acknowledged to its end is left
//! when it has not changed for [`QUIET`] and no process has it open for writing, or, where one has or that cannot be
//! seen, when it has not changed for [`ABANDONED`].
//!
//! Should it grow after all, the next scan sees that, as long as it has its name, and it is read on.

use std::time::{Duration, Instant};

use logferry_protocol::stream::{Head, Offset};

use crate::clock::Now;
use crate::files::discovery::FileRole;
use crate::files::open_writers::OpenWriters;
use crate::files::{self, FileHandle};
use crate::streams::tracked_stream::{StreamPhase, TrackedStream};
use crate::tail::tracked_file::{FileState, TrackedFile};

/// A rotated file that has not changed for so long may be left; and how often its writers are looked for.
pub(crate) const QUIET: Duration = Duration::from_secs(30);

/// A rotated file that has not changed for so long is left though some process has it open. Longer than what
/// nginx is commonly told to buffer (`flush=5m`).
pub(crate) const ABANDONED: Duration = Duration::from_mins(10);

/// How long a file has not changed, and whether it is going to.
#[derive(Debug)]
pub(crate) struct ClosePolicy {
    since: Instant,
    next_look: Instant,
    is_over: bool,
}

impl ClosePolicy {
    /// A file that was found now, and was written to `age` ago.
    pub(crate) fn new(age: Duration, now: Now) -> Self {
        let since = now.instant.checked_sub(age.min(ABANDONED)).unwrap_or(now.instant);
        Self {
            since,
            next_look: since + QUIET,
            is_over: false,
        }
    }

    /// The file, or what it is to its log, has changed.
    pub(crate) fn disturb(&mut self, now: Now) {
        *self = Self::new(Duration::ZERO, now);
    }

    /// A rotated file is at its end: looks whether it is to be left there.
    pub(crate) fn look(&mut self, writers: impl FnOnce() -> OpenWriters, now: Now) {
        if self.is_over || now.instant < self.next_look {
            return;
        }
        self.next_look = now.instant + QUIET;
        self.is_over = now.instant >= self.since + ABANDONED || writers() == OpenWriters::None;
    }

    /// Whether nothing is going to be written to it any more, as far as can be told.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }
}

impl<H: FileHandle> TrackedFile<H> {
    /// What time alone changes: a rotated file that nobody writes to any more has its last line, even without a
    /// newline.
    pub(crate) fn tick(&mut self, now: Now) {
        let Some(handle) = self.handle.as_ref().filter(|_| self.role != FileRole::Live) else {
            return;
        };
        let is_at_end = match &self.state {
            FileState::TooShort => true,
            FileState::Stream(stream) => stream.phase == StreamPhase::Reading && stream.is_drained(),
            // As long as it has a name it may become a file of its own.
            FileState::Copy { .. } => self.role == FileRole::Gone,
            FileState::Unopened | FileState::Unidentified(_) | FileState::Compressed(_) => false,
        };
        if is_at_end {
            self.rest.look(|| handle.writers(), now);
        }
        if !is_at_end || !self.rest.is_over() {
            return;
        }
        match &self.state {
            FileState::TooShort if self.size() > Offset::ZERO => match files::beginning(handle) {
                Ok(beginning) => {
                    self.state =
                        Head::of_final(&beginning).map_or(FileState::TooShort, FileState::Unidentified);
                }
                Err(error) => self.broken(&error),
            },
            FileState::TooShort | FileState::Copy { .. } => self.handle = None,
            _ => {}
        }
    }

    /// Closes a file that is finished. Whatever changes in it from now on, the next scan sees by its stat.
    pub(crate) fn close_if_finished(&mut self) {
        if let FileState::Stream(TrackedStream {
            phase: StreamPhase::Finished,
            ..
        }) = &self.state
        {
            if self.is_compressed() {
                self.set_shipped();
            }
            self.handle = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    /// How many seconds a file is kept that was written to just now.
    fn kept(writers: OpenWriters) -> u64 {
        let start = Now {
            instant: Instant::now(),
            wall: SystemTime::now(),
        };
        let mut rest = ClosePolicy::new(Duration::ZERO, start);
        let over = (0..=3600).find(|&second| {
            let now = Now {
                instant: start.instant + Duration::from_secs(second),
                wall: start.wall,
            };
            rest.look(|| writers, now);
            rest.is_over()
        });
        over.expect("within an hour")
    }

    #[test]
    fn a_file_that_somebody_may_write_to_is_kept_longer() {
        assert_eq!(kept(OpenWriters::None), 30);
        assert_eq!(kept(OpenWriters::Some), 600);
        assert_eq!(kept(OpenWriters::Unknown), 600);
    }
}
