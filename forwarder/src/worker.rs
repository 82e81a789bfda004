//! One destination's worker: plans what its sessions are to deliver, and records what came of it.
//!
//! What the sessions report while one record is being written is recorded together, in one transaction, and moved
//! together: the longer the disk takes, the more share the next turn.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use logferry_config::{Destination, HostKeyPolicy, Login};
use logferry_ledger::FailureKind;
use logferry_telemetry::{ForwarderMetrics, Metrics};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::delivery_store::{DeliveryStore, DeliveryStoreError};
use crate::error::{DeliveryError, FailureScope, error_chain};
use crate::publish::attempt::Delivered;
use crate::publish::publish_steps::PublishOutcome;
use crate::publish::remote_paths::letter;
use crate::schedule::plan::{DeliveryTask, Plan, age, is_due, plan};
use crate::schedule::progress::{PROGRESS_EVERY, ProgressTable};
use crate::schedule::queue::DeliveryQueue;
use crate::schedule::retry::{Admission, BackoffKind, CircuitBreaker, Jitter, RetryDecision, decide_retry};
use crate::schedule::spool_watch::SpoolWatch;
use crate::session::bandwidth::Bandwidth;
use crate::session::letter::Posted;
use crate::session::session_thread::{Session, SessionReport, SessionShared};
use crate::source::Spool;
use crate::ssh::STOP_CHECK;
use crate::window_manifest::writer::{ManifestWriter, WRITE_EVERY};

/// How often to look whether something came into the spool while sessions are at work.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// What was said of a destination.
#[derive(Debug, PartialEq, Eq)]
enum NotedHealth {
    Nothing,
    Answers,
    Down(FailureKind, String),
}

/// A file's time of change and length; `None` if it cannot be seen.
type FileStamp = Option<(SystemTime, u64)>;

/// The file_stamps of the files that trust and login stand on.
fn file_stamps(destination: &Destination) -> Vec<FileStamp> {
    let known_hosts = match &destination.host_key {
        HostKeyPolicy::KnownHosts(path) => Some(path),
        HostKeyPolicy::Fingerprint(_) => None,
    };
    let key = match &destination.login {
        Login::Key { file, .. } | Login::KeyAndPassword { file, .. } => Some(file),
        Login::Password(_) | Login::Agent { .. } => None,
    };
    let stamp = |path: &PathBuf| {
        let metadata = path.metadata().ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    known_hosts.into_iter().chain(key).map(stamp).collect()
}

/// Delivers to one destination.
pub(crate) struct Worker {
    destination: Destination,
    data_dir: PathBuf,
    interval: Duration,
    store: Arc<Mutex<DeliveryStore>>,
    queue: Arc<DeliveryQueue>,
    watch: SpoolWatch,
    stop: CancellationToken,
    metrics: ForwarderMetrics,
    circuit: CircuitBreaker,
    /// The files that trust and login stand on, as they were when the destination was found wanting.
    stamps_at_failure: Option<Vec<FileStamp>>,
    /// The same files, as they were before any session that is at work now can have read them.
    stamps_before: Vec<FileStamp>,
    progress_table: Arc<ProgressTable>,
    /// When what is in flight was last put into the ledger, and whether there was something.
    progress_noted: (Option<Instant>, bool),
    /// Writes window manifests, if the destination gets any; and when it last did.
    manifest_writer: Option<ManifestWriter>,
    wrote_at: Option<Instant>,
    /// What the ledger was last told of the destination.
    noted: NotedHealth,
}

impl Worker {
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
            stamps_at_failure: None,
            stamps_before: Vec::new(),
            progress_table: Arc::default(),
            // What a forwarder that was killed has left there.
            progress_noted: (None, true),
            manifest_writer: ManifestWriter::new(&destination),
            wrote_at: None,
            noted: NotedHealth::Nothing,
            destination,
            interval,
            stop,
        }
    }

    /// Delivers until told to stop.
    pub(crate) fn run(mut self) {
        let (reports, reported) = channel();
        let shared = SessionShared {
            destination: self.destination.clone(),
            spool: Spool::new(&self.data_dir),
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
            // The channel is to end with the last session.
            drop(shared);
            while !self.stop.is_cancelled() {
                let turn = self
                    .plan()
                    .and_then(|pause| self.process_reports(&reported, pause));
                if let Err(error) = turn {
                    self.log_store_error(&error);
                    self.watch.wait(STOP_CHECK);
                }
            }
            self.queue.close();
            while let Ok(first) = reported.recv() {
                if let Err(error) = self.record(first, &reported) {
                    self.log_store_error(&error);
                }
            }
        });
        self.progress_noted.0 = None;
        if let Err(error) = self.note_progress() {
            self.log_store_error(&error);
        }
    }

    /// Nothing is lost: what was not recorded is found out again from the spool and the destination.
    fn log_store_error(&self, error: &DeliveryStoreError) {
        error!(destination = %self.destination.name, error = error_chain(error), "cannot keep the store, trying again");
    }

    /// Puts out all that is due, and says how long until it is worth looking again.
    fn plan(&mut self) -> Result<Duration, DeliveryStoreError> {
        let now = Timestamp::now();
        let Destination { name, filter, .. } = &self.destination;
        let waiting = self.store().waiting(name, filter)?;
        let longest_wait = self.destination.retry.max.max(self.destination.failed_every);
        let Plan {
            mut due,
            next_due,
            waits_since,
        } = plan(waiting, now, longest_wait);
        let oldest = waits_since.map_or(Duration::ZERO, |since| age(now, since));
        self.metrics.oldest_waiting(oldest);
        let instant = Instant::now();
        if self.credentials_changed() {
            self.stamps_at_failure = None;
            self.circuit.retry_now(instant);
        }
        if !self.queue.is_busy() {
            // A probe whose end could not be recorded would be waited for without end.
            self.circuit.probe_inconclusive(instant);
            self.stamps_before = file_stamps(&self.destination);
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
        let looks_again = if self.write_letters(now)? {
            self.interval
        } else {
            WRITE_EVERY.min(self.interval)
        };
        Ok(next_due.map_or(looks_again, |next| next.min(looks_again)))
    }

    /// Writes the manifests that are due, and puts out those that are not delivered; false if it did so just before.
    fn write_letters(&mut self, now: Timestamp) -> Result<bool, DeliveryStoreError> {
        let is_fresh = |at: Instant| at.elapsed() < WRITE_EVERY;
        if self.manifest_writer.is_some() && self.wrote_at.is_some_and(is_fresh) {
            return Ok(false);
        }
        let first = self.wrote_at.is_none();
        self.wrote_at = Some(Instant::now());
        let name = self.destination.name.clone();
        let mut manifest_writer = self.manifest_writer.take();
        let manifests = match &mut manifest_writer {
            Some(manifest_writer) => self.store().manifests(manifest_writer, &name, now),
            None if first => self.store().end_manifests(&name).map(|()| Vec::new()),
            None => return Ok(true),
        };
        self.manifest_writer = manifest_writer;
        let longest_wait = self.destination.failed_every;
        let due = manifests?
            .into_iter()
            .filter(|manifest| is_due(manifest.next_attempt, now, longest_wait));
        let letters = due.map(|manifest| letter(manifest, &self.destination));
        self.queue.replace_letters(letters.collect());
        Ok(true)
    }

    /// Records what came of a letter.
    fn posted(&mut self, (manifest, result): Posted) -> Result<(), DeliveryStoreError> {
        let wait = self.destination.failed_every;
        let name = self.destination.name.clone();
        let recorded = match result {
            Ok(path) => {
                info!(destination = %name, path, "window manifest delivered");
                self.circuit.close(Instant::now());
                self.store().posted(manifest, Ok(&path), Timestamp::now())
            }
            Err(error) => {
                let text = error_chain(&error);
                error!(destination = %name, ?wait, error = text, "a window manifest cannot be delivered, will be tried again");
                self.store()
                    .posted(manifest, Err((&text, wait)), Timestamp::now())
            }
        };
        self.queue.complete_letter(manifest);
        recorded
    }

    /// Records what the sessions report, until it is time to plan again: after `pause`, or when something came into
    /// the spool, or everything planned is through.
    fn process_reports(
        &mut self,
        reported: &Receiver<SessionReport>,
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
            if let Ok(first) = reported.recv_timeout(left.min(WATCH_EVERY)) {
                let plan_again = self.record(first, reported)?;
                if plan_again || !self.queue.is_busy() {
                    return Ok(());
                }
            }
            if self.watch.wait(Duration::ZERO) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Records a report, and those that came after it; whether there may be something new to plan.
    fn record(
        &mut self,
        first: SessionReport,
        reported: &Receiver<SessionReport>,
    ) -> Result<bool, DeliveryStoreError> {
        let (mut delivered, mut failed, mut plan_again) = (Vec::new(), Vec::new(), false);
        let mut posted = Vec::new();
        for report in std::iter::once(first).chain(reported.try_iter()) {
            match report {
                SessionReport::Completed(completed) => match *completed {
                    (task, Ok(it)) => delivered.push((task, it)),
                    (task, Err(error)) => failed.push((Some(task), error)),
                },
                SessionReport::Posted(letter) => posted.push(letter),
                SessionReport::Returned(tasks) => {
                    plan_again = true;
                    self.circuit.probe_inconclusive(Instant::now());
                    self.complete(&tasks);
                }
                SessionReport::ConnectFailed { error, tasks } => {
                    self.complete(&tasks);
                    failed.push((None, error));
                }
                SessionReport::ConnectionLost { error, mut tasks } => {
                    self.complete(&tasks);
                    // Of several, nobody knows which it was, if any.
                    let suspect = if tasks.len() == 1 { tasks.pop() } else { None };
                    failed.push((suspect, error));
                }
            }
        }
        for letter in posted {
            self.posted(letter)?;
        }
        // Behind a probe that got through, all the others wait.
        plan_again |= !failed.is_empty() || self.circuit.admission(Instant::now()) == Admission::Probing;
        let recorded = self.succeeded(&delivered);
        for (task, _) in &delivered {
            self.queue.complete(task.batch.id);
        }
        recorded?;
        for (task, error) in failed {
            let recorded = self.failed(task.as_ref(), &error);
            if let Some(task) = &task {
                self.queue.complete(task.batch.id);
            }
            recorded?;
        }
        Ok(plan_again)
    }

    fn complete(&self, tasks: &[DeliveryTask]) {
        for task in tasks {
            self.queue.complete(task.batch.id);
        }
    }

    fn succeeded(&mut self, delivered: &[(DeliveryTask, Delivered)]) -> Result<(), DeliveryStoreError> {
        if delivered.is_empty() {
            return Ok(());
        }
        let destination = &self.destination.name;
        let records: Vec<_> = delivered
            .iter()
            .map(|(task, it)| (&task.batch, &it.published))
            .collect();
        self.store().delivered(destination, &records, Timestamp::now())?;
        for (task, it) in delivered {
            let Delivered {
                published, ending, ..
            } = it;
            self.metrics.delivered(published.bytes);
            let (batch, path, bytes) = (task.batch.name(), &published.path, published.bytes);
            if *ending == PublishOutcome::TakenAway {
                warn!(%destination, batch, path, bytes, "batch delivered and taken away before its delivery was recorded");
                continue;
            }
            let found_there = *ending == PublishOutcome::FoundThere;
            info!(%destination, batch, path, bytes, found_there, "batch delivered");
        }
        self.mark_up(Instant::now())
    }

    fn mark_up(&mut self, now: Instant) -> Result<(), DeliveryStoreError> {
        if !self.circuit.close(now) {
            return Ok(());
        }
        self.stamps_at_failure = None;
        self.note(None)
    }

    /// Judges a failure, of a batch or of the connection alone.
    fn failed(
        &mut self,
        task: Option<&DeliveryTask>,
        error: &DeliveryError,
    ) -> Result<(), DeliveryStoreError> {
        let scope = error.scope();
        let (now, kind, text) = (Instant::now(), error.kind(), error.explanation());
        if scope != FailureScope::None {
            self.metrics.failed(kind.as_str());
        }
        match scope {
            FailureScope::Destination | FailureScope::Login | FailureScope::Connection => {
                let backoff = if matches!(kind, FailureKind::Auth | FailureKind::HostKey) {
                    // As they are now would hide a change that came after they were read.
                    self.stamps_at_failure = Some(self.stamps_before.clone());
                    BackoffKind::Slow
                } else {
                    BackoffKind::Configured
                };
                self.circuit.open(backoff, now, Jitter::random());
                // What was offered before is to wait as well.
                self.queue.clear();
                self.note(Some((kind, &text)))?;
            }
            FailureScope::Batch => {
                self.mark_up(now)?;
            }
            FailureScope::File | FailureScope::None => self.circuit.probe_inconclusive(now),
        }
        match (scope, task) {
            (FailureScope::Batch | FailureScope::File | FailureScope::Connection, Some(task)) => {
                self.record_failure(task, scope, (kind, &text))
            }
            _ => Ok(()),
        }
    }

    /// Counts a failure against the batch.
    fn record_failure(
        &mut self,
        task: &DeliveryTask,
        scope: FailureScope,
        (kind, text): (FailureKind, &str),
    ) -> Result<(), DeliveryStoreError> {
        let Destination {
            name,
            retry,
            failed_every,
            ..
        } = &self.destination;
        let attempts = task.attempts.saturating_add(1);
        let verdict = match scope {
            // Trying it quickly again does not mend a file.
            FailureScope::File => RetryDecision::GiveUp(*failed_every),
            _ => decide_retry(retry, *failed_every, attempts, Jitter::random()),
        };
        self.store()
            .failed(&task.batch, name, (kind, text), verdict, Timestamp::now())?;
        let batch = task.batch.name();
        match verdict {
            RetryDecision::TryAgain(wait) => {
                warn!(destination = %name, batch, attempts, ?wait, %kind, error = text, "delivery failed, will be tried again");
            }
            RetryDecision::GiveUp(wait) => {
                error!(destination = %name, batch, attempts, ?wait, %kind, error = text, "delivery failed, batch is held in failed/");
            }
        }
        Ok(())
    }

    /// Tells log and ledger whether the destination mark_up, when that has changed.
    fn note(&mut self, error: Option<(FailureKind, &str)>) -> Result<(), DeliveryStoreError> {
        let name = &self.destination.name;
        let news = error.map_or(NotedHealth::Answers, |(kind, error)| {
            NotedHealth::Down(kind, error.to_owned())
        });
        if self.noted == news {
            return Ok(());
        }
        self.store().note_destination(name, error, Timestamp::now())?;
        if let Some((kind, error)) = error {
            warn!(destination = %name, %kind, error, "destination is down");
        } else {
            info!(destination = %name, "destination mark_up");
        }
        self.noted = news;
        Ok(())
    }

    /// Whether somebody has changed a file that trust or login stands on, since the destination was found wanting.
    fn credentials_changed(&self) -> bool {
        let then = self.stamps_at_failure.as_ref();
        then.is_some_and(|then| *then != file_stamps(&self.destination))
    }

    /// Puts what is in flight into the ledger, about once a second while there is something.
    fn note_progress(&mut self) -> Result<(), DeliveryStoreError> {
        let (at, something) = self.progress_noted;
        let now = Instant::now();
        if at.is_some_and(|at| now.saturating_duration_since(at) < PROGRESS_EVERY) {
            return Ok(());
        }
        let batches = self.progress_table.batches();
        if something || !batches.is_empty() {
            self.store()
                .record_transfers(&self.destination.name, &batches, Timestamp::now())?;
        }
        self.progress_noted = (Some(now), !batches.is_empty());
        Ok(())
    }

    /// The store, also after another worker ended by a defect: the ledger's transactions leave nothing half done.
    fn store(&self) -> MutexGuard<'_, DeliveryStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
