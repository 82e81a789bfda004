//! Tailing: which file to read next, which chunks are in flight, and when to scan, ask and report.
//!
//! Events come in, [`RelayRequest`]s go out. The clock is an argument and files stand behind a trait, so all of it runs in
//! tests (`scenarios`) against files and a relay in memory.
//!
//! `log` follows one configured log and its rotations, `tracked_file` one file. The intervals and limits below and the
//! `heartbeat` may be changed here without looking elsewhere.

mod chunk_size;
mod heartbeat;
pub(crate) mod log;
mod log_problems;
mod open_question;
mod questions;
mod read_order;
#[cfg(test)]
pub(crate) mod scenarios;
mod search;
mod start_report;
mod state_report;
mod tracked_file;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, UNIX_EPOCH};

use logferry_config as config;
use logferry_protocol::chunk::{ChunkOutcome, Receipt};
use logferry_telemetry::SenderMetrics;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::checkpoint::Checkpoint;
use crate::chunks::buffers::{BufferPool, SPARE_BUFFERS};
use crate::clock::Now;
use crate::concurrency_window::ConcurrencyWindow;
use crate::error::RequestError;
use crate::files::FileSystem;
use crate::messages::{ChunkSeq, ConnectionId, OutgoingChunk, RelayRequest, SenderEvent};
use crate::relay_backoff::RelayBackoff;
use crate::streams::tracked_stream::ShippedAmount;
use crate::tail::chunk_size::ChunkSize;
use crate::tail::heartbeat::HeartbeatState;
use crate::tail::log::handover::{Handover, share};
use crate::tail::log::next_read::ReadLimits;
use crate::tail::log::{CheckpointNeed, TailedLog};
use crate::tail::log_problems::LogProblems;
use crate::tail::open_question::OpenQuestion;
use crate::tail::questions::KnownLedger;
use crate::tail::read_order::Logs;
use crate::tail::state_report::RelayContact;
use crate::tail::tracked_file::close_policy::writer_search;
use crate::tail::tracked_file::handle_budget::HandleBudget;

/// How often the sizes of open files are read if inotify reports nothing.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);
/// Least time between two readings of sizes for each open file, however much inotify reports. 1,000 files and more would take a
/// good part of a core.
const MEASURE_GAP_PER_FILE: Duration = Duration::from_micros(100);
/// How often the folders are searched if inotify reports nothing.
const SCAN_INTERVAL: Duration = Duration::from_secs(5);
/// Least time between two scans, however much inotify reports.
const SCAN_GAP: Duration = Duration::from_millis(20);
/// How long a stop waits for the answers to open requests.
const STOP_GRACE: Duration = Duration::from_secs(2);

pub(crate) struct Tailer<F: FileSystem> {
    files: F,
    logs: Logs<F::FileHandle>,
    /// Of logs that the configuration does not have any more, until the first scan.
    unclaimed: Vec<Handover>,
    /// The files of which it was said that two logs find them.
    double_matches: BTreeSet<PathBuf>,
    metrics: SenderMetrics,
    pool: BufferPool,
    retry: RelayBackoff,
    jitter: StdRng,
    max_delay: Duration,
    chunk_size: ChunkSize,
    idle_connections: Vec<ConnectionId>,
    in_flight_max: usize,
    window: ConcurrencyWindow,
    asked: Option<OpenQuestion>,
    ledger: KnownLedger,
    last_seq: u64,
    next_scan: Instant,
    pub(crate) last_scan: Option<Instant>,
    next_measure: Instant,
    last_measure: Option<Instant>,
    next_proof: Instant,
    heartbeat: HeartbeatState,
    problems: LogProblems,
    contact: RelayContact,
    /// The first line of the message about the start, until it is logged.
    start_header: Option<String>,
    stopping_since: Option<Instant>,
    /// There is more to examine of old archives.
    is_examining: bool,
    /// Since the last checkpoint bytes were acknowledged, or files were seen with more unsent bytes.
    dirty: bool,
    /// The checkpoint on disk says that nothing more was posted.
    is_stop_saved: bool,
}

impl<F: FileSystem> Tailer<F> {
    /// `checkpoint` is `None` at the very first start.
    pub(crate) fn new(
        config: &config::SenderSettings,
        files: F,
        checkpoint: Option<&Checkpoint>,
        metrics: SenderMetrics,
        events: Sender<SenderEvent>,
        seed: u64,
        now: Now,
    ) -> Self {
        let shares = checkpoint.map(|checkpoint| share(checkpoint, &config.logs));
        let share_of = |index: usize| shares.as_ref().and_then(|shares| shares.of_logs.get(index));
        let logs = config.logs.iter().enumerate();
        let logs = logs.map(|(index, log)| TailedLog::new(config, log, share_of(index)));
        let logs = logs.collect();
        let relay: Vec<_> = config.relay.iter().map(ToString::to_string).collect();
        let buffers = config.in_flight + SPARE_BUFFERS;
        let chunk_size = ChunkSize::new(config.chunk.max_bytes, buffers);
        let unreported = checkpoint.map_or_else(Vec::new, |checkpoint| checkpoint.gaps.clone());
        Self {
            files,
            logs: Logs::new(logs),
            unclaimed: shares.map_or_else(Vec::new, |shares| shares.unclaimed),
            double_matches: BTreeSet::new(),
            metrics,
            pool: BufferPool::new(buffers, chunk_size.max(), events),
            retry: RelayBackoff::new(config.retry),
            jitter: StdRng::seed_from_u64(seed),
            max_delay: config.chunk.max_delay,
            chunk_size,
            idle_connections: (0..config.in_flight).map(ConnectionId).collect(),
            in_flight_max: config.in_flight,
            window: ConcurrencyWindow::new(config.in_flight),
            asked: None,
            ledger: KnownLedger::new(checkpoint),
            last_seq: 0,
            next_scan: now.instant,
            last_scan: None,
            next_measure: now.instant,
            last_measure: None,
            next_proof: now.instant,
            heartbeat: HeartbeatState::new(unreported, now),
            problems: LogProblems::default(),
            contact: RelayContact::new(relay.join(", ")),
            start_header: Some(start_report::header(config)),
            stopping_since: None,
            is_examining: false,
            dirty: false,
            is_stop_saved: checkpoint.is_some_and(|checkpoint| checkpoint.stopped_at.is_some()),
        }
    }

    pub(crate) fn handle(&mut self, event: SenderEvent, now: Now) {
        match event {
            SenderEvent::Files { moved: true } => self.scan_soon(now),
            SenderEvent::Files { moved: false } => self.measure_soon(now),
            SenderEvent::Buffer(buffer) => self.pool.give_back(buffer),
            SenderEvent::Chunk {
                connection,
                seq,
                result,
            } => {
                self.idle_connections.push(connection);
                self.chunk_ended(seq, result, now);
            }
            SenderEvent::Streams(result) => self.resolved(result, now),
            SenderEvent::Connected(ledger) => self.connected(ledger, now),
            SenderEvent::HeartbeatAcked(gaps) => {
                self.dirty |= self.heartbeat.acked(&gaps);
                self.contact.answered(None);
            }
            SenderEvent::HeartbeatFailed(error) => {
                self.heartbeat.has_failed = true;
                self.contact.failed(&error, now);
            }
            SenderEvent::Stop => {
                self.measure(now);
                self.prove_sizes(now);
                self.stopping_since = Some(now.instant);
            }
        }
    }

    pub(crate) fn run_due(&mut self, now: Now) -> Vec<RelayRequest> {
        let mut requests = Vec::new();
        if self.stopping_since.is_some() {
            return requests;
        }
        self.look_at_files(now);
        self.announce_start();
        self.look_at_paths(now);
        // The question before the report, which would be in its way: the first chunk waits for the answer.
        if self.retry.waits_until(now.instant).is_none() {
            requests.extend(self.ask(now));
        }
        let heartbeat = self.heartbeat_due(now).map(Box::new);
        requests.extend(heartbeat.map(RelayRequest::Heartbeat));
        requests.extend(self.next_chunk(now));
        // After the reads: an archive may take a while, and live lines do not wait for it.
        self.is_examining =
            self.logs.needs().examination && self.logs.iter_mut().any(TailedLog::examine_backlog);
        requests
    }

    /// The next chunk, if one is due. To be called after [`Self::run_due`], when its requests are sent, until there is none.
    pub(crate) fn next_chunk(&mut self, now: Now) -> Option<RelayRequest> {
        let is_sending = self.stopping_since.is_none() && self.retry.waits_until(now.instant).is_none();
        let request = is_sending.then(|| self.read_one(now)).flatten();
        if request.is_none() {
            // A file that changed under a read may have left a copy.
            self.scan_if_wanted(now);
        }
        request
    }

    /// When [`Self::run_due`] has something to do again, should no event come before.
    pub(crate) fn deadline(&mut self, now: Now) -> Instant {
        if let Some(since) = self.stopping_since {
            return since + STOP_GRACE;
        }
        if self.is_examining {
            return now.instant;
        }
        let looks = self.next_scan.min(self.next_measure).min(self.heartbeat.next);
        if let Some(until) = self.retry.waits_until(now.instant) {
            return looks.min(until);
        }
        if !self.may_send() {
            return looks;
        }
        // A read that is due now waits for a buffer, whose return is an event.
        let later = self.logs.due_later(self.read_limits(), now);
        later.map_or(looks, |later| looks.min(later))
    }

    /// Whether a stop is complete: no request is open, or the answers did not come in time.
    pub(crate) fn is_stopped(&self, now: Now) -> bool {
        let all_idle = self.idle_connections.len() == self.in_flight_max;
        self.stopping_since
            .is_some_and(|since| all_idle || now.instant >= since + STOP_GRACE)
    }

    pub(crate) fn take_checkpoint(&mut self) -> Option<Checkpoint> {
        if !self.has_checkpoint() {
            return None;
        }
        (self.dirty, self.is_stop_saved) = (false, false);
        if self.logs.needs().save != CheckpointNeed::None {
            let logs = self.logs.iter_mut();
            logs.for_each(|log| log.save = CheckpointNeed::None);
        }
        Some(Checkpoint {
            streams: self.logs.iter().flat_map(TailedLog::to_checkpoint).collect(),
            archives: self.logs.iter().flat_map(TailedLog::shipped).collect(),
            unsent: self.logs.iter().flat_map(TailedLog::unsent).collect(),
            unopened: self.logs.iter().flat_map(TailedLog::unopened).collect(),
            gaps: self.heartbeat.unreported.clone(),
            skipped: self.logs.iter().flat_map(TailedLog::skipped).collect(),
            held: self.logs.iter().flat_map(TailedLog::held_beside).collect(),
            former: self.logs.iter().flat_map(TailedLog::former).cloned().collect(),
            former_names: self
                .logs
                .iter()
                .flat_map(|log| log.former_names.clone())
                .collect(),
            seen_logs: Some(self.logs.iter().filter_map(TailedLog::as_seen).collect()),
            ledger: self.ledger.id,
            ledger_restored: self.ledger.restored,
            stopped_at: None,
        })
    }

    /// The last checkpoint, once the stop is complete.
    pub(crate) fn last_checkpoint(&mut self, now: Now) -> Option<Checkpoint> {
        let is_certain = self.logs.iter().all(TailedLog::is_certain);
        self.dirty |= is_certain;
        let checkpoint = self.take_checkpoint()?;
        let stopped_at = now.wall.duration_since(UNIX_EPOCH).ok();
        let stopped_at = stopped_at.and_then(|since| i64::try_from(since.as_secs()).ok());
        Some(Checkpoint {
            stopped_at: stopped_at.filter(|_| is_certain),
            ..checkpoint
        })
    }

    /// Whether [`Self::take_checkpoint`] has something new. Before the first search the last checkpoint knows more: which archives
    /// were shipped.
    pub(crate) fn has_checkpoint(&self) -> bool {
        self.dirty && self.last_scan.is_some()
    }

    /// Whether the checkpoint must be saved before anything is sent.
    pub(crate) fn must_save(&mut self) -> bool {
        let must_save = self.logs.needs().save == CheckpointNeed::BeforeSending || self.is_stop_saved;
        self.dirty |= must_save;
        must_save
    }

    /// The folders to watch, and the live paths, which may be links to further ones.
    pub(crate) fn watched_paths(&self) -> (BTreeSet<PathBuf>, BTreeSet<PathBuf>) {
        let folders = self.logs.iter().flat_map(TailedLog::folders);
        let live_paths = self.logs.iter().flat_map(TailedLog::live_paths);
        (folders.collect(), live_paths.cloned().collect())
    }

    fn scan_soon(&mut self, now: Now) {
        let earliest = self.last_scan.map_or(now.instant, |last| last + SCAN_GAP);
        self.next_scan = self.next_scan.min(earliest.max(now.instant));
    }

    fn measure_soon(&mut self, now: Now) {
        let files: usize = self.logs.iter().map(|log| log.files.len()).sum();
        let gap = MEASURE_GAP_PER_FILE * u32::try_from(files).unwrap_or(u32::MAX);
        let earliest = self
            .last_measure
            .map_or(now.instant, |last| last + gap.min(MEASURE_INTERVAL));
        self.next_measure = self.next_measure.min(earliest.max(now.instant));
    }

    fn scan_if_wanted(&mut self, now: Now) {
        if self.logs.needs().scan {
            self.scan_soon(now);
        }
    }

    fn look_at_files(&mut self, now: Now) {
        if now.instant >= self.next_scan {
            self.next_scan = now.instant + SCAN_INTERVAL;
            self.last_scan = Some(now.instant);
            self.scan(now);
            // A replaced file may have grown by lines that are older than the first line of its successor.
            self.next_measure = now.instant;
        }
        if now.instant >= self.next_measure {
            self.next_measure = now.instant + MEASURE_INTERVAL;
            self.last_measure = Some(now.instant);
            self.measure(now);
            self.logs.iter_mut().for_each(|log| log.recheck_held(now));
            self.open_postponed();
            let lag = self.logs.iter().map(TailedLog::lag_bytes).sum();
            self.metrics.set_lag(lag);
            if now.instant >= self.next_proof {
                self.prove_sizes(now);
            }
        }
        if self.logs.needs().report {
            self.collect_losses(now);
        }
        self.scan_if_wanted(now);
        self.dirty |= self.logs.needs().save != CheckpointNeed::None;
    }

    fn measure(&mut self, now: Now) {
        let writers = writer_search(&self.files);
        self.logs.iter_mut().for_each(|log| log.measure(&writers, now));
    }

    /// `live`: how many live files there are.
    fn handle_budget(&self, live: usize) -> HandleBudget {
        let rotated: usize = self.logs.iter().map(TailedLog::rotated_open).sum();
        HandleBudget::new(self.files.handle_limit(), live + rotated)
    }

    /// Opens rotated files that had to wait for others to be closed.
    fn open_postponed(&mut self) {
        if !self.logs.iter().any(TailedLog::has_postponed) {
            return;
        }
        let mut budget = self.handle_budget(self.logs.iter().map(TailedLog::live_count).sum());
        for log in self.logs.iter_mut() {
            log.open_postponed(&self.files, &mut budget);
        }
    }

    fn prove_sizes(&mut self, now: Now) {
        self.next_proof = now.instant + MEASURE_INTERVAL;
        for log in self.logs.iter_mut() {
            self.dirty |= log.prove_sizes(now);
        }
    }

    fn chunk_ended(&mut self, seq: ChunkSeq, result: Result<Receipt, RequestError>, now: Now) {
        let result = result.and_then(|receipt| match receipt.outcome {
            ChunkOutcome::Stored | ChunkOutcome::Duplicate => Ok(receipt.congested),
            ChunkOutcome::OffsetMismatch => Err(RequestError::OffsetMismatch),
        });
        let jitter = self.jitter.random_range(0.0..1.0);
        let outcome = result.as_ref().map(|_| ());
        let amount = self.logs.chunk_ended(seq, outcome, now, jitter);
        if self.logs.needs().report {
            self.collect_losses(now);
        }
        match result {
            Ok(congested) => {
                self.retry.succeeded();
                self.contact.chunk_stored();
                self.heartbeat.relay_answered(now);
                self.window.answered(congested);
                self.chunk_size.grow();
                if let Some(amount) = amount {
                    count(&self.metrics, amount);
                    self.dirty = true;
                }
            }
            Err(error) => self.failed(&error, now, jitter),
        }
    }

    fn failed(&mut self, error: &RequestError, now: Now, jitter: f64) {
        self.metrics.retried();
        self.contact.chunk_failed(error, now);
        match error {
            RequestError::Refused { status: 413, .. } => self.chunk_size.too_large(),
            RequestError::Timeout { .. } => self.chunk_size.too_slow(),
            _ => {}
        }
        if error.concerns_all() {
            self.window.failed();
            self.chunk_size.failed();
            self.retry.failed(error, now.instant, jitter);
        }
    }

    fn read_limits(&self) -> ReadLimits {
        ReadLimits {
            chunk_bytes: self.chunk_size.usual(),
            max_delay: self.max_delay,
        }
    }

    fn may_send(&self) -> bool {
        self.window.allows_beside(self.idle_connections.len())
    }

    /// Reads the next chunk, if one is due, may be sent, and a buffer is free.
    fn read_one(&mut self, now: Now) -> Option<RelayRequest> {
        while self.may_send() {
            let due = self.logs.next_read(self.read_limits(), now)?;
            let mut buffer = self.pool.take()?;
            let seq = ChunkSeq(self.last_seq + 1);
            let Some((draft, header)) = self.logs.read(due, seq, &mut buffer, &self.chunk_size, now) else {
                self.pool.give_back(buffer);
                continue;
            };
            let connection = self.idle_connections.pop()?;
            let body = self.pool.body(buffer, draft.body());
            self.last_seq += 1;
            (0..draft.cut.long_lines).for_each(|_| self.metrics.long_line());
            let chunk = Box::new(OutgoingChunk { seq, header, body });
            return Some(RelayRequest::Chunk { connection, chunk });
        }
        None
    }
}

fn count(metrics: &SenderMetrics, ShippedAmount { bytes, lines }: ShippedAmount) {
    metrics.shipped(bytes, lines.sent, lines.excluded);
}
