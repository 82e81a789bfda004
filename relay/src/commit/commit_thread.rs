//! The thread of a group's committer: the thin shell between requests on one side, disk and ledger on the other.
//!
//! Requests queue while a commit is being written, and the next round takes all of them: the more load, the more chunks
//! share one `fdatasync`. The queue is bounded by the group's body memory.

use std::collections::HashMap;
use std::error::Error;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_durable::Disk;
use logferry_ledger::{SenderRecord, UploadedBody};
use logferry_protocol::chunk::ChunkOutcome;
use logferry_protocol::heartbeat::{Heartbeat, ReportedGap};
use logferry_protocol::names::SourceId;
use logferry_protocol::resolve::ResolveRequest;
use logferry_telemetry::{RelayMetrics, StoredChunks};
use logferry_text::error_chain;
use tokio::sync::oneshot;

use crate::chunk::{ChunkReply, ReceivedChunk, RequestBody};
use crate::commit::committer::{Committer, FoundStreams, ReportKey};
use crate::commit::spool_recovery::CommitError;
use crate::health::{AvailabilityTracker, FaultReason, LogThrottle, SharedGroupStatus, StatusReporter};

/// How often batches are checked for sealing.
const TICK: Duration = Duration::from_millis(250);

/// How often the free disk space is checked.
const DISK_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Smallest size that a chunk counts in a round: the row of its stream in the ledger has a cost too.
const MIN_CHUNK_BYTES: usize = 4 << 10;

#[derive(Debug)]
pub(crate) enum CommitJob {
    Store(Box<ReceivedChunk<RequestBody>>, oneshot::Sender<ChunkReply>),
    /// For each file: the streams that it may be. `None`: the ledger could not be read.
    Resolve(ReportKey, ResolveRequest, oneshot::Sender<Option<FoundStreams>>),
    /// Record a heartbeat. The reply says whether that succeeded.
    Heartbeat(ReportKey, Heartbeat, oneshot::Sender<bool>),
    /// Record a sender. The reply says whether that succeeded.
    NoteSender(Box<SenderRecord>, oneshot::Sender<bool>),
    /// The response to a legacy upload was received.
    Acknowledged(UploadedBody),
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
    jobs: Sender<CommitJob>,
    status: SharedGroupStatus,
}

impl CommitQueue {
    pub(crate) fn start<D: Disk>(
        committer: Committer<D, RequestBody, ReplyHandle>,
        metrics: RelayMetrics,
        min_free_disk: u64,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = channel();
        let name = format!("commit-{}", committer.group);
        let status = SharedGroupStatus::default();
        let thread = CommitThread {
            reporter: StatusReporter::new(committer.group.clone(), Instant::now(), Timestamp::now()),
            committer,
            metrics,
            status: status.clone(),
            tracker: AvailabilityTracker::new(min_free_disk),
            next_disk_check: Instant::now(),
            throttle: LogThrottle::default(),
        };
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || thread.run(&queue))?;
        Ok((Self { jobs, status }, thread))
    }

    /// A queue without thread.
    #[cfg(test)]
    pub(crate) fn to(jobs: Sender<CommitJob>) -> Self {
        let status = SharedGroupStatus::default();
        Self { jobs, status }
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
    DiskLow,
    Bookkeeping,
}

struct CommitThread<D: Disk> {
    committer: Committer<D, RequestBody, ReplyHandle>,
    metrics: RelayMetrics,
    status: SharedGroupStatus,
    reporter: StatusReporter,
    tracker: AvailabilityTracker,
    next_disk_check: Instant,
    throttle: LogThrottle<LoggedFault, ()>,
}

impl<D: Disk> CommitThread<D> {
    fn run(mut self, queue: &Receiver<CommitJob>) {
        self.tick();
        let mut next_tick = Instant::now() + TICK;
        loop {
            let first = match queue.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let jobs = first.into_iter().chain(queue.try_iter());
            let (chunks, bytes) = self.collect_round(jobs);
            if !chunks.is_empty() || self.committer.has_parked() {
                self.commit_round(chunks, bytes);
            }
            if Instant::now() >= next_tick {
                self.tick();
                next_tick = Instant::now() + TICK;
            }
        }
    }

    /// Does the small jobs at once, and collects the chunks of one round. Returns them and their counted size.
    fn collect_round(
        &mut self,
        jobs: impl Iterator<Item = CommitJob>,
    ) -> (Vec<(ReceivedChunk<RequestBody>, ReplyHandle)>, usize) {
        let mut chunks = Vec::new();
        let mut bytes = 0;
        let max_bytes = self.committer.scheduler.max_round_bytes();
        for job in jobs {
            match job {
                CommitJob::Store(chunk, reply) => {
                    bytes += chunk.body.len().max(MIN_CHUNK_BYTES);
                    let handle = ReplyHandle {
                        reply,
                        source: chunk.source.clone(),
                        lines: chunk.header.lines.sent,
                        bytes: u64::try_from(chunk.body.len()).unwrap_or(u64::MAX),
                    };
                    chunks.push((*chunk, handle));
                }
                CommitJob::Resolve(sender, request, reply) => {
                    let known = self.committer.resolve(&sender, &request, Timestamp::now());
                    // If nobody receives the reply the client has disconnected.
                    let _ = reply.send(self.log_error(known));
                }
                CommitJob::Heartbeat(sender, heartbeat, reply) => {
                    log_gaps(&sender.0, &heartbeat.gaps);
                    let recorded = self.committer.heartbeat(sender, heartbeat, Timestamp::now());
                    let _ = reply.send(self.log_error(recorded).is_some());
                }
                CommitJob::NoteSender(sender, reply) => {
                    let recorded = self.committer.ledger.note_sender(&sender);
                    let _ = reply.send(self.log_error(recorded).is_some());
                }
                CommitJob::Acknowledged(body) => self.committer.uploads.acknowledged(body),
            }
            if bytes >= max_bytes {
                break;
            }
        }
        (chunks, bytes)
    }

    fn commit_round(&mut self, chunks: Vec<(ReceivedChunk<RequestBody>, ReplyHandle)>, bytes: usize) {
        if let Some(reason) = self.tracker.availability().rejection_reason() {
            return send(self.committer.reject_all(chunks, reason));
        }
        let began = Instant::now();
        let round = self.committer.scheduler.begin(bytes);
        let replies = self.committer.group_commit(chunks, Timestamp::now());
        drop(round);
        let mut stored: HashMap<SourceId, StoredChunks> = HashMap::new();
        for (handle, reply) in &replies {
            if let ChunkReply::Receipt(receipt) = reply {
                self.count(handle, receipt.outcome, &mut stored);
            }
        }
        if let Some(error) = self.committer.failure.take() {
            self.commit_failed(&error);
        } else if !stored.is_empty() {
            self.metrics.committed(began.elapsed());
            if self.tracker.commit_succeeded() {
                self.fault_ended();
            }
        }
        send(replies);
        for (source, stored) in stored {
            self.reporter.stored(stored.lines);
            self.metrics.stored(source.as_str(), stored);
        }
    }

    fn count(
        &self,
        handle: &ReplyHandle,
        outcome: ChunkOutcome,
        stored: &mut HashMap<SourceId, StoredChunks>,
    ) {
        match outcome {
            ChunkOutcome::Stored => {
                let sum = stored.entry(handle.source.clone()).or_default();
                sum.chunks += 1;
                sum.lines += handle.lines;
                sum.bytes += handle.bytes;
            }
            ChunkOutcome::Duplicate => self.metrics.duplicate(handle.source.as_str()),
            ChunkOutcome::OffsetMismatch => {}
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.next_disk_check {
            self.next_disk_check = now + DISK_CHECK_INTERVAL;
            self.check_disk(now);
        }
        if self.tracker.is_recovery_due(now) {
            match self.committer.recover() {
                Ok(()) => self.tracker.recovered(now),
                Err(error) => self.commit_failed(&error),
            }
        }
        if self.tracker.end_trial(now) {
            self.fault_ended();
        }
        if !self.tracker.is_paused() {
            if let Err(error) = self.committer.seal_due(Timestamp::now()) {
                self.commit_failed(&error);
            }
            let Committer { uploads, ledger, .. } = &mut self.committer;
            let forgotten = uploads.forget_acknowledged(ledger);
            self.log_error(forgotten);
        }
        self.metrics.open_batches(self.committer.open.len());
        self.publish_availability();
        let report = self.reporter.due_report(
            &self.tracker.availability(),
            self.committer.waiting_reason(),
            self.status.requests(),
            now,
            Timestamp::now(),
        );
        if let Some(report) = report {
            let recorded = self.committer.ledger.note_group(&report);
            self.log_error(recorded);
        }
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
                        %group, free, limit, unsaid = event.suppressed,
                        "the disk has less free space than min_free_disk: no lines are accepted, senders wait; make space \
                         on the disk"
                    );
                }
            }
            Some(false) if self.throttle.is_end_to_log(LoggedFault::DiskLow) => {
                tracing::info!(%group, free, limit, "the disk has space again; lines are accepted");
            }
            Some(false) | None => {}
        }
    }

    /// A commit, a seal or a recovery failed: the group accepts nothing for a while.
    fn commit_failed(&mut self, error: &CommitError) {
        let group = &self.committer.group;
        if error.is_conflict() {
            // Disk and ledger have no fault. The next round starts with their contents.
            tracing::warn!(%group, "a stream arrives through two groups at the same time; its sender must wait");
            return;
        }
        let now = Instant::now();
        self.metrics.commit_failed();
        if let Some(event) = self.throttle.record(LoggedFault::Commit, (), now) {
            tracing::error!(
                %group,
                error = error as &dyn Error,
                unsaid = event.suppressed,
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
            tracing::info!(group = %self.committer.group, "commits succeed again");
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
                        unsaid = event.suppressed,
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

fn log_gaps(source: &SourceId, gaps: &[ReportedGap]) {
    for gap in gaps.iter().filter(|gap| gap.bytes() > 0) {
        tracing::error!(
            %source, log = %gap.log, stream = %gap.stream, path = gap.path, from = %gap.from, bytes = gap.bytes(),
            "bytes of a log were lost on the sender's host before they were sent; `logferry audit` reports them"
        );
    }
}

#[cfg(test)]
mod tests;
