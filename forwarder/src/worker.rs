//! One destination's worker: plans what its sessions are to deliver, and records what came of it.
//!
//! What the sessions report while one record is being written is recorded together, in one transaction, and moved
//! together: the longer the disk takes, the more share the next turn.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::Destination;
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
use crate::publication::Ending;
use crate::queue::Queue;
use crate::retry::{Circuit, Jitter, Verdict, judge};
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
    Down(String),
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
        Self {
            metrics: Metrics::process().forwarder(destination.name.as_str()),
            circuit: Circuit::new(destination.retry),
            watch: SpoolWatch::new(data_dir),
            data_dir: data_dir.to_owned(),
            books: Arc::clone(books),
            queue: Arc::default(),
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
            queue: Arc::clone(&self.queue),
            pace: Arc::new(Mutex::new(Pace::new(self.destination.bandwidth, Instant::now()))),
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
            due,
            next_due,
            waits_since,
        } = plan(waiting, now, longest_wait);
        let oldest = waits_since.map_or(Duration::ZERO, |since| age(now, since));
        self.metrics.oldest_waiting(oldest);
        if let Some(wait) = self.circuit.wait(Instant::now()) {
            return Ok(wait.min(self.interval));
        }
        self.queue.offer(due);
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
                self.circuit.close();
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
            if left.is_zero() {
                return Ok(());
            }
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
                    self.settle(&tasks);
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
        plan_again |= !failed.is_empty();
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
        for (task, Delivered { published, ending }) in delivered {
            self.metrics.delivered(published.bytes);
            let (batch, path, bytes) = (task.batch.name(), &published.path, published.bytes);
            let found_there = *ending == Ending::FoundThere;
            info!(%destination, batch, path, bytes, found_there, "batch delivered");
        }
        self.circuit.close();
        self.note(None)
    }

    /// Judges a failure, of a batch or of the connection alone.
    fn failed(&mut self, task: Option<&Task>, error: &DeliveryError) -> Result<(), BooksError> {
        let blame = error.blame();
        if blame == Blame::Nobody {
            return Ok(());
        }
        self.metrics.failed();
        let text = in_full(error);
        match blame {
            Blame::Login => self.circuit.open_for_long(Instant::now()),
            Blame::Destination | Blame::Connection => self.circuit.open(Instant::now(), Jitter::random()),
            Blame::Batch => self.circuit.close(),
            Blame::File | Blame::Nobody => {}
        }
        match blame {
            Blame::Destination | Blame::Login | Blame::Connection => self.note(Some(&text))?,
            Blame::Batch => self.note(None)?,
            Blame::File | Blame::Nobody => {}
        }
        match (blame, task) {
            (Blame::Batch | Blame::File | Blame::Connection, Some(task)) => {
                self.record_failure(task, blame, &text)
            }
            _ => Ok(()),
        }
    }

    /// Counts a failure against the batch.
    fn record_failure(&mut self, task: &Task, blame: Blame, text: &str) -> Result<(), BooksError> {
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
            .failed(&task.batch, name, text, verdict, Timestamp::now())?;
        let batch = task.batch.name();
        match verdict {
            Verdict::TryAgain(wait) => {
                warn!(destination = %name, batch, attempts, ?wait, error = text, "delivery failed, will be tried again");
            }
            Verdict::GiveUp(wait) => {
                error!(destination = %name, batch, attempts, ?wait, error = text, "delivery failed, batch is held in failed/");
            }
        }
        Ok(())
    }

    /// Tells log and ledger whether the destination answers, when that has changed.
    fn note(&mut self, error: Option<&str>) -> Result<(), BooksError> {
        let name = &self.destination.name;
        let news = error.map_or(Noted::Answers, |error| Noted::Down(error.to_owned()));
        if self.noted == news {
            return Ok(());
        }
        self.books().note_destination(name, error, Timestamp::now())?;
        if let Some(error) = error {
            warn!(destination = %name, error, "destination is down");
        } else {
            info!(destination = %name, "destination answers");
        }
        self.noted = news;
        Ok(())
    }

    /// The books, also after another worker ended by a defect: the ledger's transactions leave nothing half done.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
