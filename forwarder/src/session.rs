//! One of a destination's sessions: takes batches from the queue, has many of them in flight at once, and reports what
//! came of each.
//!
//! Invariants: every batch that was taken is reported once, unless the forwarder stops first. After a connection broke
//! with several batches in flight, the next goes with one, and one more for each that is delivered: a batch that
//! breaks connections is soon alone in flight, and then it is known which it is. A session that is not let in while
//! another has a connection says nothing of the destination: servers may allow only so many.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use logferry_config::Destination;
use logferry_ledger::{Batch, FailureKind};
use logferry_sftp::JobEvent;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::attempt::{Attempt, Need};
use crate::batch_file::BatchFile;
use crate::books::{Books, BooksError};
use crate::door::{Door, Guest};
use crate::doubts::Doubts;
use crate::error::{Blame, DeliveryError, in_full};
use crate::flight::{Flight, Landed};
use crate::folders::Folders;
use crate::letter::Posted;
use crate::names::Names;
use crate::outgoing;
use crate::pace::Pace;
use crate::plan::Task;
use crate::progress::{Board, POST_EVERY};
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
    /// There is no connection, and so none for these batches, of which there is at most one.
    NotLetIn { error: DeliveryError, tasks: Vec<Task> },
    /// The connection is gone; these batches were on their way.
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
    pub(crate) door: Arc<Door>,
    pub(crate) board: Arc<Board>,
    pub(crate) reports: Sender<Report>,
    pub(crate) stop: CancellationToken,
}

/// One session.
pub(crate) struct Session {
    common: Common,
    /// Counted from 0. The first speaks for the destination; the others are there if there is work for them, and the
    /// server lets them in.
    number: usize,
    guest: Option<Guest>,
    /// What is known of the folders there.
    folders: Folders,
    /// How many batches may be in flight.
    width: usize,
    /// A session that was not let in while others were does not try again before this.
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
            guest: None,
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
        // A further session has had no work for a while, and leaves its place to others. A connection that died while
        // idle says nothing of the destination.
        if self.number > 0
            || self
                .guest
                .as_mut()
                .is_some_and(|guest| guest.remote.keep_alive().is_err())
        {
            self.guest = None;
        }
    }

    /// Delivers a batch, if there is one, and what is due meanwhile, until nothing is in flight.
    fn fly(&mut self, first: Option<Task>) {
        let (trust, guest) = match self.guest.take() {
            Some(guest) => (Trust::Reused, guest),
            None => match self.connect() {
                Ok(guest) => {
                    self.folders.forget();
                    (Trust::Proved, guest)
                }
                Err(error) => return self.not_let_in(error, first),
            },
        };
        self.deliver(first, trust, guest);
        self.common.board.post(self.number, [], Instant::now());
    }

    fn deliver(&mut self, mut next: Option<Task>, mut trust: Trust, mut guest: Guest) {
        let remote = &mut guest.remote;
        let mut flight = Flight::new(std::mem::take(&mut self.folders));
        let mut doubts = Doubts::default();
        let mut posted_at = Instant::now();
        loop {
            while flight.letters.len() < LETTERS_MAX
                && let Some(letter) = self.common.queue.take_letter(self.number)
            {
                flight.letters.post(letter, remote.client());
            }
            while flight.len() < self.width
                && let Some(task) = next.take().or_else(|| self.common.queue.take(self.number))
            {
                self.launch(task, &mut flight, remote);
            }
            if flight.is_empty() && doubts.is_empty() {
                self.folders = flight.into_folders();
                self.guest = Some(guest);
                return;
            }
            if let Err(error) = remote.exchange(&mut flight) {
                let tasks = self.abandon(flight);
                // From here on, whether there is another connection matters.
                drop(guest);
                self.land_all(doubts.into_batches());
                return match trust {
                    Trust::Reused if error.blame() == Blame::Connection => self.reconnects(&error, tasks),
                    _ => self.broke(error, tasks),
                };
            }
            let mut landed = Vec::new();
            while let Some(event) = remote.client().poll_event() {
                landed.extend(self.on_event(event, &mut flight, &mut doubts, remote));
            }
            let served = self.serve(&mut flight, remote, &mut landed);
            if landed.iter().any(|(_, result)| result.is_ok()) {
                trust = Trust::Proved;
            }
            self.land_all(landed);
            if let Err(unserved) = served {
                let tasks = self.abandon(flight);
                drop(guest);
                self.land_all(doubts.into_batches());
                return match unserved {
                    Unserved::Books(error) => self.cannot_note(&error, tasks),
                    Unserved::Remote(error) => self.broke(error, tasks),
                };
            }
            let now = Instant::now();
            if now.saturating_duration_since(posted_at) >= POST_EVERY {
                self.common.board.post(self.number, flight.progress(), now);
                posted_at = now;
            }
            for posted in flight.letters.take_posted() {
                self.report(Report::Posted(posted));
            }
        }
    }

    /// The batches that landed by what happened.
    fn on_event(
        &self,
        event: JobEvent,
        flight: &mut Flight,
        doubts: &mut Doubts,
        remote: &mut Remote,
    ) -> Vec<Landed> {
        let in_flight = if doubts.is_empty() {
            0
        } else {
            flight.progress().map(|progress| progress.total).sum()
        };
        match doubts.on_event(event, in_flight) {
            Ok(judged) => judged,
            Err(event) => {
                let directory = &self.common.destination.directory;
                let landed = flight.on_event(event, remote.client());
                let landed = landed.and_then(|it| doubts.take(it, directory, remote.client()));
                landed.into_iter().collect()
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

    fn connect(&self) -> Result<Guest, DeliveryError> {
        let Common {
            destination,
            pace,
            stop,
            ..
        } = &self.common;
        self.common
            .door
            .enter(|| Remote::open(destination, Arc::clone(pace), stop.clone()))
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
            self.landed(landed);
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

    /// There is no connection for a batch.
    fn not_let_in(&mut self, error: DeliveryError, task: Option<Task>) {
        let tasks: Vec<_> = task.into_iter().collect();
        let door = &self.common.door;
        // A port where nobody listens has not counted anybody.
        let is_listening = !matches!(error, DeliveryError::Unreachable { .. });
        let is_one_too_many = self.number == 0
            && matches!(
                error.kind(),
                FailureKind::Unreachable | FailureKind::ConnectionLost | FailureKind::Protocol
            )
            && (door.is_somebody_inside() || is_listening && door.has_somebody_just_left());
        if is_one_too_many {
            // The others leave when they have no work.
            self.rest(&error, self.common.destination.retry.initial);
            return self.report(Report::Returned(tasks));
        }
        if self.number > 0 || error.blame() == Blame::Nobody {
            return self.broke(error, tasks);
        }
        self.width = 1;
        self.common.queue.withdraw();
        self.report(Report::NotLetIn { error, tasks });
    }

    /// There is no connection, or no longer.
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
        // The first session goes on, or will say why not.
        self.rest(&error, self.common.destination.retry.max);
        self.report(Report::Returned(tasks));
    }

    fn rest(&mut self, error: &DeliveryError, rest: Duration) {
        let (destination, session) = (&self.common.destination.name, self.number + 1);
        info!(%destination, session, error = in_full(error), "going on with fewer sessions");
        self.rests_until = Some(Instant::now() + rest);
    }

    /// What was on its way when the connection went: its letters are put out again by the worker, its batches handed back.
    fn abandon(&self, flight: Flight) -> Vec<Task> {
        for letter in flight.letters.ids() {
            self.common.queue.settle_letter(letter);
        }
        flight.into_tasks()
    }

    fn land_all(&mut self, landed: impl IntoIterator<Item = Landed>) {
        for landed in landed {
            if landed.1.is_ok() {
                self.width = (self.width + 1).min(width_max(self.number));
            }
            self.landed(landed);
        }
    }

    fn landed(&self, landed: Landed) {
        self.report(Report::Landed(Box::new(landed)));
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
