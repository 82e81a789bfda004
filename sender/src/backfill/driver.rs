//! The sequence of a backfill: file after file, what to ask, what to send, when to try again.
//!
//! Events come in, requests go out, and the clock is an argument, as in `tail`. Only the files are read here.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::Instant;

use logferry_config as config;
use logferry_durable::{Disk, RealDisk};
use logferry_protocol::chunk::{ChunkOutcome, Receipt};
use logferry_protocol::names::LogName;
use logferry_protocol::resolve::{FileQuery, ResolveRequest, ResolveResponse};
use logferry_text::error_chain;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::backfill::BackfillError;
use crate::backfill::file::BackfillFile;
use crate::backfill::plan::{BackfillPlan, PlannedFile};
use crate::backfill::report::{BackfillEvent, FileOutcome, FileRefusal, FileReport};
use crate::checkpoint::{self, Checkpoint, HeldBeside};
use crate::chunks::buffers::{BufferPool, SPARE_BUFFERS};
use crate::chunks::chunker::Chunker;
use crate::clock::Now;
use crate::concurrency_window::ConcurrencyWindow;
use crate::error::{RequestError, RequestErrorKind};
use crate::files::compressed::LogText;
use crate::files::discovery::{FileRole, LogPatterns};
use crate::files::{FileSystem, RealFileSystem};
use crate::messages::{ChunkSeq, ConnectionId, OutgoingChunk, RelayRequest, SenderEvent};
use crate::relay_backoff::RelayBackoff;
use crate::streams::tracked_stream::ShippedAmount;

/// A chunk is not halved below this when the relay answers that it is too large.
const CHUNK_BYTES_MIN: usize = 4 * 1024;

/// The checkpoint of the sender that may be running; empty if there is none, or it is unusable.
fn saved_checkpoint(state_dir: &Path) -> Checkpoint {
    let bytes = RealDisk
        .read(&state_dir.join(checkpoint::FILE_NAME))
        .ok()
        .flatten();
    let saved = bytes.and_then(|bytes| Checkpoint::from_bytes(&bytes).ok());
    saved.unwrap_or_default()
}

pub(super) struct BackfillDriver {
    logs: Vec<LogRules>,
    pending: VecDeque<PlannedFile>,
    current: Option<CurrentFile>,
    /// The files that the sender holds.
    held: Vec<HeldBeside>,
    /// Nothing is sent: chunks count as stored.
    dry_run: bool,
    pool: BufferPool,
    retry: RelayBackoff,
    jitter: StdRng,
    chunk_bytes: usize,
    idle_connections: Vec<ConnectionId>,
    window: ConcurrencyWindow,
    is_asking: bool,
    last_seq: u64,
    events: Vec<BackfillEvent>,
    failure: Option<BackfillError>,
}

struct CurrentFile {
    planned: PlannedFile,
    file: BackfillFile<File>,
}

#[derive(Debug)]
struct LogRules {
    name: LogName,
    patterns: LogPatterns,
    chunker: Chunker,
}

impl BackfillDriver {
    pub(super) fn new(
        config: &config::SenderSettings,
        plan: BackfillPlan,
        dry_run: bool,
        events: Sender<SenderEvent>,
        seed: u64,
    ) -> Self {
        let logs = config.logs.iter().map(|log| LogRules {
            name: log.name.clone(),
            patterns: LogPatterns::of_log(log),
            chunker: Chunker::of_log(&config.chunk, log),
        });
        Self {
            logs: logs.collect(),
            pending: plan.files.into(),
            current: None,
            held: saved_checkpoint(&config.state_dir).held,
            dry_run,
            pool: BufferPool::new(config.in_flight + SPARE_BUFFERS, config.chunk.max_bytes, events),
            retry: RelayBackoff::new(config.retry),
            jitter: StdRng::seed_from_u64(seed),
            chunk_bytes: config.chunk.max_bytes,
            idle_connections: (0..config.in_flight).map(ConnectionId).collect(),
            window: ConcurrencyWindow::new(config.in_flight),
            is_asking: false,
            last_seq: 0,
            events: Vec::new(),
            failure: None,
        }
    }

    pub(super) fn handle(&mut self, event: SenderEvent, now: Now) {
        match event {
            SenderEvent::Buffer(buffer) => self.pool.give_back(buffer),
            SenderEvent::Streams(result) => self.resolved(result, now),
            SenderEvent::Chunk {
                connection,
                seq,
                result,
            } => {
                self.idle_connections.push(connection);
                self.chunk_ended(seq, result, now);
            }
            _ => {}
        }
    }

    /// Does everything that can be done now. In a dry run that is one block, so that it can be stopped.
    pub(super) fn run_due(&mut self, now: Now) -> Vec<RelayRequest> {
        let mut requests = Vec::new();
        while !self.is_over() && self.retry.waits_until(now.instant).is_none() {
            if self.end_current() {
                continue;
            }
            let Some(CurrentFile { file, .. }) = &self.current else {
                self.begin_next(now);
                continue;
            };
            if file.is_to_ask() {
                requests.extend(self.ask());
                break;
            }
            match self.ship() {
                Some(request) => requests.push(request),
                None if self.dry_run => break,
                // The read may have ended the file.
                None if self.end_current() => {}
                None => break,
            }
        }
        requests
    }

    /// When [`Self::run_due`] has something to do again, should no event come before; `None` if only an event counts.
    pub(super) fn deadline(&self, now: Now) -> Option<Instant> {
        let waits = self.retry.waits_until(now.instant);
        waits.or_else(|| (self.dry_run && !self.is_asking).then_some(now.instant))
    }

    pub(super) fn is_over(&self) -> bool {
        self.failure.is_some() || (self.current.is_none() && self.pending.is_empty())
    }

    pub(super) fn into_result(self) -> Result<(), BackfillError> {
        self.failure.map_or(Ok(()), Err)
    }

    pub(super) fn take_events(&mut self) -> Vec<BackfillEvent> {
        std::mem::take(&mut self.events)
    }

    fn begin_next(&mut self, now: Now) {
        let Some(planned) = self.pending.pop_front() else {
            return;
        };
        let result = match self.open(&planned.path, now) {
            Ok(Some(file)) => {
                self.current = Some(CurrentFile { planned, file });
                return;
            }
            Ok(None) => Ok(FileOutcome::Empty),
            Err(refusal) => Err(refusal),
        };
        self.report(planned, ShippedAmount::default(), result);
    }

    fn open(&self, path: &Path, now: Now) -> Result<Option<BackfillFile<File>>, FileRefusal> {
        // Opening a pipe would wait for a writer.
        if !path.metadata().map_err(FileRefusal::Unreadable)?.is_file() {
            return Err(FileRefusal::NotAFile);
        }
        let file = RealFileSystem.open(path).map_err(FileRefusal::Unreadable)?;
        let Some(mut file) = BackfillFile::new(file)? else {
            return Ok(None);
        };
        file.note_held(&self.held);
        if let Some(log) = self.live_log(&file) {
            return Err(FileRefusal::Live(log));
        }
        if file.may_grow(now.wall).map_err(FileRefusal::Unreadable)? {
            return Err(FileRefusal::Unfinished);
        }
        Ok(Some(file))
    }

    /// The log whose live file this is, or is a copy of.
    fn live_log(&self, candidate: &BackfillFile<File>) -> Option<LogName> {
        let is_live = |log: &&LogRules| {
            let mut files = log.patterns.scan(&RealFileSystem).files.into_iter();
            files.any(|file| {
                let is_copy = || {
                    let live = RealFileSystem.open(&file.path).ok()?;
                    candidate.is_copy_of(&LogText::plain(live)).ok()
                };
                file.role == FileRole::Live
                    && (file.stat.key == candidate.stat.key || is_copy().unwrap_or(false))
            })
        };
        self.logs.iter().find(is_live).map(|log| log.name.clone())
    }

    fn end_current(&mut self) -> bool {
        let ended = self.current.take_if(|current| current.file.is_over());
        let Some(CurrentFile { planned, file }) = ended else {
            return false;
        };
        self.report(planned, file.shipped, file.into_result());
        true
    }

    fn report(
        &mut self,
        planned: PlannedFile,
        shipped: ShippedAmount,
        result: Result<FileOutcome, FileRefusal>,
    ) {
        self.events.push(BackfillEvent::Done(FileReport {
            path: planned.path,
            lines: shipped.lines,
            bytes: shipped.bytes,
            result,
        }));
    }

    fn ask(&mut self) -> Option<RelayRequest> {
        let CurrentFile { planned, file } = self.current.as_ref()?;
        if std::mem::replace(&mut self.is_asking, true) {
            return None;
        }
        let query = FileQuery {
            is_continued: false,
            log: self.logs.get(planned.log)?.name.clone(),
            head: file.head,
            acknowledged: None,
            files: Vec::new(),
        };
        Some(RelayRequest::Streams(ResolveRequest { files: vec![query] }))
    }

    fn resolved(&mut self, result: Result<ResolveResponse, RequestError>, now: Now) {
        self.is_asking = false;
        match result {
            Ok(response) => {
                // One byte of a chunk may be a newline that the sender adds.
                let allowed = usize::try_from(response.max_chunk).unwrap_or(usize::MAX);
                self.chunk_bytes = self.chunk_bytes.min(allowed.saturating_sub(1));
                let candidates = response.candidates.first().map_or(&[][..], Vec::as_slice);
                if let Some(current) = &mut self.current {
                    current.file.resolved(candidates);
                }
                self.progress();
            }
            Err(error) if error.kind() == RequestErrorKind::Refused => {
                self.failure = Some(BackfillError::Refused(Box::new(error)));
            }
            Err(error) => self.wait(&error, now),
        }
    }

    /// Reads the next chunk, if it may be sent and a buffer is free. In a dry run it counts as stored.
    fn ship(&mut self) -> Option<RelayRequest> {
        let CurrentFile { planned, file } = self.current.as_mut()?;
        let log = self.logs.get_mut(planned.log)?;
        let &connection = self.idle_connections.last()?;
        if !self.window.allows_beside(self.idle_connections.len()) {
            return None;
        }
        let mut buffer = self.pool.take()?;
        let Some(mut draft) = file.read(&mut buffer, self.chunk_bytes, &mut log.chunker) else {
            self.pool.give_back(buffer);
            return None;
        };
        let stream = file.stream.as_mut()?;
        self.last_seq += 1;
        let seq = ChunkSeq(self.last_seq);
        stream.sent(draft.in_flight(seq));
        if self.dry_run {
            file.chunk_ended(seq, Some(ChunkOutcome::Stored));
            self.pool.give_back(buffer);
            self.progress();
            return None;
        }
        let body = self.pool.body(buffer, draft.body());
        let header = draft.header(stream, file.stat.key, &log.name, &body);
        self.idle_connections.pop();
        let chunk = Box::new(OutgoingChunk { seq, header, body });
        Some(RelayRequest::Chunk { connection, chunk })
    }

    fn chunk_ended(&mut self, seq: ChunkSeq, result: Result<Receipt, RequestError>, now: Now) {
        let outcome = result.as_ref().ok().map(|receipt| receipt.outcome);
        if let Some(current) = &mut self.current {
            current.file.chunk_ended(seq, outcome);
        }
        match result {
            Ok(receipt) => {
                self.retry.succeeded();
                self.window.answered(receipt.congested);
                self.progress();
            }
            Err(RequestError::Refused { status: 413, .. }) if self.chunk_bytes > CHUNK_BYTES_MIN => {
                self.chunk_bytes = (self.chunk_bytes / 2).max(CHUNK_BYTES_MIN);
            }
            Err(error) if error.kind() == RequestErrorKind::Refused && !error.concerns_all() => {
                if let Some(current) = &mut self.current {
                    current.file.refuse(FileRefusal::NotTaken(Box::new(error)));
                }
            }
            Err(error) => self.wait(&error, now),
        }
    }

    fn wait(&mut self, error: &RequestError, now: Now) {
        let jitter = self.jitter.random_range(0.0..1.0);
        self.retry.failed(error, now.instant, jitter);
        self.window.failed();
        self.events.push(BackfillEvent::Waiting(error_chain(error)));
    }

    fn progress(&mut self) {
        if let Some(CurrentFile { planned, file }) = &self.current {
            self.events.push(BackfillEvent::Progress {
                path: planned.path.clone(),
                done: file.stream.as_ref().map_or(0, |stream| stream.acked.offset.get()),
                size: file.size.get(),
            });
        }
    }
}
