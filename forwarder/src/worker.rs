//! One destination's worker: plans what its sessions deliver, and records the results.
//!
//! This file plans; `results` records.

mod results;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::Destination;
use logferry_durable::{ContentDigest, RealDisk};
use logferry_ledger::FailureKind;
use logferry_spool::Spool;
use logferry_telemetry::{ForwarderMetrics, Metrics, RepeatLimit};
use logferry_text::error_chain;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::delivery_store::{DeliveryStore, DeliveryStoreError};
use crate::lock;
use crate::schedule::plan::{Plan, due_manifests, plan, until};
use crate::schedule::plan_throttle::PlanThrottle;
use crate::schedule::queue::DeliveryQueue;
use crate::schedule::retry::{Admission, CircuitBreaker};
use crate::schedule::spool_watch::SpoolWatch;
use crate::schedule::suspects::SuspectBatches;
use crate::session::bandwidth::Bandwidth;
use crate::session::progress::{PROGRESS_EVERY, TransferProgressTable};
use crate::session::session_thread::{Session, SessionReport, SessionShared};
use crate::source::StagedBytes;
use crate::ssh::{STOP_CHECK, credential_files};
use crate::window_manifest::writer::{ManifestWriter, WRITE_EVERY};

/// How often to check for new files in the spool while sessions are at work.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// How often to try again to move a file whose move failed.
const MOVE_EVERY: Duration = Duration::from_secs(1);

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
    suspects: SuspectBatches,
    throttle: PlanThrottle,
    /// Since when the oldest batch of the last plan waits.
    waits_since: Option<Timestamp>,
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
    /// Which failures of the destination are logged.
    told_down: RepeatLimit<FailureKind>,
    /// Whether it is logged that files here are renamed by a request that replaces.
    told_posix_rename: bool,
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
            suspects: SuspectBatches::default(),
            watch: SpoolWatch::new(data_dir),
            data_dir: data_dir.to_owned(),
            store: Arc::clone(store),
            queue: Arc::default(),
            throttle: PlanThrottle::default(),
            waits_since: None,
            refused_credentials: None,
            credentials_before: None,
            progress_table: Arc::default(),
            // True: a forwarder that was killed may have left its progress in the ledger.
            progress_noted: (None, true),
            manifest_writer: ManifestWriter::new(&destination),
            wrote_at: None,
            noted_health: NotedHealth::Unknown,
            told_down: RepeatLimit::default(),
            told_posix_rename: false,
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
            staged: StagedBytes::default(),
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
                let planned = match self.throttle.pause(Instant::now()) {
                    Some(pause) if !self.credentials_changed() => Ok(pause),
                    _ => self.plan(),
                };
                self.log_if_failed(&planned);
                // Also after a plan that failed: nothing else takes the results of what is in hand.
                let pause = planned.unwrap_or(STOP_CHECK);
                let processed = self.process_reports(&received, pause);
                if !self.log_if_failed(&processed) {
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
            error!(destination = %self.destination.name, error = error_chain(error), "cannot use the ledger or move files in the spool; it is tried again");
        }
        result.is_ok()
    }

    /// Queues everything that is due; returns how long until the next plan.
    fn plan(&mut self) -> Result<Duration, DeliveryStoreError> {
        let (now, instant) = (Timestamp::now(), Instant::now());
        if self.credentials_changed() {
            self.refused_credentials = None;
            self.circuit.retry_now(instant);
        }
        if !self.queue.is_busy() {
            // If the result of a probe could not be recorded, nothing else would end the probe.
            self.circuit.probe_inconclusive(instant);
            self.credentials_before = Some(credential_files(&self.destination));
        }
        let admission = self.circuit.admission(instant);
        if let Some(pause) = self.pause_while_down(admission, instant) {
            self.note_oldest(now);
            return Ok(pause);
        }
        let (Plan { due, next_due, .. }, interval) = self.read_plan(now)?;
        match admission {
            Admission::All => self.queue.replace(due),
            Admission::Probe => {
                if let Some(probe) = self.suspects.probe(due) {
                    self.circuit.probe();
                    self.queue.replace(vec![probe]);
                }
            }
            Admission::Wait(wait) => return Ok(wait.min(interval)),
            Admission::Probing => return Ok(interval),
        }
        let wait = if self.queue_manifests(now)? {
            interval
        } else {
            WRITE_EVERY.min(interval)
        };
        Ok(next_due.map_or(wait, |next| next.min(wait)))
    }

    /// The wait until the next plan, while nothing may be delivered and the last plan is not old.
    fn pause_while_down(&self, admission: Admission, instant: Instant) -> Option<Duration> {
        let may_wait = match admission {
            Admission::All | Admission::Probe => return None,
            Admission::Wait(wait) => wait,
            Admission::Probing => self.interval,
        };
        let left = self.throttle.left(self.plan_interval(), instant)?;
        Some(left.min(may_wait))
    }

    /// How often to plan without an event.
    fn plan_interval(&self) -> Duration {
        if self.store().has_unmoved() {
            MOVE_EVERY.min(self.interval)
        } else {
            self.interval
        }
    }

    /// Reads what waits; returns the plan and how long it is good for without an event.
    fn read_plan(&mut self, now: Timestamp) -> Result<(Plan, Duration), DeliveryStoreError> {
        let Destination { name, filter, .. } = &self.destination;
        let mut store = self.store();
        // With the lock, as a wait for it is no work.
        let started = Instant::now();
        let waiting = store.waiting(name, filter)?;
        drop(store);
        let plan = plan(waiting, now, self.longest_wait());
        self.throttle.planned(started, Instant::now());
        self.waits_since = plan.waits_since;
        self.note_oldest(now);
        Ok((plan, self.plan_interval()))
    }

    fn note_oldest(&self, now: Timestamp) {
        let oldest = self.waits_since.map_or(Duration::ZERO, |since| until(since, now));
        self.metrics.oldest_waiting(oldest);
    }

    /// The longest wait between two attempts for one item.
    fn longest_wait(&self) -> Duration {
        let Destination {
            retry, failed_every, ..
        } = &self.destination;
        retry.backoff.max.max(*failed_every)
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
                let ended = self.store().ledger.end_manifests(&name);
                if ended.is_err() {
                    self.wrote_at = None;
                }
                return Ok(ended.map(|()| true)?);
            }
            None => return Ok(true),
        };
        self.manifest_writer = writer;
        let due = due_manifests(manifests?, now, self.longest_wait());
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
            // Results are recorded even if the progress cannot be.
            let noted = self.note_progress();
            self.log_if_failed(&noted);
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
        // Before the attempt: one that fails is not repeated at once.
        self.progress_noted.0 = Some(now);
        let batches = self.progress_table.batches();
        if had_batches || !batches.is_empty() {
            self.store()
                .ledger
                .record_transfers(&self.destination.name, &batches, Timestamp::now())?;
        }
        self.progress_noted.1 = !batches.is_empty();
        Ok(())
    }

    fn store(&self) -> MutexGuard<'_, DeliveryStore> {
        lock(&self.store)
    }
}
