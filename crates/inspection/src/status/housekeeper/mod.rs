//! The last run of the housekeeper, by its own record.

use jiff::Timestamp;
use logferry_ledger::{HousekeeperRecord, Ledger, LedgerError};
use serde::Serialize;

/// The last run of the housekeeper.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HousekeeperStatus {
    /// When it began.
    pub last_run_at: Timestamp,
    /// How long it took.
    pub duration_seconds: f64,
    /// Batches that it compressed.
    pub compressed: u64,
    /// Batches that it deleted at their age.
    pub deleted: u64,
    /// Batches that it deleted before their age, because the disk was too full.
    pub deleted_early: u64,
    /// Batches whose rows left the ledger.
    pub forgotten: u64,
    /// Bytes by which the files in `sent/` shrank.
    pub freed_bytes: u64,
    /// Batches that failed.
    pub failed: u64,
    /// The first error; `None` if there was none.
    pub error: Option<String>,
}

/// `None` if it never ran.
pub(super) fn status(ledger: &Ledger) -> Result<Option<HousekeeperStatus>, LedgerError> {
    Ok(ledger.housekeeper_run()?.map(HousekeeperStatus::from))
}

impl From<HousekeeperRecord> for HousekeeperStatus {
    fn from(run: HousekeeperRecord) -> Self {
        Self {
            last_run_at: run.started_at,
            duration_seconds: run.duration.as_secs_f64(),
            compressed: run.compressed,
            deleted: run.expired,
            deleted_early: run.expired_early,
            forgotten: run.forgotten,
            freed_bytes: run.bytes_freed,
            failed: run.failed,
            error: run.error,
        }
    }
}
