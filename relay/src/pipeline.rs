//! The thread that runs a group's committer: the thin shell between requests on one side, disk and ledger on the
//! other.
//!
//! Requests queue while a commit is on its way to the disk, and the next round takes all of them at once: the more
//! there is to do, the more chunks share one `fdatasync`. The queue is bounded by the group's body memory.

use std::collections::HashMap;
use std::error::Error;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_durable::Disk;
use logferry_ledger::UploadedBody;
use logferry_protocol::heartbeat::{Heartbeat, ReportedGap};
use logferry_protocol::names::SourceId;
use logferry_protocol::resolve::{KnownStream, ResolveRequest};
use logferry_telemetry::{RelayMetrics, StoredChunks};
use tokio::sync::oneshot;

use crate::board::Board;
use crate::body::Body;
use crate::committer::{Answer, Chunk, Committer};
use crate::complaint::Complaint;
use crate::gate::{Gate, Reason};
use crate::reporter::Reporter;
use crate::spool::SpoolError;

/// How often batches are looked at for sealing.
const TICK: Duration = Duration::from_millis(250);

/// How often the disk is asked for its room.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a chunk counts in a round at least: its stream's row in the ledger is not free either.
const LEAST_CHUNK_BYTES: usize = 4 << 10;

/// A body that the committer can read.
impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// What a request asks of the committer.
#[derive(Debug)]
pub(crate) enum Job {
    /// Store a chunk.
    Store(Box<Chunk<Body>>, oneshot::Sender<Answer>),
    /// Say which streams files could be. `None`: the ledger could not be read.
    Resolve(
        SourceId,
        ResolveRequest,
        oneshot::Sender<Option<Vec<Vec<KnownStream>>>>,
    ),
    /// Take note of a report; answered once it is recorded. False: it could not be.
    Heartbeat(SourceId, Heartbeat, oneshot::Sender<bool>),
    /// The answer to an upload has got through.
    Answered(UploadedBody),
}

/// What is needed to answer a chunk and count it.
struct Ticket {
    reply: oneshot::Sender<Answer>,
    source: SourceId,
    lines: u64,
    bytes: u64,
}

/// The way to a group's committer. It stops, its queue done, when the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    jobs: Sender<Job>,
    board: Board,
}

/// The committer's thread has gone.
#[derive(Debug, thiserror::Error)]
#[error("the group's committer has stopped")]
pub(crate) struct Stopped;

impl Pipeline {
    /// Starts the thread of a group's committer.
    pub(crate) fn start<D: Disk>(
        committer: Committer<D, Body, TicketBox>,
        metrics: RelayMetrics,
        min_free_disk: u64,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = channel();
        let name = format!("commit-{}", committer.group);
        let board = Board::default();
        let worker = Worker {
            reporter: Reporter::new(committer.group.clone(), Instant::now(), Timestamp::now()),
            committer,
            metrics,
            board: board.clone(),
            gate: Gate::new(min_free_disk),
            next_look: Instant::now(),
            cannot_commit: Complaint::default(),
            no_room: Complaint::default(),
            bookkeeping: Complaint::default(),
        };
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || worker.run(&queue))?;
        Ok((Self { jobs, board }, thread))
    }

    /// A way to nothing but a queue.
    #[cfg(test)]
    pub(crate) fn to(jobs: Sender<Job>) -> Self {
        let board = Board::default();
        Self { jobs, board }
    }

    /// The group's notice board.
    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    /// Queues a job.
    pub(crate) fn submit(&self, job: Job) -> Result<(), Stopped> {
        self.jobs.send(job).map_err(|_| Stopped)
    }
}

/// A ticket, opaque to the outside.
pub(crate) struct TicketBox(Ticket);

struct Worker<D: Disk> {
    committer: Committer<D, Body, TicketBox>,
    metrics: RelayMetrics,
    board: Board,
    reporter: Reporter,
    gate: Gate,
    next_look: Instant,
    cannot_commit: Complaint,
    no_room: Complaint,
    bookkeeping: Complaint,
}

impl<D: Disk> Worker<D> {
    fn run(mut self, queue: &Receiver<Job>) {
        self.tick();
        let mut next_tick = Instant::now() + TICK;
        loop {
            let first = match queue.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let jobs = first.into_iter().chain(queue.try_iter());
            let (chunks, bytes) = self.take(jobs);
            if !chunks.is_empty() || self.committer.has_parked() {
                self.round(chunks, bytes);
            }
            if Instant::now() >= next_tick {
                self.tick();
                next_tick = Instant::now() + TICK;
            }
        }
    }

    /// Does the small jobs at once and collects the chunks for one round; them and what they count.
    fn take(&mut self, jobs: impl Iterator<Item = Job>) -> (Vec<(Chunk<Body>, TicketBox)>, usize) {
        let mut chunks = Vec::new();
        let mut bytes = 0;
        let most = self.committer.turn.round_bytes();
        for job in jobs {
            match job {
                Job::Store(chunk, reply) => {
                    bytes += chunk.body.len().max(LEAST_CHUNK_BYTES);
                    chunks.push(ticketed(*chunk, reply));
                }
                Job::Resolve(source, request, reply) => {
                    let known = self.committer.resolve(&source, &request, Timestamp::now());
                    // Nobody listening is a client that has gone.
                    let _ = reply.send(self.noted(known));
                }
                Job::Heartbeat(source, heartbeat, reply) => {
                    report_gaps(&source, &heartbeat.gaps);
                    let noted = self.committer.heartbeat(&source, heartbeat, Timestamp::now());
                    let _ = reply.send(self.noted(noted).is_some());
                }
                Job::Answered(body) => self.committer.upload_answered(body),
            }
            if bytes >= most {
                break;
            }
        }
        (chunks, bytes)
    }

    fn round(&mut self, chunks: Vec<(Chunk<Body>, TicketBox)>, bytes: usize) {
        if let Some(reason) = self.gate.standing().refusal() {
            return send(self.committer.turn_away(chunks, reason));
        }
        let began = Instant::now();
        let turn = self.committer.turn.begin(bytes);
        let answers = self.committer.round(chunks, Timestamp::now());
        drop(turn);
        let mut stored: HashMap<SourceId, StoredChunks> = HashMap::new();
        for (TicketBox(ticket), answer) in &answers {
            if let Answer::Receipt(receipt) = answer {
                self.count(ticket, receipt.outcome, &mut stored);
            }
        }
        if let Some(error) = self.committer.failure.take() {
            self.failed(&error);
        } else if !stored.is_empty() {
            self.metrics.committed(began.elapsed());
            if self.gate.committed() {
                self.came_back();
            }
        }
        send(answers);
        for (source, stored) in stored {
            self.reporter.stored(stored.lines);
            self.metrics.stored(source.as_str(), stored);
        }
    }

    fn count(
        &self,
        ticket: &Ticket,
        outcome: logferry_protocol::chunk::ChunkOutcome,
        stored: &mut HashMap<SourceId, StoredChunks>,
    ) {
        use logferry_protocol::chunk::ChunkOutcome;
        match outcome {
            ChunkOutcome::Stored => {
                let sum = stored.entry(ticket.source.clone()).or_default();
                sum.chunks += 1;
                sum.lines += ticket.lines;
                sum.bytes += ticket.bytes;
            }
            ChunkOutcome::Duplicate => self.metrics.duplicate(ticket.source.as_str()),
            ChunkOutcome::Elsewhere => {}
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.next_look {
            self.next_look = now + LOOK_EVERY;
            self.look_at_disk(now);
        }
        if self.gate.is_recovery_due(now) {
            match self.committer.recover() {
                Ok(()) => self.gate.recovered(now),
                Err(error) => self.failed(&error),
            }
        }
        if self.gate.pass(now) {
            self.came_back();
        }
        if !self.gate.is_closed() {
            if let Err(error) = self.committer.seal_due(Timestamp::now()) {
                self.failed(&error);
            }
            let forgotten = self.committer.forget_answered();
            self.noted(forgotten);
        }
        self.metrics.open_batches(self.committer.open.len());
        self.show_standing();
        let requests = self.board.requests();
        let due = self
            .reporter
            .due(&self.gate.standing(), requests, now, Timestamp::now());
        if let Some(report) = due {
            let noted = self.committer.ledger.note_group(&report);
            self.noted(noted);
        }
    }

    fn look_at_disk(&mut self, now: Instant) {
        let spool = &self.committer.spool;
        let Some(free) = self.noted(spool.disk().free_bytes(spool.data_dir())) else {
            return;
        };
        self.metrics.free_disk(free);
        let (group, limit) = (&self.committer.group, self.gate.min_free());
        match self.gate.free_disk(free) {
            Some(true) => {
                if let Some(unsaid) = self.no_room.raise(now) {
                    tracing::warn!(
                        %group, free, limit, unsaid,
                        "the disk has less room than min_free_disk; no lines are taken and senders wait"
                    );
                }
            }
            Some(false) if self.no_room.end() => {
                tracing::info!(%group, free, limit, "the disk has room again; lines are taken");
            }
            Some(false) | None => {}
        }
    }

    /// A commit, a seal or a recovery failed: the group takes nothing for a while.
    fn failed(&mut self, error: &SpoolError) {
        if error.is_conflict() {
            // Nothing is wrong with disk or ledger. The next round begins with what they hold.
            tracing::warn!(group = %self.committer.group, "a stream comes in through two groups; its sender is told to wait");
            return;
        }
        let now = Instant::now();
        self.metrics.commit_failed();
        if let Some(unsaid) = self.cannot_commit.raise(now) {
            tracing::error!(
                group = %self.committer.group,
                error = error as &dyn Error,
                unsaid,
                "cannot commit; nothing is acknowledged, senders are told to wait, and it is tried again"
            );
        }
        let reason = Reason {
            words: error.words().to_owned(),
            detail: chain(error),
        };
        self.gate.failed(reason, now);
        self.show_standing();
    }

    fn came_back(&mut self) {
        if self.cannot_commit.end() {
            tracing::info!(group = %self.committer.group, "commits go well again");
        }
        self.show_standing();
    }

    fn show_standing(&self) {
        let standing = self.gate.standing();
        self.metrics.taking_lines(standing.refusal().is_none());
        self.board.set_standing(standing);
    }

    /// What was asked of disk or ledger beside a commit; `None` if it could not be had.
    fn noted<T, E: Error + 'static>(&mut self, outcome: Result<T, E>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                if let Some(unsaid) = self.bookkeeping.raise(Instant::now()) {
                    tracing::error!(
                        group = %self.committer.group,
                        error = &error as &dyn Error,
                        unsaid,
                        "the relay could not do its bookkeeping; it tries again"
                    );
                }
                None
            }
        }
    }
}

/// Gives the answers to those who wait for them; nobody listening is a client that has gone.
fn send(answers: Vec<(TicketBox, Answer)>) {
    for (TicketBox(ticket), answer) in answers {
        let _ = ticket.reply.send(answer);
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

fn ticketed(chunk: Chunk<Body>, reply: oneshot::Sender<Answer>) -> (Chunk<Body>, TicketBox) {
    let ticket = Ticket {
        reply,
        source: chunk.source.clone(),
        lines: chunk.header.lines.sent,
        bytes: u64::try_from(chunk.body.len()).unwrap_or(u64::MAX),
    };
    (chunk, TicketBox(ticket))
}

fn report_gaps(source: &SourceId, gaps: &[ReportedGap]) {
    for gap in gaps.iter().filter(|gap| gap.bytes() > 0) {
        tracing::error!(
            %source, log = %gap.log, stream = %gap.stream, path = gap.path, from = %gap.from, bytes = gap.bytes(),
            "a sender has lost bytes of a log before it could send them, the audit names them"
        );
    }
}

#[cfg(test)]
mod tests;
