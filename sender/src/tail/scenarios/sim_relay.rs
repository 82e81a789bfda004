//! A relay in memory: it stores a chunk only at the committed offset, and keeps the bytes of each stream.

use std::time::Duration;

use logferry_protocol::chunk::{LineCounts, Outcome, Receipt, StreamEnd};
use logferry_protocol::resolve::{KnownStream, ResolveRequest, ResolveResponse};
use logferry_protocol::stream::Offset;

use crate::error::RequestError;
use crate::messages::{ConnectionId, OutgoingChunk, SenderEvent};

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    Done,
    /// The relay has the chunk, but the answer is lost.
    AnswerLost,
    /// The request did not reach the relay.
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

#[derive(Debug, Default)]
pub(crate) struct SimRelay {
    pub(crate) streams: Vec<SimStream>,
    /// All lines of all streams, in the order of their commits.
    pub(crate) arrived: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct SimStream {
    pub(super) known: KnownStream,
    pub(super) body: Vec<u8>,
    pub(super) lines: LineCounts,
    pub(crate) finished: bool,
}

impl SimRelay {
    /// Ends a chunk's request with this outcome. `lost` is the error of a lost request or answer.
    pub(crate) fn end_request(
        &mut self,
        connection: ConnectionId,
        chunk: &OutgoingChunk,
        outcome: RequestOutcome,
        lost: RequestError,
    ) -> SenderEvent {
        let arrives = matches!(outcome, RequestOutcome::Done | RequestOutcome::AnswerLost);
        let receipt = arrives.then(|| self.take(chunk));
        let result = match (outcome, receipt) {
            (RequestOutcome::Done, Some(receipt)) => Ok(receipt),
            (RequestOutcome::Busy, _) => Err(busy()),
            _ => Err(lost),
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
        let index = self
            .streams
            .iter()
            .position(|stored| stored.known.stream == header.stream);
        let index = index.unwrap_or_else(|| {
            let known = KnownStream {
                stream: header.stream,
                file: header.file,
                head: header.head,
                committed: Offset::ZERO,
                tail: header.tail,
            };
            let lines = LineCounts::default();
            self.streams.push(SimStream {
                known,
                body: Vec::new(),
                lines,
                finished: false,
            });
            self.streams.len() - 1
        });
        let stored = &mut self.streams[index];
        let committed = stored.known.committed;
        assert_eq!(stored.known.head, header.head, "a stream's head never changes");
        let (start, end) = (header.range.start(), header.range.end());
        if start != committed {
            let is_duplicate = start < committed && end <= committed;
            let outcome = if is_duplicate {
                Outcome::Duplicate
            } else {
                Outcome::Elsewhere
            };
            return Receipt { committed, outcome };
        }
        stored.known.committed = end;
        (stored.known.tail, stored.known.file) = (header.tail, header.file);
        stored.lines = stored.lines.plus(header.lines);
        stored.finished = header.stream_end == StreamEnd::Finished;
        stored.body.extend_from_slice(&chunk.body);
        self.arrived.extend_from_slice(&chunk.body);
        Receipt {
            committed: end,
            outcome: Outcome::Stored,
        }
    }

    pub(crate) fn resolve(&self, request: &ResolveRequest) -> ResolveResponse {
        let candidates = request.files.iter().map(|query| {
            let alike = self
                .streams
                .iter()
                .filter(|stored| stored.known.head == query.head);
            // The relay does not know a stream before its first committed byte.
            alike
                .map(|stored| stored.known.clone())
                .filter(|known| known.committed > Offset::ZERO)
                .collect()
        });
        let source = "192.0.2.1".parse().expect("an address");
        ResolveResponse {
            source,
            ledger: None,
            max_chunk: 1 << 20,
            candidates: candidates.collect(),
        }
    }
}
