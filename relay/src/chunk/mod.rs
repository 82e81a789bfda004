//! A chunk on its way from a request to the commit: its memory, its lines sorted by window, and the reply.
//!
//! May be changed here alone: how body memory is reused, and how lines are assigned to windows. Both the HTTP side and
//! the commit side use these types; neither knows the other's.

mod arrivals;
mod body_pool;
mod body_scan;
mod budget;
mod checksum;
mod moment;
mod window_split;

use logferry_ledger::UploadedBody;
use logferry_protocol::chunk::{ChunkHeader, Receipt};
use logferry_protocol::names::SourceId;
use logferry_protocol::sender::SenderId;

pub(crate) use self::body_pool::{BodyPool, RelayBodies, RequestBody};
pub(crate) use self::body_scan::BodyScan;
pub(crate) use self::checksum::joined_crc32c;
pub(crate) use self::moment::Moment;
pub(crate) use self::window_split::{WindowSplit, WindowTarget, split_by_window};

/// A chunk that was received completely and checked against its header.
#[derive(Debug)]
pub(crate) struct ReceivedChunk<B> {
    pub source: SourceId,
    /// The sender; `None` if it did not name itself.
    pub sender: Option<SenderId>,
    /// The sender's description of the chunk.
    pub header: ChunkHeader,
    /// For a legacy upload, which has no stream of its own: the hash that identifies its body.
    pub upload: Option<UploadedBody>,
    /// When it had arrived whole.
    pub arrived: Moment,
    pub body: B,
    /// The lines by window.
    pub split: WindowSplit,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChunkReply {
    Receipt(Receipt),
    /// The chunk cannot be stored now. The sender must keep it and send it again. The text says why.
    Wait(String),
}
