//! Errors of a run, and of one batch.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use logferry_durable::{DiskError, LockError};
use logferry_ledger::{BatchContents, LedgerError};
use logferry_text::{count_of, duration, size};
use tokio_cron_scheduler::JobSchedulerError;

use crate::HousekeeperReport;

/// A run or the daemon failed.
#[derive(Debug, thiserror::Error)]
pub enum HousekeeperError {
    /// The ledger could not be opened or read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Another housekeeper runs, or the lock cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Another daemon uses the data folder.
    #[error("another housekeeper runs by the clock on this data folder")]
    AlreadyRuns(#[source] LockError),
    /// A backup or another housekeeper has been at work for longer than a run waits.
    #[error(
        "a backup or another housekeeper ({}) is still at work after {}; let it finish, the next run does what is due", holder(.1),
        duration(*.0)
    )]
    Busy(Duration, LockError),
    /// A backup or a run of the housekeeper is at work, and the ledger is not written anew beside it.
    #[error("a backup or a run of the housekeeper ({}) is at work; let it finish, then run this again", holder(.0))]
    AtWork(LockError),
    /// The spool's folders could not be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Some batches failed. Each was logged, and the next run tries again.
    #[error("{} could not be compressed or deleted; the first error", count_of(*.failed as u64, "batch"))]
    Unfinished {
        /// How many failed.
        failed: usize,
        /// The result of the others.
        report: HousekeeperReport,
        /// The first error.
        #[source]
        first: Box<BatchError>,
    },
    /// The ledger is to be written anew while the relay may want to commit.
    #[error(
        "the relay runs, and could make no line durable while the ledger is written anew; stop it first, with `systemctl stop \
         logferry-relay logferry`: senders wait and go on where they were"
    )]
    RelayRuns(#[source] LockError),
    /// The ledger is to be written anew on a disk that is too full for it.
    #[error(
        "the disk of {} has {} free, and writing the ledger anew needs {}; nothing was changed. Make room (docs/trouble/disk-full.md), \
         or leave it: the ledger uses its free pages again and does not grow",
        .data_dir.display(), size(*.free), size(*.needed)
    )]
    NoRoomToShrink {
        /// The folder of the ledger.
        data_dir: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are needed.
        needed: u64,
    },
    /// The schedule cannot be parsed.
    #[error(
        "housekeeper.schedule `{schedule}` is not a cron schedule; write six fields, seconds first, such as \
         `0 */10 * * * *` for every ten minutes"
    )]
    Schedule {
        /// The schedule as configured.
        schedule: String,
        /// The scheduler's error.
        #[source]
        source: JobSchedulerError,
    },
    /// The scheduler cannot start or stop.
    #[error("the housekeeper's scheduler failed")]
    Scheduler(#[source] JobSchedulerError),
    /// A run panicked.
    #[error("a run of the housekeeper ended without a result")]
    Panicked(#[source] tokio::task::JoinError),
}

/// Who holds the lock. The lock's own words would have people stop a backup.
fn holder(error: &LockError) -> String {
    match error {
        LockError::Held { holder, .. } => format!("process {holder}"),
        LockError::Io { .. } => error.to_string(),
    }
}

/// A batch could not be compressed or deleted. Its files are unchanged.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The ledger could not be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file could not be written, renamed or removed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file could not be read or decompressed.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system or of the decoder.
        #[source]
        source: io::Error,
    },
    /// A file does not hold the lines that were sealed.
    #[error(
        "{} holds {} bytes with CRC-32C {:08x}; the ledger has {} bytes with {:08x}. Check the disk, and compare with \
         the file at the destination", .path.display(), .found.bytes, .found.crc32c, .sealed.bytes, .sealed.crc32c
    )]
    Differs {
        /// The file.
        path: PathBuf,
        /// Its lines.
        found: BatchContents,
        /// The lines that were sealed.
        sealed: BatchContents,
    },
    /// The program stops.
    #[error("stopped before the batch was done")]
    Stopped,
}
