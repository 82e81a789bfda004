//! Follows the lines that the relay commits, in this process or another one. `logferry tail` uses [`Follower`]; the indexer
//! keeps its own list of batches and reads each by [`BatchLines`].
//!
//! It reads the ledger and the spool's files and takes no lock, so a slow reader slows no role. It shows committed lines
//! only, each once. If a file is compressed or deleted before it was read, the reader is told how much is left out.
//! In this room anything may be changed that keeps [`FollowEvent`]; it needs nothing of the crate but `find` and `open`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use logferry_durable::{DiskError, RealDisk};
use logferry_ledger::{Batch, BatchId, BatchState, Ledger, LedgerError, LiveBatches, SourceLogs};
use logferry_protocol::names::{GroupName, LogName, SourceId};

use crate::Spool;

mod batch_lines;

pub use batch_lines::{BLOCK_LEN, BatchLines};

#[cfg(test)]
mod tests;

/// After so many searches in vain the lines of a batch are left out. One search may miss a file that is being moved.
const SEARCHES_MAX: u32 = 10;

/// The batches whose lines are followed. Empty: all.
#[derive(Debug, Clone, Default)]
pub struct LineFilter {
    /// Only of this source.
    pub source: Option<SourceId>,
    /// Only of this group.
    pub group: Option<GroupName>,
    /// Only of this log.
    pub log: Option<LogName>,
}

impl LineFilter {
    fn matches(&self, batch: &Batch, ledger: &Ledger, logs: &mut SourceLogs) -> Result<bool, LedgerError> {
        let is_of_log = match &self.log {
            None => true,
            Some(log) => logs.of_batch(ledger, batch)?.as_ref() == Some(log),
        };
        Ok(is_of_log
            && self.source.as_ref().is_none_or(|source| *source == batch.source)
            && self.group.as_ref().is_none_or(|group| *group == batch.group))
    }

    /// Those of the batches that match.
    fn select(&self, batches: Vec<Batch>, ledger: &Ledger) -> Result<Vec<Batch>, LedgerError> {
        // Asked for anew each time: a source may get another log.
        let mut logs = SourceLogs::default();
        let mut selected = Vec::with_capacity(batches.len());
        for batch in batches {
            if self.matches(&batch, ledger, &mut logs)? {
                selected.push(batch);
            }
        }
        Ok(selected)
    }
}

/// New lines, or the news that some are left out.
#[derive(Debug, PartialEq, Eq)]
pub enum FollowEvent<'a> {
    /// Lines. All are whole, except lines longer than a block, and the last one of a sealed batch.
    Lines {
        /// Their batch, as it stands in the ledger.
        batch: &'a Batch,
        /// The first byte of them in the batch.
        position: u64,
        /// Their bytes.
        lines: &'a [u8],
    },
    /// Lines of this batch cannot be shown: its file is compressed or deleted.
    Skipped {
        /// The batch.
        batch: String,
        /// Bytes that are left out.
        bytes: u64,
    },
}

/// How far a batch has been shown.
#[derive(Debug, Default)]
struct BatchProgress {
    shown: u64,
    /// Searches for its file in vain, one after the other.
    searches: u32,
}

/// Follows the spool from a moment on.
#[derive(Debug)]
pub struct Follower {
    ledger: Ledger,
    spool: Spool<RealDisk>,
    filter: LineFilter,
    newest: Option<BatchId>,
    /// The batches that may still get lines, or have lines that were not shown yet.
    progress: BTreeMap<BatchId, BatchProgress>,
}

impl Follower {
    /// Starts with the lines that are committed after now. `ledger`: of this folder; reading is enough.
    pub fn start(ledger: Ledger, data_dir: &Path, filter: LineFilter) -> Result<Self, LedgerError> {
        let newest = ledger.newest_batch()?;
        let open = filter.select(ledger.live_batches(newest)?, &ledger)?;
        // A batch that was opened between the two queries is shown from its beginning.
        let is_old = |batch: &Batch| newest.is_some_and(|newest| batch.id <= newest);
        let shown = |batch: Batch| {
            let shown = batch.contents.bytes;
            (batch.id, BatchProgress { shown, searches: 0 })
        };
        let progress = open.into_iter().filter(is_old).map(shown).collect();
        Ok(Self {
            ledger,
            spool: Spool::new(RealDisk, data_dir),
            filter,
            newest,
            progress,
        })
    }

    /// Shows the lines that were committed since the last call. If `show` returns false, it ends and returns false.
    pub fn poll(
        &mut self,
        show: &mut impl FnMut(FollowEvent<'_>) -> io::Result<bool>,
    ) -> Result<bool, FollowError> {
        let LiveBatches { mut batches, newest } = self.ledger.look_at_live_batches(self.newest)?;
        let live: BTreeSet<_> = batches.iter().map(|batch| batch.id).collect();
        for id in self.progress.keys().filter(|id| !live.contains(id)) {
            // It was sealed since the last call: these are its last lines. Else it was discarded, and a batch that has got its
            // number since then comes with the next call.
            batches.extend(self.ledger.batch(*id)?.filter(|_| Some(*id) <= newest));
        }
        self.newest = newest;
        batches.sort_unstable_by_key(|batch| batch.id);
        self.progress
            .retain(|id, _| batches.binary_search_by_key(id, |batch| batch.id).is_ok());
        for batch in &self.filter.select(batches, &self.ledger)? {
            let progress = self.progress.entry(batch.id).or_default();
            if !show_batch(&self.spool, batch, progress, show)? {
                return Ok(false);
            }
            if batch.state != BatchState::Open && progress.shown >= batch.contents.bytes {
                self.progress.remove(&batch.id);
            }
        }
        Ok(true)
    }
}

/// The spool cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The reader failed to show the lines.
    #[error("cannot show lines")]
    Show(#[from] io::Error),
}

fn show_batch(
    spool: &Spool<RealDisk>,
    batch: &Batch,
    progress: &mut BatchProgress,
    show: &mut impl FnMut(FollowEvent<'_>) -> io::Result<bool>,
) -> Result<bool, FollowError> {
    let committed = batch.contents.bytes;
    if progress.shown >= committed {
        return Ok(true);
    }
    let Some(mut lines) = BatchLines::open(spool, batch, progress.shown, true)? else {
        progress.searches += 1;
        if progress.searches < SEARCHES_MAX && batch.expired_at.is_none() {
            return Ok(true);
        }
        let bytes = committed - progress.shown;
        progress.shown = committed;
        let batch = batch.name();
        return Ok(show(FollowEvent::Skipped { batch, bytes })?);
    };
    progress.searches = 0;
    while let Some(block) = lines.next(batch)? {
        let position = progress.shown;
        progress.shown += u64::try_from(block.len()).unwrap_or(0);
        let lines = block;
        if !show(FollowEvent::Lines {
            batch,
            position,
            lines,
        })? {
            return Ok(false);
        }
    }
    Ok(true)
}
