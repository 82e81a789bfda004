//! Why lines cannot be searched.

use logferry_durable::DiskError;
use logferry_ledger::LedgerError;
use logferry_numbers::IndexError;
use logferry_store::StoreError;

/// A search cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The index cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the spool cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Whoever asked wants no more.
    #[error("it took too long to find the line in the search store; try again when fewer searches run")]
    Stopped,
}
