//! Compresses and deletes the batches that every destination has, by their age, or before it when the disk fills.
//!
//! A batch's age is the time since it was sealed. A batch that a destination still lacks is kept at any age. If it is
//! delivered late, it may be compressed or deleted at once.
//!
//! Invariants:
//! - Only batches that the ledger has as sent are touched, and only their files in `sent/`.
//! - At every instant at least one whole copy of an unexpired batch is in `sent/`. The original is removed only after
//!   its compressed copy was synced and read back.
//! - One housekeeper runs at a time (`<data_dir>/housekeeper.lock`), as a daemon or with `--once`.
//!
//! `sent_files` finds the files, `plan` decides, `executor` acts, `daemon` runs by the clock.

mod daemon;
mod error;
mod executor;
mod plan;
mod sent_files;

use std::error::Error;
use std::path::Path;

use jiff::Timestamp;
use logferry_config::HousekeeperSettings;
use logferry_durable::{Disk, LockFile, RealDisk};
use logferry_ledger::Ledger;
use logferry_spool::Spool;
use logferry_text::size;
use tokio_util::sync::CancellationToken;

pub use daemon::run;
pub use error::{BatchError, HousekeeperError};

use crate::executor::ActionExecutor;
use crate::plan::Action;

/// The lock's file name in the data folder.
const LOCK_NAME: &str = "housekeeper.lock";

/// The result of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HousekeeperReport {
    /// Batches whose file became `.log.gz`.
    pub compressed: u64,
    /// Batches whose file was deleted at its age.
    pub expired: u64,
    /// Batches whose file was deleted before its age, because the disk was too full.
    pub expired_early: u64,
    /// Bytes by which the files in `sent/` shrank.
    pub bytes_freed: u64,
}

/// Compresses and deletes the batches that are due at `now`. After one fails, the others are still done.
pub fn once(config: &HousekeeperSettings, now: Timestamp) -> Result<HousekeeperReport, HousekeeperError> {
    once_on(&RealDisk, config, now, &CancellationToken::new())
}

/// As [`once`], on any disk, and until `stop`. An unfinished compression is then undone or left for the next run.
fn once_on<D: Disk>(
    disk: &D,
    config: &HousekeeperSettings,
    now: Timestamp,
    stop: &CancellationToken,
) -> Result<HousekeeperReport, HousekeeperError> {
    let data_dir: &Path = &config.data_dir;
    let ledger = Ledger::open(data_dir)?;
    let _lock = LockFile::acquire(&data_dir.join(LOCK_NAME))?;
    let spool = Spool::new(disk.clone(), data_dir);
    let actions = plan::plan(sent_files::sent_batches(&spool, &ledger)?, now, config);
    let mut run = HousekeeperRun {
        executor: ActionExecutor::new(spool, ledger, now, stop),
        stop,
        failed: 0,
        first: None,
    };
    for action in actions {
        if !run.carry_out(&action) {
            break;
        }
    }
    run.make_room(config)?;
    run.end()
}

/// One run: carries out actions, and counts what failed.
struct HousekeeperRun<'a, D> {
    executor: ActionExecutor<'a, D>,
    stop: &'a CancellationToken,
    failed: usize,
    first: Option<Box<BatchError>>,
}

impl<D: Disk> HousekeeperRun<'_, D> {
    /// Returns whether to go on: not after a stop.
    fn carry_out(&mut self, action: &Action) -> bool {
        let done = self.executor.execute(action);
        if self.stop.is_cancelled() {
            return false;
        }
        if let Err(error) = done {
            let batch = action.batch().name();
            tracing::error!(
                batch,
                error = &error as &dyn Error,
                "batch {batch} was not compressed or deleted; the next run tries again"
            );
            self.failed += 1;
            self.first.get_or_insert_with(|| Box::new(error));
        }
        true
    }

    /// Deletes delivered batches before their age, the oldest first, until the disk is below `early_delete`. What is not
    /// delivered stays, however full the disk is.
    fn make_room(&mut self, config: &HousekeeperSettings) -> Result<(), HousekeeperError> {
        let data_dir = &config.data_dir;
        let used = |run: &Self| {
            Ok::<_, HousekeeperError>(run.executor.spool().disk().space(data_dir)?.used_percent())
        };
        let before = used(self)?;
        if before >= config.disk.warn {
            tracing::warn!(
                "the disk of {} is {before} % full (housekeeper.disk.warn is {} %); docs/trouble/disk-full.md says what may go",
                data_dir.display(),
                config.disk.warn
            );
        }
        if before < config.disk.early_delete || self.stop.is_cancelled() {
            return Ok(());
        }
        self.executor.is_early = true;
        for action in plan::plan_early(self.executor.sent_batches()?) {
            if used(self)? < config.disk.early_delete || !self.carry_out(&action) {
                break;
            }
        }
        let (after, early) = (used(self)?, self.executor.report.expired_early);
        if after >= config.disk.early_delete {
            tracing::warn!(
                "the disk of {} is still {after} % full, and no delivered batch is left to delete: {early} went before their age",
                data_dir.display()
            );
        }
        Ok(())
    }

    fn end(self) -> Result<HousekeeperReport, HousekeeperError> {
        let (failed, report) = (self.failed, self.executor.report);
        report.log(failed);
        match self.first {
            None => Ok(report),
            Some(first) => Err(HousekeeperError::Unfinished {
                failed,
                report,
                first,
            }),
        }
    }
}

impl HousekeeperReport {
    fn log(&self, failed: usize) {
        let &Self {
            compressed,
            expired,
            expired_early,
            bytes_freed,
        } = self;
        if *self == Self::default() {
            tracing::debug!(failed, "no batch was compressed or deleted");
            return;
        }
        tracing::info!(
            compressed,
            expired,
            expired_early,
            bytes_freed,
            failed,
            "sent batches: {compressed} compressed, {expired} deleted, {expired_early} deleted before their age, {failed} failed, \
             {} freed",
            size(bytes_freed)
        );
    }
}

#[cfg(test)]
mod tests;
