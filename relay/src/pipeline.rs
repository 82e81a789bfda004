//! The thread that runs a group's committer: the thin shell between requests on one side, disk and ledger on the
//! other.
//!
//! Requests queue while a commit is on its way to the disk, and the next round takes all of them at once: the more
//! there is to do, the more chunks share one `fdatasync`. The queue is bounded by the group's body memory.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_durable::Disk;
use logferry_ledger::UploadedBody;
use logferry_protocol::heartbeat::{Gap, Heartbeat};
use logferry_protocol::names::SourceId;
use logferry_protocol::resolve::{KnownStream, ResolveRequest};
use logferry_telemetry::{RelayMetrics, Stored};
use tokio::sync::oneshot;

use crate::body::Body;
use crate::committer::{Answer, Chunk, Committer};

/// How often batches are looked at for sealing, and the disk for room.
const TICK: Duration = Duration::from_millis(250);

/// Most bytes of chunks in one round: enough to make the syncs few, not so much that a receipt waits long.
const ROUND_BYTES: usize = 32 << 20;

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
        let worker = Worker {
            committer,
            metrics,
            min_free_disk,
            is_disk_low: false,
        };
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || worker.run(&queue))?;
        Ok((Self { jobs }, thread))
    }

    /// A way to nothing but a queue.
    #[cfg(test)]
    pub(crate) fn to(jobs: Sender<Job>) -> Self {
        Self { jobs }
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
    min_free_disk: u64,
    is_disk_low: bool,
}

impl<D: Disk> Worker<D> {
    fn run(mut self, queue: &Receiver<Job>) {
        let mut next_tick = Instant::now();
        loop {
            let first = match queue.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let jobs = first.into_iter().chain(queue.try_iter());
            let chunks = self.take(jobs);
            if !chunks.is_empty() || self.committer.has_parked() {
                self.round(chunks);
            }
            if Instant::now() >= next_tick {
                self.tick();
                next_tick = Instant::now() + TICK;
            }
        }
    }

    /// Does the small jobs at once and collects the chunks for one round.
    fn take(&mut self, jobs: impl Iterator<Item = Job>) -> Vec<(Chunk<Body>, TicketBox)> {
        let mut chunks = Vec::new();
        let mut bytes = 0;
        for job in jobs {
            match job {
                Job::Store(chunk, reply) => {
                    bytes += chunk.body.len();
                    chunks.push(ticketed(*chunk, reply));
                }
                Job::Resolve(source, request, reply) => {
                    let known = self.committer.resolve(&source, &request, Timestamp::now());
                    // Nobody listening is a client that has gone.
                    let _ = reply.send(known.inspect_err(report).ok());
                }
                Job::Heartbeat(source, heartbeat, reply) => {
                    report_gaps(&source, &heartbeat.gaps);
                    let noted = self.committer.heartbeat(&source, heartbeat, Timestamp::now());
                    let _ = reply.send(noted.inspect_err(report).is_ok());
                }
                Job::Answered(body) => self.committer.upload_answered(body),
            }
            if bytes >= ROUND_BYTES {
                break;
            }
        }
        chunks
    }

    fn round(&mut self, chunks: Vec<(Chunk<Body>, TicketBox)>) {
        if self.is_disk_low {
            for (_, TicketBox(ticket)) in chunks {
                let _ = ticket
                    .reply
                    .send(Answer::Wait("the relay's disk is nearly full".to_owned()));
            }
            return;
        }
        let began = Instant::now();
        let mut stored: HashMap<SourceId, Stored> = HashMap::new();
        for (TicketBox(ticket), answer) in self.committer.round(chunks, Timestamp::now()) {
            if let Answer::Receipt(receipt) = &answer {
                self.count(&ticket, receipt.outcome, &mut stored);
            }
            let _ = ticket.reply.send(answer);
        }
        if !stored.is_empty() {
            self.metrics.committed(began.elapsed());
        }
        for (source, stored) in stored {
            self.metrics.stored(source.as_str(), stored);
        }
    }

    fn count(
        &self,
        ticket: &Ticket,
        outcome: logferry_protocol::chunk::Outcome,
        stored: &mut HashMap<SourceId, Stored>,
    ) {
        use logferry_protocol::chunk::Outcome;
        match outcome {
            Outcome::Stored => {
                let sum = stored.entry(ticket.source.clone()).or_default();
                sum.chunks += 1;
                sum.lines += ticket.lines;
                sum.bytes += ticket.bytes;
            }
            Outcome::Duplicate => self.metrics.duplicate(ticket.source.as_str()),
            Outcome::Elsewhere => {}
        }
    }

    fn tick(&mut self) {
        let spool = &self.committer.spool;
        match spool.disk().free_bytes(spool.data_dir()) {
            Ok(free) => {
                let is_low = free < self.min_free_disk;
                if is_low != self.is_disk_low {
                    tracing::warn!(group = %self.committer.group, free, limit = self.min_free_disk, is_low, "disk space");
                }
                self.is_disk_low = is_low;
            }
            Err(error) => report(&error),
        }
        if let Err(error) = self.committer.seal_due(Timestamp::now()) {
            report(&error);
        }
        if let Err(error) = self.committer.forget_answered() {
            report(&error);
        }
        self.metrics.open_batches(self.committer.open.len());
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

fn report_gaps(source: &SourceId, gaps: &[Gap]) {
    for gap in gaps.iter().filter(|gap| gap.bytes() > 0) {
        tracing::error!(
            %source, log = %gap.log, stream = %gap.stream, path = gap.path, from = %gap.from, bytes = gap.bytes(),
            "a sender has lost bytes of a log before it could send them, the audit names them"
        );
    }
}

fn report(error: &(impl std::error::Error + 'static)) {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "the relay could not do its bookkeeping; it tries again"
    );
}
