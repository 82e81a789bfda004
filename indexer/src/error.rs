//! Why the indexer cannot work.

use std::path::PathBuf;

use logferry_durable::{DiskError, LockError};
use logferry_ledger::LedgerError;
use logferry_numbers::IndexError;
use logferry_store::StoreError;
use logferry_telemetry::HealthEndpointError;

/// The indexer cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum IndexerError {
    /// The relay's ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Another file has the ledger's name now.
    #[error(
        "{} was replaced, as a rebuilt or restored ledger does it: the indexer opens the new one and reads on by the names of \
         the batches", .path.display()
    )]
    LedgerReplaced {
        /// The ledger's file.
        path: PathBuf,
    },
    /// The indexer's folder cannot be made.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The numbers cannot be recorded.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another indexer runs.
    #[error("another indexer works in {} ({holder}); stop it, or give this one a store_dir of its own", .store_dir.display())]
    AlreadyRunning {
        /// The folder.
        store_dir: PathBuf,
        /// Its process.
        holder: String,
    },
    /// The lock cannot be used.
    #[error(transparent)]
    Lock(LockError),
    /// The metrics page cannot be served.
    #[error(transparent)]
    Health(#[from] HealthEndpointError),
    /// A line cannot be written as a document.
    #[error("a line cannot be written as JSON")]
    Document(#[from] serde_json::Error),
    /// The thread cannot be started, or panicked.
    #[error("the indexer's thread failed: {0}")]
    Thread(String),
}

impl IndexerError {
    /// Whether it belongs to the normal life of a host: the relay has not been started yet, or its ledger was replaced.
    pub(crate) fn is_expected(&self) -> bool {
        matches!(
            self,
            Self::Ledger(LedgerError::Missing { .. }) | Self::LedgerReplaced { .. }
        )
    }

    /// Whether it may pass by itself: the relay is not up, a disk is full. Else a person must act first.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Ledger(error) => matches!(error, LedgerError::Sqlite { .. } | LedgerError::Missing { .. }),
            Self::Index(error) => matches!(error, IndexError::Sqlite { .. }),
            Self::LedgerReplaced { .. } | Self::Disk(_) | Self::Store(_) => true,
            _ => false,
        }
    }
}
