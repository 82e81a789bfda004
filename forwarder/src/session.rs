//! One of a destination's sessions: takes batches from the queue, has many of them in flight at once, and reports what
//! came of each.
//!
//! Invariants: every batch that was taken is reported once, unless the forwarder stops first. After a connection broke
//! with several batches in flight, the next goes with one, and one more for each that is delivered: a batch that
//! breaks connections is soon alone in flight, and then it is known which it is.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use logferry_config::Destination;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::attempt::Attempt;
use crate::batch_file::BatchFile;
use crate::error::{Blame, DeliveryError, in_full};
use crate::flight::{Flight, Landed};
use crate::folders::Folders;
use crate::letter::Posted;
use crate::names::Names;
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

/// The most letters in flight; they are small and few.
const LETTERS_MAX: usize = 4;

/// How often an idle connection is looked after.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);

/// What a session has to tell.
#[derive(Debug)]
pub(crate) enum Report {
    /// A batch's attempt is over.
    Landed(Box<Landed>),
    /// What came of a letter.
    Posted(Posted),
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
    /// What is known of the folders there.
    folders: Folders,
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

impl Session {
    pub(crate) fn new(common: Common, number: usize) -> Self {
        Self {
            common,
            number,
            remote: None,
            folders: Folders::default(),
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
                Taken::Task(task) => self.fly(Some(*task)),
                Taken::Letters => self.fly(None),
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

    /// Delivers a batch, if there is one, and what is due meanwhile, until nothing is in flight.
    fn fly(&mut self, first: Option<Task>) {
        let mut trust = Trust::Reused;
        let mut remote = match self.remote.take() {
            Some(remote) => remote,
            None => match self.connect() {
                Ok(remote) => {
                    trust = Trust::Proved;
                    self.folders.forget();
                    remote
                }
                Err(error) => return self.broke(error, first.into_iter().collect()),
            },
        };
        let mut flight = Flight::new(std::mem::take(&mut self.folders));
        let mut next = first;
        loop {
            while flight.letters.len() < LETTERS_MAX
                && let Some(letter) = self.common.queue.take_letter(self.number)
            {
                flight.letters.post(letter, remote.client());
            }
            while flight.len() < self.width
                && let Some(task) = next.take().or_else(|| self.common.queue.take(self.number))
            {
                self.launch(task, &mut flight, &mut remote);
            }
            if flight.is_empty() {
                self.folders = flight.into_folders();
                self.remote = Some(remote);
                return;
            }
            if let Err(error) = remote.exchange(&mut flight) {
                for letter in flight.letters.ids() {
                    self.common.queue.settle_letter(letter);
                }
                let tasks = flight.into_tasks();
                return match trust {
                    Trust::Reused if error.blame() == Blame::Connection => self.reconnects(&error, tasks),
                    _ => self.broke(error, tasks),
                };
            }
            while let Some(event) = remote.client().poll_event() {
                if let Some(landed) = flight.on_event(event, remote.client()) {
                    if landed.1.is_ok() {
                        trust = Trust::Proved;
                        self.width = (self.width + 1).min(width_max(self.number));
                    }
                    self.report(Report::Landed(Box::new(landed)));
                }
            }
            for posted in flight.letters.take_posted() {
                self.report(Report::Posted(posted));
            }
        }
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
        let found = self.common.spool.locate(&task.batch);
        let landed = match found.and_then(|path| BatchFile::open(&path, task.batch.contents)) {
            Ok(file) => flight.launch(Attempt::new(task, names, file), remote.client()),
            Err(error) => Some((task, Err(error))),
        };
        if let Some(landed) = landed {
            self.report(Report::Landed(Box::new(landed)));
        }
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
