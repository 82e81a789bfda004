//! One session of a destination: takes items from the queue, has many of them in flight at once, and reports the result
//! of each.
//!
//! Invariants: every item that was taken is reported once, unless the forwarder stops first. After a connection broke
//! with several items in flight, the session continues with one, and with one more for each that is delivered: an item
//! that breaks connections is soon alone in flight and then known. A session that cannot connect while another one is
//! connected proves nothing about the destination, because servers may limit the connections.

use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use logferry_config::{Destination, FileCompression, Publishing};
use logferry_durable::RealDisk;
use logferry_ledger::{Batch, FailureKind};
use logferry_sftp::JobEvent;
use logferry_spool::{Spool, SpoolFile};
use logferry_text::error_chain;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::bandwidth::Bandwidth;
use super::connect_limiter::{ConnectLimiter, ConnectionSlot};
use super::in_flight::{AttemptsInFlight, Completed};
use super::progress::{PROGRESS_EVERY, TransferProgressTable};
use super::remote_dirs::RemoteDirs;
use super::sftp_driver::SftpDriver;
use super::space_check::SpaceCheck;
use crate::delivery_store::{DeliveryStore, DeliveryStoreError};
use crate::error::{DeliveryError, FailureScope};
use crate::lock;
use crate::publish::attempt::{AttemptNeed, PublishAttempt};
use crate::publish::remote_paths::RemotePaths;
use crate::publish::task::{DeliveryItem, DeliveryTask};
use crate::schedule::queue::{DeliveryQueue, QueueItem};
use crate::source::{BatchFileReader, SourceFile, StagedBytes, compressed_staging};

/// The most items in flight over the first session. A small batch takes five round trips, so this many deliver 1,000
/// batches a second over a round trip of 20 ms.
const IN_FLIGHT_MAX: usize = 128;

/// The same for a further session, which adds bandwidth for a backlog. Each batch in flight is an open file: with 64
/// sessions they stay below the usual limit of 1,024.
const FURTHER_IN_FLIGHT_MAX: usize = 8;

/// How often an idle connection is checked.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);

/// A session's message to its worker.
#[derive(Debug)]
pub(crate) enum SessionReport {
    /// An attempt is over.
    Completed(Box<Completed>),
    /// There is no connection. There is at most one item.
    ConnectFailed {
        error: DeliveryError,
        tasks: Vec<DeliveryTask>,
    },
    /// The connection is lost; these items were in flight.
    ConnectionLost {
        error: DeliveryError,
        tasks: Vec<DeliveryTask>,
    },
    /// Returned unprocessed; no error.
    Returned(Vec<DeliveryTask>),
}

/// The parts that all sessions of a destination share.
#[derive(Debug, Clone)]
pub(crate) struct SessionShared {
    pub(crate) destination: Destination,
    pub(crate) spool: Spool<RealDisk>,
    pub(crate) store: Arc<Mutex<DeliveryStore>>,
    pub(crate) queue: Arc<DeliveryQueue>,
    pub(crate) bandwidth: Arc<Mutex<Bandwidth>>,
    pub(crate) connect_limiter: Arc<ConnectLimiter>,
    pub(crate) progress_table: Arc<TransferProgressTable>,
    pub(crate) staged: StagedBytes,
    pub(crate) reports: Sender<SessionReport>,
    pub(crate) stop: CancellationToken,
}

pub(crate) struct Session {
    shared: SessionShared,
    /// Counted from 0. The first session decides whether the destination is up; the others connect if there is work for
    /// them and the server accepts the connection.
    number: usize,
    slot: Option<ConnectionSlot>,
    /// Known to exist over this connection.
    remote_dirs: RemoteDirs,
    /// How many items may be in flight now.
    concurrency: usize,
    /// The session takes no item before this time.
    paused_until: Option<Instant>,
}

/// The proof that a broken connection gives about the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionState {
    /// Nothing: the connection was idle and may have been dead for long.
    Reused,
    /// A failure: the connection is new, or has delivered something since it was idle.
    Proved,
}

/// Why attempts did not get what they need.
enum NeedError {
    /// The ledger refused the note.
    Store(DeliveryStoreError),
    /// The connection broke.
    Connection(DeliveryError),
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
                QueueItem::Task(task) => self.connect_and_deliver(*task),
                QueueItem::Closed => return,
                QueueItem::TimedOut => self.maintain_connection(),
            }
        }
    }

    /// Closes an idle connection if it is dead or belongs to a further session, which leaves its place to others. A
    /// connection that died while idle proves nothing about the destination.
    fn maintain_connection(&mut self) {
        let is_dead = |slot: &mut ConnectionSlot| slot.driver.keep_alive().is_err();
        if self.number > 0 || self.slot.as_mut().is_some_and(is_dead) {
            self.slot = None;
        }
    }

    /// Delivers an item and those that become due meanwhile, until nothing is in flight.
    fn connect_and_deliver(&mut self, first: DeliveryTask) {
        let (state, slot) = match self.slot.take() {
            Some(slot) => (ConnectionState::Reused, slot),
            None => match self.connect() {
                Ok(slot) => {
                    self.remote_dirs.forget();
                    (ConnectionState::Proved, slot)
                }
                Err(error) => return self.connect_failed(error, first),
            },
        };
        self.deliver(first, state, slot);
        self.shared.progress_table.post(self.number, [], Instant::now());
    }

    fn deliver(&mut self, first: DeliveryTask, mut state: ConnectionState, mut slot: ConnectionSlot) {
        let driver = &mut slot.driver;
        let mut next = Some(first);
        let mut in_flight = AttemptsInFlight::default();
        in_flight.remote_dirs = std::mem::take(&mut self.remote_dirs);
        let mut space_check = SpaceCheck::default();
        let mut posted_at = Instant::now();
        loop {
            self.start_more(&mut next, &mut in_flight, driver);
            if in_flight.is_empty() && space_check.is_empty() {
                self.remote_dirs = in_flight.remote_dirs;
                self.slot = Some(slot);
                return;
            }
            let mut completed = Vec::new();
            let mut result = driver.exchange(&mut in_flight).map_err(NeedError::Connection);
            if result.is_ok() {
                while let Some(event) = driver.client().poll_event() {
                    completed.extend(self.on_event(event, &mut in_flight, &mut space_check, driver));
                }
                result = self.provide_needs(&mut in_flight, &mut space_check, driver, &mut completed);
                if completed.iter().any(|(_, result)| result.is_ok()) {
                    state = ConnectionState::Proved;
                }
                self.report_all(completed);
            }
            if let Err(error) = result {
                let tasks = in_flight.into_tasks();
                // The reports below depend on whether another session is connected.
                drop(slot);
                self.report_all(space_check.into_completed());
                return match error {
                    NeedError::Store(error) => self.note_failed(&error, tasks),
                    // It died while it was idle. The next connection shows whether the destination is down.
                    NeedError::Connection(error)
                        if state == ConnectionState::Reused && error.scope() == FailureScope::Connection =>
                    {
                        info!(destination = %self.shared.destination.name, error = error_chain(&error), "an idle connection was lost; connecting again");
                        self.report(SessionReport::Returned(tasks));
                    }
                    NeedError::Connection(error) => self.connection_lost(error, tasks),
                };
            }
            let now = Instant::now();
            if now.saturating_duration_since(posted_at) >= PROGRESS_EVERY {
                self.shared
                    .progress_table
                    .post(self.number, in_flight.progress(), now);
                posted_at = now;
            }
        }
    }

    /// Starts `next` and further items, as far as more may be in flight.
    fn start_more(
        &self,
        next: &mut Option<DeliveryTask>,
        in_flight: &mut AttemptsInFlight,
        driver: &mut SftpDriver,
    ) {
        let compresses = self.shared.destination.publish.compress != FileCompression::None;
        let mut has_compressed = false;
        while in_flight.len() < self.concurrency
            && may_start(in_flight.len(), has_compressed, self.shared.staged.has_room())
            && let Some(task) = next.take().or_else(|| self.shared.queue.take(self.number))
        {
            self.start(task, in_flight, driver);
            has_compressed = compresses;
        }
    }

    /// The items that an event completed.
    fn on_event(
        &self,
        event: JobEvent,
        in_flight: &mut AttemptsInFlight,
        space_check: &mut SpaceCheck,
        driver: &mut SftpDriver,
    ) -> Vec<Completed> {
        let bytes_left = if space_check.is_empty() {
            0
        } else {
            in_flight.bytes_left()
        };
        match space_check.on_event(event, bytes_left) {
            Ok(completed) => completed,
            Err(event) => {
                let completed = in_flight.on_event(event, driver.client());
                let completed = completed.and_then(|it| self.hold_if_ambiguous(it, space_check, driver));
                completed.into_iter().collect()
            }
        }
    }

    /// Holds an item whose failure may be a lack of space; returns any other.
    fn hold_if_ambiguous(
        &self,
        completed: Completed,
        space_check: &mut SpaceCheck,
        driver: &mut SftpDriver,
    ) -> Option<Completed> {
        let directory = &self.shared.destination.directory;
        space_check.hold_if_ambiguous(completed, directory, driver.client())
    }

    /// Provides what attempts need and the SFTP machine cannot do, until none needs anything. Items that end go to
    /// `completed`.
    fn provide_needs(
        &self,
        in_flight: &mut AttemptsInFlight,
        space_check: &mut SpaceCheck,
        driver: &mut SftpDriver,
        completed: &mut Vec<Completed>,
    ) -> Result<(), NeedError> {
        loop {
            let mut blocked = in_flight.take_blocked();
            if blocked.is_empty() {
                return Ok(());
            }
            let provided = self.provide(&mut blocked, driver);
            for attempt in blocked {
                let ended = in_flight.start(attempt, driver.client());
                completed.extend(ended.and_then(|it| self.hold_if_ambiguous(it, space_check, driver)));
            }
            provided?;
        }
    }

    /// One transaction for all notes, and one command for all hashes.
    fn provide(&self, blocked: &mut [PublishAttempt], driver: &mut SftpDriver) -> Result<(), NeedError> {
        let (mut notes, mut paths) = (Vec::new(), Vec::new());
        for need in blocked.iter().filter_map(PublishAttempt::need) {
            match need {
                AttemptNeed::Note(id, note) => notes.push((id, note)),
                AttemptNeed::Hash { path } => paths.push(path),
            }
        }
        if !notes.is_empty() {
            let destination = &self.shared.destination.name;
            let result = lock(&self.shared.store).note_publishing(destination, &notes);
            result.map_err(NeedError::Store)?;
        }
        let mut hashes = driver.hashes(&paths).map_err(NeedError::Connection)?.into_iter();
        for attempt in blocked {
            match attempt.need() {
                Some(AttemptNeed::Note(..)) => attempt.on_noted(),
                Some(AttemptNeed::Hash { .. }) => attempt.on_hash(hashes.next().flatten()),
                None => {}
            }
        }
        Ok(())
    }

    /// The ledger refused a note, and nothing is published without one.
    fn note_failed(&mut self, error: &DeliveryStoreError, tasks: Vec<DeliveryTask>) {
        let destination = &self.shared.destination;
        warn!(destination = %destination.name, error = error_chain(error), "cannot record the coming publication in the ledger; will try again");
        self.paused_until = Some(Instant::now() + destination.retry.backoff.initial);
        self.report(SessionReport::Returned(tasks));
    }

    fn connect(&self) -> Result<ConnectionSlot, DeliveryError> {
        let shared = &self.shared;
        let (bandwidth, stop) = (Arc::clone(&shared.bandwidth), shared.stop.clone());
        let open = || SftpDriver::open(&shared.destination, bandwidth, stop);
        shared.connect_limiter.connect(open)
    }

    /// Starts the attempt for an item, unless its file cannot be sent.
    fn start(&self, task: DeliveryTask, in_flight: &mut AttemptsInFlight, driver: &mut SftpDriver) {
        let completed = match self.file_to_send(&task) {
            Ok((paths, publish, file)) => {
                let attempt = PublishAttempt::new(task, paths, publish, driver.publish_method(), file);
                in_flight.start(attempt, driver.client())
            }
            Err(error) => Some((task, Err(error))),
        };
        if let Some(completed) = completed {
            self.report(SessionReport::Completed(Box::new(completed)));
        }
    }

    fn file_to_send(
        &self,
        task: &DeliveryTask,
    ) -> Result<(RemotePaths, Publishing, SourceFile), DeliveryError> {
        let destination = &self.shared.destination;
        Ok(match &task.item {
            DeliveryItem::Batch(batch) => {
                let (data_dir, stop) = (self.shared.spool.data_dir(), &self.shared.stop);
                let file = self.open_batch(batch, task.file.as_ref())?;
                let file =
                    compressed_staging::open(data_dir, destination, batch, file, &self.shared.staged, stop)?;
                let paths = RemotePaths::of_batch(batch, destination);
                (paths, destination.publish.clone(), file)
            }
            DeliveryItem::WindowManifest(manifest) => {
                let paths = RemotePaths::of_window_manifest(manifest, destination);
                let file = SourceFile::from_bytes(&paths.published, manifest.content.clone().into_bytes());
                let publish = Publishing {
                    manifest: false,
                    marker: None,
                    ..destination.publish.clone()
                };
                (paths, publish, file)
            }
        })
    }

    /// Opens a batch's file where the plan found it. If it is not there, searches for it.
    fn open_batch(
        &self,
        batch: &Batch,
        planned: Option<&SpoolFile>,
    ) -> Result<(PathBuf, BatchFileReader), DeliveryError> {
        let spool = &self.shared.spool;
        if let Some(file) = planned
            && let Some(reader) = spool.open(file)?
        {
            return Ok((file.path.clone(), reader));
        }
        let found = spool.find_and_open(batch)?;
        let path = || spool.path(batch, batch.state);
        let (file, reader) = found.ok_or_else(|| DeliveryError::Missing(path()))?;
        Ok((file.path, reader))
    }

    fn connect_failed(&mut self, error: DeliveryError, task: DeliveryTask) {
        let limiter = &self.shared.connect_limiter;
        // Where no server listens, no connections are counted.
        let is_listening = !matches!(error, DeliveryError::Unreachable(..));
        let may_be_connection_limit = self.number == 0
            && matches!(
                error.kind(),
                FailureKind::Unreachable | FailureKind::ConnectionLost | FailureKind::Protocol
            )
            && (limiter.has_connection() || is_listening && limiter.has_just_disconnected());
        if may_be_connection_limit {
            // The other sessions disconnect when they have no work.
            self.pause(&error, self.shared.destination.retry.backoff.initial);
            return self.report(SessionReport::Returned(vec![task]));
        }
        if self.number > 0 || error.scope() == FailureScope::None {
            return self.connection_lost(error, vec![task]);
        }
        self.concurrency = 1;
        self.shared.queue.clear();
        let tasks = vec![task];
        self.report(SessionReport::ConnectFailed { error, tasks });
    }

    fn connection_lost(&mut self, error: DeliveryError, tasks: Vec<DeliveryTask>) {
        if error.scope() == FailureScope::None {
            return self.report(SessionReport::Returned(tasks));
        }
        self.concurrency = 1;
        if self.number == 0 {
            // No session may try before the worker has classified the failure.
            self.shared.queue.clear();
            return self.report(SessionReport::ConnectionLost { error, tasks });
        }
        // The first session continues, or reports why it cannot.
        self.pause(&error, self.shared.destination.retry.backoff.max);
        self.report(SessionReport::Returned(tasks));
    }

    fn pause(&mut self, error: &DeliveryError, pause: Duration) {
        let (destination, session) = (&self.shared.destination.name, self.number + 1);
        info!(%destination, session, error = error_chain(error), "a session could not connect or lost its connection; continuing with fewer sessions");
        self.paused_until = Some(Instant::now() + pause);
    }

    fn report_all(&mut self, completed: impl IntoIterator<Item = Completed>) {
        for completed in completed {
            if completed.1.is_ok() {
                self.concurrency = (self.concurrency + 1).min(in_flight_max(self.number));
            }
            self.report(SessionReport::Completed(Box::new(completed)));
        }
    }

    fn report(&self, report: SessionReport) {
        // The worker receives for as long as its sessions run.
        let _ = self.shared.reports.send(report);
    }
}

/// Whether an item may be started beside those in flight. Nothing moves while a batch is compressed: what is in flight moves
/// on between two batches.
fn may_start(in_flight: usize, has_compressed: bool, has_room: bool) -> bool {
    in_flight == 0 || (!has_compressed && has_room)
}

fn in_flight_max(session: usize) -> usize {
    if session == 0 {
        IN_FLIGHT_MAX
    } else {
        FURTHER_IN_FLIGHT_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_move_between_two_batches_that_are_compressed_and_an_idle_session_always_starts_one() {
        assert!(may_start(0, false, false), "a batch larger than the room");
        assert!(may_start(0, true, true), "the one before could not be sent");
        assert!(may_start(5, false, true));
        assert!(!may_start(5, true, true), "not a second one before bytes moved");
        assert!(!may_start(5, false, false));
    }
}
