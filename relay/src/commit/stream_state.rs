//! A stream in the committer's memory.

use std::collections::HashMap;
use std::time::Instant;

use jiff::Timestamp;
use logferry_ledger::{StreamMove, StreamRecord, Window};
use logferry_protocol::chunk::{ChunkHeader, LineCounts, StreamEnd};
use logferry_protocol::names::SourceId;
use logferry_protocol::sender::SenderId;
use logferry_protocol::stream::{Offset, StreamId};

use crate::chunk::Moment;
use crate::commit::seal_rule::plausible_line_time;

pub(crate) type StreamKey = (SourceId, StreamId);

/// Most streams in [`KnownEnds`]. Beyond it all are forgotten, which costs each sender one question.
const KNOWN_MAX: usize = 50_000;
/// Most senders that know the end of one stream without having written it.
const KNOWERS_MAX: usize = 8;

/// Which senders were told the present end of which streams. One that did not write the end may continue there only if it
/// was told: it has compared the end with its file.
#[derive(Debug, Default)]
pub(crate) struct KnownEnds(HashMap<StreamKey, (Offset, Vec<Option<SenderId>>)>);

impl KnownEnds {
    pub(crate) fn note(&mut self, key: StreamKey, end: Offset, sender: Option<SenderId>) {
        if self.0.len() >= KNOWN_MAX {
            self.0.clear();
        }
        let (told, senders) = self.0.entry(key).or_insert_with(|| (end, Vec::new()));
        if *told != end {
            (*told, *senders) = (end, Vec::new());
        }
        if !senders.contains(&sender) {
            senders.insert(0, sender);
            senders.truncate(KNOWERS_MAX);
        }
    }

    pub(crate) fn knows(&self, key: &StreamKey, end: Offset, sender: Option<SenderId>) -> bool {
        let told = self.0.get(key);
        told.is_some_and(|(told, senders)| *told == end && senders.contains(&sender))
    }
}

/// The number of a round: how often the committer has handed one over to be written.
pub(crate) type RoundNumber = u64;

/// A stream, ahead of the ledger by the staged chunks of the rounds that are not durable yet.
#[derive(Debug, Clone)]
pub(crate) struct StreamState {
    pub(crate) record: StreamRecord,
    /// The committed offset before the round that is being staged.
    pub(crate) before_round: Offset,
    /// First second of the oldest window that got lines of it in that round.
    oldest_window: Option<i64>,
    /// The round that last advanced it; `None` if it is as the ledger has it.
    pub(crate) round: Option<RoundNumber>,
    pub(crate) last_chunk: Instant,
}

impl StreamState {
    /// `at`: when it was read from there.
    pub(crate) fn from_ledger(record: StreamRecord, at: Moment) -> Self {
        Self {
            before_round: record.committed,
            record,
            oldest_window: None,
            round: None,
            last_chunk: at.steady,
        }
    }

    /// A stream whose first chunk has this header. The chunk is not staged yet.
    pub(crate) fn new(source: &SourceId, header: &ChunkHeader, arrived: Moment) -> Self {
        let now = arrived.wall;
        let record = StreamRecord {
            source: source.clone(),
            stream: header.stream,
            log: header.log.clone(),
            file: header.file,
            head: header.head,
            committed: Offset::ZERO,
            tail: header.tail,
            lines: LineCounts::default(),
            last_window: None,
            last_line_time: None,
            timed_at: now,
            open_line_in: None,
            writer: None,
            finished: false,
            updated_at: now,
        };
        Self::from_ledger(record, arrived)
    }

    /// Notes the latest time of a chunk's lines; of lines without time, that of their arrival. `had_no_time`: so far the lines
    /// of the stream counted with their arrival, which says nothing about the times in lines.
    pub(crate) fn set_line_time(&mut self, latest: Option<i64>, had_no_time: bool, now: Timestamp) {
        let record = &mut self.record;
        let now = now.as_second();
        let earlier = record.last_line_time.filter(|_| latest.is_none() || !had_no_time);
        let arrival = record.last_window.is_none().then_some(now);
        // Not the latest of all chunks: one line with a time from the future would put the stream past every window.
        let of_lines = plausible_line_time(latest, now).or(plausible_line_time(earlier, now));
        record.last_line_time = of_lines.max(arrival);
    }

    /// Advances the stream by a chunk that is staged in `round`.
    pub(crate) fn advance(&mut self, header: &ChunkHeader, round: RoundNumber, arrived: Moment) {
        let record = &mut self.record;
        record.committed = record.committed.plus(header.range.len());
        record.tail = header.tail;
        record.file = header.file;
        // The log may have got a new name.
        if record.log != header.log {
            record.log = header.log.clone();
        }
        record.lines = record.lines.plus(header.lines);
        record.finished = header.stream_end == StreamEnd::Finished;
        record.updated_at = arrived.wall;
        self.round = Some(round);
        self.last_chunk = self.last_chunk.max(arrived.steady);
    }

    /// Whether the ledger has all of it, if the rounds up to `durable` are.
    pub(crate) fn is_durable(&self, durable: RoundNumber) -> bool {
        self.round.is_none_or(|round| round <= durable)
    }

    pub(crate) fn to_move(&self) -> StreamMove {
        StreamMove {
            from: self.before_round,
            record: self.record.clone(),
            oldest_window: self.oldest_window,
        }
    }

    /// Notes that lines of it are staged in a window.
    pub(crate) fn note_window(&mut self, window: Window) {
        let oldest = self.oldest_window.get_or_insert(window.start);
        *oldest = window.start.min(*oldest);
    }

    /// The round is staged completely; what follows belongs to the next.
    pub(crate) fn end_round(&mut self) {
        self.before_round = self.record.committed;
        self.oldest_window = None;
    }
}
