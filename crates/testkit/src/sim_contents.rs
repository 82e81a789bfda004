//! One file's bytes, and the part of them that survives a power loss.
//!
//! Invariant: `durable_len` is at most the length, and every lost range lies within the length.

use std::ops::Range;

/// The bytes of a file as a reader sees them, and the part on stable storage.
#[derive(Debug, Default)]
pub(crate) struct SimContents {
    bytes: Vec<u8>,
    durable_len: usize,
    /// Ranges of failed syncs: readers see their bytes until the power loss, zeros after it.
    lost: Vec<Range<usize>>,
    failed_syncs: u64,
}

impl SimContents {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn sync(&mut self) {
        self.durable_len = self.bytes.len();
    }

    /// A failing sync: its bytes count as clean from now on, so the next sync skips them and still succeeds (fsync(2),
    /// "NOTES": an error is reported once).
    pub(crate) fn fail_sync(&mut self) {
        self.failed_syncs += 1;
        self.lost.push(self.durable_len..self.bytes.len());
    }

    pub(crate) fn failed_syncs(&self) -> u64 {
        self.failed_syncs
    }

    /// Writes bytes in place, and syncs.
    pub(crate) fn write_again(&mut self, at: usize, bytes: &[u8]) {
        let end = (at + bytes.len()).min(self.bytes.len());
        if let Some(place) = self.bytes.get_mut(at..end) {
            let len = place.len();
            place.copy_from_slice(&bytes[..len]);
        }
        for range in &mut self.lost {
            if range.start >= at {
                // What is left of it lies behind the written bytes.
                range.start = range.start.max(end).min(range.end);
            } else if range.end <= end {
                range.end = range.end.min(at);
            }
        }
        self.lost.retain(|range| !range.is_empty());
        self.sync();
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.resize(len, 0);
        for range in &mut self.lost {
            range.end = range.end.min(len);
        }
        self.lost.retain(|range| !range.is_empty());
        self.sync();
    }

    /// Bytes appended since the last sync.
    pub(crate) fn unsynced_len(&self) -> usize {
        self.bytes.len() - self.durable_len
    }

    /// The bytes after a power loss, if the file had grown by `torn_len` unsynced bytes before it, and the disk had written
    /// them but for `hole`, a range of them.
    pub(crate) fn after_power_loss(&self, torn_len: usize, hole: Range<usize>) -> Vec<u8> {
        let mut left = self.bytes.clone();
        let hole = self.durable_len + hole.start..self.durable_len + hole.end;
        for range in self.lost.iter().cloned().chain([hole]) {
            left[range].fill(0);
        }
        left.truncate(self.durable_len + torn_len);
        left
    }

    /// A file that is completely on stable storage.
    pub(crate) fn durable(bytes: Vec<u8>) -> Self {
        Self {
            durable_len: bytes.len(),
            bytes,
            lost: Vec::new(),
            failed_syncs: 0,
        }
    }
}
