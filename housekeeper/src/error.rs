//! Errors of a run, and of one batch.

use std::io;
use std::path::PathBuf;

use logferry_durable::{DiskError, LockError};
use logferry_ledger::{BatchContents, LedgerError};
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
    /// The spool's folders could not be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Some batches failed. Each was logged, and the next run tries again.
    #[error("{failed} batches could not be compressed or deleted; the first error")]
    Unfinished {
        /// How many failed.
        failed: usize,
        /// The result of the others.
        report: HousekeeperReport,
        /// The first error.
        #[source]
        first: Box<BatchError>,
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
