//! The commit: chunks become durable lines, exactly once.
//!
//! One committer a group, on a thread of its own. A round takes all chunks that have come in, and:
//!
//! 1. appends their lines to the open batch files;
//! 2. `fdatasync`s those files;
//! 3. records the streams' new offsets and the files' new lengths in one ledger transaction;
//! 4. answers.
//!
//! A crash before 3 leaves bytes in files that the ledger does not know: [`Committer::recover`] cuts them off, and
//! the senders, who have no answer, send them again. A crash after 3 leaves chunks durable but unanswered: they come
//! again and are found to be duplicates. So what is in the files and what is in the ledger is the same at every
//! instant that anyone can see.
//!
//! An error in any step is treated as a crash: everything staged is forgotten, and the senders are told to wait. Before
//! anything else is written, the ledger proves that it can be written, and the files are opened anew and cut back to it:
//! after a failed sync the page cache may show bytes as clean that never reached the disk (fsync(2), "NOTES").

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::BatchSettings as Rules;
use logferry_durable::Disk;
use logferry_ledger::{BatchState, Commit, Ledger, LedgerError, StreamRecord, UploadedBody, Window};
use logferry_protocol::chunk::{ChunkHeader, ChunkOutcome, LineEnd, Receipt, StreamEnd};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::names::{GroupName, SourceId};
use logferry_protocol::resolve::{FileQuery, KnownStream, ResolveRequest};
use logferry_protocol::stream::Offset;
use logferry_windows::{LineTime, window_of};
use memchr::memchr;

use crate::open_batches::{Addition, OpenBatches, Place, StreamKey};
use crate::seal::progress;
use crate::sequence::{Progress, Verdict, judge};
use crate::split::{Split, Target, split};
use crate::spool::{OpenFile, Spool, SpoolError};
use crate::stream::{Stream, new_record};
use crate::turn::{SharedDisk, Turn};
use crate::uploads::PendingUploads;

/// How long a chunk waits for its predecessor, which may be under way on another connection.
const EARLY_PATIENCE: Duration = Duration::from_secs(2);

/// A chunk that has come in whole and been checked.
#[derive(Debug)]
pub(crate) struct Chunk<B> {
    /// Who sent it.
    pub source: SourceId,
    /// What it says of itself.
    pub header: ChunkHeader,
    /// Set where it is an upload, which belongs to no stream of its own: the hash to know it by.
    pub upload: Option<UploadedBody>,
    /// Its lines.
    pub body: B,
    /// Its lines by window.
    pub split: Split,
}

/// The answer to a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is settled.
    Receipt(Receipt),
    /// It cannot be stored now; the sender must keep it and come again.
    Wait(String),
}

struct Parked<B, T> {
    chunk: Chunk<B>,
    ticket: T,
    until: Instant,
}

/// A sender's last report.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) heartbeat: Heartbeat,
    pub(crate) at: Instant,
}

/// The committer of one group. `B` holds a chunk's lines, `T` is whatever the caller finds its answer by.
pub(crate) struct Committer<D: Disk, B, T> {
    pub(crate) group: GroupName,
    pub(crate) rules: Rules,
    pub(crate) spool: Spool<D>,
    pub(crate) ledger: Ledger,
    pub(crate) open: OpenBatches<D>,
    pub(crate) streams: HashMap<StreamKey, Stream>,
    pub(crate) reports: HashMap<SourceId, Report>,
    /// Sources that the ledger is known to have.
    met: HashSet<SourceId>,
    parked: Vec<Parked<B, T>>,
    pub(crate) uploads: PendingUploads,
    /// Set while files may hold what the ledger does not know; nothing is written before [`Self::recover`] succeeds.
    pub(crate) needs_recovery: bool,
    /// Its place among the groups that share the disk.
    pub(crate) turn: Turn,
    /// Why the last round failed; for the caller to take.
    pub(crate) failure: Option<SpoolError>,
}

impl<D: Disk, B: AsRef<[u8]>, T> Committer<D, B, T> {
    /// A committer for `group`, with the files cut back to the ledger.
    pub(crate) fn start(
        group: GroupName,
        rules: Rules,
        spool: Spool<D>,
        ledger: Ledger,
    ) -> Result<Self, SpoolError> {
        let open = OpenBatches::new(group.clone(), rules.name.clone(), rules.max_bytes);
        let mut committer = Self {
            group,
            rules,
            spool,
            ledger,
            open,
            streams: HashMap::new(),
            reports: HashMap::new(),
            met: HashSet::new(),
            parked: Vec::new(),
            uploads: PendingUploads::default(),
            needs_recovery: true,
            turn: SharedDisk::default().join(),
            failure: None,
        };
        committer.follow_ledger()?;
        Ok(committer)
    }

    /// Begins anew after an error, as after a crash.
    pub(crate) fn recover(&mut self) -> Result<(), SpoolError> {
        self.ledger.overwrite_stale_wal()?;
        self.follow_ledger()
    }

    /// Forgets what is in memory, and makes the files hold exactly what the ledger says.
    fn follow_ledger(&mut self) -> Result<(), SpoolError> {
        self.open.clear();
        self.streams.clear();
        self.uploads.recover();
        self.spool.finish_seals(&self.ledger, Some(&self.group))?;
        for record in self.ledger.live_streams(&self.group)? {
            let key = (record.source.clone(), record.stream);
            self.streams.insert(key, Stream::from_ledger(record));
        }
        for batch in self.ledger.open_batches(&self.group)? {
            match self.spool.cut_back(&batch)? {
                OpenFile::Whole => {
                    let holder = self
                        .streams
                        .iter()
                        .find(|(_, s)| s.record.open_line_in == Some(batch.id));
                    let holder = holder.map(|(key, _)| key.clone());
                    self.open.restore(batch, holder);
                }
                OpenFile::Short { found } => tracing::error!(
                    file = %self.spool.path(&batch, BatchState::Open).display(),
                    found,
                    expected = batch.contents.bytes,
                    "this file is shorter than what was made durable in it: it is left alone, its window goes on in \
                     a further part, and `logferry audit` reports it; restore it from a backup"
                ),
            }
        }
        self.needs_recovery = false;
        Ok(())
    }

    /// One round: takes `arrivals`, and answers them and whoever was waiting for them.
    pub(crate) fn round(&mut self, arrivals: Vec<(Chunk<B>, T)>, now: Timestamp) -> Vec<(T, Answer)> {
        let mut settled = Vec::new();
        match self.store(arrivals, now, &mut settled) {
            Ok(()) => settled
                .into_iter()
                .map(|(ticket, key, outcome)| {
                    let committed = self
                        .streams
                        .get(&key)
                        .map_or(Offset::ZERO, |s| s.record.committed);
                    (ticket, Answer::Receipt(Receipt { committed, outcome }))
                })
                .collect(),
            Err(error) => {
                // Nothing of this round is acknowledged.
                let tickets = settled.into_iter().map(|(ticket, ..)| ticket);
                let answers = refuse(tickets.chain(self.take_parked()), error.words()).collect();
                self.needs_recovery = true;
                self.failure = Some(error);
                answers
            }
        }
    }

    /// Takes no line: these and whoever was waiting are told why.
    pub(crate) fn turn_away(&mut self, arrivals: Vec<(Chunk<B>, T)>, reason: &str) -> Vec<(T, Answer)> {
        let tickets = arrivals.into_iter().map(|(_, ticket)| ticket);
        refuse(tickets.chain(self.take_parked()), reason).collect()
    }

    fn take_parked(&mut self) -> Vec<T> {
        self.parked.drain(..).map(|parked| parked.ticket).collect()
    }

    fn store(
        &mut self,
        arrivals: Vec<(Chunk<B>, T)>,
        now: Timestamp,
        settled: &mut Vec<(T, StreamKey, ChunkOutcome)>,
    ) -> Result<(), SpoolError> {
        // Whatever goes wrong, every ticket is either in `settled` or parked, and so gets its answer.
        let until = Instant::now() + EARLY_PATIENCE;
        self.parked.extend(
            arrivals
                .into_iter()
                .map(|(chunk, ticket)| Parked { chunk, ticket, until }),
        );
        if self.needs_recovery {
            self.recover()?;
        }
        // Earlier ranges first, so that one pass takes a whole run of chunks that came in the wrong order.
        self.parked
            .sort_by_key(|parked| parked.chunk.header.range.start());
        self.open_ahead(now)?;
        let mut waiting = std::mem::take(&mut self.parked).into_iter();
        while let Some(Parked { chunk, ticket, until }) = waiting.next() {
            let key = (chunk.source.clone(), chunk.header.stream);
            let verdict = match self.judge(&chunk, &key, now) {
                Ok(Verdict::Take) => self.stage(&chunk, &key, now).map(|()| Verdict::Take),
                other => other,
            };
            let outcome = match verdict {
                Ok(Verdict::Early) if until > Instant::now() => {
                    self.parked.push(Parked { chunk, ticket, until });
                    continue;
                }
                Ok(Verdict::Early | Verdict::Elsewhere) => Ok(ChunkOutcome::Elsewhere),
                Ok(Verdict::Take) => Ok(ChunkOutcome::Stored),
                Ok(Verdict::Duplicate) => Ok(ChunkOutcome::Duplicate),
                Err(error) => Err(error),
            };
            settled.push((ticket, key, *outcome.as_ref().unwrap_or(&ChunkOutcome::Elsewhere)));
            if let Err(error) = outcome {
                self.parked.extend(waiting);
                return Err(error);
            }
        }
        self.flush(now)
    }

    /// Opens the batches that chunks of this round are going to need.
    fn open_ahead(&mut self, now: Timestamp) -> Result<(), SpoolError> {
        let streams = &self.streams;
        let is_new = |chunk: &Chunk<B>| {
            let key = (chunk.source.clone(), chunk.header.stream);
            // One that is unknown may be in the ledger, and known there already: that costs a look later, no harm.
            streams
                .get(&key)
                .is_none_or(|stream| chunk.header.range.start() >= stream.record.committed)
        };
        let windows = self
            .parked
            .iter()
            .map(|parked| &parked.chunk)
            .filter(|chunk| is_new(chunk))
            .flat_map(|chunk| {
                let windows = chunk.split.runs.iter().filter_map(|run| match run.target {
                    Target::Window(window) => Some(window),
                    Target::Previous => None,
                });
                windows.map(|window| (&chunk.source, &chunk.header.log, window))
            });
        self.open.open_ahead(windows, &self.spool, &mut self.ledger, now)
    }

    /// Whether chunks are waiting for their predecessors.
    pub(crate) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    fn judge(&mut self, chunk: &Chunk<B>, key: &StreamKey, now: Timestamp) -> Result<Verdict, SpoolError> {
        let header = &chunk.header;
        // What lies between may have come in through another group: a sender can have several doors.
        let may_be_behind =
            |stream: &Stream| !stream.is_dirty && stream.record.committed < header.range.start();
        if self.streams.get(key).is_none_or(may_be_behind)
            && let Some(record) = self.ledger.stream(&key.0, key.1)?
        {
            self.streams.insert(key.clone(), Stream::from_ledger(record));
        }
        if let Some(body) = &chunk.upload {
            return Ok(self.judge_upload(body, now)?);
        }
        let progress = self.streams.get(key).map_or(
            Progress {
                staged: Offset::ZERO,
                is_finished: false,
            },
            |stream| Progress {
                staged: stream.record.committed,
                is_finished: stream.record.finished,
            },
        );
        Ok(judge(
            header.range,
            header.stream_end == StreamEnd::Finished,
            progress,
        ))
    }

    /// Appends a chunk's lines to their batches and moves its stream on, in memory and in the page cache only.
    fn stage(&mut self, chunk: &Chunk<B>, key: &StreamKey, now: Timestamp) -> Result<(), SpoolError> {
        let header = &chunk.header;
        let body = chunk.body.as_ref();
        let mut record = if let Some(stream) = self.streams.get(key) {
            stream.record.clone()
        } else {
            if !self.met.contains(&key.0) {
                self.ledger.note_contact(&key.0, &self.group, now)?;
                self.met.insert(key.0.clone());
            }
            new_record(chunk, now)
        };
        let rest = self.finish_open_line(&mut record, body)?;
        let resplit;
        let runs = if rest == 0 {
            &chunk.split
        } else {
            resplit = split(&body[rest..], self.rules.timestamp, self.rules.window);
            &resplit
        };
        let whole_crc = (rest == 0 && runs.runs.len() == 1).then_some(header.crc32c);
        let mut place = Place {
            spool: &self.spool,
            ledger: &mut self.ledger,
            stream: key,
            log: &header.log,
            now,
        };
        let mut last_batch = None;
        for run in &runs.runs {
            let window = match (run.target, record.last_window) {
                (Target::Window(window), _) => window,
                (Target::Previous, Some((start, utc_offset))) => Window {
                    start,
                    seconds: self.rules.window.seconds(),
                    utc_offset,
                },
                // No line before it: it takes the time it arrived.
                (Target::Previous, None) => window_of(
                    LineTime {
                        unix: now.as_second(),
                        utc_offset: 0,
                    },
                    self.rules.window,
                ),
            };
            let bytes = &body[rest + run.bytes.start..rest + run.bytes.end];
            let addition = Addition {
                bytes,
                lines: run.lines,
                crc32c: whole_crc,
            };
            last_batch = Some(self.open.add(window, addition, &mut place)?);
            record.last_window = Some((window.start, window.utc_offset));
        }
        if header.line_end == LineEnd::Open
            && let Some(batch) = last_batch
        {
            self.open.set_mid_line(batch, Some(key.clone()));
            record.open_line_in = Some(batch);
        }
        let now_s = now.as_second();
        record.last_line_time = progress(record.last_line_time, now_s).max(progress(runs.latest, now_s));
        self.move_on(key, record, header, now);
        Ok(())
    }

    /// Adds the end of a line whose beginning came earlier to the batch that has the beginning. Returns how many
    /// bytes of the body that took.
    fn finish_open_line(&mut self, record: &mut StreamRecord, body: &[u8]) -> Result<usize, SpoolError> {
        let Some(batch) = record.open_line_in.filter(|_| !body.is_empty()) else {
            return Ok(0);
        };
        if !self.open.contains(batch) {
            // It was sealed without its end, long ago; what is left is a line of its own.
            record.open_line_in = None;
            return Ok(0);
        }
        let newline = memchr(b'\n', body);
        let end = newline.map_or(body.len(), |at| at + 1);
        let lines = u64::from(newline.is_some());
        self.open.append(
            batch,
            Addition {
                bytes: &body[..end],
                lines,
                crc32c: None,
            },
            &self.spool,
        )?;
        if newline.is_some() {
            record.open_line_in = None;
            self.open.set_mid_line(batch, None);
            record.last_window = self
                .open
                .window(batch)
                .map(|window| (window.start, window.utc_offset));
        }
        Ok(end)
    }

    fn move_on(&mut self, key: &StreamKey, mut record: StreamRecord, header: &ChunkHeader, now: Timestamp) {
        record.committed = record.committed.plus(header.range.len());
        record.tail = header.tail;
        record.file = header.file;
        record.lines = record.lines.plus(header.lines);
        record.finished = header.stream_end == StreamEnd::Finished;
        record.updated_at = now;
        let durable = self
            .streams
            .get(key)
            .map_or(Offset::ZERO, |stream| stream.durable);
        let moved = Stream {
            record,
            durable,
            is_dirty: true,
            last_chunk: Instant::now(),
        };
        self.streams.insert(key.clone(), moved);
    }

    /// Makes what was staged durable: files first, then the ledger.
    pub(crate) fn flush(&mut self, now: Timestamp) -> Result<(), SpoolError> {
        let dirty = self.streams.values().filter(|stream| stream.is_dirty);
        let streams: Vec<_> = dirty.map(Stream::to_move).collect();
        if streams.is_empty() {
            return Ok(());
        }
        // 2. The lines. A crash after this leaves bytes that the ledger does not know; they are cut off.
        self.turn.wait_for_small();
        let batches = self.open.sync(self.spool.disk())?;
        // 3. The record of them. A crash after this leaves chunks that are durable but not answered.
        self.turn.wait_for_small();
        let commit = Commit { streams, batches };
        self.record(&commit, now)?;
        self.open.committed(&commit.batches);
        self.streams.values_mut().for_each(Stream::committed);
        Ok(())
    }

    /// The streams that each file asked for could be, by what is durable.
    pub(crate) fn resolve(
        &mut self,
        source: &SourceId,
        request: &ResolveRequest,
        now: Timestamp,
    ) -> Result<Vec<Vec<KnownStream>>, LedgerError> {
        self.ledger.note_contact(source, &self.group, now)?;
        self.met.insert(source.clone());
        let known = |record: StreamRecord| KnownStream {
            stream: record.stream,
            file: record.file,
            head: record.head,
            committed: record.committed,
            tail: record.tail,
        };
        let of_file = |query: &FileQuery| {
            self.adopt(source, query, now)?;
            let records = self.ledger.streams_with_head(source, &query.log, query.head)?;
            Ok(records.into_iter().map(known).collect())
        };
        request.files.iter().map(of_file).collect()
    }

    /// Notes a sender's report on itself.
    pub(crate) fn heartbeat(
        &mut self,
        source: &SourceId,
        heartbeat: Heartbeat,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.ledger.note_heartbeat(source, &self.group, &heartbeat, now)?;
        self.reports.insert(
            source.clone(),
            Report {
                heartbeat,
                at: Instant::now(),
            },
        );
        Ok(())
    }
}

fn refuse<T>(tickets: impl Iterator<Item = T>, reason: &str) -> impl Iterator<Item = (T, Answer)> {
    tickets.map(|ticket| (ticket, Answer::Wait(reason.to_owned())))
}
