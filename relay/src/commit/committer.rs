//! The commit: chunks become durable lines, exactly once.
//!
//! Each group has one committer. The chunks that arrive make up rounds. For each round, in this order:
//!
//! 1. their lines are appended to the open batch files;
//! 2. those files are synced (`fdatasync`);
//! 3. the streams' new offsets and the files' new lengths are recorded in one ledger transaction;
//! 4. the replies are sent.
//!
//! The committer does step 1, and is ahead of the ledger by the rounds that it has staged. [`RoundSyncer`] and
//! [`RoundRecorder`] do the rest, each for one round at a time: while round n is recorded, n + 1 is synced, and n + 2 staged.
//! Sealing and recovery begin when no round is staged or being written.
//!
//! A crash before step 3 leaves bytes in files that the ledger does not know, of up to three rounds.
//! [`Committer::recover`] cuts them off, and the senders, who have no reply, send them again. A crash after step 3 leaves
//! chunks that are durable without a reply: they come again and are recognised as duplicates. So files and ledger agree
//! whenever another process can read them.
//!
//! An error in any step is handled like a crash: everything staged is forgotten, and the senders must wait. Before
//! anything else is written, a ledger transaction must succeed, and the files are opened again and cut back to the
//! ledger: after a failed sync the page cache may show bytes as clean that never reached the disk (fsync(2), "NOTES").

mod arrival;
mod limits;
mod reports;
mod rounds;
mod staged_round;

pub(crate) use self::arrival::EarlyChunks;
pub(crate) use self::reports::FoundStreams;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::{BatchSettings as Rules, TimestampFormat};
use logferry_durable::Disk;
use logferry_ledger::{Batch, Ledger, LedgerError, StreamRecord, Window};
use logferry_protocol::chunk::{ChunkHeader, ChunkOutcome, LineEnd, StreamEnd};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::names::{GroupName, SourceId};
use logferry_protocol::sender::SenderId;
use logferry_spool::{OpenFile, Spool};
use logferry_time_windows::{LineTime, window_of};
use memchr::memchr;

use crate::chunk::{Moment, WindowTarget, split_by_window};
use crate::commit::offset_check::{OffsetCheck, check_offset, check_tail, check_writer};
use crate::commit::open_batches::{AppendContext, AppendedLines, BatchLimit, OpenBatches};
use crate::commit::spool_recovery::{CommitError, discard_empty, finish_seals, log_short_file};
use crate::commit::stream_state::{KnownEnds, RoundNumber, StreamKey, StreamState};
use crate::commit::upload_dedup::UploadDedup;

use self::arrival::PlacedChunk;
use self::rounds::OpenRound;
pub(crate) use self::rounds::wait_replies;
pub(crate) use self::staged_round::{RecordOutcome, RoundRecorder, RoundSyncer, StagedRound};

/// Smallest size that a chunk counts in a round: the row of its stream in the ledger has a cost too.
const MIN_CHUNK_BYTES: usize = 4 << 10;

/// The size that a chunk with a body of `len` bytes counts in a round.
pub(crate) fn counted_bytes(len: usize) -> usize {
    len.max(MIN_CHUNK_BYTES)
}

/// A source, and its sender if that names itself.
pub(crate) type ReportKey = (SourceId, Option<SenderId>);

/// The reply to a chunk, before the offset of its stream is known to be durable.
enum Settled {
    Known(ChunkOutcome),
    Wait(BatchLimit),
}

#[derive(Debug)]
pub(crate) struct SenderReport {
    pub(crate) heartbeat: Heartbeat,
    pub(crate) received_at: Instant,
}

/// The committer of one group. `R` is the caller's handle for a reply.
pub(crate) struct Committer<D: Disk, R> {
    pub(crate) group: GroupName,
    pub(crate) rules: Rules,
    pub(crate) spool: Spool<D>,
    pub(crate) ledger: Ledger,
    pub(crate) open: OpenBatches<D>,
    pub(crate) streams: HashMap<StreamKey, StreamState>,
    pub(crate) reports: HashMap<ReportKey, SenderReport>,
    /// Reports of which the last part has not come yet.
    pub(crate) partial_reports: HashMap<ReportKey, SenderReport>,
    known_ends: KnownEnds,
    /// Sources that are in the ledger.
    known_sources: HashSet<SourceId>,
    round: OpenRound<R>,
    /// The number of the round that is being staged.
    round_number: RoundNumber,
    /// How many rounds before it are being written.
    being_written: u64,
    /// How many times what was staged was withdrawn.
    failures: u64,
    pub(crate) uploads: UploadDedup,
    /// The sources whose lines wait at a limit, and when they last did.
    waiting: BTreeMap<SourceId, (BatchLimit, Instant)>,
    /// Set while files may hold bytes that the ledger does not know. Nothing is written until [`Self::recover`] succeeds.
    pub(crate) needs_recovery: bool,
    /// Why the last round failed, to be taken by the caller.
    pub(crate) failure: Option<CommitError>,
}

impl<D: Disk, R> Committer<D, R> {
    /// A committer for `group`, whose files are cut back to the ledger.
    pub(crate) fn start(
        group: GroupName,
        rules: Rules,
        spool: Spool<D>,
        ledger: Ledger,
        now: Moment,
    ) -> Result<Self, CommitError> {
        let open = OpenBatches::new(group.clone(), rules.name.clone(), rules.max_bytes);
        let mut committer = Self {
            group,
            rules,
            spool,
            ledger,
            open,
            streams: HashMap::new(),
            reports: HashMap::new(),
            partial_reports: HashMap::new(),
            known_ends: KnownEnds::default(),
            known_sources: HashSet::new(),
            round: OpenRound::default(),
            round_number: 1,
            being_written: 0,
            failures: 0,
            uploads: UploadDedup::default(),
            waiting: BTreeMap::new(),
            needs_recovery: true,
            failure: None,
        };
        committer.load_ledger(now)?;
        Ok(committer)
    }

    /// Starts over after an error, as after a crash. Not while a round is being written.
    pub(crate) fn recover(&mut self, now: Moment) -> Result<(), CommitError> {
        debug_assert!(!self.is_writing(), "it cuts files that are written");
        self.ledger.overwrite_stale_wal()?;
        self.load_ledger(now)
    }

    /// Forgets the state in memory, and makes the files hold exactly the bytes that the ledger knows.
    fn load_ledger(&mut self, now: Moment) -> Result<(), CommitError> {
        self.open.clear();
        self.streams.clear();
        self.uploads.forget_staged();
        finish_seals(&self.spool, &self.ledger, Some(&self.group))?;
        for record in self.ledger.live_streams(&self.group)? {
            let key = (record.source.clone(), record.stream);
            self.streams.insert(key, StreamState::from_ledger(record, now));
        }
        let open = self.ledger.open_batches(&self.group)?;
        let (empty, open): (Vec<_>, Vec<_>) = open.into_iter().partition(|batch| batch.contents.bytes == 0);
        for batch in empty {
            // Opened by a round that did not become durable. Whoever comes next opens it again under the same name.
            self.discard_empty(&batch)?;
        }
        for batch in open {
            match self.spool.cut_back(&batch)? {
                OpenFile::Whole => {
                    let ends_inside_line = self.spool.ends_inside_line(&batch)?;
                    let holder = if ends_inside_line {
                        self.ledger.stream_with_open_line(batch.id)?
                    } else {
                        None
                    };
                    let holder = holder.map(|record| (record.source, record.stream));
                    // Lines that came later may be in a part that is sealed. A window whose length is not that of the rules
                    // has another name.
                    let takes_no_more = self.ledger.has_later_part(&batch)?
                        || batch.window.seconds != self.rules.window.seconds();
                    let id = batch.id;
                    self.open
                        .restore(batch, ends_inside_line, holder, &self.ledger, now)?;
                    if takes_no_more {
                        self.open.set_full(id);
                    }
                }
                OpenFile::Short { found } => {
                    log_short_file(
                        &self.spool,
                        &batch,
                        found,
                        "continues the window in a further part",
                    );
                }
            }
        }
        self.needs_recovery = false;
        Ok(())
    }

    /// Removes an open batch without durable lines.
    pub(super) fn discard_empty(&mut self, batch: &Batch) -> Result<(), CommitError> {
        discard_empty(&self.spool, &mut self.ledger, batch)
    }

    /// Stages the chunks that can be staged now. Leaves those in `unsettled` that are early, and after an error all that have
    /// no place in the round.
    fn store<B: AsRef<[u8]>>(&mut self, unsettled: &mut Vec<PlacedChunk<B, R>>) -> Result<(), CommitError> {
        let arrived = unsettled.iter().map(|placed| placed.chunk().arrived);
        let Some(now) = arrived.max_by_key(|arrived| arrived.steady) else {
            return Ok(());
        };
        if self.needs_recovery {
            self.recover(now)?;
        }
        // Lower offsets first, so that one pass stores a run of chunks that arrived in the wrong order.
        unsettled.sort_by_key(|placed| placed.chunk().header.range.start());
        let opened = self.open_missing_batches(unsettled, now)?;
        let mut waiting = std::mem::take(unsettled).into_iter();
        let mut at_limit = HashMap::new();
        while let Some(placed) = waiting.next() {
            let (outcome, error) = match self.settle(&placed, &mut at_limit) {
                Ok(None) => {
                    unsettled.push(placed);
                    continue;
                }
                Ok(Some(outcome)) => (outcome, None),
                Err(error) => (Settled::Known(ChunkOutcome::OffsetMismatch), Some(error)),
            };
            let settled = (placed.arrival.reply, placed.stream, outcome);
            self.round.settled.push(settled);
            if let Some(error) = error {
                unsettled.extend(waiting);
                return Err(error);
            }
        }
        self.discard_unused(opened)
    }

    /// Stages a chunk if it is its stream's next. Returns the outcome; `None` if it is early and may wait.
    /// `at_limit`: the streams of this round whose lines wait at a limit.
    fn settle<B: AsRef<[u8]>>(
        &mut self,
        placed: &PlacedChunk<B, R>,
        at_limit: &mut HashMap<StreamKey, BatchLimit>,
    ) -> Result<Option<Settled>, CommitError> {
        let outcome = match self.check(placed)? {
            OffsetCheck::Next => {
                if let Some(limit) = self.limit_at(placed)? {
                    at_limit.insert(placed.stream.clone(), limit);
                    self.waits(&placed.stream.0, limit, placed.chunk().arrived);
                    return Ok(Some(Settled::Wait(limit)));
                }
                self.append(placed)?;
                if let Some(body) = &placed.chunk().upload {
                    self.uploads.appended(body);
                }
                ChunkOutcome::Stored
            }
            OffsetCheck::Gap => match at_limit.get(&placed.stream) {
                Some(limit) => return Ok(Some(Settled::Wait(*limit))),
                None if placed.arrival.may_wait => return Ok(None),
                None => ChunkOutcome::OffsetMismatch,
            },
            OffsetCheck::Overlap => ChunkOutcome::OffsetMismatch,
            OffsetCheck::Duplicate => ChunkOutcome::Duplicate,
        };
        Ok(Some(Settled::Known(outcome)))
    }

    fn check<B: AsRef<[u8]>>(&mut self, placed: &PlacedChunk<B, R>) -> Result<OffsetCheck, CommitError> {
        let (chunk, key) = (placed.chunk(), &placed.stream);
        let header = &chunk.header;
        // The bytes in between may be stored through another group: a sender can use several ports.
        let durable = self.durable_round();
        let may_be_behind = |stream: &StreamState| {
            stream.is_durable(durable) && stream.record.committed < header.range.start()
        };
        if placed.arrival.may_look
            && self.streams.get(key).is_none_or(may_be_behind)
            && let Some(record) = self.ledger.stream(&key.0, key.1)?
        {
            let state = StreamState::from_ledger(record, chunk.arrived);
            self.streams.insert(key.clone(), state);
        }
        if let Some(body) = &chunk.upload {
            return Ok(self.uploads.check(body, &self.ledger, chunk.arrived.wall)?);
        }
        let staged = self
            .streams
            .get(key)
            .map(|stream| (stream.record.committed, stream.record.finished));
        let (staged, is_finished) = staged.unwrap_or_default();
        let finishes = header.stream_end == StreamEnd::Finished;
        let check = check_offset(header.range, finishes, staged, is_finished);
        let Some(stream) = self.streams.get(key) else {
            return Ok(check);
        };
        let ends_there = header.range.end() == staged;
        let check = check_tail(check, ends_there, header.tail, stream.record.tail);
        let asks = chunk.sender;
        let knows_end = header.range.start() == staged && self.known_ends.knows(key, staged, asks);
        Ok(check_writer(check, stream.record.writer == asks, knows_end))
    }

    /// Appends a chunk's lines to their batches and advances its stream, in memory and in the page cache only.
    fn append<B: AsRef<[u8]>>(&mut self, placed: &PlacedChunk<B, R>) -> Result<(), CommitError> {
        let (chunk, key) = (placed.chunk(), &placed.stream);
        let (arrived, now) = (chunk.arrived, chunk.arrived.wall);
        let (header, mut body) = (&chunk.header, chunk.body.as_ref());
        let mut state = match self.streams.get(key) {
            Some(stream) => stream.clone(),
            None => self.new_stream(&key.0, header, arrived)?,
        };
        let rest = self.finish_open_line(&mut state.record, body, arrived)?;
        let had_no_time = state.record.last_window.is_none();
        let (mut split, mut batch_keys) = (&chunk.split, placed.batch_keys.iter());
        let split_of_rest;
        if rest > 0 {
            // The last line still arrives.
            state.record.timed_at = now;
            // Its end was taken for a line with a time of its own. Lines without a time after it follow the line's beginning.
            body = body.get(rest..).unwrap_or_default();
            let clock = self.rules.clock(&header.log, now);
            split_of_rest = split_by_window(body, clock, self.rules.window);
            (split, batch_keys) = (&split_of_rest, [].iter());
        }
        let whole_crc = (rest == 0 && split.runs.len() == 1).then_some(header.crc32c);
        let mut last_batch = None;
        for run in &split.runs {
            let computed_key;
            let (window, batch_key) = match run.target {
                WindowTarget::Window(window) => (window, batch_keys.next()),
                WindowTarget::Previous => (self.window_without_time(&mut state, now), None),
            };
            let batch_key = if let Some(key) = batch_key {
                key
            } else {
                computed_key = self.open.key(&key.0, &header.log, window);
                &computed_key
            };
            let lines = AppendedLines {
                bytes: body.get(run.bytes.clone()).unwrap_or_default(),
                lines: run.lines,
                crc32c: whole_crc,
                arrived,
            };
            let mut context = AppendContext {
                spool: &self.spool,
                ledger: &mut self.ledger,
                stream: key,
            };
            last_batch = Some(self.open.add(batch_key, window, lines, &mut context)?);
            state.note_window(window);
            if run.target != WindowTarget::Previous {
                state.record.last_window = Some((window.start, window.utc_offset));
                state.record.timed_at = now;
            }
        }
        let record = &mut state.record;
        if header.line_end == LineEnd::Open
            && let Some(batch) = last_batch
        {
            self.open.set_open_line(batch, Some(key.clone()));
            record.open_line_in = Some(batch);
        }
        state.record.writer = chunk.sender;
        state.set_line_time(split.latest, had_no_time, now);
        state.advance(header, self.round_number, arrived);
        self.round.bytes += counted_bytes(chunk.body.as_ref().len());
        self.round.streams.insert(key.clone());
        self.streams.insert(key.clone(), state);
        Ok(())
    }

    /// A stream whose first chunk has this header, of a source that the ledger knows.
    fn new_stream(
        &mut self,
        source: &SourceId,
        header: &ChunkHeader,
        arrived: Moment,
    ) -> Result<StreamState, LedgerError> {
        if !self.known_sources.contains(source) {
            self.ledger.note_contact(source, &self.group, arrived.wall)?;
            self.known_sources.insert(source.clone());
        }
        Ok(StreamState::new(source, header, arrived))
    }

    /// The window of lines without a time: that of the stream's last line with a time, while this line arrived lately;
    /// else the window of the arrival time, which then counts for all further lines without a time.
    fn window_without_time(&self, state: &mut StreamState, now: Timestamp) -> Window {
        let followed = self.followed_window(&state.record, now);
        state.record.last_window = state.record.last_window.filter(|_| followed.is_some());
        followed.unwrap_or_else(|| self.arrival_window(now))
    }

    /// The window of the stream's last line with a time, while lines without a time follow it.
    fn followed_window(&self, record: &StreamRecord, now: Timestamp) -> Option<Window> {
        // After a step back of the clock the line counts as late, not as long ago.
        let age = Duration::try_from(now.duration_since(record.timed_at)).unwrap_or_default();
        let follows = self.rules.timestamp != TimestampFormat::Arrival && age < self.rules.seal_after;
        let (unix, utc_offset) = record.last_window.filter(|_| follows)?;
        // It may have had another length.
        Some(window_of(LineTime { unix, utc_offset }, self.rules.window))
    }

    fn arrival_window(&self, now: Timestamp) -> Window {
        let (unix, utc_offset) = (now.as_second(), 0);
        window_of(LineTime { unix, utc_offset }, self.rules.window)
    }

    /// Appends the rest of a line that an earlier chunk began to the batch of its beginning. Returns the length of that
    /// rest in the body.
    fn finish_open_line(
        &mut self,
        record: &mut StreamRecord,
        body: &[u8],
        arrived: Moment,
    ) -> Result<usize, CommitError> {
        let Some(batch) = record.open_line_in.filter(|_| !body.is_empty()) else {
            return Ok(0);
        };
        if !self.open.is_open(batch) {
            // The batch is of another group, which ends the line there. The rest becomes a line of its own.
            record.open_line_in = None;
            record.lines.sent += 1;
            return Ok(0);
        }
        let newline = memchr(b'\n', body);
        let end = newline.map_or(body.len(), |at| at + 1);
        let rest = AppendedLines {
            bytes: &body[..end],
            lines: u64::from(newline.is_some()),
            crc32c: None,
            arrived,
        };
        self.open.append(batch, rest, &self.spool)?;
        if newline.is_some() {
            record.open_line_in = None;
            self.open.set_open_line(batch, None);
        }
        Ok(end)
    }
}
