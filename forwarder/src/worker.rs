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

use crate::attempt::Delivered;
use crate::books::{Books, BooksError};
use crate::error::{Blame, DeliveryError, in_full};
use crate::letter::Posted;
use crate::names::letter;
use crate::pace::Pace;
use crate::plan::{Plan, Task, age, is_due, plan};
use crate::progress::{Board, POST_EVERY};
use crate::publication::Ending;
use crate::queue::Queue;
use crate::retry::{self, Admission, Circuit, Jitter, Verdict, judge};
use crate::scribe::{Scribe, WRITE_EVERY};
use crate::session::{Common, Report, Session};
use crate::spool::Spool;
use crate::ssh::STOP_CHECK;
use crate::watch::SpoolWatch;

/// How often to look whether something came into the spool while sessions are at work.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// What was said of a destination.
#[derive(Debug, PartialEq, Eq)]
enum Noted {
    Nothing,
    Answers,
    Down(FailureKind, String),
}

/// A file's time of change and length; `None` if it cannot be seen.
type FileStamp = Option<(SystemTime, u64)>;

/// The stamps of the files that trust and login stand on.
fn stamps(destination: &Destination) -> Vec<FileStamp> {
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
    books: Arc<Mutex<Books>>,
    queue: Arc<Queue>,
    watch: SpoolWatch,
    stop: CancellationToken,
    metrics: ForwarderMetrics,
    circuit: Circuit,
    /// The files that trust and login stand on, as they were when the destination was found wanting.
    distrusted: Option<Vec<FileStamp>>,
    /// The same files, as they were before any session that is at work now can have read them.
    stamped: Vec<FileStamp>,
    board: Arc<Board>,
    /// When what is in flight was last put into the ledger, and whether there was something.
    shown: (Option<Instant>, bool),
    /// Writes window manifests, if the destination gets any; and when it last did.
    scribe: Option<Scribe>,
    wrote_at: Option<Instant>,
    /// What the ledger was last told of the destination.
    noted: Noted,
}

impl Worker {
    pub(crate) fn new(
        destination: Destination,
        data_dir: &Path,
        interval: Duration,
        books: &Arc<Mutex<Books>>,
        stop: CancellationToken,
    ) -> Self {
        let metrics = Metrics::process().forwarder(destination.name.as_str());
        metrics.may_fail(FailureKind::ALL.map(FailureKind::as_str));
        Self {
            metrics,
            circuit: Circuit::new(destination.retry),
            watch: SpoolWatch::new(data_dir),
            data_dir: data_dir.to_owned(),
            books: Arc::clone(books),
            queue: Arc::default(),
            distrusted: None,
            stamped: Vec::new(),
            board: Arc::default(),
            // What a forwarder that was killed has left there.
            shown: (None, true),
            scribe: Scribe::new(&destination),
            wrote_at: None,
            noted: Noted::Nothing,
            destination,
            interval,
            stop,
        }
    }

    /// Delivers until told to stop.
    pub(crate) fn run(mut self) {
        let (reports, reported) = channel();
        let common = Common {
            destination: self.destination.clone(),
            spool: Spool::new(&self.data_dir),
            books: Arc::clone(&self.books),
            queue: Arc::clone(&self.queue),
            pace: Arc::new(Mutex::new(Pace::new(self.destination.bandwidth, Instant::now()))),
            door: Arc::default(),
            board: Arc::clone(&self.board),
            reports,
            stop: self.stop.clone(),
        };
        thread::scope(|scope| {
            for number in 0..self.destination.sessions {
                let session = Session::new(common.clone(), number);
                scope.spawn(move || session.run());
            }
            // The channel is to end with the last session.
            drop(common);
            while !self.stop.is_cancelled() {
                let turn = self.plan().and_then(|pause| self.attend(&reported, pause));
                if let Err(error) = turn {
                    self.cannot_keep_books(&error);
                    self.watch.wait(STOP_CHECK);
                }
            }
            self.queue.close();
            while let Ok(first) = reported.recv() {
                if let Err(error) = self.record(first, &reported) {
                    self.cannot_keep_books(&error);
                }
            }
        });
        self.shown.0 = None;
        if let Err(error) = self.show_progress() {
            self.cannot_keep_books(&error);
        }
    }

    /// Nothing is lost: what was not recorded is found out again from the spool and the destination.
    fn cannot_keep_books(&self, error: &BooksError) {
        error!(destination = %self.destination.name, error = in_full(error), "cannot keep the books, trying again");
    }

    /// Puts out all that is due, and says how long until it is worth looking again.
    fn plan(&mut self) -> Result<Duration, BooksError> {
        let now = Timestamp::now();
        let Destination { name, wants, .. } = &self.destination;
        let waiting = self.books().waiting(name, wants)?;
        let longest_wait = self.destination.retry.max.max(self.destination.failed_every);
        let Plan {
            mut due,
            next_due,
            waits_since,
        } = plan(waiting, now, longest_wait);
        let oldest = waits_since.map_or(Duration::ZERO, |since| age(now, since));
        self.metrics.oldest_waiting(oldest);
        let instant = Instant::now();
        if self.trust_has_changed() {
            self.distrusted = None;
            self.circuit.hurry(instant);
        }
        if !self.queue.is_busy() {
            // A probe whose end could not be recorded would be waited for without end.
            self.circuit.no_verdict(instant);
            self.stamped = stamps(&self.destination);
        }
        match self.circuit.admission(instant) {
            Admission::All => self.queue.offer(due),
            Admission::Probe if due.is_empty() => {}
            Admission::Probe => {
                due.truncate(1);
                self.circuit.probe();
                self.queue.offer(due);
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
    fn write_letters(&mut self, now: Timestamp) -> Result<bool, BooksError> {
        let is_fresh = |at: Instant| at.elapsed() < WRITE_EVERY;
        if self.scribe.is_some() && self.wrote_at.is_some_and(is_fresh) {
            return Ok(false);
        }
        let first = self.wrote_at.is_none();
        self.wrote_at = Some(Instant::now());
        let name = self.destination.name.clone();
        let mut scribe = self.scribe.take();
        let manifests = match &mut scribe {
            Some(scribe) => self.books().manifests(scribe, &name, now),
            None if first => self.books().end_manifests(&name).map(|()| Vec::new()),
            None => return Ok(true),
        };
        self.scribe = scribe;
        let longest_wait = self.destination.failed_every;
        let due = manifests?
            .into_iter()
            .filter(|manifest| is_due(manifest.next_attempt, now, longest_wait));
        let letters = due.map(|manifest| letter(manifest, &self.destination));
        self.queue.offer_letters(letters.collect());
        Ok(true)
    }

    /// Records what came of a letter.
    fn posted(&mut self, (manifest, result): Posted) -> Result<(), BooksError> {
        let wait = self.destination.failed_every;
        let name = self.destination.name.clone();
        let recorded = match result {
            Ok(path) => {
                info!(destination = %name, path, "window manifest delivered");
                self.circuit.close(Instant::now());
                self.books().posted(manifest, Ok(&path), Timestamp::now())
            }
            Err(error) => {
                let text = in_full(&error);
                error!(destination = %name, ?wait, error = text, "a window manifest cannot be delivered, will be tried again");
                self.books()
                    .posted(manifest, Err((&text, wait)), Timestamp::now())
            }
        };
        self.queue.settle_letter(manifest);
        recorded
    }

    /// Records what the sessions report, until it is time to plan again: after `pause`, or when something came into
    /// the spool, or everything planned is through.
    fn attend(&mut self, reported: &Receiver<Report>, pause: Duration) -> Result<(), BooksError> {
        let started = Instant::now();
        while !self.stop.is_cancelled() {
            let left = pause.saturating_sub(started.elapsed());
            if left.is_zero() || self.trust_has_changed() {
                return Ok(());
            }
            self.show_progress()?;
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
    fn record(&mut self, first: Report, reported: &Receiver<Report>) -> Result<bool, BooksError> {
        let (mut delivered, mut failed, mut plan_again) = (Vec::new(), Vec::new(), false);
        let mut posted = Vec::new();
        for report in std::iter::once(first).chain(reported.try_iter()) {
            match report {
                Report::Landed(landed) => match *landed {
                    (task, Ok(it)) => delivered.push((task, it)),
                    (task, Err(error)) => failed.push((Some(task), error)),
                },
                Report::Posted(letter) => posted.push(letter),
                Report::Returned(tasks) => {
                    plan_again = true;
                    self.circuit.no_verdict(Instant::now());
                    self.settle(&tasks);
                }
                Report::NotLetIn { error, tasks } => {
                    self.settle(&tasks);
                    failed.push((None, error));
                }
                Report::Broken { error, mut tasks } => {
                    self.settle(&tasks);
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
            self.queue.settle(task.batch.id);
        }
        recorded?;
        for (task, error) in failed {
            let recorded = self.failed(task.as_ref(), &error);
            if let Some(task) = &task {
                self.queue.settle(task.batch.id);
            }
            recorded?;
        }
        Ok(plan_again)
    }

    fn settle(&self, tasks: &[Task]) {
        for task in tasks {
            self.queue.settle(task.batch.id);
        }
    }

    fn succeeded(&mut self, delivered: &[(Task, Delivered)]) -> Result<(), BooksError> {
        if delivered.is_empty() {
            return Ok(());
        }
        let destination = &self.destination.name;
        let records: Vec<_> = delivered
            .iter()
            .map(|(task, it)| (&task.batch, &it.published))
            .collect();
        self.books().delivered(destination, &records, Timestamp::now())?;
        for (task, it) in delivered {
            let Delivered {
                published, ending, ..
            } = it;
            self.metrics.delivered(published.bytes);
            let (batch, path, bytes) = (task.batch.name(), &published.path, published.bytes);
            if *ending == Ending::TakenAway {
                warn!(%destination, batch, path, bytes, "batch delivered and taken away before its delivery was recorded");
                continue;
            }
            let found_there = *ending == Ending::FoundThere;
            info!(%destination, batch, path, bytes, found_there, "batch delivered");
        }
        self.answers(Instant::now())
    }

    fn answers(&mut self, now: Instant) -> Result<(), BooksError> {
        if !self.circuit.close(now) {
            return Ok(());
        }
        self.distrusted = None;
        self.note(None)
    }

    /// Judges a failure, of a batch or of the connection alone.
    fn failed(&mut self, task: Option<&Task>, error: &DeliveryError) -> Result<(), BooksError> {
        let blame = error.blame();
        let (now, kind, text) = (Instant::now(), error.kind(), error.explanation());
        if blame != Blame::Nobody {
            self.metrics.failed(kind.as_str());
        }
        match blame {
            Blame::Destination | Blame::Login | Blame::Connection => {
                let pace = if matches!(kind, FailureKind::Auth | FailureKind::HostKey) {
                    // As they are now would hide a change that came after they were read.
                    self.distrusted = Some(self.stamped.clone());
                    retry::Pace::Patient
                } else {
                    retry::Pace::Usual
                };
                self.circuit.open(pace, now, Jitter::random());
                // What was offered before is to wait as well.
                self.queue.withdraw();
                self.note(Some((kind, &text)))?;
            }
            Blame::Batch => {
                self.answers(now)?;
            }
            Blame::File | Blame::Nobody => self.circuit.no_verdict(now),
        }
        match (blame, task) {
            (Blame::Batch | Blame::File | Blame::Connection, Some(task)) => {
                self.record_failure(task, blame, (kind, &text))
            }
            _ => Ok(()),
        }
    }

    /// Counts a failure against the batch.
    fn record_failure(
        &mut self,
        task: &Task,
        blame: Blame,
        (kind, text): (FailureKind, &str),
    ) -> Result<(), BooksError> {
        let Destination {
            name,
            retry,
            failed_every,
            ..
        } = &self.destination;
        let attempts = task.attempts.saturating_add(1);
        let verdict = match blame {
            // Trying it quickly again does not mend a file.
            Blame::File => Verdict::GiveUp(*failed_every),
            _ => judge(retry, *failed_every, attempts, Jitter::random()),
        };
        self.books()
            .failed(&task.batch, name, (kind, text), verdict, Timestamp::now())?;
        let batch = task.batch.name();
        match verdict {
            Verdict::TryAgain(wait) => {
                warn!(destination = %name, batch, attempts, ?wait, %kind, error = text, "delivery failed, will be tried again");
            }
            Verdict::GiveUp(wait) => {
                error!(destination = %name, batch, attempts, ?wait, %kind, error = text, "delivery failed, batch is held in failed/");
            }
        }
        Ok(())
    }

    /// Tells log and ledger whether the destination answers, when that has changed.
    fn note(&mut self, error: Option<(FailureKind, &str)>) -> Result<(), BooksError> {
        let name = &self.destination.name;
        let news = error.map_or(Noted::Answers, |(kind, error)| {
            Noted::Down(kind, error.to_owned())
        });
        if self.noted == news {
            return Ok(());
        }
        self.books().note_destination(name, error, Timestamp::now())?;
        if let Some((kind, error)) = error {
            warn!(destination = %name, %kind, error, "destination is down");
        } else {
            info!(destination = %name, "destination answers");
        }
        self.noted = news;
        Ok(())
    }

    /// Whether somebody has changed a file that trust or login stands on, since the destination was found wanting.
    fn trust_has_changed(&self) -> bool {
        let then = self.distrusted.as_ref();
        then.is_some_and(|then| *then != stamps(&self.destination))
    }

    /// Puts what is in flight into the ledger, about once a second while there is something.
    fn show_progress(&mut self) -> Result<(), BooksError> {
        let (at, something) = self.shown;
        let now = Instant::now();
        if at.is_some_and(|at| now.saturating_duration_since(at) < POST_EVERY) {
            return Ok(());
        }
        let batches = self.board.batches();
        if something || !batches.is_empty() {
            self.books()
                .record_transfers(&self.destination.name, &batches, Timestamp::now())?;
        }
        self.shown = (Some(now), !batches.is_empty());
        Ok(())
    }

    /// The books, also after another worker ended by a defect: the ledger's transactions leave nothing half done.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
