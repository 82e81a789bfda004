//! What can keep the housekeeper from its work.

use std::io;
use std::path::PathBuf;

use logferry_durable::{DiskError, LockError};
use logferry_ledger::LedgerError;
use tokio_cron_scheduler::JobSchedulerError;

use crate::HousekeeperReport;

/// A run, or the daemon, could not do it.
#[derive(Debug, thiserror::Error)]
pub enum HousekeeperError {
    /// The ledger could not be opened or read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Another housekeeper is at work, or the lock cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The spool could not be looked through.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Some batches are done and others are not; each was logged, and the next run tries again.
    #[error("{failed} batches could not be compressed or deleted; the first of them")]
    Unfinished {
        /// How many are not done.
        failed: usize,
        /// What was done.
        report: HousekeeperReport,
        /// Why the first one is not.
        #[source]
        first: Box<BatchError>,
    },
    /// The schedule cannot be understood.
    #[error(
        "housekeeper.schedule `{schedule}` is no cron schedule; write six fields, seconds first, such as \
         `0 */10 * * * *` for every ten minutes"
    )]
    Schedule {
        /// The schedule as configured.
        schedule: String,
        /// What the scheduler said.
        #[source]
        source: JobSchedulerError,
    },
    /// The scheduler does not start or stop.
    #[error("the housekeeper's scheduler failed")]
    Scheduler(#[source] JobSchedulerError),
    /// A run ended without a result.
    #[error("a run of the housekeeper broke off")]
    Broken(#[source] tokio::task::JoinError),
}

/// A batch could not be compressed or deleted. Its lines are where they were.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The ledger could not be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file could not be read through, or is no gzip file although its name says so.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system or the decoder said.
        #[source]
        source: io::Error,
    },
    /// A file does not hold the lines that were sealed.
    #[error(
        "{} holds {found_bytes} bytes with CRC-32C {found_crc32c:08x} where the ledger has {bytes} bytes with \
         {crc32c:08x}: check the disk, and compare with the file at the destination", .path.display()
    )]
    Differs {
        /// The file.
        path: PathBuf,
        /// Bytes of lines in it.
        found_bytes: u64,
        /// Their CRC-32C.
        found_crc32c: u32,
        /// Bytes of lines that were sealed.
        bytes: u64,
        /// Their CRC-32C.
        crc32c: u32,
    },
    /// The housekeeper was told to stop first.
    #[error("stopped before it was done")]
    Stopped,
}
