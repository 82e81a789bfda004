//! Many old files at once, as at the first start on a host that keeps its logs for a year: they are read beside the live
//! file, which does not wait for them, and are examined one after the other.
//!
//! Some old files are no backlog: a sender that was down for some rotations ships their lines in order.

use std::collections::HashSet;

use logferry_protocol::stream::{FileKey, Offset};

use crate::files::FileHandle;
use crate::files::discovery::FileRole;
use crate::tail::log::TailedLog;
use crate::tail::tracked_file::{ChainId, ReadQueue, TrackedFile};

/// So many old files of a chain, found together, are a backlog.
const BACKLOG_MIN: usize = 32;
/// Bytes of an archive's text that are decompressed at a time, between looks at the live files.
const EXAMINED_AT_ONCE: u64 = 2 << 20;

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
        for file in self
            .files
            .iter_mut()
            .filter(|file| file.is_waiting && file.queue == ReadQueue::InOrder)
        {
            file.examine();
        }
        self.waiting = self.files.iter().filter(|file| file.is_waiting).count();
    }

    /// Goes on examining the oldest archive of the backlog, unless one is being shipped. Returns whether there is more to
    /// examine now.
    pub(crate) fn examine_backlog(&mut self) -> bool {
        if self.waiting == 0 {
            return false;
        }
        let is_being_shipped = |file: &TrackedFile<H>| file.queue == ReadQueue::Backlog && file.blocks();
        if self.files.iter().any(is_being_shipped) {
            return false;
        }
        let Some(file) = self.files.iter_mut().find(|file| file.is_waiting) else {
            self.waiting = 0;
            return false;
        };
        // Once it is examined, it is shipped first.
        !file.examine_some(EXAMINED_AT_ONCE) || !file.blocks()
    }
}
