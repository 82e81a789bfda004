//! The ledger and the spool's folders, kept in step: the ledger decides, the folder follows.
//!
//! Shared by the workers under one lock, so that two destinations that get a batch at the same moment cannot both take
//! the other for the last.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::{DeliveryFilter, Subscriber};
use logferry_durable::{Disk, DiskError, RealDisk};
use logferry_ledger::{
    Batch, BatchId, BatchState, Delivery, FailureKind, Ledger, LedgerError, ManifestId, ManifestRecord,
    PublishedBatch, PublishingNote, TransferRecord,
};
use logferry_protocol::names::DestinationName;
use tracing::{info, warn};

use crate::schedule::retry::RetryDecision;
use crate::source::Spool;
use crate::window_manifest::writer::ManifestWriter;

/// The ledger or the spool could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryStoreError {
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The ledger and the spool, as the forwarder uses them.
#[derive(Debug)]
pub(crate) struct DeliveryStore {
    ledger: Ledger,
    disk: RealDisk,
    spool: Spool,
    subscribers: Vec<Subscriber>,
}

impl DeliveryStore {
    /// Opens the ledger, which must be there, and makes the forwarder's folders. `subscribers`: all destinations; a
    /// batch is sent when those of them that want it have it.
    pub(crate) fn open(data_dir: &Path, subscribers: Vec<Subscriber>) -> Result<Self, DeliveryStoreError> {
        let store = Self {
            ledger: Ledger::open(data_dir)?,
            disk: RealDisk,
            spool: Spool::new(data_dir),
            subscribers,
        };
        for state in [BatchState::Ready, BatchState::Sent, BatchState::Failed] {
            store.disk.create_dir_all(&store.spool.folder(state))?;
        }
        Ok(store)
    }

    /// Notes who gets what now, and moves every file in `ready/` and `failed/` to where the ledger says its batch is.
    /// A file that the ledger cannot explain is reported and left alone.
    pub(crate) fn reconcile(&mut self, now: Timestamp) -> Result<(), DeliveryStoreError> {
        let subscriptions: Vec<_> = self
            .subscribers
            .iter()
            .map(|subscriber| (subscriber.name.clone(), subscriber.filter.to_string()))
            .collect();
        self.ledger.note_subscriptions(&subscriptions, now)?;
        self.mark_unwanted_sent(now)?;
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

    /// Finds the batches that waited only for destinations which want them no longer: those are sent. What nobody
    /// wants and nobody has is not: it waits until somebody does.
    fn mark_unwanted_sent(&mut self, now: Timestamp) -> Result<(), DeliveryStoreError> {
        let mut unwanted = 0_u64;
        for batch in self.waiting_batches()? {
            let deliveries = self.ledger.deliveries(batch.id)?;
            let is_anywhere = deliveries.iter().any(|delivery| delivery.delivered_at.is_some());
            if is_anywhere && self.wanting(&batch).all(|name| has(&deliveries, name)) {
                info!(batch = %batch.name(), "no other destination wants this batch any more, it is sent");
                self.ledger.mark_sent(batch.id, now)?;
            } else if !is_anywhere && self.wanting(&batch).next().is_none() {
                unwanted += 1;
            }
        }
        for (batch, destination) in self.ledger.resend_requests()? {
            if !self.wanting(&batch).any(|name| *name == destination) {
                self.ledger.cancel_resend(batch.id, &destination)?;
            }
        }
        if unwanted > 0 {
            warn!(
                batches = unwanted,
                "no destination wants some batches, they wait in ready/ until one does"
            );
        }
        Ok(())
    }

    /// The destinations that want a batch.
    fn wanting<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = &'a DestinationName> {
        let wanting = self
            .subscribers
            .iter()
            .filter(|subscriber| wants_batch(&subscriber.filter, batch));
        wanting.map(|subscriber| &subscriber.name)
    }

    /// A file of no batch that waits: of one that was sent, or a stranger.
    fn reconcile_file(
        &mut self,
        found_in: BatchState,
        path: &Path,
        file: &str,
    ) -> Result<(), DeliveryStoreError> {
        let batch = match file.strip_suffix(".log") {
            Some(name) => self.ledger.batch_named(name)?,
            None => None,
        };
        match batch {
            Some(batch)
                if batch.state == BatchState::Sent && self.spool.path_in(found_in, &batch) == path =>
            {
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
    fn files_in(&self, state: BatchState) -> Result<Vec<(PathBuf, String)>, DeliveryStoreError> {
        let mut files = Vec::new();
        for source in self.disk.list(&self.spool.folder(state))? {
            let dir = self.spool.folder(state).join(source);
            if dir.is_dir() {
                let names = self.disk.list(&dir)?;
                files.extend(names.into_iter().map(|name| (dir.join(&name), name)));
            }
        }
        Ok(files)
    }

    /// The batches that a destination wants and may lack, with what is known of each there: the sealed ones that are
    /// not sent, without those whose files the relay is about to move into `ready/`, and the sent ones that somebody
    /// asked for.
    pub(crate) fn waiting(
        &self,
        destination: &DestinationName,
        filter: &DeliveryFilter,
    ) -> Result<Vec<(Batch, Option<Delivery>)>, DeliveryStoreError> {
        let mut waiting = Vec::new();
        let wanted = |batch: &Batch| wants_batch(filter, batch);
        for batch in self.waiting_batches()?.into_iter().filter(wanted) {
            if !self.spool.is_in(BatchState::Open, &batch)? {
                let delivery = self.ledger.delivery(batch.id, destination)?;
                waiting.push((batch, delivery));
            }
        }
        for batch in self
            .ledger
            .resend_requests_for(destination)?
            .into_iter()
            .filter(wanted)
        {
            let delivery = self.ledger.delivery(batch.id, destination)?;
            waiting.push((batch, delivery));
        }
        Ok(waiting)
    }

    /// The sealed batches that are not sent. Their files are moved to the folders of their states on the move_paths: a
    /// `logferry retry` or a crash may have changed only the ledger.
    fn waiting_batches(&self) -> Result<Vec<Batch>, DeliveryStoreError> {
        let mut batches = self.ledger.batches_in(BatchState::Ready)?;
        batches.extend(self.ledger.batches_in(BatchState::Failed)?);
        for batch in &batches {
            let elsewhere = match batch.state {
                BatchState::Ready => BatchState::Failed,
                _ => BatchState::Ready,
            };
            if !self.spool.is_in(batch.state, batch)? && self.spool.is_in(elsewhere, batch)? {
                info!(batch = %batch.name(), from = %elsewhere, to = %batch.state, "moving a batch to its folder");
                self.relocate(batch, elsewhere, batch.state)?;
            }
        }
        Ok(batches)
    }

    /// Notes that batches are at a destination; those that are now wherever they are wanted are sent.
    pub(crate) fn delivered(
        &mut self,
        destination: &DestinationName,
        delivered: &[(&Batch, &PublishedBatch)],
        now: Timestamp,
    ) -> Result<(), DeliveryStoreError> {
        let mut records = Vec::with_capacity(delivered.len());
        for (batch, published) in delivered {
            records.push((batch.id, *published, self.is_last(batch, destination)?));
        }
        // 1. The ledger. A crash here leaves sent batches' files in `ready/` or `failed/`; the next start moves them.
        self.ledger
            .record_deliveries(destination, records.iter().copied(), now)?;
        // 2. The folders.
        let mut moves = Vec::new();
        for ((batch, _), (.., is_last)) in delivered.iter().zip(&records) {
            if *is_last && let Some(found_in) = self.spool.folder_of(batch)? {
                moves.push(self.move_paths(batch, found_in, BatchState::Sent)?);
            }
        }
        Ok(self.disk.rename_all(&moves)?)
    }

    /// Whether a batch that is not sent yet is so once this destination has it: all others that want it have it.
    fn is_last(&self, batch: &Batch, destination: &DestinationName) -> Result<bool, DeliveryStoreError> {
        if batch.state == BatchState::Sent {
            return Ok(false);
        }
        let mut others = self.wanting(batch).filter(|name| *name != destination).peekable();
        if others.peek().is_none() {
            return Ok(true);
        }
        let deliveries = self.ledger.deliveries(batch.id)?;
        Ok(others.all(|name| has(&deliveries, name)))
    }

    /// Notes what is about to be published, before it is.
    pub(crate) fn note_publishing(
        &mut self,
        destination: &DestinationName,
        notes: &[(BatchId, Option<PublishingNote>)],
    ) -> Result<(), DeliveryStoreError> {
        Ok(self.ledger.note_publishing(destination, notes)?)
    }

    /// Notes a failed attempt, and moves the batch to `failed/` if it is given up.
    pub(crate) fn failed(
        &mut self,
        batch: &Batch,
        destination: &DestinationName,
        error: (FailureKind, &str),
        verdict: RetryDecision,
        now: Timestamp,
    ) -> Result<(), DeliveryStoreError> {
        let (wait, gave_up) = match verdict {
            RetryDecision::TryAgain(wait) => (wait, false),
            RetryDecision::GiveUp(wait) => (wait, true),
        };
        // 1. The ledger. A crash here leaves a failed batch's file in `ready/`; the next look at what waits moves it.
        self.ledger
            .record_failure(batch.id, destination, error, later(now, wait), gave_up)?;
        // 2. The folder.
        if gave_up && self.spool.folder_of(batch)? == Some(BatchState::Ready) {
            self.relocate(batch, BatchState::Ready, BatchState::Failed)?;
        }
        Ok(())
    }

    /// Writes the manifests that are due now, and lists those that a destination does not have yet.
    pub(crate) fn manifests(
        &mut self,
        manifest_writer: &mut ManifestWriter,
        destination: &DestinationName,
        now: Timestamp,
    ) -> Result<Vec<ManifestRecord>, DeliveryStoreError> {
        manifest_writer.write(&mut self.ledger, now)?;
        Ok(self.ledger.waiting_manifests(destination)?)
    }

    /// Notes that a destination gets no manifests.
    pub(crate) fn end_manifests(&mut self, destination: &DestinationName) -> Result<(), DeliveryStoreError> {
        Ok(self.ledger.end_manifests(destination)?)
    }

    /// Notes what came of a manifest: its path at the destination, or what went wrong and how long to wait.
    pub(crate) fn posted(
        &mut self,
        manifest: ManifestId,
        result: Result<&str, (&str, Duration)>,
        now: Timestamp,
    ) -> Result<(), DeliveryStoreError> {
        match result {
            Ok(path) => self.ledger.manifest_delivered(manifest, path, now)?,
            Err((error, wait)) => self.ledger.manifest_failed(manifest, error, later(now, wait))?,
        }
        Ok(())
    }

    /// Notes whether a destination answers; `error` says why not.
    pub(crate) fn note_destination(
        &mut self,
        destination: &DestinationName,
        error: Option<(FailureKind, &str)>,
        now: Timestamp,
    ) -> Result<(), DeliveryStoreError> {
        Ok(self.ledger.note_destination(destination, error, now)?)
    }

    /// Notes what is on its move_paths to a destination.
    pub(crate) fn record_transfers(
        &mut self,
        destination: &DestinationName,
        batches: &[TransferRecord],
        now: Timestamp,
    ) -> Result<(), DeliveryStoreError> {
        Ok(self.ledger.record_transfers(destination, batches, now)?)
    }

    fn relocate(&self, batch: &Batch, from: BatchState, to: BatchState) -> Result<(), DeliveryStoreError> {
        let (from, to) = self.move_paths(batch, from, to)?;
        Ok(self.disk.rename(&from, &to)?)
    }

    /// A batch's path in one state's folder and in another's, whose folder is there.
    fn move_paths(
        &self,
        batch: &Batch,
        from: BatchState,
        to: BatchState,
    ) -> Result<(PathBuf, PathBuf), DeliveryStoreError> {
        let (from, to) = (self.spool.path_in(from, batch), self.spool.path_in(to, batch));
        if let Some(dir) = to.parent() {
            self.disk.create_dir_all(dir)?;
        }
        Ok((from, to))
    }
}

/// Whether somebody who wants that wants a batch.
pub(crate) fn wants_batch(wants: &DeliveryFilter, batch: &Batch) -> bool {
    wants.accepts(&batch.source, &batch.group, batch.log.as_ref())
}

/// Whether a destination has what these deliveries are of.
fn has(deliveries: &[Delivery], destination: &DestinationName) -> bool {
    deliveries
        .iter()
        .any(|delivery| delivery.destination == *destination && delivery.delivered_at.is_some())
}

/// The time so much later, or the last one there is.
fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}
