//! How many files are open at once.
//!
//! A rotated file is open until the relay has its lines. On a host with thousands of old logs, or where thousands are rotated at
//! once, all of them together take more file descriptors than the process may have. Then nothing else can be opened: no
//! connection to the relay, no checkpoint. So only some are open, the oldest first.

use std::io;

use nix::errno::Errno;

/// Of the descriptors that the process may have, log files take at most one in so many. Live files are always open.
const PART: usize = 2;

#[derive(Debug)]
pub(crate) struct HandleBudget {
    left: usize,
}

impl HandleBudget {
    /// `limit`: how many descriptors the process may have. `open`: how many files are open, and how many live ones will be.
    pub(crate) const fn new(limit: usize, open: usize) -> Self {
        Self {
            left: (limit / PART).saturating_sub(open),
        }
    }

    pub(crate) const fn is_used_up(&self) -> bool {
        self.left == 0
    }

    /// Allows one more file, whatever is open.
    pub(crate) fn allow_one(&mut self) {
        self.left = self.left.max(1);
    }

    pub(crate) const fn use_up(&mut self) {
        self.left = 0;
    }

    pub(crate) const fn take(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}

/// Whether a file could not be opened because too many are open.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    let limits = [Errno::EMFILE, Errno::ENFILE];
    error
        .raw_os_error()
        .is_some_and(|code| limits.contains(&Errno::from_raw(code)))
}
