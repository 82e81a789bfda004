//! How far one stream is: read, sent, acknowledged. A state machine without I/O.
//!
//! Invariants:
//! - `acked <= read`; the flights between them are contiguous.
//! - Nothing is read while the position is in doubt: a lost answer may have been a yes, so the relay is asked, and only
//!   once no request of the stream is open any more.

use std::collections::VecDeque;

use crate::messages::ChunkSeq;
use logferry_protocol::chunk::LineCounts;
use logferry_protocol::resolve::{self, AcknowledgedStream, KnownStream};
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId, Tail};

/// A position in a stream, with what recognises the bytes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamPosition {
    pub(crate) offset: Offset,
    pub(crate) tail: Tail,
}

impl StreamPosition {
    /// The first byte of a stream.
    pub(crate) fn start() -> Self {
        Self {
            offset: Offset::ZERO,
            tail: Tail::of(b""),
        }
    }
}

/// A chunk that was given to the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InFlightChunk {
    pub(crate) seq: ChunkSeq,
    pub(crate) end: StreamPosition,
    /// Raw bytes of its range.
    pub(crate) bytes: u64,
    pub(crate) lines: LineCounts,
    /// Whether it says that the stream is finished.
    pub(crate) closes: bool,
}

/// What a stream is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamPhase {
    /// Reading and shipping.
    Reading,
    /// The closing chunk is out.
    Closing,
    /// A chunk failed: the relay has to say how far it is.
    InDoubt,
    /// The relay knows that it is at its end.
    Finished,
}

/// What became durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ShippedAmount {
    /// Raw bytes.
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

/// One stream that is followed.
#[derive(Debug)]
pub(crate) struct TrackedStream {
    pub(crate) id: StreamId,
    pub(crate) head: Head,
    pub(crate) phase: StreamPhase,
    pub(crate) read: StreamPosition,
    pub(crate) acked: StreamPosition,
    /// There was nothing more to read when the file last changed.
    pub(crate) exhausted: bool,
    /// Lines acknowledged since the process started.
    pub(crate) lines: LineCounts,
    flights: VecDeque<(InFlightChunk, ChunkAnswer)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkAnswer {
    Awaited,
    Lost,
}

impl TrackedStream {
    /// A stream to be read on from `at`.
    pub(crate) fn new(id: StreamId, head: Head, at: StreamPosition) -> Self {
        let (phase, flights) = (StreamPhase::Reading, VecDeque::new());
        Self {
            id,
            head,
            phase,
            read: at,
            acked: at,
            exhausted: false,
            lines: LineCounts::default(),
            flights,
        }
    }

    /// A chunk that starts where reading stopped was given to the wire.
    pub(crate) fn sent(&mut self, flight: InFlightChunk) {
        self.read = flight.end;
        if flight.closes {
            self.phase = StreamPhase::Closing;
        }
        self.flights.push_back((flight, ChunkAnswer::Awaited));
    }

    /// Whether chunk `seq` is one of this stream's that are still awaited.
    pub(crate) fn awaits(&self, seq: ChunkSeq) -> bool {
        self.flights
            .iter()
            .any(|(flight, answer)| flight.seq == seq && *answer == ChunkAnswer::Awaited)
    }

    /// Whether a request of the stream is open.
    pub(crate) fn is_awaiting(&self) -> bool {
        self.flights
            .iter()
            .any(|(_, answer)| *answer == ChunkAnswer::Awaited)
    }

    /// The relay has chunk `seq`, and, as it commits in order, all before it.
    pub(crate) fn stored(&mut self, seq: ChunkSeq) -> ShippedAmount {
        let mut settled = ShippedAmount::default();
        if !self.flights.iter().any(|(flight, _)| flight.seq == seq) {
            return settled;
        }
        while let Some((flight, _)) = self.flights.pop_front() {
            self.settle(&flight, &mut settled);
            if flight.seq == seq {
                if flight.closes && self.phase == StreamPhase::Closing {
                    self.phase = StreamPhase::Finished;
                }
                break;
            }
        }
        settled
    }

    /// Whether chunk `seq` was stored is not known, or it was refused: nothing is settled.
    pub(crate) fn failed(&mut self, seq: ChunkSeq) -> ShippedAmount {
        if let Some((_, answer)) = self.flights.iter_mut().find(|(flight, _)| flight.seq == seq) {
            *answer = ChunkAnswer::Lost;
            self.phase = StreamPhase::InDoubt;
        }
        ShippedAmount::default()
    }

    /// The relay said how far the stream is: goes on from there.
    pub(crate) fn resume(&mut self, at: StreamPosition) -> ShippedAmount {
        let mut settled = ShippedAmount::default();
        for (flight, _) in std::mem::take(&mut self.flights) {
            if flight.end.offset <= at.offset {
                self.settle(&flight, &mut settled);
            }
        }
        *self = Self {
            lines: self.lines,
            ..Self::new(self.id, self.head, at)
        };
        settled
    }

    fn settle(&mut self, flight: &InFlightChunk, settled: &mut ShippedAmount) {
        self.acked = flight.end;
        self.lines = self.lines.plus(flight.lines);
        *settled = settled.plus(ShippedAmount {
            bytes: flight.bytes,
            lines: flight.lines,
        });
    }

    /// Whether all that can be read was read, and is durable at the relay.
    pub(crate) fn is_drained(&self) -> bool {
        match self.phase {
            StreamPhase::Reading => self.exhausted && self.flights.is_empty(),
            StreamPhase::Closing | StreamPhase::Finished => true,
            StreamPhase::InDoubt => false,
        }
    }

    /// The relay may have less than it had acknowledged: it has to say how far the stream is.
    pub(crate) fn doubt(&mut self) {
        if self.phase != StreamPhase::Finished {
            self.phase = StreamPhase::InDoubt;
        }
    }

    /// Whether the relay has to say how far the stream is, now that all its chunks are answered or lost.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.phase == StreamPhase::InDoubt && !self.is_awaiting()
    }

    /// What the relay is told in case it has forgotten the stream; nothing from `sent_until` on was ever posted.
    pub(crate) fn acknowledged(&self, file: FileKey, sent_until: Offset) -> AcknowledgedStream {
        let ends = self.flights.iter().map(|(flight, _)| resolve::StreamPosition {
            offset: flight.end.offset,
            tail: flight.end.tail,
        });
        AcknowledgedStream {
            stream: self.known(file),
            unanswered: ends.collect(),
            sent_until: sent_until.max(self.acked.offset),
            finished: self.phase == StreamPhase::Finished,
        }
    }

    /// The stream as the relay would name it, committed as far as it is acknowledged here.
    pub(crate) fn known(&self, file: FileKey) -> KnownStream {
        let StreamPosition { offset, tail } = self.acked;
        KnownStream {
            stream: self.id,
            file,
            head: self.head,
            committed: offset,
            tail,
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
            StreamPosition::start(),
        )
    }

    fn at(offset: u64) -> StreamPosition {
        StreamPosition {
            offset: Offset::new(offset),
            tail: Tail::of(b""),
        }
    }

    fn flight(nth: u64) -> InFlightChunk {
        let lines = LineCounts { sent: 1, excluded: 0 };
        InFlightChunk {
            seq: ChunkSeq(nth),
            end: at((nth + 1) * 10),
            bytes: 10,
            lines,
            closes: false,
        }
    }

    #[test]
    fn a_later_answer_that_comes_first_settles_what_is_before_it() {
        let mut stream = stream();
        (0..3).for_each(|nth| stream.sent(flight(nth)));
        assert_eq!(stream.stored(ChunkSeq(1)).bytes, 20);
        assert_eq!(stream.stored(ChunkSeq(0)), ShippedAmount::default());
        assert_eq!(stream.acked, at(20));
        assert!(stream.awaits(ChunkSeq(2)));
    }

    #[test]
    fn after_a_lost_answer_the_relay_says_where_to_go_on() {
        let mut stream = stream();
        (0..3).for_each(|nth| stream.sent(flight(nth)));
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
            ..flight(0)
        });
        assert_eq!(stream.phase, StreamPhase::Closing);
        stream.stored(ChunkSeq(0));
        assert_eq!(stream.phase, StreamPhase::Finished);
    }

    proptest! {
        #[test]
        fn every_line_is_settled_once(answers in prop::collection::vec((0_u64..8, any::<bool>()), 0..30)) {
            let mut stream = stream();
            (0..8).for_each(|nth| stream.sent(flight(nth)));
            let mut settled = 0;
            for (seq, stored) in answers {
                if stored {
                    settled += stream.stored(ChunkSeq(seq)).lines.sent;
                } else {
                    stream.failed(ChunkSeq(seq));
                }
                prop_assert!(stream.acked.offset <= stream.read.offset);
                prop_assert_eq!(stream.acked.offset.get(), settled * 10);
            }
            settled += stream.resume(at(80)).lines.sent;
            prop_assert_eq!(settled, 8);
        }
    }
}
