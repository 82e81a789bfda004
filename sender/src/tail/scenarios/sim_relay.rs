//! A relay in memory: it stores a chunk only at the committed offset, and keeps the bytes of each stream.

use std::time::Duration;

use logferry_invariants::{invariant_chunk_starts_at_committed_offset, invariant_offset_names_one_byte};
use logferry_protocol::chunk::{ChunkOutcome, LineCounts, Receipt, StreamEnd};
use logferry_protocol::names::LogName;
use logferry_protocol::resolve::{FileQuery, KnownStream, LedgerId, ResolveRequest, ResolveResponse};
use logferry_protocol::stream::{Offset, StreamId};

use crate::error::RequestError;
use crate::messages::{ConnectionId, OutgoingChunk, SenderEvent};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    Done,
    /// The relay has the chunk, but the answer is lost.
    AnswerLost,
    Lost,
    Busy,
}

pub(crate) fn busy() -> RequestError {
    RequestError::Refused {
        relay: "relay".into(),
        status: 503,
        reason: "full".into(),
        retry_after: Some(Duration::from_millis(50)),
    }
}

/// Whether more is on its way to the relay than it stores fastest.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SimCongestion {
    #[default]
    Sparse,
    Dense,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct SimRelay {
    pub(crate) streams: Vec<SimStream>,
    /// All lines of all streams, in the order of their commits.
    pub(crate) arrived: Vec<u8>,
    /// Which sender's requests come now.
    pub(crate) asking: usize,
    /// The ends of streams that a sender was told.
    pub(super) told: Vec<(StreamId, Offset, usize)>,
    /// Whether it lost its ledger, and with it the acknowledged offsets.
    pub(crate) lost_ledger: bool,
    pub(crate) ledger: Option<LedgerId>,
    pub(crate) is_rebuilt: bool,
    /// When it was restored last.
    pub(crate) restored: i64,
    /// It does not say when it was restored.
    pub(crate) is_older: bool,
    /// What its receipts say.
    pub(crate) congestion: SimCongestion,
}

#[derive(Debug, Clone)]
pub(crate) struct SimStream {
    pub(super) known: KnownStream,
    pub(super) log: LogName,
    pub(super) body: Vec<u8>,
    /// The file's bytes up to the committed offset; `None` once a chunk left some of them out.
    raw: Option<Vec<u8>>,
    pub(super) lines: LineCounts,
    pub(crate) finished: bool,
    /// The sender of its last bytes.
    writer: usize,
}

impl SimRelay {
    /// Ends a chunk's request with this outcome.
    pub(crate) fn end_request(
        &mut self,
        connection: ConnectionId,
        chunk: &OutgoingChunk,
        outcome: RequestOutcome,
    ) -> SenderEvent {
        let arrives = matches!(outcome, RequestOutcome::Done | RequestOutcome::AnswerLost);
        let receipt = arrives.then(|| self.take(chunk));
        let result = match (outcome, receipt) {
            (RequestOutcome::Done, Some(receipt)) => Ok(receipt),
            (RequestOutcome::Busy, _) => Err(busy()),
            _ => Err(RequestError::Stopping),
        };
        SenderEvent::Chunk {
            connection,
            seq: chunk.seq,
            result,
        }
    }

    pub(crate) fn take(&mut self, chunk: &OutgoingChunk) -> Receipt {
        let header = &chunk.header;
        assert_eq!(crc32c::crc32c(&chunk.body), header.crc32c);
        let newlines = memchr::memchr_iter(b'\n', &chunk.body).count() as u64;
        assert_eq!(newlines, header.lines.sent, "a line counts where it ends");
        let is_its = |stored: &SimStream| stored.known.stream == header.stream;
        let index = self.streams.iter().position(is_its).unwrap_or_else(|| {
            let known = KnownStream {
                stream: header.stream,
                file: header.file,
                head: header.head,
                committed: Offset::ZERO,
                tail: header.tail,
                by_other: false,
            };
            self.streams.push(SimStream {
                known,
                log: header.log.clone(),
                body: Vec::new(),
                raw: Some(Vec::new()),
                lines: LineCounts::default(),
                finished: false,
                writer: self.asking,
            });
            self.streams.len() - 1
        });
        let stored = &mut self.streams[index];
        let committed = stored.known.committed;
        assert_eq!(stored.known.head, header.head, "a stream's head never changes");
        let is_raw = chunk.body.len() as u64 == header.range.len();
        // Another sender's bytes are not compared: they may be others from its copy of the file on.
        let told = (header.stream, committed, self.asking);
        let knows_end = header.range.start() == committed && self.told.contains(&told);
        let relies = stored.writer == self.asking || knows_end;
        if let Some(raw) = stored.raw.as_ref().filter(|_| is_raw && relies) {
            let names_one = invariant_offset_names_one_byte(raw, header.range.start(), &chunk.body);
            assert_eq!(names_one, Ok(()));
        }
        let outcome = if !relies {
            ChunkOutcome::OffsetMismatch
        } else if header.range.end() <= committed && header.range.start() < committed {
            ChunkOutcome::Duplicate
        } else if header.range.start() == committed {
            ChunkOutcome::Stored
        } else {
            ChunkOutcome::OffsetMismatch
        };
        let starts_there = invariant_chunk_starts_at_committed_offset(committed, header.range, outcome);
        assert!(!relies || starts_there.is_ok(), "{starts_there:?}");
        if outcome == ChunkOutcome::Stored {
            stored.writer = self.asking;
            stored.store(chunk, is_raw);
            self.arrived.extend_from_slice(&chunk.body);
        }
        Receipt {
            congested: self.congestion == SimCongestion::Dense,
            ..Receipt::new(stored.known.committed, outcome)
        }
    }

    pub(super) fn committed(&self, stream: StreamId) -> Offset {
        let stored = self.streams.iter().find(|stored| stored.known.stream == stream);
        stored.map_or(Offset::ZERO, |stored| stored.known.committed)
    }

    pub(crate) fn resolve(&mut self, request: &ResolveRequest) -> ResolveResponse {
        let known = |query: &FileQuery, is_own: bool| -> Vec<KnownStream> {
            let derived = query.files.iter().flat_map(|&key| {
                (0..100).map(move |generation| StreamId::derive(key, query.head, generation))
            });
            let remembered = query.acknowledged.iter().flatten();
            let asked: Vec<StreamId> = derived
                .chain(remembered.map(|known| known.stream.stream))
                .collect();
            // The relay does not know a stream before its first committed byte.
            let streams = self.streams.iter().filter(|stored| {
                stored.known.head == query.head
                    && stored.known.committed > Offset::ZERO
                    && (stored.log == query.log) == is_own
            });
            let found = streams.filter(|stored| is_own || asked.contains(&stored.known.stream));
            let found = found.map(|stored| KnownStream {
                by_other: stored.writer != self.asking,
                ..stored.known.clone()
            });
            found.collect()
        };
        let files = request.files.iter();
        let candidates: Vec<_> = files.clone().map(|query| known(query, true)).collect();
        let of_other_logs: Vec<_> = files.map(|query| known(query, false)).collect();
        let told = candidates.iter().chain(&of_other_logs).flatten();
        let told = told.map(|known| (known.stream, known.committed, self.asking));
        self.told.extend(told);
        ResolveResponse {
            source: "192.0.2.1".parse().expect("an address"),
            group: None,
            ledger: self.ledger,
            rebuilt: Some(self.is_rebuilt),
            restored: (!self.is_older).then_some(self.restored),
            max_chunk: 1 << 20,
            candidates,
            of_other_logs,
        }
    }
}

impl SimStream {
    fn store(&mut self, chunk: &OutgoingChunk, is_raw: bool) {
        let header = &chunk.header;
        self.known.committed = header.range.end();
        (self.known.tail, self.known.file) = (header.tail, header.file);
        self.log = header.log.clone();
        self.lines = self.lines.plus(header.lines);
        self.finished = header.stream_end == StreamEnd::Finished;
        self.body.extend_from_slice(&chunk.body);
        self.raw = self.raw.take().filter(|_| is_raw);
        self.raw
            .iter_mut()
            .for_each(|raw| raw.extend_from_slice(&chunk.body));
    }
}
