//! Many old files at once, as at the first start on a host that keeps its logs for a year: they are read beside the live
//! file, which does not wait for them, and are examined one after the other.
//!
//! Some old files are no backlog: a sender that was down for some rotations ships their lines in order.

use std::collections::HashSet;

use logferry_protocol::stream::{FileKey, Offset};

use crate::files::discovery::FileRole;
use crate::files::{FileHandle, FileSystem};
use crate::tail::log::TailedLog;
use crate::tail::tracked_file::handle_budget::HandleBudget;
use crate::tail::tracked_file::{ChainId, FileState, ReadQueue, TrackedFile};

/// So many old files of a chain, found together, are a backlog.
const BACKLOG_MIN: usize = 32;
/// Bytes of an archive's text that are decompressed at a time, between looks at the live files.
const EXAMINED_AT_ONCE: u64 = 2 << 20;
/// So many old files of a log are open, even if other files have used up what may be open.
pub(crate) const OPEN_MIN: usize = 8;

/// Whether it is an open rotated file. A copy stays open as long as its original, so others must not wait for it.
fn is_open<H: FileHandle>(file: &TrackedFile<H>) -> bool {
    let is_copy = matches!(file.state, FileState::Copy { .. });
    file.role != FileRole::Live && file.handle.is_some() && !is_copy
}

/// Whether it is open and waits to be examined.
fn is_archive<H: FileHandle>(file: &TrackedFile<H>) -> bool {
    file.is_waiting && file.handle.is_some()
}

impl<H: FileHandle> TailedLog<H> {
    /// After a search: finds out which of the new files are a backlog, and examines the other archives.
    pub(super) fn sort_out_backlog(&mut self) {
        if !self.files.iter().any(|file| file.is_found) {
            return;
        }
        self.files.sort_by(TrackedFile::oldest_first);
        let acked = self
            .orphans
            .iter()
            .filter(|orphan| orphan.stream.acked.offset > Offset::ZERO);
        let known: HashSet<FileKey> = acked.map(|orphan| orphan.file).collect();
        let is_known = |file: &TrackedFile<H>| file.acked() > Offset::ZERO || known.contains(&file.stat.key);
        // The old files of each chain up to the youngest one of which the relay has something.
        let mut old: Vec<Vec<usize>> = vec![Vec::new(); self.chains.len()];
        let mut has_known = vec![false; self.chains.len()];
        for (index, file) in self.files.iter().enumerate().rev() {
            let ChainId(chain) = file.chain;
            let may_be_old = file.role == FileRole::Rotated && file.is_found;
            if may_be_old && (has_known[chain] || !is_known(file)) {
                old[chain].push(index);
            }
            if is_known(file) && !has_known[chain] {
                // What is younger continues this file, and is no backlog.
                has_known[chain] = true;
                old[chain].clear();
            }
        }
        for index in old.into_iter().filter(|old| old.len() >= BACKLOG_MIN).flatten() {
            self.files[index].queue = ReadQueue::Backlog;
        }
        let in_order = self
            .files
            .iter_mut()
            .filter(|file| file.queue == ReadQueue::InOrder);
        for file in in_order.filter(|file| is_archive(file)) {
            file.examine();
        }
        self.count_waiting();
    }

    fn count_waiting(&mut self) {
        self.waiting = self.files.iter().filter(|file| is_archive(file)).count();
    }

    /// How many rotated files are open.
    pub(crate) fn rotated_open(&self) -> usize {
        self.files.iter().filter(|file| is_open(file)).count()
    }

    pub(crate) fn has_postponed(&self) -> bool {
        self.files.iter().any(TrackedFile::is_postponed)
    }

    /// Opens files that were found when too many were open, oldest first. The oldest of them are opened in any case:
    /// other files may be open because they wait for these.
    pub(crate) fn open_postponed<F: FileSystem<FileHandle = H>>(
        &mut self,
        files: &F,
        budget: &mut HandleBudget,
    ) {
        let mut before = 0;
        for file in &mut self.files {
            if file.is_postponed() {
                if before < OPEN_MIN {
                    budget.allow_one();
                }
                if let Err(error) = file.open_within(files, budget, TrackedFile::open_found) {
                    file.is_waiting = false;
                    tracing::debug!(path = %file.path.display(), %error, "the log cannot be opened; tried again with each scan");
                }
                if file.is_postponed() && budget.is_used_up() {
                    break;
                }
                if is_archive(file) && file.queue == ReadQueue::InOrder {
                    file.examine();
                }
            }
            before += usize::from(is_open(file));
        }
        self.count_waiting();
    }

    /// Goes on examining the oldest archive of the backlog, unless one is being shipped. Returns whether there is more to
    /// examine now.
    pub(crate) fn examine_backlog(&mut self) -> bool {
        if self.waiting == 0 {
            return false;
        }
        let is_being_shipped =
            |file: &TrackedFile<H>| file.queue == ReadQueue::Backlog && file.blocks() && !file.is_postponed();
        if self.files.iter().any(is_being_shipped) {
            return false;
        }
        let Some(file) = self.files.iter_mut().find(|file| is_archive(file)) else {
            self.waiting = 0;
            return false;
        };
        // Once it is examined, it is shipped first.
        !file.examine_some(EXAMINED_AT_ONCE) || !file.blocks()
    }
}
