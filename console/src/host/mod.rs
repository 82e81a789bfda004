//! Reads of the relay host: ledger, spool, numbers and store. All of it as a user who may only read.

pub(crate) mod ledger_pool;

use std::path::PathBuf;
use std::sync::Arc;

use logferry_config::ConsoleSettings;
use logferry_ledger::{Ledger, LedgerError};
use logferry_numbers::{IndexError, IndexReader};

use self::ledger_pool::LedgerPool;
use crate::answer::problem::Problem;

/// The relay host, for async code.
#[derive(Debug, Clone)]
pub(crate) struct ReadHost(Arc<Handles>);

#[derive(Debug)]
struct Handles {
    ledgers: LedgerPool,
    data_dir: PathBuf,
    store_dir: PathBuf,
}

impl ReadHost {
    pub(crate) fn new(settings: &ConsoleSettings) -> Self {
        Self(Arc::new(Handles {
            ledgers: LedgerPool::new(&settings.data_dir),
            data_dir: settings.data_dir.clone(),
            store_dir: settings.store_dir.clone(),
        }))
    }

    /// The folder of spool and ledger.
    pub(crate) fn data_dir(&self) -> &std::path::Path {
        &self.0.data_dir
    }

    /// The indexer's folder.
    pub(crate) fn store_dir(&self) -> &std::path::Path {
        &self.0.store_dir
    }

    /// Reads the ledger on a thread for blocking work.
    pub(crate) async fn ledger<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, Problem> {
        let handles = Arc::clone(&self.0);
        blocking(move || Ok(handles.ledgers.with(read)?)).await
    }

    /// Reads the ledger on this thread, which must be one for blocking work.
    pub(crate) fn read_here<T>(
        &self,
        read: impl FnOnce(&Ledger) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        self.0.ledgers.with(read)
    }

    /// The same, for a read that fails otherwise too. It runs on this thread, which must be one for blocking work.
    pub(crate) fn with_ledger<T>(
        &self,
        read: impl FnOnce(&Ledger) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let mut outcome = None;
        self.0.ledgers.with(|ledger| {
            outcome = Some(read(ledger));
            Ok(())
        })?;
        outcome.unwrap_or_else(|| Err(Problem::internal("a read did not run")))
    }

    /// Reads the indexer's numbers on a thread for blocking work.
    pub(crate) async fn index<T: Send + 'static>(
        &self,
        read: impl FnOnce(&IndexReader) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, Problem> {
        let handles = Arc::clone(&self.0);
        blocking(move || {
            let reader = IndexReader::open(&handles.store_dir)?;
            Ok(read(&reader)?)
        })
        .await
    }
}

/// Runs work that may wait for a disk.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|error| Err(Problem::internal(&error.to_string())))
}
