//! The ledger and the spool's folders, kept in step: the ledger decides, the folder follows.
//!
//! Shared by the workers under one lock. So of two destinations that get a batch at the same moment, exactly one sees
//! itself as the last.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::{DeliveryFilter, Subscriber};
use logferry_durable::{DiskError, RealDisk};
use logferry_ledger::{
    Batch, BatchId, BatchState, Delivery, FailureKind, Ledger, LedgerError, ManifestRecord, PublishedBatch,
    PublishingNote,
};
use logferry_protocol::names::DestinationName;
use logferry_spool::{FileForm, Spool, SpoolFile};
use logferry_text::error_chain;
use tracing::{info, warn};

use crate::publish::task::DeliveryId;
use crate::schedule::plan::{WaitingBatch, wants_batch};
use crate::schedule::retry::RetryDecision;
use crate::window_manifest::writer::ManifestWriter;

/// The ledger or the spool could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryStoreError {
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The ledger and the spool, as the forwarder uses them.
#[derive(Debug)]
pub(crate) struct DeliveryStore {
    /// For records that no file follows.
    pub(crate) ledger: Ledger,
    spool: Spool<RealDisk>,
    subscribers: Vec<Subscriber>,
    /// Batches whose file could not be found, or not be moved to the folder of their state. Each plan tries again.
    unmoved: BTreeMap<BatchId, Batch>,
}

impl DeliveryStore {
    /// Opens the ledger, which must exist, and creates the forwarder's folders. `subscribers`: all destinations. A batch is
    /// sent when every destination that wants it has it.
    pub(crate) fn open(data_dir: &Path, subscribers: Vec<Subscriber>) -> Result<Self, DeliveryStoreError> {
        let store = Self {
            ledger: Ledger::open(data_dir)?,
            spool: Spool::new(RealDisk, data_dir),
            subscribers,
            unmoved: BTreeMap::new(),
        };
        let states = [BatchState::Ready, BatchState::Sent, BatchState::Failed];
        store.spool.create_state_folders(&states)?;
        Ok(store)
    }

    /// Notes in the ledger what each destination wants, and moves every file in `ready/` and `failed/` to the folder of its
    /// batch's state. A file that the ledger does not know is reported and left where it is.
    pub(crate) fn reconcile(&mut self, now: Timestamp) -> Result<(), DeliveryStoreError> {
        let subscriptions: Vec<_> = self
            .subscribers
            .iter()
            .map(|subscriber| (subscriber.name.clone(), subscriber.filter.to_string()))
            .collect();
        self.ledger.note_subscriptions(&subscriptions, now)?;
        self.apply_changed_wants(now)?;
        let waiting = self.waiting_batches()?;
        let waiting: HashSet<_> = waiting.iter().map(|(batch, _)| batch.name()).collect();
        for state in [BatchState::Ready, BatchState::Failed] {
            for file in self.spool.files_in(state)? {
                let is_waiting = file.form == FileForm::Plain && waiting.contains(&file.batch_name);
                if file.source.is_some() && !is_waiting {
                    self.reconcile_file(&file)?;
                }
            }
        }
        Ok(())
    }

    /// Marks the batches as sent that waited only for destinations which no longer want them. A batch that no destination
    /// has and none wants is not sent: it waits until one wants it.
    fn apply_changed_wants(&mut self, now: Timestamp) -> Result<(), DeliveryStoreError> {
        let mut unwanted = 0_u64;
        for (batch, _) in self.waiting_batches()? {
            let deliveries = self.ledger.deliveries(batch.id)?;
            let is_delivered = deliveries.iter().any(|delivery| delivery.delivered_at.is_some());
            if is_delivered && self.wanting(&batch).all(|name| has_batch(&deliveries, name)) {
                let name = batch.name();
                info!(
                    batch = name,
                    "batch {name}: no other destination wants it any more, so it counts as sent"
                );
                self.ledger.mark_sent(batch.id, now)?;
            } else if !is_delivered && self.wanting(&batch).next().is_none() {
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
                "no destination wants some batches: {unwanted}; they wait in ready/ until one is configured that takes their \
                 source, group and log"
            );
        }
        Ok(())
    }

    /// The destinations that want a batch.
    fn wanting<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = &'a DestinationName> {
        let subscribers = self.subscribers.iter();
        let wanting = subscribers.filter(|subscriber| wants_batch(&subscriber.filter, batch));
        wanting.map(|subscriber| &subscriber.name)
    }

    /// Handles a file whose batch does not wait for delivery: the batch was sent, or the ledger does not know it.
    fn reconcile_file(&mut self, file: &SpoolFile) -> Result<(), DeliveryStoreError> {
        let batch = match file.form {
            FileForm::Plain => self.ledger.batch_named(&file.batch_name)?,
            _ => None,
        };
        let is_sent = |batch: &Batch| {
            batch.state == BatchState::Sent && self.spool.path(batch, file.state) == file.path
        };
        if let Some(batch) = batch.filter(is_sent) {
            let (name, from) = (batch.name(), file.state);
            info!(batch = name, %from, "batch {name} is sent: its file moves from {from}/ to sent/");
            self.move_file(&batch, file.state, batch.state);
        } else {
            let path = file.path.display();
            warn!(file = %path, "{path} is no file of a batch that the ledger knows; it is left alone, `logferry fsck` says more");
        }
        Ok(())
    }

    /// The batches that a destination wants and may lack, each with its delivery there: the sealed batches that are not
    /// sent, except those whose files the relay has yet to move into `ready/`; and the sent batches that are to be resent.
    pub(crate) fn waiting(
        &mut self,
        destination: &DestinationName,
        filter: &DeliveryFilter,
    ) -> Result<Vec<WaitingBatch>, DeliveryStoreError> {
        self.finish_moves()?;
        let mut candidates = self.waiting_batches()?;
        candidates.retain(|(_, file)| file.as_ref().is_none_or(|file| file.state != BatchState::Open));
        let resent = self.ledger.resend_requests_for(destination)?;
        candidates.extend(resent.into_iter().map(|batch| (batch, None)));
        let mut waiting = Vec::new();
        for (batch, file) in candidates {
            if wants_batch(filter, &batch) {
                let delivery = self.ledger.delivery(batch.id, destination)?;
                waiting.push(WaitingBatch {
                    batch,
                    delivery,
                    file,
                });
            }
        }
        Ok(waiting)
    }

    /// The sealed batches that are not sent, each with its file. Moves a file to the folder of its batch's state if need
    /// be: `logferry retry` or a crash may have changed only the ledger. A batch whose folder cannot be read is left out:
    /// it holds up no other.
    fn waiting_batches(&mut self) -> Result<Vec<(Batch, Option<SpoolFile>)>, DeliveryStoreError> {
        let mut batches = self.ledger.batches_in(BatchState::Ready)?;
        batches.extend(self.ledger.batches_in(BatchState::Failed)?);
        let mut waiting = Vec::with_capacity(batches.len());
        for batch in batches {
            let mut file = match self.find_waiting(&batch) {
                Ok(file) => file,
                Err(error) => {
                    self.note_unmoved(&batch, &error);
                    continue;
                }
            };
            if let Some(found) = &mut file
                && matches!(found.state, BatchState::Ready | BatchState::Failed)
                && found.state != batch.state
                && self.move_file(&batch, found.state, batch.state)
            {
                *found = self.spool.file(&batch, batch.state, found.form);
            }
            waiting.push((batch, file));
        }
        Ok(waiting)
    }

    /// Finds a batch's file: where it waits, or in any folder. A folder that cannot be read does not hide a waiting file.
    fn find_waiting(&self, batch: &Batch) -> Result<Option<SpoolFile>, DiskError> {
        match self.spool.waits_in(batch)? {
            Some(state) => Ok(Some(self.spool.file(batch, state, FileForm::Plain))),
            None => self.spool.find(batch),
        }
    }

    /// Records that batches are at a destination. A batch that every destination which wants it now has is sent.
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
        // 1. The ledger. A crash after this leaves files of sent batches in `ready/` or `failed/`; the next start moves them.
        self.ledger
            .record_deliveries(destination, records.iter().copied(), now)?;
        // 2. The folders. The delivery is recorded, whatever happens here.
        let sent = delivered.iter().zip(&records);
        let sent: Vec<_> = sent
            .filter(|(_, (.., is_last))| *is_last)
            .map(|((batch, _), _)| *batch)
            .collect();
        self.move_sent(&sent);
        Ok(())
    }

    /// Moves the files of sent batches, together if possible.
    fn move_sent(&mut self, batches: &[&Batch]) {
        let found_in = |batch: &&Batch| self.spool.waits_in(batch).ok().flatten();
        let moves: Vec<_> = batches
            .iter()
            .filter_map(|batch| Some((*batch, found_in(batch)?, BatchState::Sent)))
            .collect();
        if moves.len() == batches.len() && self.spool.move_batches(&moves).is_ok() {
            return;
        }
        // One by one: a folder that cannot be made or read keeps no other source's file.
        for batch in batches {
            self.follow(batch, BatchState::Sent);
        }
    }

    /// Moves a batch's file from `ready/` or `failed/` to the folder of its state, or notes that this is to be done.
    fn follow(&mut self, batch: &Batch, state: BatchState) {
        match self.spool.waits_in(batch) {
            Ok(Some(found_in)) if found_in != state => {
                self.move_file(batch, found_in, state);
            }
            Ok(_) => {
                self.unmoved.remove(&batch.id);
            }
            Err(error) => self.note_unmoved(batch, &error),
        }
    }

    /// Moves a batch's file; false if that failed. Then it is noted, and done as soon as it can be.
    fn move_file(&mut self, batch: &Batch, from: BatchState, to: BatchState) -> bool {
        match self.spool.move_batch(batch, from, to) {
            Ok(()) => {
                self.unmoved.remove(&batch.id);
                let name = batch.name();
                info!(batch = name, %from, %to, "the file of batch {name} was moved from {from}/ to {to}/, as the ledger says");
                true
            }
            Err(error) => {
                self.note_unmoved(batch, &error);
                false
            }
        }
    }

    /// Says once for a batch that its file cannot be found or moved.
    fn note_unmoved(&mut self, batch: &Batch, error: &DiskError) {
        if self.unmoved.insert(batch.id, batch.clone()).is_none() {
            warn!(batch = %batch.name(), error = error_chain(error), "cannot find a batch's file, or move it to the folder of its state; trying again every second");
        }
    }

    /// Whether files wait to be moved.
    pub(crate) fn has_unmoved(&self) -> bool {
        !self.unmoved.is_empty()
    }

    /// Moves the files whose move failed, as far as that is possible now.
    fn finish_moves(&mut self) -> Result<(), DeliveryStoreError> {
        for (id, batch) in self.unmoved.clone() {
            // Its state may have changed since.
            match self.ledger.batch_named(&batch.name())? {
                Some(batch) if batch.state != BatchState::Open => self.follow(&batch, batch.state),
                _ => drop(self.unmoved.remove(&id)),
            }
        }
        Ok(())
    }

    /// Whether a batch becomes sent with this delivery: all other destinations that want it have it.
    fn is_last(&self, batch: &Batch, destination: &DestinationName) -> Result<bool, DeliveryStoreError> {
        if batch.state == BatchState::Sent {
            return Ok(false);
        }
        let mut others = self.wanting(batch).filter(|name| *name != destination).peekable();
        if others.peek().is_none() {
            return Ok(true);
        }
        let deliveries = self.ledger.deliveries(batch.id)?;
        Ok(others.all(|name| has_batch(&deliveries, name)))
    }

    /// Notes each file that is about to be published, before it is, and each attempt that gives up, before it removes
    /// anything; `None` removes the note.
    pub(crate) fn note_publishing(
        &mut self,
        destination: &DestinationName,
        notes: &[(DeliveryId, Option<PublishingNote>)],
    ) -> Result<(), DeliveryStoreError> {
        let (mut batches, mut manifests) = (Vec::new(), Vec::new());
        for (id, note) in notes {
            match id {
                DeliveryId::Batch(id) => batches.push((*id, note.clone())),
                DeliveryId::WindowManifest(id) => manifests.push((*id, note.clone())),
            }
        }
        if !batches.is_empty() {
            self.ledger.note_publishing(destination, &batches)?;
        }
        if !manifests.is_empty() {
            self.ledger.note_manifest_publishing(&manifests)?;
        }
        Ok(())
    }

    /// Records a failed attempt, and moves the batch to `failed/` if it is given up.
    pub(crate) fn batch_failed(
        &mut self,
        batch: &Batch,
        destination: &DestinationName,
        error: (FailureKind, &str),
        decision: RetryDecision,
        now: Timestamp,
    ) -> Result<(), DeliveryStoreError> {
        let RetryDecision { wait, gave_up } = decision;
        let next = later(now, wait);
        // 1. The ledger. A crash after this leaves a failed batch's file in `ready/`; the next plan moves it.
        self.ledger
            .record_failure(batch.id, destination, error, next, gave_up)?;
        // 2. The folder.
        if gave_up && batch.state != BatchState::Sent {
            self.follow(batch, BatchState::Failed);
        }
        Ok(())
    }

    /// Writes the window manifests that are due now, and lists those that are not delivered.
    pub(crate) fn manifests(
        &mut self,
        writer: &mut ManifestWriter,
        destination: &DestinationName,
        now: Timestamp,
    ) -> Result<Vec<ManifestRecord>, DeliveryStoreError> {
        writer.write(&mut self.ledger, now)?;
        Ok(self.ledger.waiting_manifests(destination)?)
    }
}

/// Whether a destination has the batch of these deliveries.
fn has_batch(deliveries: &[Delivery], destination: &DestinationName) -> bool {
    deliveries
        .iter()
        .any(|delivery| delivery.destination == *destination && delivery.delivered_at.is_some())
}

/// `now` plus `wait`, at most the largest time.
pub(crate) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}
