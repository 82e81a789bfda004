//! One of a destination's sessions: takes batches from the queue, has many of them in in_flight at once, and reports what
//! came of each.
//!
//! Invariants: every batch that was taken is reported once, unless the forwarder stops first. After a connection connection_lost
//! with several batches in in_flight, the next goes with one, and one more for each that is delivered: a batch that
//! breaks connections is soon alone in in_flight, and then it is known which it is. A session that is not let in while
//! another has a connection says nothing of the destination: servers may allow only so many.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use logferry_config::Destination;
use logferry_ledger::{Batch, FailureKind};
use logferry_sftp::JobEvent;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::delivery_store::{DeliveryStore, DeliveryStoreError};
use crate::error::{DeliveryError, FailureScope, error_chain};
use crate::publish::attempt::{AttemptNeed, PublishAttempt};
use crate::publish::remote_paths::RemotePaths;
use crate::schedule::plan::DeliveryTask;
use crate::schedule::progress::{PROGRESS_EVERY, ProgressTable};
use crate::schedule::queue::{DeliveryQueue, QueueItem};
use crate::session::bandwidth::Bandwidth;
use crate::session::connect_limiter::{ConnectLimiter, ConnectionSlot};
use crate::session::in_flight::{AttemptsInFlight, Completed};
use crate::session::letter::Posted;
use crate::session::remote_dirs::RemoteDirs;
use crate::session::sftp_driver::SftpDriver;
use crate::session::space_check::SpaceCheck;
use crate::source::SourceFile;
use crate::source::Spool;
use crate::source::compressed_staging;

/// The most batches in in_flight over the first session. With a small batch taking five round trips, these make 1,000 of
/// them a second where a round trip takes 20 ms.
const IN_FLIGHT_MAX: usize = 128;

/// And over a further one, which is there for the bytes of a backlog, not for the number of its batches. Each batch in
/// in_flight is an open file: with 64 sessions, they stay below the shared limit of 1,024.
const FURTHER_IN_FLIGHT_MAX: usize = 8;

/// The most letters in in_flight; they are small and few.
const LETTERS_MAX: usize = 4;

/// How often an idle connection is looked after.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);

/// What a session has to tell.
#[derive(Debug)]
pub(crate) enum SessionReport {
    /// A batch's attempt is over.
    Completed(Box<Completed>),
    /// What came of a letter.
    Posted(Posted),
    /// There is no connection, and so none for these batches, of which there is at most one.
    ConnectFailed {
        error: DeliveryError,
        tasks: Vec<DeliveryTask>,
    },
    /// The connection is gone; these batches were on their publish_method.
    ConnectionLost {
        error: DeliveryError,
        tasks: Vec<DeliveryTask>,
    },
    /// Nothing came of these batches, and nothing speaks against anything.
    Returned(Vec<DeliveryTask>),
}

/// What all sessions of a destination have in shared.
#[derive(Debug, Clone)]
pub(crate) struct SessionShared {
    pub(crate) destination: Destination,
    pub(crate) spool: Spool,
    pub(crate) store: Arc<Mutex<DeliveryStore>>,
    pub(crate) queue: Arc<DeliveryQueue>,
    pub(crate) bandwidth: Arc<Mutex<Bandwidth>>,
    pub(crate) connect_limiter: Arc<ConnectLimiter>,
    pub(crate) progress_table: Arc<ProgressTable>,
    pub(crate) reports: Sender<SessionReport>,
    pub(crate) stop: CancellationToken,
}

/// One session.
pub(crate) struct Session {
    shared: SessionShared,
    /// Counted from 0. The first speaks for the destination; the others are there if there is work for them, and the
    /// server lets them in.
    number: usize,
    slot: Option<ConnectionSlot>,
    /// What is known of the remote_dirs there.
    remote_dirs: RemoteDirs,
    /// How many batches may be in in_flight.
    concurrency: usize,
    /// A session that was not let in while others were does not try again before this.
    paused_until: Option<Instant>,
}

/// What a connection that breaks says of the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionState {
    /// Nothing: it has been idle, and may have died long ago.
    Reused,
    /// That it cannot hold one: it is new, or has brought a batch through since it was idle.
    Proved,
}

/// Why attempts did not get what they need.
enum NeedError {
    /// The ledger refused.
    Store(DeliveryStoreError),
    /// The connection connection_lost.
    Remote(DeliveryError),
}

impl Session {
    pub(crate) fn new(shared: SessionShared, number: usize) -> Self {
        Self {
            shared,
            number,
            slot: None,
            remote_dirs: RemoteDirs::default(),
            concurrency: in_flight_max(number),
            paused_until: None,
        }
    }

    /// Delivers until the queue is closed.
    pub(crate) fn run(mut self) {
        loop {
            let now = Instant::now();
            let pause = self
                .paused_until
                .map(|until| until.saturating_duration_since(now));
            let taken = match pause.filter(|pause| !pause.is_zero()) {
                Some(pause) => self.shared.queue.wait(None, pause),
                None => self.shared.queue.wait(Some(self.number), KEEP_ALIVE_EVERY),
            };
            match taken {
                QueueItem::DeliveryTask(task) => self.connect_and_deliver(Some(*task)),
                QueueItem::Letters => self.connect_and_deliver(None),
                QueueItem::Closed => return,
                QueueItem::Nothing => self.maintain_connection(),
            }
        }
    }

    fn maintain_connection(&mut self) {
        // A further session has had no work for a while, and leaves its place to others. A connection that died while
        // idle says nothing of the destination.
        if self.number > 0
            || self
                .slot
                .as_mut()
                .is_some_and(|slot| slot.remote.keep_alive().is_err())
        {
            self.slot = None;
        }
    }

    /// Delivers a batch, if there is one, and what is due meanwhile, until nothing is in in_flight.
    fn connect_and_deliver(&mut self, first: Option<DeliveryTask>) {
        let (connection_state, slot) = match self.slot.take() {
            Some(slot) => (ConnectionState::Reused, slot),
            None => match self.connect() {
                Ok(slot) => {
                    self.remote_dirs.forget();
                    (ConnectionState::Proved, slot)
                }
                Err(error) => return self.connect_failed(error, first),
            },
        };
        self.deliver(first, connection_state, slot);
        self.shared.progress_table.post(self.number, [], Instant::now());
    }

    fn deliver(
        &mut self,
        mut next: Option<DeliveryTask>,
        mut connection_state: ConnectionState,
        mut slot: ConnectionSlot,
    ) {
        let remote = &mut slot.remote;
        let mut in_flight = AttemptsInFlight::new(std::mem::take(&mut self.remote_dirs));
        let mut space_check = SpaceCheck::default();
        let mut posted_at = Instant::now();
        loop {
            while in_flight.letters.len() < LETTERS_MAX
                && let Some(letter) = self.shared.queue.take_letter(self.number)
            {
                in_flight.letters.post(letter, remote.client());
            }
            while in_flight.len() < self.concurrency
                && let Some(task) = next.take().or_else(|| self.shared.queue.take(self.number))
            {
                self.start(task, &mut in_flight, remote);
            }
            if in_flight.is_empty() && space_check.is_empty() {
                self.remote_dirs = in_flight.into_remote_dirs();
                self.slot = Some(slot);
                return;
            }
            if let Err(error) = remote.exchange(&mut in_flight) {
                let tasks = self.abandon(in_flight);
                // From here on, whether there is another connection matters.
                drop(slot);
                self.report_all(space_check.into_batches());
                return match connection_state {
                    ConnectionState::Reused if error.scope() == FailureScope::Connection => {
                        self.reconnect_later(&error, tasks)
                    }
                    _ => self.connection_lost(error, tasks),
                };
            }
            let mut completed = Vec::new();
            while let Some(event) = remote.client().poll_event() {
                completed.extend(self.on_event(event, &mut in_flight, &mut space_check, remote));
            }
            let fulfilled = self.fulfil_all(&mut in_flight, remote, &mut completed);
            if completed.iter().any(|(_, result)| result.is_ok()) {
                connection_state = ConnectionState::Proved;
            }
            self.report_all(completed);
            if let Err(failed) = fulfilled {
                let tasks = self.abandon(in_flight);
                drop(slot);
                self.report_all(space_check.into_batches());
                return match failed {
                    NeedError::Store(error) => self.note_failed(&error, tasks),
                    NeedError::Remote(error) => self.connection_lost(error, tasks),
                };
            }
            let now = Instant::now();
            if now.saturating_duration_since(posted_at) >= PROGRESS_EVERY {
                self.shared
                    .progress_table
                    .post(self.number, in_flight.progress(), now);
                posted_at = now;
            }
            for posted in in_flight.letters.take_posted() {
                self.report(SessionReport::Posted(posted));
            }
        }
    }

    /// The batches that completed by what happened.
    fn on_event(
        &self,
        event: JobEvent,
        in_flight: &mut AttemptsInFlight,
        space_check: &mut SpaceCheck,
        remote: &mut SftpDriver,
    ) -> Vec<Completed> {
        let bytes_in_flight = if space_check.is_empty() {
            0
        } else {
            in_flight.progress().map(|progress| progress.total).sum()
        };
        match space_check.on_event(event, bytes_in_flight) {
            Ok(judged) => judged,
            Err(event) => {
                let directory = &self.shared.destination.directory;
                let completed = in_flight.on_event(event, remote.client());
                let completed =
                    completed.and_then(|it| space_check.hold_if_ambiguous(it, directory, remote.client()));
                completed.into_iter().collect()
            }
        }
    }

    /// Does what attempts need that is not the SFTP machine's to do, until none needs anything; those that come to their
    /// ends go to `completed`.
    fn fulfil_all(
        &self,
        in_flight: &mut AttemptsInFlight,
        remote: &mut SftpDriver,
        completed: &mut Vec<Completed>,
    ) -> Result<(), NeedError> {
        loop {
            let mut blocked = in_flight.take_blocked();
            if blocked.is_empty() {
                return Ok(());
            }
            let fulfilled = self.fulfil(&mut blocked, remote);
            for attempt in blocked {
                completed.extend(in_flight.start(attempt, remote.client()));
            }
            fulfilled?;
        }
    }

    fn fulfil(&self, blocked: &mut [PublishAttempt], remote: &mut SftpDriver) -> Result<(), NeedError> {
        let (mut notes, mut paths) = (Vec::new(), Vec::new());
        for need in blocked.iter().filter_map(PublishAttempt::need) {
            match need {
                AttemptNeed::Note(batch, file) => notes.push((batch, file)),
                AttemptNeed::Hash { path } => paths.push(path),
            }
        }
        if !notes.is_empty() {
            let mut store = self.shared.store.lock().unwrap_or_else(PoisonError::into_inner);
            store
                .note_publishing(&self.shared.destination.name, &notes)
                .map_err(NeedError::Store)?;
        }
        let hashes = remote.hashes(&paths).map_err(NeedError::Remote)?;
        let mut hashes = hashes.into_iter();
        for attempt in blocked {
            match attempt.need() {
                Some(AttemptNeed::Note(..)) => attempt.on_noted(),
                Some(AttemptNeed::Hash { .. }) => attempt.on_hash(hashes.next().flatten()),
                None => {}
            }
        }
        Ok(())
    }

    /// Nothing can be published that cannot be noted before.
    fn note_failed(&mut self, error: &DeliveryStoreError, tasks: Vec<DeliveryTask>) {
        let destination = &self.shared.destination;
        warn!(destination = %destination.name, error = error_chain(error), "cannot note what is about to be published, will try again");
        self.paused_until = Some(Instant::now() + destination.retry.initial);
        self.report(SessionReport::Returned(tasks));
    }

    fn connect(&self) -> Result<ConnectionSlot, DeliveryError> {
        let SessionShared {
            destination,
            bandwidth,
            stop,
            ..
        } = &self.shared;
        self.shared
            .connect_limiter
            .connect(|| SftpDriver::open(destination, Arc::clone(bandwidth), stop.clone()))
    }

    /// Sends a batch on its publish_method, if its file is as it should be.
    fn start(&self, task: DeliveryTask, in_flight: &mut AttemptsInFlight, remote: &mut SftpDriver) {
        let names = RemotePaths::of(&task.batch, &self.shared.destination);
        let completed = match self.file_to_send(&task.batch) {
            Ok(file) => {
                let publish = self.shared.destination.publish.clone();
                let attempt = PublishAttempt::new(task, names, publish, remote.publish_method(), file);
                in_flight.start(attempt, remote.client())
            }
            Err(error) => Some((task, Err(error))),
        };
        if let Some(completed) = completed {
            self.completed(completed);
        }
    }

    fn file_to_send(&self, batch: &Batch) -> Result<SourceFile, DeliveryError> {
        let SessionShared {
            destination,
            spool,
            stop,
            ..
        } = &self.shared;
        let path = spool.locate(batch)?;
        compressed_staging::open(spool.data_dir(), destination, batch, &path, stop)
    }

    /// A connection that has been idle died: a new one will tell whether that means something.
    fn reconnect_later(&mut self, error: &DeliveryError, tasks: Vec<DeliveryTask>) {
        info!(destination = %self.shared.destination.name, error = error_chain(error), "connecting again");
        self.report(SessionReport::Returned(tasks));
    }

    /// There is no connection for a batch.
    fn connect_failed(&mut self, error: DeliveryError, task: Option<DeliveryTask>) {
        let tasks: Vec<_> = task.into_iter().collect();
        let connect_limiter = &self.shared.connect_limiter;
        // A port where nobody listens has not counted anybody.
        let is_listening = !matches!(error, DeliveryError::Unreachable { .. });
        let is_one_too_many = self.number == 0
            && matches!(
                error.kind(),
                FailureKind::Unreachable | FailureKind::ConnectionLost | FailureKind::Protocol
            )
            && (connect_limiter.has_connection() || is_listening && connect_limiter.has_just_disconnected());
        if is_one_too_many {
            // The others leave when they have no work.
            self.pause(&error, self.shared.destination.retry.initial);
            return self.report(SessionReport::Returned(tasks));
        }
        if self.number > 0 || error.scope() == FailureScope::None {
            return self.connection_lost(error, tasks);
        }
        self.concurrency = 1;
        self.shared.queue.clear();
        self.report(SessionReport::ConnectFailed { error, tasks });
    }

    /// There is no connection, or no longer.
    fn connection_lost(&mut self, error: DeliveryError, tasks: Vec<DeliveryTask>) {
        if error.scope() == FailureScope::None {
            return self.report(SessionReport::Returned(tasks));
        }
        self.concurrency = 1;
        if self.number == 0 {
            // Until the worker has judged it, nobody is to try.
            self.shared.queue.clear();
            return self.report(SessionReport::ConnectionLost { error, tasks });
        }
        // The first session goes on, or will say why not.
        self.pause(&error, self.shared.destination.retry.max);
        self.report(SessionReport::Returned(tasks));
    }

    fn pause(&mut self, error: &DeliveryError, pause: Duration) {
        let (destination, session) = (&self.shared.destination.name, self.number + 1);
        info!(%destination, session, error = error_chain(error), "going on with fewer sessions");
        self.paused_until = Some(Instant::now() + pause);
    }

    /// What was on its publish_method when the connection went: its letters are put out again by the worker, its batches handed back.
    fn abandon(&self, in_flight: AttemptsInFlight) -> Vec<DeliveryTask> {
        for letter in in_flight.letters.ids() {
            self.shared.queue.complete_letter(letter);
        }
        in_flight.into_tasks()
    }

    fn report_all(&mut self, completed: impl IntoIterator<Item = Completed>) {
        for completed in completed {
            if completed.1.is_ok() {
                self.concurrency = (self.concurrency + 1).min(in_flight_max(self.number));
            }
            self.completed(completed);
        }
    }

    fn completed(&self, completed: Completed) {
        self.report(SessionReport::Completed(Box::new(completed)));
    }

    fn report(&self, report: SessionReport) {
        // The worker is there as long as its sessions are.
        let _ = self.shared.reports.send(report);
    }
}

fn in_flight_max(session: usize) -> usize {
    if session == 0 {
        IN_FLIGHT_MAX
    } else {
        FURTHER_IN_FLIGHT_MAX
    }
}
