//! A stream while the committer works on it.

use std::time::Instant;

use jiff::Timestamp;
use logferry_ledger::{StreamMove, StreamRecord};
use logferry_protocol::chunk::LineCounts;
use logferry_protocol::stream::Offset;

use crate::committer::Chunk;

/// A stream in memory, ahead of the ledger by what this round has staged.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) record: StreamRecord,
    /// Where the ledger has it.
    pub(crate) durable: Offset,
    pub(crate) is_dirty: bool,
    pub(crate) last_chunk: Instant,
}

impl Stream {
    pub(crate) fn from_ledger(record: StreamRecord) -> Self {
        Self {
            durable: record.committed,
            record,
            is_dirty: false,
            last_chunk: Instant::now(),
        }
    }

    pub(crate) fn to_move(&self) -> StreamMove {
        StreamMove {
            from: self.durable,
            record: self.record.clone(),
        }
    }

    pub(crate) fn committed(&mut self) {
        self.durable = self.record.committed;
        self.is_dirty = false;
    }
}

/// The record of a stream that begins with this chunk.
pub(crate) fn new_record<B>(chunk: &Chunk<B>, now: Timestamp) -> StreamRecord {
    let header = &chunk.header;
    StreamRecord {
        source: chunk.source.clone(),
        stream: header.stream,
        log: header.log.clone(),
        file: header.file,
        head: header.head,
        committed: Offset::ZERO,
        tail: header.tail,
        lines: LineCounts::default(),
        last_window: None,
        last_line_time: None,
        open_line_in: None,
        finished: false,
        updated_at: now,
    }
}
