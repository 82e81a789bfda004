//! The course of a backfill: file after file, what to ask, what to send, when to try again.
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

use super::BackfillError;
use super::plan::{Plan, Target};
use super::report::{Fate, News, Refusal, Report};
use super::shipment::{Answer, Shipment};
use crate::archive::Text;
use crate::buffers::Pool;
use crate::chunker::{Chunker, Limits};
use crate::exclude::Rules;
use crate::files::{Files, RealFiles};
use crate::retry::Retry;
use crate::scan::{Patterns, Role};
use crate::tail::{ChunkSeq, Event, Job, Now, OutChunk, Settled, WorkerId};
use crate::wire::{Kind, WireError};

/// Buffers beyond those in flight: one being read into, one on its way home.
const SPARE_BUFFERS: usize = 2;
/// A chunk is not halved below this when the relay says that it is too large.
const CHUNK_BYTES_MIN: usize = 4 * 1024;

/// A backfill at work.
#[derive(Debug)]
pub(super) struct Course {
    logs: Vec<Log>,
    ahead: VecDeque<Target>,
    current: Option<Current>,
    /// Nothing is sent: what would be is taken for stored.
    dry_run: bool,
    pool: Pool,
    retry: Retry,
    chance: StdRng,
    chunk_bytes: usize,
    idle_workers: Vec<WorkerId>,
    /// A question is out.
    is_asking: bool,
    next_seq: u64,
    news: Vec<News>,
    /// The relay does not want to hear of any file.
    failure: Option<BackfillError>,
}

#[derive(Debug)]
struct Current {
    target: Target,
    shipment: Shipment<File>,
}

/// What a log's configuration says to do with its files.
#[derive(Debug)]
struct Log {
    name: LogName,
    patterns: Patterns,
    chunker: Chunker,
}

impl Course {
    pub(super) fn new(
        config: &config::SenderSettings,
        plan: Plan,
        dry_run: bool,
        home: Sender<Event>,
        seed: u64,
    ) -> Self {
        let logs = config.logs.iter().map(|log| Log {
            name: log.name.clone(),
            patterns: Patterns::new(&log.path, &log.rotated),
            chunker: Chunker::new(
                Rules::new(&log.exclude),
                Limits {
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
            pool: Pool::new(config.in_flight + SPARE_BUFFERS, config.chunk.max_bytes, home),
            retry: Retry::new(config.retry),
            chance: StdRng::seed_from_u64(seed),
            chunk_bytes: config.chunk.max_bytes,
            idle_workers: (0..config.in_flight).map(WorkerId).collect(),
            is_asking: false,
            next_seq: 0,
            news: Vec::new(),
            failure: None,
        }
    }

    /// Takes an event.
    pub(super) fn handle(&mut self, event: Event, now: Now) {
        match event {
            Event::Buffer(buffer) => self.pool.put(buffer),
            Event::Streams(result) => self.resolved(result, now),
            Event::Chunk { worker, seq, result } => {
                self.idle_workers.push(worker);
                self.answered(seq, result, now);
            }
            _ => {}
        }
    }

    /// Does all that can be done now; of a dry run one block, so that it can be stopped.
    pub(super) fn turn(&mut self, now: Now) -> Vec<Job> {
        let mut jobs = Vec::new();
        while !self.is_over() && self.retry.waits_until(now.tick).is_none() {
            if self.end_current() {
                continue;
            }
            let Some(Current { shipment, .. }) = &self.current else {
                self.begin_next(now);
                continue;
            };
            if shipment.is_to_ask() {
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
        let waits = self.retry.waits_until(now.tick);
        waits.or_else(|| (self.dry_run && !self.is_asking).then_some(now.tick))
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
    pub(super) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Opens the next file, or says why not.
    fn begin_next(&mut self, now: Now) {
        let Some(target) = self.ahead.pop_front() else {
            return;
        };
        match self.open(&target.path, now) {
            Ok(Some(shipment)) => self.current = Some(Current { target, shipment }),
            Ok(None) => self.report(target, Settled::default(), Ok(Fate::Empty)),
            Err(refusal) => self.report(target, Settled::default(), Err(refusal)),
        }
    }

    fn open(&self, path: &Path, now: Now) -> Result<Option<Shipment<File>>, Refusal> {
        // Opening a pipe would wait for somebody to write to it.
        if !path.metadata().map_err(Refusal::Unreadable)?.is_file() {
            return Err(Refusal::NotAFile);
        }
        let file = RealFiles.open(path).map_err(Refusal::Unreadable)?;
        let Some(shipment) = Shipment::new(file)? else {
            return Ok(None);
        };
        if let Some(log) = self.live_log(&shipment) {
            return Err(Refusal::Live(log));
        }
        if shipment.may_go_on(now.wall).map_err(Refusal::Unreadable)? {
            return Err(Refusal::Unfinished);
        }
        Ok(Some(shipment))
    }

    /// The log whose live file this is, or is a copy of.
    fn live_log(&self, shipment: &Shipment<File>) -> Option<LogName> {
        let is_live = |log: &&Log| {
            let mut files = log.patterns.scan(&RealFiles).into_iter();
            files.any(|file| {
                let is_copy = || {
                    let live = RealFiles.open(&file.path).ok()?;
                    shipment.is_copy_of(&Text::plain(live)).ok()
                };
                file.role == Role::Live && (file.facts.key == shipment.key() || is_copy().unwrap_or(false))
            })
        };
        self.logs.iter().find(is_live).map(|log| log.name.clone())
    }

    /// Reports the current file if nothing more happens with it.
    fn end_current(&mut self) -> bool {
        let ended = self.current.take_if(|current| current.shipment.is_over());
        let Some(Current { target, shipment }) = ended else {
            return false;
        };
        self.report(target, shipment.settled(), shipment.into_result());
        true
    }

    fn report(&mut self, target: Target, settled: Settled, result: Result<Fate, Refusal>) {
        self.news.push(News::Done(Report {
            path: target.path,
            lines: settled.lines,
            bytes: settled.bytes,
            result,
        }));
    }

    fn ask(&mut self) -> Option<Job> {
        let Current { target, shipment } = self.current.as_ref()?;
        if std::mem::replace(&mut self.is_asking, true) {
            return None;
        }
        let query = FileQuery {
            log: self.logs.get(target.log)?.name.clone(),
            head: shipment.head(),
            acknowledged: None,
        };
        Some(Job::Streams(ResolveRequest { files: vec![query] }))
    }

    fn resolved(&mut self, result: Result<ResolveResponse, WireError>, now: Now) {
        self.is_asking = false;
        match result {
            Ok(response) => {
                // One byte of a chunk may be a newline that we add.
                let allowed = usize::try_from(response.max_chunk).unwrap_or(usize::MAX);
                self.chunk_bytes = self.chunk_bytes.min(allowed.saturating_sub(1));
                let candidates = response.candidates.first().map_or(&[][..], Vec::as_slice);
                if let Some(current) = &mut self.current {
                    current.shipment.resolved(candidates);
                }
                self.progress();
            }
            Err(error) if error.kind() == Kind::Refused => {
                self.failure = Some(BackfillError::Refused(Box::new(error)));
            }
            Err(error) => self.wait(&error, now),
        }
    }

    /// Reads the next chunk, if a connection is idle and a buffer at home.
    fn ship(&mut self) -> Option<Job> {
        let Current { target, shipment } = self.current.as_mut()?;
        let log = self.logs.get_mut(target.log)?;
        let &worker = self.idle_workers.last()?;
        let mut buffer = self.pool.take()?;
        let Some(piece) = shipment.cut(&mut buffer, self.chunk_bytes, &mut log.chunker) else {
            self.pool.put(buffer);
            return None;
        };
        let body = self.pool.body(buffer, piece.body());
        let header = shipment.header(&piece, &log.name, &body)?;
        self.next_seq += 1;
        let seq = ChunkSeq(self.next_seq);
        shipment.sent(&piece, seq);
        self.idle_workers.pop();
        Some(Job::Chunk {
            worker,
            chunk: Box::new(OutChunk { seq, header, body }),
        })
    }

    /// Reads the next chunk and takes it for shipped.
    fn pretend(&mut self) {
        let (Some(Current { target, shipment }), Some(mut buffer)) = (&mut self.current, self.pool.take())
        else {
            return;
        };
        if let Some(log) = self.logs.get_mut(target.log)
            && let Some(piece) = shipment.cut(&mut buffer, self.chunk_bytes, &mut log.chunker)
        {
            self.next_seq += 1;
            let seq = ChunkSeq(self.next_seq);
            shipment.sent(&piece, seq);
            shipment.answered(seq, Answer::Stored);
        }
        self.pool.put(buffer);
        self.progress();
    }

    fn answered(&mut self, seq: ChunkSeq, result: Result<Receipt, WireError>, now: Now) {
        let answer = match &result {
            Ok(Receipt {
                outcome: ChunkOutcome::Stored,
                ..
            }) => Answer::Stored,
            Ok(Receipt {
                outcome: ChunkOutcome::Duplicate,
                ..
            }) => Answer::Doubled,
            Ok(Receipt {
                outcome: ChunkOutcome::Elsewhere,
                ..
            })
            | Err(_) => Answer::Unknown,
        };
        if let Some(current) = &mut self.current {
            current.shipment.answered(seq, answer);
        }
        match result {
            Ok(_) => {
                self.retry.succeeded();
                self.progress();
            }
            Err(WireError::Refused { status: 413, .. }) if self.chunk_bytes > CHUNK_BYTES_MIN => {
                self.chunk_bytes = (self.chunk_bytes / 2).max(CHUNK_BYTES_MIN);
            }
            Err(error) if error.kind() == Kind::Refused && !error.concerns_all() => {
                if let Some(current) = &mut self.current {
                    current.shipment.refuse(Refusal::NotTaken(Box::new(error)));
                }
            }
            Err(error) => self.wait(&error, now),
        }
    }

    fn wait(&mut self, error: &WireError, now: Now) {
        let chance = self.chance.random_range(0.0..1.0);
        self.retry.failed(error, now.tick, chance);
        self.news.push(News::Waiting(with_causes(error)));
    }

    fn progress(&mut self) {
        if let Some(Current { target, shipment }) = &self.current {
            self.news.push(News::Progress {
                path: target.path.clone(),
                done: shipment.acked().get(),
                size: shipment.size().get(),
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
