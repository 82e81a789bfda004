//! The thread of a group's committer: the thin shell between requests on one side, disk and ledger on the other.
//!
//! It stages chunks as they come. [`writer_threads`] make rounds durable; what is staged while a round is synced is the next
//! round: the more load, the more chunks share one `fdatasync`, and appending never waits for a sync unless the round is as
//! large as it may be. Only a backlog's lines wait for the disk when they are appended. The queue is bounded by the group's body
//! memory.

mod reports;
mod writer_threads;

use std::collections::HashMap;
use std::error::Error;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_durable::Disk;
use logferry_ledger::{LedgerError, SenderRecord, UploadedBody};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::names::SourceId;
use logferry_protocol::resolve::ResolveRequest;
use logferry_telemetry::{RelayMetrics, StoredChunks};
use logferry_text::{error_chain, size};
use tokio::sync::oneshot;

use self::reports::REPORTS_MAX;
use self::writer_threads::{WriterThreads, WrittenRound};
use crate::chunk::{ChunkReply, Moment, ReceivedChunk, RequestBody};
use crate::commit::committer::{
    Committer, EarlyChunks, FoundStreams, ReportKey, counted_bytes, wait_replies,
};
use crate::commit::disk_scheduler::GroupScheduler;
use crate::commit::spool_recovery::CommitError;
use crate::health::{AvailabilityTracker, FaultReason, LogThrottle, SharedGroupStatus, StatusReporter};

/// How often batches are checked for sealing.
const TICK: Duration = Duration::from_millis(250);

/// How often the free disk space is checked.
const DISK_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Most bytes that are staged before the thread looks whether the round before is written.
const STAGE_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(crate) enum CommitJob {
    Store(Box<ReceivedChunk<RequestBody>>, oneshot::Sender<ChunkReply>),
    /// For each file: the streams that it may be. `None`: the ledger could not be read.
    Resolve(ReportKey, ResolveRequest, oneshot::Sender<Option<FoundStreams>>),
    /// Record a heartbeat, with its sender. The reply says whether that succeeded.
    Heartbeat(
        ReportKey,
        Box<Heartbeat>,
        Option<Box<SenderRecord>>,
        oneshot::Sender<bool>,
    ),
    /// Record a sender. The reply says whether that succeeded.
    NoteSender(Box<SenderRecord>, oneshot::Sender<bool>),
    /// The response to a legacy upload was received.
    Acknowledged(UploadedBody),
    /// A round is synced, or has ended: the thread looks for it.
    RoundStep,
}

/// The threads of a group cannot be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitThreadError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Thread(#[from] std::io::Error),
}

/// What is needed to reply to a chunk and to count it.
pub(crate) struct ReplyHandle {
    reply: oneshot::Sender<ChunkReply>,
    source: SourceId,
    lines: u64,
    bytes: u64,
}

/// The queue to a group's commit thread. The thread ends, with an empty queue, when the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct CommitQueue {
    jobs: Arc<Sender<CommitJob>>,
    status: SharedGroupStatus,
}

impl CommitQueue {
    pub(crate) fn start<D: Disk>(
        committer: Committer<D, ReplyHandle>,
        scheduler: GroupScheduler,
        metrics: RelayMetrics,
        min_free_disk: u64,
    ) -> Result<(Self, JoinHandle<()>), CommitThreadError> {
        let (jobs, queue) = channel();
        let jobs = Arc::new(jobs);
        let name = format!("commit-{}", committer.group);
        let thread = CommitThread::new(
            committer,
            scheduler,
            metrics,
            min_free_disk,
            Arc::downgrade(&jobs),
        )?;
        let status = thread.status.clone();
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || thread.run(&queue))?;
        Ok((Self { jobs, status }, thread))
    }

    /// A queue without thread.
    #[cfg(test)]
    pub(crate) fn to(jobs: Sender<CommitJob>) -> Self {
        Self {
            jobs: Arc::new(jobs),
            status: SharedGroupStatus::default(),
        }
    }

    pub(crate) fn status(&self) -> &SharedGroupStatus {
        &self.status
    }

    /// Queues a job. If the thread has stopped, the job is dropped, and whoever waits for its reply learns that.
    pub(crate) fn submit(&self, job: CommitJob) {
        let _ = self.jobs.send(job);
    }
}

/// The faults whose log messages are limited.
#[derive(Debug, PartialEq, Eq, Hash)]
enum LoggedFault {
    Commit,
    Conflict,
    DiskLow,
    Bookkeeping,
}

struct CommitThread<D: Disk> {
    committer: Committer<D, ReplyHandle>,
    /// Chunks that wait for their predecessors.
    early: EarlyChunks<RequestBody, ReplyHandle>,
    writer: WriterThreads<D::File, ReplyHandle>,
    scheduler: GroupScheduler,
    metrics: RelayMetrics,
    status: SharedGroupStatus,
    reporter: StatusReporter,
    tracker: AvailabilityTracker,
    next_disk_check: Instant,
    throttle: LogThrottle<LoggedFault, ()>,
}

impl<D: Disk> CommitThread<D> {
    /// The thread's state, with its writer threads. `jobs`: its queue.
    fn new(
        committer: Committer<D, ReplyHandle>,
        scheduler: GroupScheduler,
        metrics: RelayMetrics,
        min_free_disk: u64,
        jobs: Weak<Sender<CommitJob>>,
    ) -> Result<Self, CommitThreadError> {
        let writer = WriterThreads::start(
            committer.group.as_str(),
            committer.spool.disk().clone(),
            committer.ledger.reopen()?,
            scheduler.clone(),
            metrics.clone(),
            jobs,
        )?;
        Ok(Self {
            reporter: StatusReporter::new(committer.group.clone(), Instant::now(), Timestamp::now()),
            committer,
            early: EarlyChunks::default(),
            writer,
            scheduler,
            metrics,
            status: SharedGroupStatus::default(),
            tracker: AvailabilityTracker::new(min_free_disk),
            next_disk_check: Instant::now(),
            throttle: LogThrottle::default(),
        })
    }

    fn run(mut self, queue: &Receiver<CommitJob>) {
        self.tick();
        let mut next_tick = Instant::now() + TICK;
        loop {
            let first = match queue.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let chunks = self.collect(first.into_iter().chain(queue.try_iter()));
            if !chunks.is_empty() || self.early.is_due(Instant::now()) {
                self.stage(chunks);
            }
            // Whether or not the message about it has come: it may be behind chunks in the queue.
            self.take_ended(false);
            self.hand_over();
            while self.committer.staged_bytes() >= self.scheduler.max_round_bytes() {
                self.take_ended(true);
                self.hand_over();
            }
            if Instant::now() >= next_tick {
                self.tick();
                next_tick = Instant::now() + TICK;
            }
        }
        self.come_to_rest();
    }

    /// Does what is no chunk, and collects chunks up to [`STAGE_BYTES`].
    fn collect(
        &mut self,
        jobs: impl Iterator<Item = CommitJob>,
    ) -> Vec<(ReceivedChunk<RequestBody>, ReplyHandle)> {
        let (mut chunks, mut reports) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        let max_bytes = STAGE_BYTES.min(self.scheduler.max_round_bytes());
        for job in jobs {
            match job {
                CommitJob::Store(chunk, reply) => {
                    bytes += counted_bytes(chunk.body.len());
                    let handle = ReplyHandle {
                        reply,
                        source: chunk.source.clone(),
                        lines: chunk.header.lines.sent,
                        bytes: u64::try_from(chunk.body.len()).unwrap_or(u64::MAX),
                    };
                    chunks.push((*chunk, handle));
                }
                CommitJob::Acknowledged(body) => self.committer.uploads.acknowledged(body),
                // It only wakes the thread up.
                CommitJob::RoundStep => {}
                report => reports.push(report),
            }
            if bytes >= max_bytes || reports.len() >= REPORTS_MAX {
                break;
            }
        }
        self.record_reports(reports);
        chunks
    }

    fn stage(&mut self, chunks: Vec<(ReceivedChunk<RequestBody>, ReplyHandle)>) {
        while self.committer.needs_recovery && self.committer.is_writing() {
            // A recovery cuts files back, which must not happen beside a round that is being written.
            self.take_ended(true);
        }
        if let Some(reason) = self.tracker.availability().rejection_reason() {
            let replies = chunks.into_iter().map(|(_, reply)| reply);
            return send(wait_replies(replies.chain(self.early.give_up()), reason));
        }
        let arrivals = self.early.join(chunks, Instant::now());
        self.committer.open.is_alone = !self.scheduler.others_have_small_rounds();
        let staged = self.committer.stage(arrivals);
        self.early.keep(staged.early);
        self.round_failed(staged.replies);
    }

    /// Hands over the staged round, unless one is being synced.
    fn hand_over(&mut self) {
        if self.writer.is_free()
            && let Some(round) = self.committer.take_round(Timestamp::now())
        {
            self.writer.write(round);
        }
    }

    /// Takes the results of the rounds that have ended. `wait`: waits until one has, or the next may be handed over.
    fn take_ended(&mut self, wait: bool) {
        let wait = wait && self.committer.is_writing();
        for ended in self.writer.take_ended(wait) {
            match ended {
                WrittenRound::Durable { took, stored } => self.round_written(took, stored),
                WrittenRound::Failed { round, error } => {
                    let replies = self.committer.round_failed(*round, error);
                    self.round_failed(replies);
                }
                WrittenRound::Withdrawn { round, reason } => {
                    send(self.committer.round_withdrawn(*round, reason));
                }
            }
        }
    }

    fn round_written(&mut self, took: Duration, stored: HashMap<SourceId, StoredChunks>) {
        self.committer.round_written();
        if !stored.is_empty() {
            self.metrics.committed(took);
            if !self.committer.needs_recovery && self.tracker.commit_succeeded() {
                self.fault_ended();
            }
        }
        for (source, stored) in stored {
            self.reporter.stored(stored.lines);
            self.metrics.stored(source.as_str(), stored);
        }
    }

    /// Makes everything durable that is staged.
    fn come_to_rest(&mut self) {
        while !self.committer.is_at_rest() {
            self.hand_over();
            self.take_ended(true);
        }
    }

    /// Sends the replies of a round that failed, if one did, after the group's state says why.
    fn round_failed(&mut self, mut replies: Vec<(ReplyHandle, ChunkReply)>) {
        if let Some(error) = self.committer.failure.take() {
            self.commit_failed(&error);
            replies.extend(wait_replies(self.early.give_up(), error.client_message()));
        }
        send(replies);
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.next_disk_check {
            self.next_disk_check = now + DISK_CHECK_INTERVAL;
            self.check_disk(now);
        }
        if self.tracker.is_recovery_due(now) {
            self.come_to_rest();
            match self.committer.recover(Moment::now()) {
                Ok(()) => self.tracker.recovered(now),
                Err(error) => self.commit_failed(&error),
            }
        }
        if self.tracker.end_trial(now) {
            self.fault_ended();
        }
        self.seal();
        self.metrics.open_batches(self.committer.open.len());
        self.publish_availability();
        let report = self.reporter.due_report(
            &self.tracker.availability(),
            self.committer.waiting_reason(Moment::now()),
            self.status.requests(),
            now,
            Timestamp::now(),
        );
        if let Some(report) = report {
            let recorded = self.committer.ledger.note_group(&report);
            self.log_error(recorded);
        }
    }

    /// Seals what is due. Batches are sealed at rest: what is staged may belong to them.
    fn seal(&mut self) {
        if self.tracker.is_paused() {
            return;
        }
        let due = self.committer.due_for_seal(Moment::now());
        if !due.is_empty() || self.committer.needs_recovery {
            self.come_to_rest();
        }
        if self.tracker.is_paused() || !self.committer.is_at_rest() {
            return;
        }
        if let Err(error) = self.committer.seal(due, Moment::now()) {
            self.commit_failed(&error);
        }
        let Committer { uploads, ledger, .. } = &mut self.committer;
        let forgotten = uploads.forget_acknowledged(ledger);
        self.log_error(forgotten);
    }

    fn check_disk(&mut self, now: Instant) {
        let spool = &self.committer.spool;
        let Some(free) = self.log_error(spool.disk().free_bytes(spool.data_dir())) else {
            return;
        };
        self.metrics.free_disk(free);
        let (group, limit) = (&self.committer.group, self.tracker.min_free());
        match self.tracker.free_disk(free) {
            Some(true) => {
                if let Some(event) = self.throttle.record(LoggedFault::DiskLow, (), now) {
                    tracing::warn!(
                        %group, free_bytes = free, limit_bytes = limit, unsaid = event.unsaid(),
                        "the disk has less free space than min_free_disk ({} of {}): no lines are accepted, senders wait; \
                         make space on the disk of {}", size(free), size(limit), self.committer.spool.data_dir().display()
                    );
                }
            }
            Some(false) if self.throttle.is_end_to_log(LoggedFault::DiskLow) => {
                tracing::info!(%group, free_bytes = free, limit_bytes = limit, "the disk has space again, {} free; lines are accepted", size(free));
            }
            Some(false) | None => {}
        }
    }

    /// A commit, a seal or a recovery failed: the group accepts nothing for a while.
    fn commit_failed(&mut self, error: &CommitError) {
        let group = &self.committer.group;
        let now = Instant::now();
        if error.is_conflict() {
            // Disk and ledger have no fault. The next round starts with their contents.
            if let Some(event) = self.throttle.record(LoggedFault::Conflict, (), now) {
                tracing::warn!(
                    %group, error = error as &dyn Error, unsaid = event.unsaid(),
                    "the ledger was changed beside this group: a stream arrives through two groups at the same time, or the row of \
                     an open batch is gone; senders wait, and the relay starts again from the ledger. `logferry audit` tells \
                     whether lines are missing"
                );
            }
            return;
        }
        self.metrics.commit_failed();
        if let Some(event) = self.throttle.record(LoggedFault::Commit, (), now) {
            tracing::error!(
                %group,
                error = error as &dyn Error,
                unsaid = event.unsaid(),
                "cannot commit: nothing is acknowledged, senders wait, and the relay tries again"
            );
        }
        let reason = FaultReason {
            client_message: error.client_message().to_owned(),
            detail: error_chain(error),
        };
        self.tracker.failed(reason, now);
        self.publish_availability();
    }

    fn fault_ended(&mut self) {
        if self.throttle.is_end_to_log(LoggedFault::Commit) {
            tracing::info!(group = %self.committer.group, "commits succeed again, lines are accepted");
        }
        self.publish_availability();
    }

    fn publish_availability(&self) {
        let availability = self.tracker.availability();
        self.metrics
            .taking_lines(availability.rejection_reason().is_none());
        self.status.set_availability(availability);
    }

    /// The result of an access to disk or ledger outside a commit. An error is logged and gives `None`.
    fn log_error<T, E: Error + 'static>(&mut self, result: Result<T, E>) -> Option<T> {
        result
            .inspect_err(|error| {
                let event = self.throttle.record(LoggedFault::Bookkeeping, (), Instant::now());
                if let Some(event) = event {
                    tracing::error!(
                        group = %self.committer.group,
                        error = error as &dyn Error,
                        unsaid = event.unsaid(),
                        "cannot access disk or ledger outside a commit; the relay tries again"
                    );
                }
            })
            .ok()
    }
}

/// Sends replies. If nobody receives one the client has disconnected.
fn send(replies: Vec<(ReplyHandle, ChunkReply)>) {
    for (handle, reply) in replies {
        let _ = handle.reply.send(reply);
    }
}

#[cfg(test)]
mod tests;
