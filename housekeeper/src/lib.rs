//! Compresses and deletes what every destination has, by age.
//!
//! A batch's age is the time since it was sealed. Age alone never decides: as long as a destination is missing a
//! batch, it is kept, however old it is; delivered late, it may be compressed or deleted at once.
//!
//! Invariants:
//! - Only batches that the ledger calls sent are touched, and of them only the files in `sent/`.
//! - At every instant at least one whole copy of an unexpired batch stands in `sent/`: the original goes only when
//!   its compressed copy is on stable storage and was read back.
//! - One housekeeper works at a time (`<data_dir>/housekeeper.lock`), be it the daemon or a `--once`.
//!
//! `sent_files` finds the files, `plan` decides, `worker` acts.

mod daemon;
mod error;
mod plan;
mod sent_files;
mod worker;

use std::error::Error;
use std::path::Path;

use jiff::Timestamp;
use logferry_config::HousekeeperSettings;
use logferry_durable::{Disk, LockFile, RealDisk};
use logferry_ledger::Ledger;
use logferry_spool::Spool;
use tokio_util::sync::CancellationToken;

pub use daemon::run;
pub use error::{BatchError, HousekeeperError};

use crate::worker::Worker;

/// Name of the lock's file in the data folder.
const LOCK_NAME: &str = "housekeeper.lock";

/// What a run has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HousekeeperReport {
    /// Batches whose file is `.log.gz` now.
    pub compressed: u64,
    /// Batches whose file was deleted.
    pub expired: u64,
    /// By how many bytes the files in `sent/` are fewer.
    pub bytes_freed: u64,
}

/// Compresses and deletes what is due at `now`, then returns. A batch that fails does not keep the others waiting.
pub fn once(config: &HousekeeperSettings, now: Timestamp) -> Result<HousekeeperReport, HousekeeperError> {
    once_on(&RealDisk, config, now, &CancellationToken::new())
}

/// As [`once`], on any disk, and until `stop`: what is half done then is undone or left for the next run.
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

    let mut worker = Worker::new(spool, ledger, now, stop);
    let mut failed = 0_usize;
    let mut first = None;
    for action in actions {
        let done = worker.carry_out(&action);
        if stop.is_cancelled() {
            break;
        }
        if let Err(error) = done {
            let batch = action.batch().name();
            tracing::error!(
                batch,
                error = &error as &dyn Error,
                "batch not tidied, tried again at the next run"
            );
            failed += 1;
            first.get_or_insert_with(|| Box::new(error));
        }
    }
    let report = worker.report();
    let HousekeeperReport {
        compressed,
        expired,
        bytes_freed,
    } = report;
    if report == HousekeeperReport::default() {
        tracing::debug!(failed, "nothing compressed or deleted");
    } else {
        tracing::info!(compressed, expired, bytes_freed, failed, "sent batches tidied");
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
