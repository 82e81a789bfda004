//! The messages between the thread that reads files, the tasks that talk to the relay, and the file watcher.

use bytes::Bytes;
use logferry_protocol::chunk::{ChunkHeader, Receipt};
use logferry_protocol::heartbeat::{Heartbeat, ReportedGap};
use logferry_protocol::resolve::{LedgerId, ResolveRequest, ResolveResponse};

use crate::error::RequestError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionId(pub(crate) usize);

/// Number of a chunk, unique in the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChunkSeq(pub(crate) u64);

/// The ledger of a relay that has answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RelayLedger {
    /// Older relays do not tell it.
    pub(crate) id: Option<LedgerId>,
    /// It is known that the ledger was not rebuilt from the spool: it has no line of a stream that it does not know.
    pub(crate) is_original: bool,
    /// When it was restored last, or 0. Older relays do not tell it.
    pub(crate) restored: Option<i64>,
}

impl From<&ResolveResponse> for RelayLedger {
    fn from(response: &ResolveResponse) -> Self {
        Self {
            id: response.ledger,
            is_original: response.rebuilt == Some(false),
            restored: response.restored,
        }
    }
}

#[derive(Debug)]
pub(crate) enum SenderEvent {
    /// Files changed: they grew, or (`moved`) appeared, disappeared or were renamed.
    Files {
        moved: bool,
    },
    /// The request that used this buffer is over.
    Buffer(Vec<u8>),
    Chunk {
        connection: ConnectionId,
        seq: ChunkSeq,
        result: Result<Receipt, RequestError>,
    },
    Streams(Result<ResolveResponse, RequestError>),
    /// A new connection was opened, and the relay answered on it. This is its ledger.
    Connected(RelayLedger),
    /// The relay acknowledged a heartbeat that reported these losses.
    HeartbeatAcked(Vec<ReportedGap>),
    HeartbeatFailed(RequestError),
    Stop,
}

#[derive(Debug)]
pub(crate) enum RelayRequest {
    Chunk {
        connection: ConnectionId,
        chunk: Box<OutgoingChunk>,
    },
    Streams(ResolveRequest),
    Heartbeat(Box<Heartbeat>),
}

#[derive(Debug)]
pub(crate) struct OutgoingChunk {
    pub(crate) seq: ChunkSeq,
    pub(crate) header: ChunkHeader,
    pub(crate) body: Bytes,
}
