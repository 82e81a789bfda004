//! One destination's worker: delivers what is due, one batch after the other over one connection, and waits for more.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::Destination;
use logferry_telemetry::{ForwarderMetrics, Metrics};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::batch_file::BatchFile;
use crate::books::{Books, BooksError, Whereabouts};
use crate::deliver::{Delivered, deliver};
use crate::error::{Blame, DeliveryError, in_full};
use crate::plan::{Plan, Task, age, plan};
use crate::publication::Ending;
use crate::remote::Remote;
use crate::retry::{Circuit, Jitter, Verdict, judge};
use crate::ssh::STOP_CHECK;
use crate::watch::SpoolWatch;

/// How often an idle connection is looked after.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);

/// What came of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// It was tried, and the ledger says how it ended.
    Made,
    /// Its file is not ours yet.
    NotYet,
    /// The destination must be left alone for a while.
    DestinationDown,
    /// The forwarder is to stop.
    Stopped,
}

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
    interval: Duration,
    books: Arc<Mutex<Books>>,
    watch: SpoolWatch,
    stop: CancellationToken,
    metrics: ForwarderMetrics,
    remote: Option<Remote>,
    circuit: Circuit,
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
            books: Arc::clone(books),
            remote: None,
            noted: Noted::Nothing,
            destination,
            interval,
            stop,
        }
    }

    /// Delivers until told to stop.
    pub(crate) fn run(mut self) {
        while !self.stop.is_cancelled() {
            let pause = self.round().unwrap_or_else(|error| {
                // Nothing is lost: what was not recorded is found out again from the spool and the destination.
                error!(destination = %self.destination.name, error = in_full(&error), "cannot keep the books, trying again");
                self.interval
            });
            self.idle(pause);
        }
    }

    /// Delivers all that is due, and says how long until it is worth looking again.
    fn round(&mut self) -> Result<Duration, BooksError> {
        loop {
            let now = Timestamp::now();
            let waiting = self.books().waiting(&self.destination.name)?;
            let longest_wait = self.destination.retry.max.max(self.destination.failed_every);
            let Plan {
                due,
                next_due,
                oldest_sealed,
            } = plan(waiting, now, longest_wait);
            let oldest = oldest_sealed.map_or(Duration::ZERO, |sealed| age(now, sealed));
            self.metrics.oldest_waiting(oldest);
            if let Some(wait) = self.circuit.wait(Instant::now()) {
                return Ok(wait.min(self.interval));
            }
            let mut any_made = false;
            for task in due {
                match self.attempt(&task)? {
                    Attempt::Made => any_made = true,
                    Attempt::NotYet => {}
                    Attempt::DestinationDown | Attempt::Stopped => return Ok(Duration::ZERO),
                }
            }
            if !any_made {
                return Ok(next_due.map_or(self.interval, |next| next.min(self.interval)));
            }
        }
    }

    /// Waits, until something comes into the spool or `pause` is over, and looks after the connection.
    fn idle(&mut self, pause: Duration) {
        let started = Instant::now();
        let mut looked_after = started;
        while !self.stop.is_cancelled() {
            let left = pause.saturating_sub(started.elapsed());
            if left.is_zero() || self.watch.wait(left.min(STOP_CHECK)) {
                return;
            }
            if looked_after.elapsed() >= KEEP_ALIVE_EVERY {
                looked_after = Instant::now();
                // A connection that died while idle says nothing of the destination.
                if self
                    .remote
                    .as_mut()
                    .is_some_and(|remote| remote.keep_alive().is_err())
                {
                    self.remote = None;
                }
            }
        }
    }

    /// Tries one batch, and records what came of it.
    fn attempt(&mut self, task: &Task) -> Result<Attempt, BooksError> {
        if self.stop.is_cancelled() {
            return Ok(Attempt::Stopped);
        }
        let found = self.books().locate(&task.batch)?;
        let outcome = match found {
            Whereabouts::WithRelay => return Ok(Attempt::NotYet),
            Whereabouts::Missing(path) => Err(DeliveryError::Missing { path }),
            Whereabouts::At(path) => self.deliver(task, &path),
        };
        match outcome {
            Ok(delivered) => {
                self.succeeded(task, &delivered)?;
                Ok(Attempt::Made)
            }
            Err(error) => self.failed(task, &error),
        }
    }

    fn deliver(&mut self, task: &Task, path: &Path) -> Result<Delivered, DeliveryError> {
        let file = BatchFile::open(path, task.batch.contents)?;
        loop {
            let reused = self.remote.take();
            let may_be_stale = reused.is_some();
            let mut remote = match reused {
                Some(remote) => remote,
                None => Remote::open(&self.destination, self.stop.clone())?,
            };
            match deliver(&mut remote, &self.destination, &task.batch, &file) {
                // A connection that has been open for a while may have died unnoticed; a new one will tell.
                Err(error) if error.blame() == Blame::Connection && may_be_stale => {
                    info!(destination = %self.destination.name, error = in_full(&error), "connecting again");
                }
                outcome => {
                    let broken = matches!(&outcome, Err(error) if error.blame() == Blame::Connection);
                    self.remote = (!broken).then_some(remote);
                    return outcome;
                }
            }
        }
    }

    fn succeeded(&mut self, task: &Task, delivered: &Delivered) -> Result<(), BooksError> {
        let Delivered { published, ending } = delivered;
        let (batch, destination) = (&task.batch, &self.destination.name);
        let now = Timestamp::now();
        self.books().delivered(batch, destination, published, now)?;
        self.metrics.delivered(published.bytes);
        let (batch, path, bytes) = (batch.name(), &published.path, published.bytes);
        let found_there = *ending == Ending::FoundThere;
        info!(%destination, batch, path, bytes, found_there, "batch delivered");
        self.circuit.close();
        self.note(None)
    }

    fn failed(&mut self, task: &Task, error: &DeliveryError) -> Result<Attempt, BooksError> {
        let blame = error.blame();
        if blame == Blame::Nobody {
            return Ok(Attempt::Stopped);
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
        if matches!(blame, Blame::Batch | Blame::File | Blame::Connection) {
            self.record_failure(task, blame, &text)?;
        }
        Ok(match self.circuit.wait(Instant::now()) {
            Some(_) => Attempt::DestinationDown,
            None => Attempt::Made,
        })
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
