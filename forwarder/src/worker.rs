//! One destination's worker: plans what its sessions deliver, and records the results.
//!
//! The reports that arrive while one record is being written are recorded together in the next transaction, and their
//! files are moved together: the slower the disk, the more reports share one transaction.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::Destination;
use logferry_durable::{ContentDigest, RealDisk};
use logferry_ledger::{Batch, FailureKind, ManifestRecord};
use logferry_spool::Spool;
use logferry_telemetry::{ForwarderMetrics, Metrics};
use logferry_text::error_chain;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::delivery_store::{DeliveryStore, DeliveryStoreError, later};
use crate::error::{DeliveryError, FailureScope};
use crate::lock;
use crate::publish::attempt::Delivered;
use crate::publish::publish_steps::PublishOutcome;
use crate::publish::task::{DeliveryItem, DeliveryTask};
use crate::schedule::plan::{Plan, due_manifests, plan, until};
use crate::schedule::queue::DeliveryQueue;
use crate::schedule::retry::{Admission, BackoffKind, CircuitBreaker, RetryDecision, decide_retry};
use crate::schedule::spool_watch::SpoolWatch;
use crate::session::bandwidth::Bandwidth;
use crate::session::progress::{PROGRESS_EVERY, TransferProgressTable};
use crate::session::session_thread::{Session, SessionReport, SessionShared};
use crate::ssh::{STOP_CHECK, credential_files};
use crate::window_manifest::writer::{ManifestWriter, WRITE_EVERY};

/// How often to check for new files in the spool while sessions are at work.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// The health of a destination as last noted in the ledger.
#[derive(Debug, PartialEq, Eq)]
enum NotedHealth {
    Unknown,
    Up,
    Down(FailureKind, String),
}

/// Delivers to one destination.
pub(crate) struct DestinationWorker {
    destination: Destination,
    data_dir: PathBuf,
    interval: Duration,
    store: Arc<Mutex<DeliveryStore>>,
    queue: Arc<DeliveryQueue>,
    watch: SpoolWatch,
    stop: CancellationToken,
    metrics: ForwarderMetrics,
    circuit: CircuitBreaker,
    /// The credential files as they were when the destination refused them.
    refused_credentials: Option<ContentDigest>,
    /// The credential files before any session that runs now can have read them.
    credentials_before: Option<ContentDigest>,
    progress_table: Arc<TransferProgressTable>,
    /// When the progress was last put into the ledger, and whether any batch was in flight.
    progress_noted: (Option<Instant>, bool),
    /// Writes window manifests, if the destination gets any; and when it last did.
    manifest_writer: Option<ManifestWriter>,
    wrote_at: Option<Instant>,
    noted_health: NotedHealth,
}

impl DestinationWorker {
    pub(crate) fn new(
        destination: Destination,
        data_dir: &Path,
        interval: Duration,
        store: &Arc<Mutex<DeliveryStore>>,
        stop: CancellationToken,
    ) -> Self {
        let metrics = Metrics::process().forwarder(destination.name.as_str());
        metrics.may_fail(FailureKind::ALL.map(FailureKind::as_str));
        Self {
            metrics,
            circuit: CircuitBreaker::new(destination.retry),
            watch: SpoolWatch::new(data_dir),
            data_dir: data_dir.to_owned(),
            store: Arc::clone(store),
            queue: Arc::default(),
            refused_credentials: None,
            credentials_before: None,
            progress_table: Arc::default(),
            // True: a forwarder that was killed may have left its progress in the ledger.
            progress_noted: (None, true),
            manifest_writer: ManifestWriter::new(&destination),
            wrote_at: None,
            noted_health: NotedHealth::Unknown,
            destination,
            interval,
            stop,
        }
    }

    /// Delivers until told to stop.
    pub(crate) fn run(mut self) {
        let (reports, received) = channel();
        let shared = SessionShared {
            destination: self.destination.clone(),
            spool: Spool::new(RealDisk, &self.data_dir),
            store: Arc::clone(&self.store),
            queue: Arc::clone(&self.queue),
            bandwidth: Arc::new(Mutex::new(Bandwidth::new(
                self.destination.bandwidth,
                Instant::now(),
            ))),
            connect_limiter: Arc::default(),
            progress_table: Arc::clone(&self.progress_table),
            reports,
            stop: self.stop.clone(),
        };
        thread::scope(|scope| {
            for number in 0..self.destination.sessions {
                let session = Session::new(shared.clone(), number);
                scope.spawn(move || session.run());
            }
            // The channel closes with the last session.
            drop(shared);
            while !self.stop.is_cancelled() {
                let done = self
                    .plan()
                    .and_then(|pause| self.process_reports(&received, pause));
                if !self.log_if_failed(&done) {
                    self.watch.wait(STOP_CHECK);
                }
            }
            self.queue.close();
            while let Ok(first) = received.recv() {
                let recorded = self.record(first, &received);
                self.log_if_failed(&recorded);
            }
        });
        self.progress_noted.0 = None;
        let noted = self.note_progress();
        self.log_if_failed(&noted);
    }

    /// Logs an error. Nothing is lost by one: unrecorded results are found again in the spool and at the destination.
    fn log_if_failed<T>(&self, result: &Result<T, DeliveryStoreError>) -> bool {
        if let Err(error) = result {
            error!(destination = %self.destination.name, error = error_chain(error), "cannot use the ledger or move files in the spool; trying again");
        }
        result.is_ok()
    }

    /// Queues everything that is due; returns how long until the next plan.
    fn plan(&mut self) -> Result<Duration, DeliveryStoreError> {
        let now = Timestamp::now();
        let Destination { name, filter, .. } = &self.destination;
        let waiting = self.store().waiting(name, filter)?;
        let longest_wait = self
            .destination
            .retry
            .backoff
            .max
            .max(self.destination.failed_every);
        let Plan {
            mut due,
            next_due,
            waits_since,
        } = plan(waiting, now, longest_wait);
        let oldest = waits_since.map_or(Duration::ZERO, |since| until(since, now));
        self.metrics.oldest_waiting(oldest);
        let instant = Instant::now();
        if self.credentials_changed() {
            self.refused_credentials = None;
            self.circuit.retry_now(instant);
        }
        if !self.queue.is_busy() {
            // If the result of a probe could not be recorded, nothing else would end the probe.
            self.circuit.probe_inconclusive(instant);
            self.credentials_before = Some(credential_files(&self.destination));
        }
        match self.circuit.admission(instant) {
            Admission::All => self.queue.replace(due),
            Admission::Probe if due.is_empty() => {}
            Admission::Probe => {
                due.truncate(1);
                self.circuit.probe();
                self.queue.replace(due);
            }
            Admission::Wait(wait) => return Ok(wait.min(self.interval)),
            Admission::Probing => return Ok(self.interval),
        }
        let wait = if self.queue_manifests(now)? {
            self.interval
        } else {
            WRITE_EVERY.min(self.interval)
        };
        Ok(next_due.map_or(wait, |next| next.min(wait)))
    }

    /// Writes the window manifests that are due, and queues those that are not delivered. False if it is too early to do
    /// so again.
    fn queue_manifests(&mut self, now: Timestamp) -> Result<bool, DeliveryStoreError> {
        let is_recent = |at: Instant| at.elapsed() < WRITE_EVERY;
        if self.manifest_writer.is_some() && self.wrote_at.is_some_and(is_recent) {
            return Ok(false);
        }
        let is_first = self.wrote_at.is_none();
        self.wrote_at = Some(Instant::now());
        let name = self.destination.name.clone();
        let mut writer = self.manifest_writer.take();
        let manifests = match &mut writer {
            Some(writer) => self.store().manifests(writer, &name, now),
            None if is_first => {
                self.store().ledger.end_manifests(&name)?;
                return Ok(true);
            }
            None => return Ok(true),
        };
        self.manifest_writer = writer;
        let due = due_manifests(manifests?, now, self.destination.failed_every);
        self.queue.replace_manifests(due);
        Ok(true)
    }

    /// Records the sessions' reports until it is time to plan again: after `pause`, when a file came into the spool, or
    /// when the queue is empty.
    fn process_reports(
        &mut self,
        received: &Receiver<SessionReport>,
        pause: Duration,
    ) -> Result<(), DeliveryStoreError> {
        let started = Instant::now();
        while !self.stop.is_cancelled() {
            let left = pause.saturating_sub(started.elapsed());
            if left.is_zero() || self.credentials_changed() {
                return Ok(());
            }
            self.note_progress()?;
            if !self.queue.is_busy() {
                if self.watch.wait(left.min(STOP_CHECK)) {
                    return Ok(());
                }
                continue;
            }
            if let Ok(first) = received.recv_timeout(left.min(WATCH_EVERY))
                && (self.record(first, received)? || !self.queue.is_busy())
            {
                return Ok(());
            }
            if self.watch.wait(Duration::ZERO) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Records a report and those that arrived after it; returns whether there may be something new to plan.
    fn record(
        &mut self,
        first: SessionReport,
        received: &Receiver<SessionReport>,
    ) -> Result<bool, DeliveryStoreError> {
        let (mut delivered, mut failed, mut plan_again) = (Vec::new(), Vec::new(), false);
        for report in std::iter::once(first).chain(received.try_iter()) {
            match report {
                SessionReport::Completed(completed) => match *completed {
                    (task, Ok(it)) => delivered.push((task, it)),
                    (task, Err(error)) => failed.push((Some(task), error)),
                },
                SessionReport::Returned(tasks) => {
                    plan_again = true;
                    self.circuit.probe_inconclusive(Instant::now());
                    self.queue.complete(&tasks);
                }
                SessionReport::ConnectFailed { error, tasks } => {
                    self.queue.complete(&tasks);
                    failed.push((None, error));
                }
                SessionReport::ConnectionLost { error, mut tasks } => {
                    self.queue.complete(&tasks);
                    // Of several items, any may be the cause, or none.
                    let suspect = if tasks.len() == 1 { tasks.pop() } else { None };
                    failed.push((suspect, error));
                }
            }
        }
        // After a successful probe, all others are due.
        plan_again |= !failed.is_empty() || self.circuit.admission(Instant::now()) == Admission::Probing;
        let recorded = self.record_delivered(&delivered);
        self.queue.complete(delivered.iter().map(|(task, _)| task));
        recorded?;
        for (task, error) in failed {
            let recorded = self.record_failed(task.as_ref(), &error);
            self.queue.complete(&task);
            recorded?;
        }
        Ok(plan_again)
    }

    fn record_delivered(
        &mut self,
        delivered: &[(DeliveryTask, Delivered)],
    ) -> Result<(), DeliveryStoreError> {
        let mut batches = Vec::new();
        for (task, it) in delivered {
            match &task.item {
                DeliveryItem::Batch(batch) => batches.push((batch, it)),
                DeliveryItem::WindowManifest(manifest) => {
                    let path = &it.published.path;
                    info!(destination = %self.destination.name, path, "window manifest delivered");
                    self.circuit.close(Instant::now());
                    self.store()
                        .ledger
                        .manifest_delivered(manifest.id, path, Timestamp::now())?;
                }
            }
        }
        if batches.is_empty() {
            return Ok(());
        }
        let destination = &self.destination.name;
        let records: Vec<_> = batches
            .iter()
            .map(|(batch, it)| (*batch, &it.published))
            .collect();
        self.store().delivered(destination, &records, Timestamp::now())?;
        for (batch, it) in batches {
            let (batch, path, bytes) = (batch.name(), &it.published.path, it.published.bytes);
            self.metrics.delivered(bytes);
            if it.outcome == PublishOutcome::TakenAway {
                warn!(%destination, batch, path, bytes, "batch delivered; the file was removed at the destination before the delivery was recorded");
                continue;
            }
            let found_there = it.outcome == PublishOutcome::FoundThere;
            info!(%destination, batch, path, bytes, found_there, "batch delivered");
        }
        self.mark_up(Instant::now())
    }

    /// The destination answered.
    fn mark_up(&mut self, now: Instant) -> Result<(), DeliveryStoreError> {
        if !self.circuit.close(now) {
            return Ok(());
        }
        self.refused_credentials = None;
        self.note_health(None)
    }

    /// Records a failure of an item or of the connection alone.
    fn record_failed(
        &mut self,
        task: Option<&DeliveryTask>,
        error: &DeliveryError,
    ) -> Result<(), DeliveryStoreError> {
        let (scope, now) = (error.scope(), Instant::now());
        let attempts = task.map_or(1, |task| task.attempts.saturating_add(1));
        if let Some(DeliveryItem::WindowManifest(manifest)) = task.map(|task| &task.item) {
            self.record_manifest_failure(manifest, attempts, error)?;
            // A failed manifest does not stop batches, unless it broke the connection.
            if scope != FailureScope::Connection {
                return Ok(());
            }
        }
        let (kind, text) = (error.kind(), error.explanation());
        if scope != FailureScope::None {
            self.metrics.failed(kind.as_str());
        }
        match scope {
            FailureScope::Destination | FailureScope::Login | FailureScope::Connection => {
                let backoff = if matches!(kind, FailureKind::Auth | FailureKind::HostKey) {
                    // Their present contents may include a change that came after they were read.
                    self.refused_credentials.clone_from(&self.credentials_before);
                    BackoffKind::Slow
                } else {
                    BackoffKind::Configured
                };
                self.circuit.open(backoff, now, rand::random());
                // The items that are queued wait too.
                self.queue.clear();
                self.note_health(Some((kind, &text)))?;
            }
            FailureScope::Batch => self.mark_up(now)?,
            FailureScope::File | FailureScope::None => self.circuit.probe_inconclusive(now),
        }
        match (scope, task.and_then(DeliveryTask::batch)) {
            (FailureScope::Batch | FailureScope::File | FailureScope::Connection, Some(batch)) => {
                self.record_batch_failure(batch, attempts, scope, (kind, &text))
            }
            _ => Ok(()),
        }
    }

    fn record_batch_failure(
        &mut self,
        batch: &Batch,
        attempts: u32,
        scope: FailureScope,
        (kind, text): (FailureKind, &str),
    ) -> Result<(), DeliveryStoreError> {
        let destination = &self.destination.name;
        let decision = self.retry_decision(scope, attempts);
        self.store()
            .batch_failed(batch, destination, (kind, text), decision, Timestamp::now())?;
        let (batch, RetryDecision { wait, gave_up }) = (batch.name(), decision);
        if gave_up {
            error!(%destination, batch, attempts, ?wait, %kind, error = text, "delivery failed, batch is held in failed/");
        } else {
            warn!(%destination, batch, attempts, ?wait, %kind, error = text, "delivery failed, will be tried again");
        }
        Ok(())
    }

    fn record_manifest_failure(
        &mut self,
        manifest: &ManifestRecord,
        attempts: u32,
        error: &DeliveryError,
    ) -> Result<(), DeliveryStoreError> {
        let wait = match error.scope() {
            FailureScope::Connection => self.retry_decision(FailureScope::Connection, attempts).wait,
            _ => self.destination.failed_every,
        };
        let (destination, name, text) = (&self.destination.name, &manifest.name, error_chain(error));
        error!(%destination, name, ?wait, error = text, "a window manifest cannot be delivered, will be tried again");
        let next = later(Timestamp::now(), wait);
        Ok(self.store().ledger.manifest_failed(manifest.id, &text, next)?)
    }

    fn retry_decision(&self, scope: FailureScope, attempts: u32) -> RetryDecision {
        let Destination {
            retry, failed_every, ..
        } = &self.destination;
        match scope {
            // A quick retry does not repair a local file.
            FailureScope::File => RetryDecision {
                wait: *failed_every,
                gave_up: true,
            },
            _ => decide_retry(retry, *failed_every, attempts, rand::random()),
        }
    }

    /// Logs a change of the destination's health, and notes it in the ledger.
    fn note_health(&mut self, error: Option<(FailureKind, &str)>) -> Result<(), DeliveryStoreError> {
        let name = &self.destination.name;
        let health = error.map_or(NotedHealth::Up, |(kind, error)| {
            NotedHealth::Down(kind, error.to_owned())
        });
        if self.noted_health == health {
            return Ok(());
        }
        self.store()
            .ledger
            .note_destination(name, error, Timestamp::now())?;
        if let Some((kind, error)) = error {
            warn!(destination = %name, %kind, error, "destination is down");
        } else {
            info!(destination = %name, "destination answers");
        }
        self.noted_health = health;
        Ok(())
    }

    /// Whether a credential file has changed since the destination refused it.
    fn credentials_changed(&self) -> bool {
        let refused = self.refused_credentials.as_ref();
        refused.is_some_and(|refused| *refused != credential_files(&self.destination))
    }

    /// Puts the progress into the ledger about once a second while batches are in flight.
    fn note_progress(&mut self) -> Result<(), DeliveryStoreError> {
        let (at, had_batches) = self.progress_noted;
        let now = Instant::now();
        if at.is_some_and(|at| now.saturating_duration_since(at) < PROGRESS_EVERY) {
            return Ok(());
        }
        let batches = self.progress_table.batches();
        if had_batches || !batches.is_empty() {
            self.store()
                .ledger
                .record_transfers(&self.destination.name, &batches, Timestamp::now())?;
        }
        self.progress_noted = (Some(now), !batches.is_empty());
        Ok(())
    }

    fn store(&self) -> MutexGuard<'_, DeliveryStore> {
        lock(&self.store)
    }
}
