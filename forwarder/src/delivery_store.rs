//! The ledger and the spool's folders, kept in step: the ledger decides, the folder follows.
//!
//! Shared by the workers under one lock. So of two destinations that get a batch at the same moment, exactly one sees
//! itself as the last.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::{DeliveryFilter, Subscriber};
use logferry_durable::{DiskError, RealDisk};
use logferry_ledger::{
    Batch, BatchState, Delivery, FailureKind, Ledger, LedgerError, ManifestRecord, PublishedBatch,
    PublishingNote,
};
use logferry_protocol::names::DestinationName;
use logferry_spool::{FileForm, Spool, SpoolFile};
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
}

impl DeliveryStore {
    /// Opens the ledger, which must exist, and creates the forwarder's folders. `subscribers`: all destinations. A batch is
    /// sent when every destination that wants it has it.
    pub(crate) fn open(data_dir: &Path, subscribers: Vec<Subscriber>) -> Result<Self, DeliveryStoreError> {
        let store = Self {
            ledger: Ledger::open(data_dir)?,
            spool: Spool::new(RealDisk, data_dir),
            subscribers,
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
                info!(batch = %batch.name(), "no other destination wants this batch any more; it is sent");
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
                "no destination wants some batches; they wait in ready/ until one does"
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
            info!(batch = %batch.name(), from = %file.state, "moving the file of a sent batch to sent/");
            self.spool.move_batch(&batch, file.state, batch.state)?;
        } else {
            warn!(file = %file.path.display(), "the ledger has no batch with a file here; the file is left alone");
        }
        Ok(())
    }

    /// The batches that a destination wants and may lack, each with its delivery there: the sealed batches that are not
    /// sent, except those whose files the relay has yet to move into `ready/`; and the sent batches that are to be resent.
    pub(crate) fn waiting(
        &self,
        destination: &DestinationName,
        filter: &DeliveryFilter,
    ) -> Result<Vec<WaitingBatch>, DeliveryStoreError> {
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
    /// be: `logferry retry` or a crash may have changed only the ledger.
    fn waiting_batches(&self) -> Result<Vec<(Batch, Option<SpoolFile>)>, DeliveryStoreError> {
        let mut batches = self.ledger.batches_in(BatchState::Ready)?;
        batches.extend(self.ledger.batches_in(BatchState::Failed)?);
        let mut waiting = Vec::with_capacity(batches.len());
        for batch in batches {
            let mut file = self.spool.find(&batch)?;
            if let Some(found) = &mut file
                && matches!(found.state, BatchState::Ready | BatchState::Failed)
                && found.state != batch.state
            {
                info!(batch = %batch.name(), from = %found.state, to = %batch.state, "moving a batch's file to the folder of its state");
                self.spool.move_batch(&batch, found.state, batch.state)?;
                *found = self.spool.file(&batch, batch.state, found.form);
            }
            waiting.push((batch, file));
        }
        Ok(waiting)
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
        // 2. The folders.
        let mut moves = Vec::new();
        for ((batch, _), (.., is_last)) in delivered.iter().zip(&records) {
            if *is_last && let Some(found_in) = self.spool.waits_in(batch)? {
                moves.push((*batch, found_in, BatchState::Sent));
            }
        }
        Ok(self.spool.move_batches(&moves)?)
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

    /// Notes each file that is about to be published, before it is; `None` removes the note.
    pub(crate) fn note_publishing(
        &mut self,
        destination: &DestinationName,
        notes: &[(DeliveryId, Option<PublishingNote>)],
    ) -> Result<(), DeliveryStoreError> {
        let (mut batches, mut manifests) = (Vec::new(), Vec::new());
        for (id, note) in notes {
            match id {
                DeliveryId::Batch(id) => batches.push((*id, note.clone())),
                DeliveryId::WindowManifest(id) => {
                    manifests.push((*id, note.as_ref().map(|note| &*note.place)));
                }
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
        if gave_up && self.spool.waits_in(batch)? == Some(BatchState::Ready) {
            self.spool
                .move_batch(batch, BatchState::Ready, BatchState::Failed)?;
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
