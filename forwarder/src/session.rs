//! One of a destination's sessions: takes batches from the queue, has many of them in flight at once, and reports what
//! came of each.
//!
//! Invariants: every batch that was taken is reported once, unless the forwarder stops first. After a connection broke
//! with several batches in flight, the next goes with one, and one more for each that is delivered: a batch that
//! breaks connections is soon alone in flight, and then it is known which it is.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use logferry_config::Destination;
use logferry_ledger::Batch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::attempt::{Attempt, Names, Need};
use crate::batch_file::BatchFile;
use crate::books::{Books, BooksError};
use crate::error::{Blame, DeliveryError, in_full};
use crate::flight::{Flight, Landed};
use crate::outgoing;
use crate::pace::Pace;
use crate::plan::Task;
use crate::queue::{Queue, Taken};
use crate::remote::Remote;
use crate::spool::Spool;

/// The most batches in flight over the first session. With a small batch taking five round trips, these make 1,000 of
/// them a second where a round trip takes 20 ms.
const WIDTH_MAX: usize = 128;

/// And over a further one, which is there for the bytes of a backlog, not for the number of its batches. Each batch in
/// flight is an open file: with 64 sessions, they stay below the common limit of 1,024.
const FURTHER_WIDTH_MAX: usize = 8;

/// How often an idle connection is looked after.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);

/// What a session has to tell.
#[derive(Debug)]
pub(crate) enum Report {
    /// A batch's attempt is over.
    Landed(Box<Landed>),
    /// There is no connection, or no longer; these batches were on their way.
    Broken { error: DeliveryError, tasks: Vec<Task> },
    /// Nothing came of these batches, and nothing speaks against anything.
    Returned(Vec<Task>),
}

/// What all sessions of a destination have in common.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) destination: Destination,
    pub(crate) spool: Spool,
    pub(crate) books: Arc<Mutex<Books>>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) pace: Arc<Mutex<Pace>>,
    pub(crate) reports: Sender<Report>,
    pub(crate) stop: CancellationToken,
}

/// One session.
pub(crate) struct Session {
    common: Common,
    /// Counted from 0. The first speaks for the destination; the others are there if there is work for them, and the
    /// server lets them in.
    number: usize,
    remote: Option<Remote>,
    /// How many batches may be in flight.
    width: usize,
    /// A further session that was not let in does not try again before this.
    rests_until: Option<Instant>,
}

/// What a connection that breaks says of the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Nothing: it has been idle, and may have died long ago.
    Reused,
    /// That it cannot hold one: it is new, or has brought a batch through since it was idle.
    Proved,
}

/// Why attempts did not get what they need.
enum Unserved {
    /// The ledger refused.
    Books(BooksError),
    /// The connection broke.
    Remote(DeliveryError),
}

impl Session {
    pub(crate) fn new(common: Common, number: usize) -> Self {
        Self {
            common,
            number,
            remote: None,
            width: width_max(number),
            rests_until: None,
        }
    }

    /// Delivers until the queue is closed.
    pub(crate) fn run(mut self) {
        loop {
            let now = Instant::now();
            let rest = self.rests_until.map(|until| until.saturating_duration_since(now));
            let taken = match rest.filter(|rest| !rest.is_zero()) {
                Some(rest) => self.common.queue.wait(None, rest),
                None => self.common.queue.wait(Some(self.number), KEEP_ALIVE_EVERY),
            };
            match taken {
                Taken::Task(task) => self.fly(*task),
                Taken::Closed => return,
                Taken::Nothing => self.look_after_connection(),
            }
        }
    }

    fn look_after_connection(&mut self) {
        // A connection that died while idle says nothing of the destination.
        if self
            .remote
            .as_mut()
            .is_some_and(|remote| remote.keep_alive().is_err())
        {
            self.remote = None;
        }
    }

    /// Delivers a batch and those that are due meanwhile, until none is in flight.
    fn fly(&mut self, first: Task) {
        let mut trust = Trust::Reused;
        let mut remote = match self.remote.take() {
            Some(remote) => remote,
            None => match self.connect() {
                Ok(remote) => {
                    trust = Trust::Proved;
                    remote
                }
                Err(error) => return self.broke(error, vec![first]),
            },
        };
        let (mut flight, mut next) = (Flight::default(), Some(first));
        loop {
            while flight.len() < self.width
                && let Some(task) = next.take().or_else(|| self.common.queue.take(self.number))
            {
                self.launch(task, &mut flight, &mut remote);
            }
            if flight.is_empty() {
                self.remote = Some(remote);
                return;
            }
            if let Err(error) = remote.exchange(&mut flight) {
                let tasks = flight.into_tasks();
                return match trust {
                    Trust::Reused if error.blame() == Blame::Connection => self.reconnects(&error, tasks),
                    _ => self.broke(error, tasks),
                };
            }
            let mut landed = Vec::new();
            while let Some(event) = remote.client().poll_event() {
                landed.extend(flight.on_event(event, remote.client()));
            }
            let served = self.serve(&mut flight, &mut remote, &mut landed);
            for landed in landed {
                if landed.1.is_ok() {
                    trust = Trust::Proved;
                    self.width = (self.width + 1).min(width_max(self.number));
                }
                self.report(Report::Landed(Box::new(landed)));
            }
            match served {
                Ok(()) => {}
                Err(Unserved::Books(error)) => return self.cannot_note(&error, flight.into_tasks()),
                Err(Unserved::Remote(error)) => return self.broke(error, flight.into_tasks()),
            }
        }
    }

    /// Does what attempts need that is not the SFTP machine's to do, until none needs anything; those that come to their
    /// ends go to `landed`.
    fn serve(
        &self,
        flight: &mut Flight,
        remote: &mut Remote,
        landed: &mut Vec<Landed>,
    ) -> Result<(), Unserved> {
        loop {
            let mut needy = flight.take_needy();
            if needy.is_empty() {
                return Ok(());
            }
            let served = self.serve_all(&mut needy, remote);
            for attempt in needy {
                landed.extend(flight.launch(attempt, remote.client()));
            }
            served?;
        }
    }

    fn serve_all(&self, needy: &mut [Attempt], remote: &mut Remote) -> Result<(), Unserved> {
        let (mut notes, mut paths) = (Vec::new(), Vec::new());
        for need in needy.iter().filter_map(Attempt::need) {
            match need {
                Need::Note(batch, file) => notes.push((batch, file)),
                Need::Hash { path } => paths.push(path),
            }
        }
        if !notes.is_empty() {
            let mut books = self.common.books.lock().unwrap_or_else(PoisonError::into_inner);
            books
                .note_publishing(&self.common.destination.name, &notes)
                .map_err(Unserved::Books)?;
        }
        let hashes = remote.hashes(&paths).map_err(Unserved::Remote)?;
        let mut hashes = hashes.into_iter();
        for attempt in needy {
            match attempt.need() {
                Some(Need::Note(..)) => attempt.on_noted(),
                Some(Need::Hash { .. }) => attempt.on_hash(hashes.next().flatten()),
                None => {}
            }
        }
        Ok(())
    }

    /// Nothing can be published that cannot be noted before.
    fn cannot_note(&mut self, error: &BooksError, tasks: Vec<Task>) {
        let destination = &self.common.destination;
        warn!(destination = %destination.name, error = in_full(error), "cannot note what is about to be published, will try again");
        self.rests_until = Some(Instant::now() + destination.retry.initial);
        self.report(Report::Returned(tasks));
    }

    fn connect(&self) -> Result<Remote, DeliveryError> {
        let Common {
            destination,
            pace,
            stop,
            ..
        } = &self.common;
        Remote::open(destination, Arc::clone(pace), stop.clone())
    }

    /// Sends a batch on its way, if its file is as it should be.
    fn launch(&self, task: Task, flight: &mut Flight, remote: &mut Remote) {
        let names = Names::of(&task.batch, &self.common.destination);
        let landed = match self.file_to_send(&task.batch) {
            Ok(file) => {
                let publish = self.common.destination.publish.clone();
                let attempt = Attempt::new(task, names, publish, remote.way(), file);
                flight.launch(attempt, remote.client())
            }
            Err(error) => Some((task, Err(error))),
        };
        if let Some(landed) = landed {
            self.report(Report::Landed(Box::new(landed)));
        }
    }

    fn file_to_send(&self, batch: &Batch) -> Result<BatchFile, DeliveryError> {
        let Common {
            destination,
            spool,
            stop,
            ..
        } = &self.common;
        let path = spool.locate(batch)?;
        outgoing::open(spool.data_dir(), destination, batch, &path, stop)
    }

    /// A connection that has been idle died: a new one will tell whether that means something.
    fn reconnects(&mut self, error: &DeliveryError, tasks: Vec<Task>) {
        info!(destination = %self.common.destination.name, error = in_full(error), "connecting again");
        self.report(Report::Returned(tasks));
    }

    /// There is no connection.
    fn broke(&mut self, error: DeliveryError, tasks: Vec<Task>) {
        if error.blame() == Blame::Nobody {
            return self.report(Report::Returned(tasks));
        }
        self.width = 1;
        if self.number == 0 {
            // Until the worker has judged it, nobody is to try.
            self.common.queue.withdraw();
            return self.report(Report::Broken { error, tasks });
        }
        // The first session goes on, or will say why not. Servers may allow only so many.
        let destination = &self.common.destination;
        info!(destination = %destination.name, session = self.number + 1, error = in_full(&error), "going on with fewer sessions");
        self.rests_until = Some(Instant::now() + destination.retry.max);
        self.report(Report::Returned(tasks));
    }

    fn report(&self, report: Report) {
        // The worker is there as long as its sessions are.
        let _ = self.common.reports.send(report);
    }
}

fn width_max(session: usize) -> usize {
    if session == 0 {
        WIDTH_MAX
    } else {
        FURTHER_WIDTH_MAX
    }
}
