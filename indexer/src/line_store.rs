//! Where lines go: the store of `crates/store`, and in tests one that fails when it is told to.

use logferry_durable::Disk;
use logferry_store::{LineRecord, StoreError, StorePosition, StoreWriter};

/// A store of lines. After an error it is dropped, and opened again at the position that was recorded last.
pub(crate) trait LineStore {
    /// Adds a line.
    fn append(&mut self, record: &LineRecord<'_>) -> Result<(), StoreError>;
    /// Whether the next sync has something to do also without new lines.
    fn is_due(&self, now_ms: i64) -> bool;
    /// Makes all of it durable.
    fn sync(&mut self, now_ms: i64) -> Result<StorePosition, StoreError>;
    /// The result of the last sync is recorded.
    fn recorded(&mut self) -> Result<(), StoreError>;
}

impl<D: Disk> LineStore for StoreWriter<D> {
    fn append(&mut self, record: &LineRecord<'_>) -> Result<(), StoreError> {
        self.append(record)
    }

    fn is_due(&self, now_ms: i64) -> bool {
        self.is_due(now_ms)
    }

    fn sync(&mut self, now_ms: i64) -> Result<StorePosition, StoreError> {
        self.sync(now_ms)
    }

    fn recorded(&mut self) -> Result<(), StoreError> {
        self.recorded()
    }
}
