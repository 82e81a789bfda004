//! Reads of the relay host: ledger, spool, numbers and store. All of it as a user who may only read.

pub(crate) mod file_pool;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use logferry_config::ConsoleSettings;
use logferry_ledger::{Ledger, LedgerError};
use logferry_numbers::{IndexError, IndexReader};
use logferry_search::{IndexedBatches, KeptIndex};

use self::file_pool::{FileIdentity, FilePool, TakenFile};
use crate::answer::problem::Problem;

/// What is known of the index is looked up again after so long.
const INDEXED_KNOWN: Duration = Duration::from_mins(10);

/// The relay host, for async code.
#[derive(Debug, Clone)]
pub(crate) struct ReadHost(Arc<Handles>);

#[derive(Debug)]
struct Handles {
    ledgers: FilePool<Ledger>,
    indexes: FilePool<IndexReader>,
    indexed: Mutex<Option<KnownIndexed>>,
    data_dir: PathBuf,
    store_dir: PathBuf,
}

/// The batches that searches know to be wholly in the store.
#[derive(Debug)]
struct KnownIndexed {
    /// The files of ledger and index.
    of: [Option<FileIdentity>; 2],
    since: Instant,
    batches: Arc<IndexedBatches>,
}

impl Handles {
    fn with_ledger<T>(&self, read: impl FnOnce(&Ledger) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let ledger = self.take_ledger()?;
        let outcome = read(&ledger.database);
        if outcome.is_ok() {
            self.ledgers.give_back(ledger);
        }
        outcome
    }

    fn take_ledger(&self) -> Result<TakenFile<Ledger>, LedgerError> {
        self.ledgers.take(|| Ledger::open_read_only(&self.data_dir))
    }

    fn take_index(&self) -> Result<TakenFile<IndexReader>, IndexError> {
        self.indexes.take(|| IndexReader::open(&self.store_dir))
    }

    /// What is known of the batches of these files. The indexer begins anew if it must, so nothing is known for long.
    fn indexed(&self) -> Arc<IndexedBatches> {
        let of = [
            file_pool::identity(&self.data_dir.join(logferry_ledger::FILE_NAME)),
            file_pool::identity(&self.store_dir.join(logferry_numbers::FILE_NAME)),
        ];
        let mut known = self.indexed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_current = |it: &KnownIndexed| it.of == of && it.since.elapsed() < INDEXED_KNOWN;
        if !known.as_ref().is_some_and(is_current) {
            *known = None;
        }
        let new = || KnownIndexed {
            of,
            since: Instant::now(),
            batches: Arc::default(),
        };
        Arc::clone(&known.get_or_insert_with(new).batches)
    }
}

impl ReadHost {
    pub(crate) fn new(settings: &ConsoleSettings) -> Self {
        Self(Arc::new(Handles {
            ledgers: FilePool::new(settings.data_dir.join(logferry_ledger::FILE_NAME)),
            indexes: FilePool::new(settings.store_dir.join(logferry_numbers::FILE_NAME)),
            indexed: Mutex::default(),
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
        blocking(move || Ok(handles.with_ledger(read)?)).await
    }

    /// Reads the ledger on this thread, which must be one for blocking work.
    pub(crate) fn read_here<T>(
        &self,
        read: impl FnOnce(&Ledger) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        self.0.with_ledger(read)
    }

    /// The same, for a read that fails otherwise too. It runs on this thread, which must be one for blocking work.
    pub(crate) fn with_ledger<T>(
        &self,
        read: impl FnOnce(&Ledger) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let ledger = self.0.take_ledger()?;
        let outcome = read(&ledger.database);
        // What failed need not be the ledger.
        self.0.ledgers.give_back(ledger);
        outcome
    }

    /// Reads the indexer's numbers on a thread for blocking work.
    pub(crate) async fn index<T: Send + 'static>(
        &self,
        read: impl FnOnce(&IndexReader) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, Problem> {
        let handles = Arc::clone(&self.0);
        blocking(move || {
            let index = handles.take_index()?;
            let outcome = read(&index.database)?;
            if index.database.sees_changes() {
                handles.indexes.give_back(index);
            }
            Ok(outcome)
        })
        .await
    }

    /// Reads with the index, and with what is known of its batches, on this thread, which must be one for blocking work. `None`:
    /// there is no index, or it cannot be kept open; whoever reads opens it and says what is wrong.
    pub(crate) fn with_kept_index<T>(
        &self,
        read: impl FnOnce(Option<KeptIndex<'_>>) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        // Before the index is opened: what is known of another one is left aside.
        let indexed = self.0.indexed();
        let index = match self.0.take_index() {
            Ok(index) if index.database.sees_changes() => index,
            _ => return read(None),
        };
        let outcome = read(Some(KeptIndex {
            reader: &index.database,
            indexed: &indexed,
        }));
        if outcome.is_ok() {
            self.0.indexes.give_back(index);
        }
        outcome
    }
}

/// Runs work that may wait for a disk.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|error| Err(Problem::internal(&error.to_string())))
}
