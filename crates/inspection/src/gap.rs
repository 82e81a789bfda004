//! A loss on a source, as the status and the audit report it.

use jiff::Timestamp;
use logferry_ledger::GapRecord;
use logferry_protocol::names::LogName;
use logferry_protocol::stream::{Offset, StreamId};
use serde::Serialize;

/// Bytes of a log that were deleted or truncated before they could be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GapReport {
    /// The log.
    pub log: LogName,
    /// The stream.
    pub stream: StreamId,
    /// The file's path on the source.
    pub path: String,
    /// The first missing byte, or the first that may be missing.
    pub from: Offset,
    /// The first byte that was missing when the gap was noticed; names the gap in its stream.
    #[serde(skip)]
    pub began: Offset,
    /// At least the bytes before this one are missing. `None` if no byte is known to be missing.
    pub until: Option<Offset>,
    /// When the relay learned of it.
    pub noticed_at: Timestamp,
}

impl From<GapRecord> for GapReport {
    fn from(gap: GapRecord) -> Self {
        Self {
            log: gap.log,
            stream: gap.stream,
            path: gap.path,
            from: gap.from,
            began: gap.began,
            until: gap.until,
            noticed_at: gap.noticed_at,
        }
    }
}
