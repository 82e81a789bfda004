//! How far one stream is read, sent and acknowledged. A state machine without I/O.
//!
//! Invariants:
//! - `acked <= read`; the chunks in flight between them are contiguous.
//! - Nothing is read while the position is in doubt. A chunk whose answer was lost may be stored, so the relay is asked,
//!   and only once no request of the stream is open.

use std::collections::VecDeque;

use logferry_protocol::chunk::LineCounts;

use logferry_protocol::names::LogName;
pub(crate) use logferry_protocol::resolve::StreamPosition;
use logferry_protocol::resolve::{AcknowledgedStream, KnownStream};
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId, Tail};

use crate::checkpoint::CheckpointStream;
use crate::chunks::line_marks::{LineMark, LineMarks};
use crate::messages::ChunkSeq;

pub(crate) fn stream_start() -> StreamPosition {
    StreamPosition {
        offset: Offset::ZERO,
        tail: Tail::of(b""),
    }
}

pub(crate) fn committed(known: &KnownStream) -> StreamPosition {
    StreamPosition {
        offset: known.committed,
        tail: known.tail,
    }
}

#[derive(Debug)]
pub(crate) struct InFlightChunk {
    pub(crate) seq: ChunkSeq,
    pub(crate) end: StreamPosition,
    pub(crate) bytes: u64,
    pub(crate) lines: LineCounts,
    pub(crate) closes: bool,
    /// Of its lines; empty if they are not marked.
    pub(crate) marks: Vec<LineMark>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamPhase {
    Reading,
    Closing,
    /// A chunk failed: the relay has to tell the committed offset.
    InDoubt,
    /// The relay has the whole stream and knows that it is finished.
    Finished,
}

/// The amount of log that became durable at the relay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ShippedAmount {
    pub(crate) bytes: u64,
    pub(crate) lines: LineCounts,
}

impl ShippedAmount {
    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            lines: self.lines.plus(other.lines),
        }
    }
}

#[derive(Debug)]
pub(crate) struct TrackedStream {
    pub(crate) id: StreamId,
    pub(crate) head: Head,
    pub(crate) phase: StreamPhase,
    pub(crate) read: StreamPosition,
    pub(crate) acked: StreamPosition,
    /// There was nothing more to read when the file last changed.
    pub(crate) exhausted: bool,
    /// The relay was asked for the committed offset, after all answers. An answer to an earlier question may be older than an
    /// acknowledgement.
    pub(crate) is_asked: bool,
    /// Lines acknowledged since the process started.
    pub(crate) lines: LineCounts,
    /// Of the last acknowledged lines, while its file is the live one.
    pub(crate) marks: LineMarks,
    /// Each with whether its answer is still awaited.
    in_flight: VecDeque<(InFlightChunk, bool)>,
}

impl TrackedStream {
    pub(crate) fn new(id: StreamId, head: Head, start: StreamPosition) -> Self {
        Self {
            id,
            head,
            phase: StreamPhase::Reading,
            read: start,
            acked: start,
            exhausted: false,
            is_asked: false,
            lines: LineCounts::default(),
            marks: LineMarks::default(),
            in_flight: VecDeque::new(),
        }
    }

    pub(crate) fn known(known: &KnownStream) -> Self {
        Self::new(known.stream, known.head, committed(known))
    }

    pub(crate) fn sent(&mut self, chunk: InFlightChunk) {
        self.read = chunk.end;
        if chunk.closes {
            self.phase = StreamPhase::Closing;
        }
        self.in_flight.push_back((chunk, true));
    }

    pub(crate) fn awaits(&self, seq: ChunkSeq) -> bool {
        let mut chunks = self.in_flight.iter();
        chunks.any(|(chunk, awaited)| chunk.seq == seq && *awaited)
    }

    pub(crate) fn is_awaiting(&self) -> bool {
        self.in_flight.iter().any(|(_, awaited)| *awaited)
    }

    /// Whether something was posted of which it is not known whether it is stored.
    pub(crate) fn has_unanswered(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// The request of chunk `seq` ended.
    pub(crate) fn ended(&mut self, seq: ChunkSeq, is_stored: bool) -> ShippedAmount {
        if is_stored {
            return self.stored(seq);
        }
        self.failed(seq);
        ShippedAmount::default()
    }

    /// The relay has chunk `seq`. It commits in order, so it has all chunks before it too.
    fn stored(&mut self, seq: ChunkSeq) -> ShippedAmount {
        let mut amount = ShippedAmount::default();
        let Some(last) = self.in_flight.iter().position(|(chunk, _)| chunk.seq == seq) else {
            return amount;
        };
        for (chunk, _) in self.in_flight.drain(..=last).collect::<Vec<_>>() {
            self.acknowledge(&chunk, &mut amount);
            if chunk.seq == seq && chunk.closes && self.phase == StreamPhase::Closing {
                self.phase = StreamPhase::Finished;
            }
        }
        amount
    }

    /// Chunk `seq` was refused, or it is not known whether it was stored.
    fn failed(&mut self, seq: ChunkSeq) {
        if let Some((_, awaited)) = self.in_flight.iter_mut().find(|(chunk, _)| chunk.seq == seq) {
            *awaited = false;
            self.doubt();
        }
    }

    /// The relay has to tell the committed offset.
    pub(crate) fn doubt(&mut self) {
        (self.phase, self.is_asked) = (StreamPhase::InDoubt, false);
    }

    pub(crate) fn resume(&mut self, at: StreamPosition) -> ShippedAmount {
        let mut amount = ShippedAmount::default();
        for (chunk, _) in std::mem::take(&mut self.in_flight) {
            if chunk.end.offset <= at.offset {
                self.acknowledge(&chunk, &mut amount);
            }
        }
        self.marks.cut_back(at.offset);
        *self = Self {
            lines: self.lines,
            marks: std::mem::take(&mut self.marks),
            ..Self::new(self.id, self.head, at)
        };
        amount
    }

    fn acknowledge(&mut self, chunk: &InFlightChunk, amount: &mut ShippedAmount) {
        let InFlightChunk { bytes, lines, .. } = *chunk;
        self.marks.add(self.acked.offset, chunk.end.offset, &chunk.marks);
        self.acked = chunk.end;
        self.lines = self.lines.plus(lines);
        *amount = amount.plus(ShippedAmount { bytes, lines });
    }

    /// Whether everything that can be read was read, and is durable at the relay.
    pub(crate) fn is_drained(&self) -> bool {
        match self.phase {
            StreamPhase::Reading => self.exhausted && self.in_flight.is_empty(),
            StreamPhase::Closing | StreamPhase::Finished => true,
            StreamPhase::InDoubt => false,
        }
    }

    /// Whether the relay has to tell the committed offset, and no request of the stream is open.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.phase == StreamPhase::InDoubt && !self.is_awaiting()
    }

    /// For a relay that may have forgotten the stream. Nothing from `sent_until` on was ever posted.
    pub(crate) fn acknowledged(&self, file: FileKey, sent_until: Offset) -> AcknowledgedStream {
        AcknowledgedStream {
            stream: self.as_known(file),
            unanswered: self.in_flight.iter().map(|(chunk, _)| chunk.end).collect(),
            sent_until: sent_until.max(self.acked.offset),
            finished: self.phase == StreamPhase::Finished,
            certain_until: None,
        }
    }

    pub(crate) fn to_checkpoint(
        &self,
        log: &LogName,
        path: String,
        file: FileKey,
        seen: Offset,
    ) -> CheckpointStream {
        CheckpointStream {
            log: log.clone(),
            path,
            stream: self.as_known(file),
            finished: self.phase == StreamPhase::Finished,
            seen,
            marks: self.marks.clone(),
            skipped: None,
        }
    }

    /// The stream as the relay describes it, committed as far as it is acknowledged here.
    pub(crate) fn as_known(&self, file: FileKey) -> KnownStream {
        let StreamPosition { offset, tail } = self.acked;
        KnownStream {
            stream: self.id,
            file,
            head: self.head,
            committed: offset,
            tail,
            by_other: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream() -> TrackedStream {
        let head = Head::of(b"line\n").expect("a line");
        TrackedStream::new(
            StreamId::derive(FileKey { dev: 1, inode: 1 }, head, 0),
            head,
            stream_start(),
        )
    }

    fn at(offset: u64) -> StreamPosition {
        StreamPosition {
            offset: Offset::new(offset),
            tail: Tail::of(b""),
        }
    }

    fn chunk(nth: u64) -> InFlightChunk {
        let lines = LineCounts { sent: 1, excluded: 0 };
        InFlightChunk {
            seq: ChunkSeq(nth),
            end: at((nth + 1) * 10),
            bytes: 10,
            lines,
            closes: false,
            marks: Vec::new(),
        }
    }

    #[test]
    fn a_later_answer_that_comes_first_settles_the_chunks_before_it() {
        let mut stream = stream();
        (0..3).for_each(|nth| stream.sent(chunk(nth)));
        assert_eq!(stream.stored(ChunkSeq(1)).bytes, 20);
        assert_eq!(stream.stored(ChunkSeq(0)), ShippedAmount::default());
        assert_eq!(stream.acked, at(20));
        assert!(stream.awaits(ChunkSeq(2)));
    }

    #[test]
    fn after_a_lost_answer_the_relay_says_where_to_go_on() {
        let mut stream = stream();
        (0..3).for_each(|nth| stream.sent(chunk(nth)));
        stream.failed(ChunkSeq(0));
        assert!(stream.is_awaiting(), "two answers are still to come");
        stream.failed(ChunkSeq(1));
        stream.failed(ChunkSeq(2));
        assert_eq!(
            (stream.phase, stream.is_awaiting()),
            (StreamPhase::InDoubt, false)
        );
        assert_eq!(stream.resume(at(20)).lines.sent, 2, "the lost answers were a yes");
        assert_eq!(
            (stream.phase, stream.read, stream.acked),
            (StreamPhase::Reading, at(20), at(20))
        );
    }

    #[test]
    fn a_stream_is_finished_once_its_closing_chunk_is_stored() {
        let mut stream = stream();
        stream.sent(InFlightChunk {
            closes: true,
            ..chunk(0)
        });
        assert_eq!(stream.phase, StreamPhase::Closing);
        stream.stored(ChunkSeq(0));
        assert_eq!(stream.phase, StreamPhase::Finished);
    }

    proptest! {
        #[test]
        fn every_line_is_settled_once(answers in prop::collection::vec((0_u64..8, any::<bool>()), 0..30)) {
            let mut stream = stream();
            (0..8).for_each(|nth| stream.sent(chunk(nth)));
            let mut lines = 0;
            for (seq, stored) in answers {
                if stored {
                    lines += stream.stored(ChunkSeq(seq)).lines.sent;
                } else {
                    stream.failed(ChunkSeq(seq));
                }
                prop_assert!(stream.acked.offset <= stream.read.offset);
                prop_assert_eq!(stream.acked.offset.get(), lines * 10);
            }
            lines += stream.resume(at(80)).lines.sent;
            prop_assert_eq!(lines, 8);
        }
    }
}
