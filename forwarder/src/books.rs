//! The ledger and the spool's folders, kept in step: the ledger decides, the folder follows.
//!
//! Shared by the workers under one lock, so that two destinations that get a batch at the same moment cannot both take
//! the other for the last.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use logferry_durable::{Disk, DiskError, RealDisk};
use logferry_ledger::{Batch, BatchState, Delivery, Ledger, LedgerError, Published};
use logferry_protocol::names::DestinationName;
use tracing::{info, warn};

use crate::retry::Verdict;

/// The ledger or the spool could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Where a sealed batch's file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// In the folder of its state, ready to be read.
    At(PathBuf),
    /// Still in `open/`: the relay is about to move it.
    WithRelay,
    /// Nowhere; it should be here.
    Missing(PathBuf),
}

/// The ledger and the spool, as the forwarder uses them.
#[derive(Debug)]
pub(crate) struct Books {
    ledger: Ledger,
    disk: RealDisk,
    data_dir: PathBuf,
    destinations: Vec<DestinationName>,
}

impl Books {
    /// Opens the ledger, which must be there, and makes the forwarder's folders. `destinations`: all that a batch
    /// must be delivered to before it counts as sent.
    pub(crate) fn open(data_dir: &Path, destinations: Vec<DestinationName>) -> Result<Self, BooksError> {
        let books = Self {
            ledger: Ledger::open(data_dir)?,
            disk: RealDisk,
            data_dir: data_dir.to_owned(),
            destinations,
        };
        for state in [BatchState::Ready, BatchState::Sent, BatchState::Failed] {
            books.disk.create_dir_all(&books.folder(state))?;
        }
        Ok(books)
    }

    /// Moves every file in `ready/` and `failed/` to where the ledger says its batch is. A file that the ledger
    /// cannot explain is reported and left alone.
    pub(crate) fn reconcile(&mut self) -> Result<(), BooksError> {
        let waiting = self.waiting_batches()?;
        let names: HashSet<_> = waiting.iter().map(Batch::file_name).collect();
        for found_in in [BatchState::Ready, BatchState::Failed] {
            for (path, file) in self.files_in(found_in)? {
                if !names.contains(&file) {
                    self.reconcile_file(found_in, &path, &file)?;
                }
            }
        }
        Ok(())
    }

    /// A file of no batch that waits: of one that was sent, or a stranger.
    fn reconcile_file(&mut self, found_in: BatchState, path: &Path, file: &str) -> Result<(), BooksError> {
        let batch = match file.strip_suffix(".log") {
            Some(name) => self.ledger.batch_named(name)?,
            None => None,
        };
        match batch {
            Some(batch) if batch.state == BatchState::Sent && self.path_in(found_in, &batch) == path => {
                info!(batch = %batch.name(), from = %found_in, "moving a sent batch to where it belongs");
                self.relocate(&batch, found_in, batch.state)
            }
            _ => {
                warn!(file = %path.display(), "no batch of the ledger has its file here; it is left alone");
                Ok(())
            }
        }
    }

    /// The files in the source folders of a state's folder: path and name.
    fn files_in(&self, state: BatchState) -> Result<Vec<(PathBuf, String)>, BooksError> {
        let mut files = Vec::new();
        for source in self.disk.list(&self.folder(state))? {
            let dir = self.folder(state).join(source);
            if dir.is_dir() {
                let names = self.disk.list(&dir)?;
                files.extend(names.into_iter().map(|name| (dir.join(&name), name)));
            }
        }
        Ok(files)
    }

    /// The sealed batches that are not sent, with what is known of each at `destination`.
    pub(crate) fn waiting(
        &self,
        destination: &DestinationName,
    ) -> Result<Vec<(Batch, Option<Delivery>)>, BooksError> {
        let with_delivery = |batch: Batch| {
            let delivery = self.ledger.delivery(batch.id, destination)?;
            Ok((batch, delivery))
        };
        self.waiting_batches()?.into_iter().map(with_delivery).collect()
    }

    /// The sealed batches that are not sent. Their files are moved to the folders of their states on the way: a
    /// `logferry retry` or a crash may have changed only the ledger.
    fn waiting_batches(&self) -> Result<Vec<Batch>, BooksError> {
        let mut batches = self.ledger.batches_in(BatchState::Ready)?;
        batches.extend(self.ledger.batches_in(BatchState::Failed)?);
        for batch in &batches {
            let elsewhere = match batch.state {
                BatchState::Ready => BatchState::Failed,
                _ => BatchState::Ready,
            };
            if !self.is_in(batch.state, batch)? && self.is_in(elsewhere, batch)? {
                info!(batch = %batch.name(), from = %elsewhere, to = %batch.state, "moving a batch to its folder");
                self.relocate(batch, elsewhere, batch.state)?;
            }
        }
        Ok(batches)
    }

    /// Finds a waiting batch's file.
    pub(crate) fn locate(&self, batch: &Batch) -> Result<Whereabouts, BooksError> {
        // In the order in which others move files, so that one on its way is not missed: the relay moves from `open/`
        // to `ready/`, and another destination's worker, since the plan was made, from there to `failed/`.
        if self.is_in(BatchState::Open, batch)? {
            return Ok(Whereabouts::WithRelay);
        }
        Ok(match self.folder_of(batch)? {
            Some(state) => Whereabouts::At(self.path_in(state, batch)),
            None => Whereabouts::Missing(self.path_in(batch.state, batch)),
        })
    }

    /// Notes that a batch is at a destination; when it is at all of them, it is sent.
    pub(crate) fn delivered(
        &mut self,
        batch: &Batch,
        destination: &DestinationName,
        published: &Published,
        now: Timestamp,
    ) -> Result<(), BooksError> {
        let deliveries = self.ledger.deliveries(batch.id)?;
        let has_it = |name: &DestinationName| {
            name == destination
                || deliveries
                    .iter()
                    .any(|delivery| delivery.destination == *name && delivery.delivered_at.is_some())
        };
        let is_last = self.destinations.iter().all(has_it);
        // 1. The ledger. A crash here leaves a sent batch's file in `ready/` or `failed/`; the next start moves it.
        self.ledger
            .record_delivery(batch.id, destination, published, is_last, now)?;
        // 2. The folder.
        if is_last && let Some(found_in) = self.folder_of(batch)? {
            self.relocate(batch, found_in, BatchState::Sent)?;
        }
        Ok(())
    }

    /// Notes a failed attempt, and moves the batch to `failed/` if it is given up.
    pub(crate) fn failed(
        &mut self,
        batch: &Batch,
        destination: &DestinationName,
        error: &str,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<(), BooksError> {
        let (wait, gave_up) = match verdict {
            Verdict::TryAgain(wait) => (wait, false),
            Verdict::GiveUp(wait) => (wait, true),
        };
        // 1. The ledger. A crash here leaves a failed batch's file in `ready/`; the next look at what waits moves it.
        self.ledger
            .record_failure(batch.id, destination, error, later(now, wait), gave_up)?;
        // 2. The folder.
        if gave_up && self.folder_of(batch)? == Some(BatchState::Ready) {
            self.relocate(batch, BatchState::Ready, BatchState::Failed)?;
        }
        Ok(())
    }

    /// Notes whether a destination answers; `error` says why not.
    pub(crate) fn note_destination(
        &mut self,
        destination: &DestinationName,
        error: Option<&str>,
        now: Timestamp,
    ) -> Result<(), BooksError> {
        Ok(self.ledger.note_destination(destination, error, now)?)
    }

    /// The folder in which a sealed batch's file waits, if it is in one.
    fn folder_of(&self, batch: &Batch) -> Result<Option<BatchState>, BooksError> {
        for state in [BatchState::Ready, BatchState::Failed] {
            if self.is_in(state, batch)? {
                return Ok(Some(state));
            }
        }
        Ok(None)
    }

    fn is_in(&self, state: BatchState, batch: &Batch) -> Result<bool, BooksError> {
        Ok(self.disk.len(&self.path_in(state, batch))?.is_some())
    }

    fn relocate(&self, batch: &Batch, from: BatchState, to: BatchState) -> Result<(), BooksError> {
        let (from, to) = (self.path_in(from, batch), self.path_in(to, batch));
        if let Some(dir) = to.parent() {
            self.disk.create_dir_all(dir)?;
        }
        Ok(self.disk.rename(&from, &to)?)
    }

    fn folder(&self, state: BatchState) -> PathBuf {
        self.data_dir.join(state.as_str())
    }

    fn path_in(&self, state: BatchState, batch: &Batch) -> PathBuf {
        self.folder(state)
            .join(batch.source.as_str())
            .join(batch.file_name())
    }
}

/// The time so much later, or the last one there is.
fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}
