//! The driver of a backfill: file after file, what to ask, what to send, when to try again.
//!
//! Events come in, jobs for the wire go out, and the clock is an argument, as with the tail. Only the files are read
//! right here.

use std::collections::VecDeque;
use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::Instant;

use logferry_config as config;
use logferry_protocol::chunk::{ChunkOutcome, Receipt};
use logferry_protocol::names::LogName;
use logferry_protocol::resolve::{FileQuery, ResolveRequest, ResolveResponse};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::backfill::BackfillError;
use crate::backfill::file::{BackfillFile, ChunkResult};
use crate::backfill::plan::{BackfillPlan, PlannedFile};
use crate::backfill::report::{BackfillEvent, FileOutcome, FileRefusal, FileReport};
use crate::chunks::buffers::BufferPool;
use crate::chunks::chunker::{Chunker, LineLimits};
use crate::chunks::exclusion::ExclusionRules;
use crate::clock::Now;
use crate::error::{RequestError, RequestErrorKind};
use crate::files::compressed::LogText;
use crate::files::discovery::{FileRole, LogPatterns};
use crate::files::{FileSystem, RealFileSystem};
use crate::messages::{ChunkSeq, ConnectionId, OutgoingChunk, RelayRequest, SenderEvent};
use crate::relay_backoff::RelayBackoff;
use crate::streams::tracked_stream::ShippedAmount;

/// Buffers beyond those in flight: one being read into, one on its way home.
const SPARE_BUFFERS: usize = 2;
/// A chunk is not halved below this when the relay says that it is too large.
const CHUNK_BYTES_MIN: usize = 4 * 1024;

/// A backfill at work.
#[derive(Debug)]
pub(super) struct BackfillDriver {
    logs: Vec<LogRules>,
    ahead: VecDeque<PlannedFile>,
    current: Option<CurrentFile>,
    /// Nothing is sent: what would be is taken for stored.
    dry_run: bool,
    pool: BufferPool,
    retry: RelayBackoff,
    chance: StdRng,
    chunk_bytes: usize,
    idle_connections: Vec<ConnectionId>,
    /// A question is out.
    is_asking: bool,
    next_seq: u64,
    news: Vec<BackfillEvent>,
    /// The relay does not want to hear of any file.
    failure: Option<BackfillError>,
}

#[derive(Debug)]
struct CurrentFile {
    target: PlannedFile,
    file: BackfillFile<File>,
}

/// What a log's configuration says to do with its files.
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
        home: Sender<SenderEvent>,
        seed: u64,
    ) -> Self {
        let logs = config.logs.iter().map(|log| LogRules {
            name: log.name.clone(),
            patterns: LogPatterns::new(&log.path, &log.rotated),
            chunker: Chunker::new(
                ExclusionRules::new(&log.exclude),
                LineLimits {
                    max_lines: config.chunk.max_lines,
                    max_line: log.max_line,
                },
            ),
        });
        Self {
            logs: logs.collect(),
            ahead: plan.targets.into(),
            current: None,
            dry_run,
            pool: BufferPool::new(config.in_flight + SPARE_BUFFERS, config.chunk.max_bytes, home),
            retry: RelayBackoff::new(config.retry),
            chance: StdRng::seed_from_u64(seed),
            chunk_bytes: config.chunk.max_bytes,
            idle_connections: (0..config.in_flight).map(ConnectionId).collect(),
            is_asking: false,
            next_seq: 0,
            news: Vec::new(),
            failure: None,
        }
    }

    /// Takes an event.
    pub(super) fn handle(&mut self, event: SenderEvent, now: Now) {
        match event {
            SenderEvent::Buffer(buffer) => self.pool.put(buffer),
            SenderEvent::Streams(result) => self.resolved(result, now),
            SenderEvent::Chunk {
                connection,
                seq,
                result,
            } => {
                self.idle_connections.push(connection);
                self.answered(seq, result, now);
            }
            _ => {}
        }
    }

    /// Does all that can be done now; of a dry run one block, so that it can be stopped.
    pub(super) fn turn(&mut self, now: Now) -> Vec<RelayRequest> {
        let mut jobs = Vec::new();
        while !self.is_over() && self.retry.waits_until(now.instant).is_none() {
            if self.end_current() {
                continue;
            }
            let Some(CurrentFile { file, .. }) = &self.current else {
                self.begin_next(now);
                continue;
            };
            if file.is_to_ask() {
                jobs.extend(self.ask());
                break;
            }
            if self.dry_run {
                self.pretend();
                break;
            }
            match self.ship() {
                Some(job) => jobs.push(job),
                // What was found in reading may have ended it.
                None if self.end_current() => {}
                None => break,
            }
        }
        jobs
    }

    /// When [`Self::turn`] has something to do again, should no event come before; `None` if only an event counts.
    pub(super) fn deadline(&self, now: Now) -> Option<Instant> {
        let waits = self.retry.waits_until(now.instant);
        waits.or_else(|| (self.dry_run && !self.is_asking).then_some(now.instant))
    }

    /// Whether nothing is left to do.
    pub(super) fn is_over(&self) -> bool {
        self.failure.is_some() || (self.current.is_none() && self.ahead.is_empty())
    }

    /// How it ended.
    pub(super) fn into_result(self) -> Result<(), BackfillError> {
        self.failure.map_or(Ok(()), Err)
    }

    /// What has happened since the last call.
    pub(super) fn take_news(&mut self) -> Vec<BackfillEvent> {
        std::mem::take(&mut self.news)
    }

    /// Opens the next file, or says why not.
    fn begin_next(&mut self, now: Now) {
        let Some(target) = self.ahead.pop_front() else {
            return;
        };
        match self.open(&target.path, now) {
            Ok(Some(file)) => self.current = Some(CurrentFile { target, file }),
            Ok(None) => self.report(target, ShippedAmount::default(), Ok(FileOutcome::Empty)),
            Err(refusal) => self.report(target, ShippedAmount::default(), Err(refusal)),
        }
    }

    fn open(&self, path: &Path, now: Now) -> Result<Option<BackfillFile<File>>, FileRefusal> {
        // Opening a pipe would wait for somebody to write to it.
        if !path.metadata().map_err(FileRefusal::Unreadable)?.is_file() {
            return Err(FileRefusal::NotAFile);
        }
        let file = RealFileSystem.open(path).map_err(FileRefusal::Unreadable)?;
        let Some(file) = BackfillFile::new(file)? else {
            return Ok(None);
        };
        if let Some(log) = self.live_log(&file) {
            return Err(FileRefusal::Live(log));
        }
        if file.may_go_on(now.wall).map_err(FileRefusal::Unreadable)? {
            return Err(FileRefusal::Unfinished);
        }
        Ok(Some(file))
    }

    /// The log whose live file this is, or is a copy of.
    fn live_log(&self, candidate: &BackfillFile<File>) -> Option<LogName> {
        let is_live = |log: &&LogRules| {
            let mut files = log.patterns.scan(&RealFileSystem).into_iter();
            files.any(|file| {
                let is_copy = || {
                    let live = RealFileSystem.open(&file.path).ok()?;
                    candidate.is_copy_of(&LogText::plain(live)).ok()
                };
                file.role == FileRole::Live
                    && (file.stat.key == candidate.key() || is_copy().unwrap_or(false))
            })
        };
        self.logs.iter().find(is_live).map(|log| log.name.clone())
    }

    /// Reports the current file if nothing more happens with it.
    fn end_current(&mut self) -> bool {
        let ended = self.current.take_if(|current| current.file.is_over());
        let Some(CurrentFile { target, file }) = ended else {
            return false;
        };
        self.report(target, file.settled(), file.into_result());
        true
    }

    fn report(
        &mut self,
        target: PlannedFile,
        settled: ShippedAmount,
        result: Result<FileOutcome, FileRefusal>,
    ) {
        self.news.push(BackfillEvent::Done(FileReport {
            path: target.path,
            lines: settled.lines,
            bytes: settled.bytes,
            result,
        }));
    }

    fn ask(&mut self) -> Option<RelayRequest> {
        let CurrentFile { target, file } = self.current.as_ref()?;
        if std::mem::replace(&mut self.is_asking, true) {
            return None;
        }
        let query = FileQuery {
            log: self.logs.get(target.log)?.name.clone(),
            head: file.head(),
            acknowledged: None,
        };
        Some(RelayRequest::Streams(ResolveRequest { files: vec![query] }))
    }

    fn resolved(&mut self, result: Result<ResolveResponse, RequestError>, now: Now) {
        self.is_asking = false;
        match result {
            Ok(response) => {
                // One byte of a chunk may be a newline that we add.
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

    /// Reads the next chunk, if a connection is idle and a buffer at home.
    fn ship(&mut self) -> Option<RelayRequest> {
        let CurrentFile { target, file } = self.current.as_mut()?;
        let log = self.logs.get_mut(target.log)?;
        let &connection = self.idle_connections.last()?;
        let mut buffer = self.pool.take()?;
        let Some(piece) = file.cut(&mut buffer, self.chunk_bytes, &mut log.chunker) else {
            self.pool.put(buffer);
            return None;
        };
        let body = self.pool.body(buffer, piece.body());
        let header = file.header(&piece, &log.name, &body)?;
        self.next_seq += 1;
        let seq = ChunkSeq(self.next_seq);
        file.sent(&piece, seq);
        self.idle_connections.pop();
        Some(RelayRequest::Chunk {
            connection,
            chunk: Box::new(OutgoingChunk { seq, header, body }),
        })
    }

    /// Reads the next chunk and takes it for shipped.
    fn pretend(&mut self) {
        let (Some(CurrentFile { target, file }), Some(mut buffer)) = (&mut self.current, self.pool.take())
        else {
            return;
        };
        if let Some(log) = self.logs.get_mut(target.log)
            && let Some(piece) = file.cut(&mut buffer, self.chunk_bytes, &mut log.chunker)
        {
            self.next_seq += 1;
            let seq = ChunkSeq(self.next_seq);
            file.sent(&piece, seq);
            file.answered(seq, ChunkResult::Stored);
        }
        self.pool.put(buffer);
        self.progress();
    }

    fn answered(&mut self, seq: ChunkSeq, result: Result<Receipt, RequestError>, now: Now) {
        let answer = match &result {
            Ok(Receipt {
                outcome: ChunkOutcome::Stored,
                ..
            }) => ChunkResult::Stored,
            Ok(Receipt {
                outcome: ChunkOutcome::Duplicate,
                ..
            }) => ChunkResult::Duplicate,
            Ok(Receipt {
                outcome: ChunkOutcome::Elsewhere,
                ..
            })
            | Err(_) => ChunkResult::Unknown,
        };
        if let Some(current) = &mut self.current {
            current.file.answered(seq, answer);
        }
        match result {
            Ok(_) => {
                self.retry.succeeded();
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
        let chance = self.chance.random_range(0.0..1.0);
        self.retry.failed(error, now.instant, chance);
        self.news.push(BackfillEvent::Waiting(with_causes(error)));
    }

    fn progress(&mut self) {
        if let Some(CurrentFile { target, file }) = &self.current {
            self.news.push(BackfillEvent::Progress {
                path: target.path.clone(),
                done: file.acked().get(),
                size: file.size().get(),
            });
        }
    }
}

fn with_causes(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_causes(cause)),
        None => error.to_string(),
    }
}
