//! How a sender is, said every few seconds apart from the data: it tells a quiet log from a dead agent, and a seal
//! rule that lines are still coming.

use serde::{Deserialize, Serialize};

use crate::names::LogName;
use crate::stream::{Offset, StreamId};

/// A sender's report on itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The sender's version.
    pub version: String,
    /// The streams it follows now.
    pub streams: Vec<StreamProgress>,
}

/// How far one stream is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamProgress {
    /// The stream.
    pub stream: StreamId,
    /// Its log.
    pub log: LogName,
    /// Acknowledged by the relay.
    pub acked: Offset,
    /// Size of the file now.
    pub size: Offset,
    /// Whether the file was rotated away.
    pub rotated: bool,
}

impl StreamProgress {
    /// Bytes on the sender's disk that the relay does not have.
    pub fn lag_bytes(&self) -> u64 {
        self.size.since(self.acked)
    }
}
