//! The tail: all logs of a sender, what is in flight, and when to do what.
//!
//! Events come in, [`RelayRequest`]s for the wire go out; the clock is an argument and files stand behind a trait. So the whole
//! of it runs in tests against files in memory and a relay in memory.

mod concurrency_window;
mod heartbeat;
mod log;
#[cfg(test)]
pub(crate) mod scenarios;
mod tracked_file;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use logferry_config as config;
use logferry_protocol::chunk::{ChunkHeader, ChunkOutcome, Receipt, StreamEnd};
use logferry_protocol::resolve::{FileQuery, KnownStream, MAX_QUERIES, ResolveRequest, ResolveResponse};
use logferry_protocol::stream::Head;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::checkpoint::Checkpoint;
use crate::chunks::buffers::BufferPool;
use crate::clock::Now;
use crate::counters::Counters;
use crate::error::RequestError;
use crate::files::FileSystem;
use crate::messages::{ChunkSeq, ConnectionId, OutgoingChunk, RelayRequest, SenderEvent};
use crate::relay_backoff::RelayBackoff;
use crate::streams::tracked_stream::{InFlightChunk, StreamPosition};
use crate::tail::concurrency_window::ConcurrencyWindow;
use crate::tail::heartbeat::HeartbeatState;
use crate::tail::log::{DueRead, TailedLog};
use crate::tail::tracked_file::{ChunkDraft, ReadOutcome};

/// How often open files are looked at when nothing is heard of them: the net below inotify.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);
/// How often the folders are looked through when nothing is heard of them.
const SCAN_INTERVAL: Duration = Duration::from_secs(5);
/// At most so often, however much is heard.
const SCAN_GAP: Duration = Duration::from_millis(20);
/// How long a stop waits for answers that are on their way.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// A chunk is not halved below this, however slow the network is.
const CHUNK_BYTES_MIN: usize = 64 * 1024;
/// Buffers beyond those in flight: one being read into, one on its way home.
const SPARE_BUFFERS: usize = 2;

/// The tail of all logs.
#[derive(Debug)]
pub(crate) struct Tailer<F: FileSystem> {
    files: F,
    logs: Vec<TailedLog<F::FileHandle>>,
    counters: Arc<Counters>,
    pool: BufferPool,
    retry: RelayBackoff,
    chance: StdRng,
    max_delay: Duration,
    /// Bytes of a block now; halved when chunks do not get through.
    chunk_bytes: usize,
    /// Most that the configuration and the relay allow.
    chunk_bytes_max: usize,
    idle_connections: Vec<ConnectionId>,
    in_flight: usize,
    window: ConcurrencyWindow,
    /// The question that is out: which log asked for which head.
    asked: Option<Vec<(usize, Head)>>,
    next_seq: u64,
    next_scan: Instant,
    last_scan: Option<Instant>,
    next_measure: Instant,
    next_proof: Instant,
    heartbeat: HeartbeatState,
    stopping: Option<Instant>,
    /// Since the last checkpoint something was acknowledged, or files were seen to hold more that is not.
    dirty: bool,
}

impl<F: FileSystem> Tailer<F> {
    /// A tail of the configured logs. `checkpoint` is `None` at the very first start.
    pub(crate) fn new(
        config: &config::SenderSettings,
        files: F,
        checkpoint: Option<&Checkpoint>,
        counters: Arc<Counters>,
        home: Sender<SenderEvent>,
        seed: u64,
        now: Now,
    ) -> Self {
        let logs = config
            .logs
            .iter()
            .map(|log| TailedLog::new(config, log, checkpoint));
        let waiting = checkpoint.map_or_else(Vec::new, |checkpoint| checkpoint.gaps.clone());
        Self {
            files,
            logs: logs.collect(),
            counters,
            pool: BufferPool::new(config.in_flight + SPARE_BUFFERS, config.chunk.max_bytes, home),
            retry: RelayBackoff::new(config.retry),
            chance: StdRng::seed_from_u64(seed),
            max_delay: config.chunk.max_delay,
            chunk_bytes: config.chunk.max_bytes,
            chunk_bytes_max: config.chunk.max_bytes,
            idle_connections: (0..config.in_flight).map(ConnectionId).collect(),
            in_flight: config.in_flight,
            window: ConcurrencyWindow::new(config.in_flight),
            asked: None,
            next_seq: 0,
            next_scan: now.instant,
            last_scan: None,
            next_measure: now.instant,
            next_proof: now.instant,
            heartbeat: HeartbeatState::new(waiting, now),
            stopping: None,
            dirty: false,
        }
    }

    /// Takes an event.
    pub(crate) fn handle(&mut self, event: SenderEvent, now: Now) {
        match event {
            SenderEvent::Files { moved: true } => self.scan_soon(now),
            SenderEvent::Files { moved: false } => self.next_measure = now.instant,
            SenderEvent::Buffer(buffer) => self.pool.put(buffer),
            SenderEvent::Chunk {
                connection,
                seq,
                result,
            } => {
                self.idle_connections.push(connection);
                self.answered(seq, result, now);
            }
            SenderEvent::Streams(result) => self.resolved(result, now),
            SenderEvent::HeartbeatAcked(gaps) => self.dirty |= self.heartbeat.told(&gaps),
            SenderEvent::Stop => {
                self.logs.iter_mut().for_each(|log| log.measure(now));
                self.prove_sizes(now);
                self.stopping = Some(now.instant);
            }
        }
    }

    /// Does all that is due.
    pub(crate) fn turn(&mut self, now: Now) -> Vec<RelayRequest> {
        let mut jobs = Vec::new();
        if self.stopping.is_some() {
            return jobs;
        }
        self.look(now);
        jobs.extend(self.report(now).map(RelayRequest::Heartbeat));
        if self.retry.waits_until(now.instant).is_none() {
            jobs.extend(self.ask(now));
            while let Some(job) = self.read_one(now) {
                jobs.push(job);
            }
            // A file that changed under a read has perhaps left a copy.
            if self.logs.iter().any(|log| log.wants_scan) {
                self.scan_soon(now);
            }
        }
        jobs
    }

    /// When [`Self::turn`] has something to do again, should no event come before.
    pub(crate) fn deadline(&self, now: Now) -> Instant {
        if let Some(since) = self.stopping {
            return since + STOP_GRACE;
        }
        let looks = self.next_scan.min(self.next_measure).min(self.heartbeat.due());
        if let Some(until) = self.retry.waits_until(now.instant) {
            return looks.min(until);
        }
        if !self.may_send() {
            return looks;
        }
        let reads =
            self.logs
                .iter()
                .filter_map(|log| match log.next(self.chunk_bytes, self.max_delay, now) {
                    // DueRead but not read: a buffer is on its way home, and wakes us.
                    (Some(_) | None, later) => later,
                });
        reads.fold(looks, Instant::min)
    }

    /// Whether a stop is complete: no answer is awaited any more, or none came in time.
    pub(crate) fn is_stopped(&self, now: Now) -> bool {
        let all_idle = self.idle_connections.len() == self.in_flight;
        self.stopping
            .is_some_and(|since| all_idle || now.instant >= since + STOP_GRACE)
    }

    /// What is acknowledged, if that has changed since the last call.
    pub(crate) fn take_checkpoint(&mut self) -> Option<Checkpoint> {
        if !self.has_checkpoint() {
            return None;
        }
        self.dirty = false;
        Some(Checkpoint {
            streams: self.logs.iter().flat_map(TailedLog::remembered).collect(),
            archives: self.logs.iter().flat_map(TailedLog::shipped).collect(),
            unsent: self.logs.iter().flat_map(TailedLog::unsent).collect(),
            gaps: self.heartbeat.waiting().to_vec(),
        })
    }

    /// Whether [`Self::take_checkpoint`] has something new.
    ///
    /// Nothing is kept while a log's first start is not over: the next start would look like a second one, and ship what
    /// `start: end` leaves out.
    pub(crate) fn has_checkpoint(&self) -> bool {
        self.dirty && !self.logs.iter().any(TailedLog::is_skipping)
    }

    /// The folders to watch, and the live paths, which may be links to further ones.
    pub(crate) fn places(&self) -> (BTreeSet<PathBuf>, BTreeSet<PathBuf>) {
        let folders = self.logs.iter().flat_map(TailedLog::folders).collect();
        (
            folders,
            self.logs
                .iter()
                .flat_map(TailedLog::live_paths)
                .cloned()
                .collect(),
        )
    }

    /// When the folders were last looked through.
    pub(crate) fn last_scan(&self) -> Option<Instant> {
        self.last_scan
    }

    fn scan_soon(&mut self, now: Now) {
        let earliest = self.last_scan.map_or(now.instant, |last| last + SCAN_GAP);
        self.next_scan = self.next_scan.min(earliest.max(now.instant));
    }

    fn look(&mut self, now: Now) {
        if now.instant >= self.next_scan {
            self.next_scan = now.instant + SCAN_INTERVAL;
            self.last_scan = Some(now.instant);
            for log in &mut self.logs {
                log.scan(&self.files, now);
            }
            // A file that a new one has replaced may hold lines that are older than the new one's first.
            self.next_measure = now.instant;
        }
        if now.instant >= self.next_measure {
            self.next_measure = now.instant + MEASURE_INTERVAL;
            self.logs.iter_mut().for_each(|log| log.measure(now));
            let lag = self.logs.iter().map(TailedLog::lag_bytes).sum();
            self.counters.set_lag(lag);
            if now.instant >= self.next_proof {
                self.prove_sizes(now);
            }
        }
        if self.logs.iter().any(|log| log.wants_scan) {
            self.scan_soon(now);
        }
        for log in &mut self.logs {
            self.dirty |= std::mem::take(&mut log.wants_checkpoint);
        }
    }

    /// Takes the files' sizes as seen, and notes when.
    fn prove_sizes(&mut self, now: Now) {
        self.next_proof = now.instant + MEASURE_INTERVAL;
        for log in &mut self.logs {
            self.dirty |= log.prove_sizes(now);
        }
    }

    fn ask(&mut self, now: Now) -> Option<RelayRequest> {
        if self.asked.is_some() {
            return None;
        }
        let questions = self.logs.iter_mut().enumerate();
        let asked: Vec<(usize, Head)> = questions
            .flat_map(|(index, log)| log.questions(now).into_iter().map(move |head| (index, head)))
            .take(MAX_QUERIES)
            .collect();
        if asked.is_empty() {
            return None;
        }
        let query = |&(index, head): &(usize, Head)| FileQuery {
            log: self.logs[index].name.clone(),
            head,
            acknowledged: Some(self.logs[index].acknowledged(head)),
        };
        let request = ResolveRequest {
            files: asked.iter().map(query).collect(),
        };
        self.asked = Some(asked);
        Some(RelayRequest::Streams(request))
    }

    fn resolved(&mut self, result: Result<ResolveResponse, RequestError>, now: Now) {
        let Some(asked) = self.asked.take() else { return };
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                // Without an answer nothing new can be read, whatever the reason.
                self.counters.retried();
                let chance = self.chance.random_range(0.0..1.0);
                return self.retry.failed(&error, now.instant, chance);
            }
        };
        // One byte of a chunk may be a newline that we add.
        let allowed = usize::try_from(response.max_chunk)
            .unwrap_or(usize::MAX)
            .saturating_sub(1)
            .max(1);
        self.chunk_bytes_max = self.chunk_bytes_max.min(allowed);
        self.chunk_bytes = self.chunk_bytes.min(self.chunk_bytes_max);
        let mut answers: Vec<Vec<(Head, Vec<KnownStream>)>> = vec![Vec::new(); self.logs.len()];
        for ((index, head), streams) in asked.into_iter().zip(response.candidates) {
            answers[index].push((head, streams));
        }
        for (log, answers) in self.logs.iter_mut().zip(&answers) {
            if !answers.is_empty() {
                // What has been copied and cut since the question must not be read before its copy is found.
                log.scan(&self.files, now);
                log.measure(now);
                self.counters.settled(log.resolved(answers, now));
                self.dirty = true;
            }
        }
        if self.logs.iter().any(|log| log.relay_forgot) {
            self.logs.iter_mut().for_each(TailedLog::ask_anew);
        }
        self.collect_losses(now);
    }

    fn answered(&mut self, seq: ChunkSeq, result: Result<Receipt, RequestError>, now: Now) {
        let result = result.and_then(|receipt| match receipt.outcome {
            ChunkOutcome::Stored | ChunkOutcome::Duplicate => Ok(()),
            ChunkOutcome::Elsewhere => Err(RequestError::OffsetMismatch),
        });
        let chance = self.chance.random_range(0.0..1.0);
        let mut logs = self.logs.iter_mut();
        let settled = logs.find_map(|log| log.answered(seq, result.as_ref().copied(), now, chance));
        self.collect_losses(now);
        match result {
            Ok(()) => {
                self.retry.succeeded();
                self.window.widen();
                self.chunk_bytes = self.chunk_bytes.saturating_mul(2).min(self.chunk_bytes_max);
                if let Some(settled) = settled {
                    self.counters.settled(settled);
                    self.dirty = true;
                }
            }
            Err(error) => self.failed(&error, now, chance),
        }
    }

    fn failed(&mut self, error: &RequestError, now: Now, chance: f64) {
        self.counters.retried();
        match error {
            RequestError::Refused { status: 413, .. } => {
                self.chunk_bytes_max = halved(self.chunk_bytes_max);
                self.chunk_bytes = self.chunk_bytes.min(self.chunk_bytes_max);
            }
            RequestError::Timeout { .. } => self.chunk_bytes = halved(self.chunk_bytes),
            _ => {}
        }
        if error.concerns_all() {
            self.window.narrow();
            self.retry.failed(error, now.instant, chance);
        }
    }

    /// Whether a connection is idle and may be used.
    fn may_send(&self) -> bool {
        self.window.allows(self.in_flight - self.idle_connections.len())
    }

    /// Reads the next chunk, if one is due, may be sent, and a buffer is at home.
    fn read_one(&mut self, now: Now) -> Option<RelayRequest> {
        while self.may_send() {
            let logs = self.logs.iter().enumerate();
            let ready = logs.filter_map(|(index, log)| {
                let (ready, _) = log.next(self.chunk_bytes, self.max_delay, now);
                ready.map(|ready| (ready, index))
            });
            let (ready, index) = ready.min()?;
            let mut buffer = self.pool.take()?;
            let (turn, chunk_bytes) = (self.next_seq + 1, self.chunk_bytes);
            match self.logs[index].build(ready, turn, &mut buffer, chunk_bytes) {
                ReadOutcome::Chunk(draft) => return self.send(index, ready, &draft, buffer),
                ReadOutcome::Nothing | ReadOutcome::Changed | ReadOutcome::Broken(_) => self.pool.put(buffer),
            }
        }
        None
    }

    fn send(
        &mut self,
        index: usize,
        ready: DueRead,
        draft: &ChunkDraft,
        buffer: Vec<u8>,
    ) -> Option<RelayRequest> {
        let &ChunkDraft {
            stream,
            head,
            file,
            range,
            cut,
            stream_end,
            body_start,
        } = draft;
        let connection = self.idle_connections.pop()?;
        let body = self.pool.body(buffer, body_start..body_start + cut.body);
        let log = &mut self.logs[index];
        let header = ChunkHeader {
            stream,
            log: log.name.clone(),
            file,
            head,
            range,
            tail: cut.tail,
            lines: cut.lines,
            line_end: cut.line_end,
            stream_end,
            crc32c: crc32c::crc32c(&body),
        };
        self.next_seq += 1;
        let seq = ChunkSeq(self.next_seq);
        let end = StreamPosition {
            offset: range.end(),
            tail: cut.tail,
        };
        let closes = stream_end == StreamEnd::Finished;
        log.sent(
            ready,
            InFlightChunk {
                seq,
                end,
                bytes: range.len(),
                lines: cut.lines,
                closes,
            },
        );
        if cut.begins_long_line {
            self.counters.long_line();
        }
        Some(RelayRequest::Chunk {
            connection,
            chunk: Box::new(OutgoingChunk { seq, header, body }),
        })
    }
}

fn halved(bytes: usize) -> usize {
    // Never up: the relay may allow less than our least.
    bytes.min((bytes / 2).max(CHUNK_BYTES_MIN))
}
