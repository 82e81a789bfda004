//! A relay in memory: takes a chunk only at the committed offset, and keeps what each stream brought.

use crate::messages::OutgoingChunk;
use logferry_protocol::chunk::{ChunkOutcome, LineCounts, Receipt, StreamEnd};
use logferry_protocol::resolve::{KnownStream, ResolveRequest, ResolveResponse};
use logferry_protocol::stream::Offset;

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
        if header.range.end() <= committed && header.range.start() < committed {
            return Receipt {
                committed,
                outcome: ChunkOutcome::Duplicate,
            };
        }
        if header.range.start() != committed {
            return Receipt {
                committed,
                outcome: ChunkOutcome::Elsewhere,
            };
        }
        stored.known.committed = header.range.end();
        (stored.known.tail, stored.known.file) = (header.tail, header.file);
        stored.lines = stored.lines.plus(header.lines);
        stored.finished = header.stream_end == StreamEnd::Finished;
        stored.body.extend_from_slice(&chunk.body);
        self.arrived.extend_from_slice(&chunk.body);
        Receipt {
            committed: header.range.end(),
            outcome: ChunkOutcome::Stored,
        }
    }

    pub(crate) fn resolve(&self, request: &ResolveRequest) -> ResolveResponse {
        let candidates = request.files.iter().map(|query| {
            let alike = self
                .streams
                .iter()
                .filter(|stored| stored.known.head == query.head);
            // A stream of which nothing is committed is none that the relay knows.
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
