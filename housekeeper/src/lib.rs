//! Compresses and deletes the batches that every destination has, by their age.
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

/// The lock's file name in the data folder.
const LOCK_NAME: &str = "housekeeper.lock";

/// The result of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HousekeeperReport {
    /// Batches whose file became `.log.gz`.
    pub compressed: u64,
    /// Batches whose file was deleted.
    pub expired: u64,
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

    let mut executor = ActionExecutor::new(spool, ledger, now, stop);
    let mut failed = 0_usize;
    let mut first = None;
    for action in actions {
        let done = executor.execute(&action);
        if stop.is_cancelled() {
            break;
        }
        if let Err(error) = done {
            let batch = action.batch().name();
            tracing::error!(
                batch,
                error = &error as &dyn Error,
                "batch {batch} was not compressed or deleted; the next run tries again"
            );
            failed += 1;
            first.get_or_insert_with(|| Box::new(error));
        }
    }
    let report = executor.report;
    let HousekeeperReport {
        compressed,
        expired,
        bytes_freed,
    } = report;
    if report == HousekeeperReport::default() {
        tracing::debug!(failed, "no batch was compressed or deleted");
    } else {
        tracing::info!(
            compressed,
            expired,
            bytes_freed,
            failed,
            "sent batches: {compressed} compressed, {expired} deleted, {failed} failed, {} freed",
            size(bytes_freed)
        );
    }
    match first {
        None => Ok(report),
        Some(first) => Err(HousekeeperError::Unfinished {
            failed,
            report,
            first,
        }),
    }
}

#[cfg(test)]
mod tests;
