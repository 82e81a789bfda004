//! The file of gaps: one JSON object a line. Pure.

use serde::{Deserialize, Serialize};

use crate::record::LineGap;

/// Bytes of a batch that are missing in the store, because they were gone before the indexer read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreGap {
    /// The source.
    pub source: String,
    /// The source's group.
    pub group: String,
    /// The log; empty if it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
    /// The batch's name, without `.log`.
    pub batch: String,
    /// The first byte.
    pub offset: u64,
    /// Their number.
    pub bytes: u64,
    /// The times of the batch's window, in milliseconds since 1970.
    pub window_ms: (i64, i64),
    /// When it was found, in milliseconds since 1970.
    pub found_at_ms: i64,
    /// Why they could not be read.
    pub reason: String,
}

impl StoreGap {
    pub(crate) fn new(record: &LineGap<'_>) -> Self {
        let origin = &record.origin;
        Self {
            source: origin.source.to_string(),
            group: origin.group.to_string(),
            log: origin.log.map(ToString::to_string).unwrap_or_default(),
            batch: origin.batch.to_owned(),
            offset: record.offset,
            bytes: record.bytes,
            window_ms: record.window_ms,
            found_at_ms: record.found_at_ms,
            reason: record.reason.to_owned(),
        }
    }

    /// Its line in the file.
    pub(crate) fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// The gaps in a file; lines that are none are left out.
    pub(crate) fn read_all(file: &[u8]) -> impl Iterator<Item = Self> {
        let lines = file.split(|byte| *byte == b'\n');
        lines.filter_map(|line| serde_json::from_slice(line).ok())
    }
}
