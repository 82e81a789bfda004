//! Writes the store: lines into frames, frames into segments; and opens it after a crash.
//!
//! `pending` fills a frame, `recover` cuts the files back to the recorded position, `retention` removes what is too old.
//!
//! Invariant: what a recorded position needs is removed only after a later one is recorded.

mod pending;
mod recover;
mod retention;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use logferry_durable::{Disk, DiskError, DiskFile};
use memchr::memchr;

pub(crate) use pending::{PendingFrame, property};
pub use recover::StoreOpened;
#[cfg(test)]
pub(crate) use recover::open as open_with;
pub use retention::{RemovedSegments, StoreLimits};

use crate::error::StoreError;
use crate::frame::{FrameEncoder, NewLine};
use crate::position::StorePosition;
use crate::record::LineRecord;
use crate::segment::{SegmentFile, StoreFolder, WordsRecord, build_index};

/// When a frame is made and when a segment is closed. Smaller in tests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentLimits {
    /// A frame has so many bytes of lines: with more the ratio hardly grows, but the time for one hit does.
    pub(crate) frame_bytes: usize,
    /// Then the frames of the segment have so many bytes.
    pub(crate) bytes: u64,
    /// It has so many frames: its index has 16 KiB for each, and is built in memory.
    pub(crate) frames: u64,
    /// It was begun so long ago: retention removes whole segments.
    pub(crate) age: Duration,
    /// Another tail file is begun when the old one has so many bytes.
    pub(crate) tail_bytes: u64,
}

impl Default for SegmentLimits {
    fn default() -> Self {
        Self {
            frame_bytes: 1 << 20,
            bytes: 64 << 20,
            frames: 512,
            age: Duration::from_hours(6),
            tail_bytes: 4 << 20,
        }
    }
}

/// A file that grows, with its length and whether it has bytes that are not durable yet.
struct GrowingFile<F> {
    file: F,
    len: u64,
    is_dirty: bool,
}

impl<F: DiskFile> GrowingFile<F> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.is_dirty = true;
        self.file.append(bytes)?;
        self.len += u64::try_from(bytes.len()).unwrap_or(0);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        if std::mem::take(&mut self.is_dirty) {
            self.file.sync()?;
        }
        Ok(())
    }
}

/// Writes the store.
pub struct StoreWriter<D: Disk> {
    disk: D,
    folder: StoreFolder,
    limits: SegmentLimits,
    segment: u64,
    frames: GrowingFile<D::File>,
    words: GrowingFile<D::File>,
    frames_in_segment: u64,
    /// When the first line came into the segment, by the time of the next sync; of a segment that was opened again, not later.
    begun_at_ms: Option<i64>,
    tail_number: u64,
    tail_start: u64,
    tail: GrowingFile<D::File>,
    pending: PendingFrame,
    encoder: FrameEncoder,
    /// The time of the last sync, or of the opening.
    now_ms: i64,
    /// The oldest segment whose `N.words` may still be there.
    oldest_words: u64,
    /// The oldest tail that may still be there.
    oldest_tail: u64,
    closed_bytes: u64,
    frames_written: u64,
}

impl<D: Disk> StoreWriter<D> {
    /// Opens the store in `store_dir`, and makes it if it is not there. It is cut back to `recorded`, the position in
    /// `index.db`; with `None` it is emptied, since then the indexer reads everything anew. `now_ms`: milliseconds since 1970.
    pub fn open(
        disk: D,
        store_dir: &Path,
        recorded: Option<StorePosition>,
        now_ms: i64,
    ) -> Result<StoreOpened<D>, StoreError> {
        recover::open(disk, store_dir, recorded, now_ms, SegmentLimits::default())
    }

    /// Adds a line. It is durable after the next [`Self::sync`].
    pub fn append(&mut self, record: &LineRecord<'_>) -> Result<(), StoreError> {
        let line = record.line.strip_suffix(b"\n").unwrap_or(record.line);
        let mut new = NewLine::of_record(record);
        // A newline inside would be the end of a line: what follows it is one.
        let mut rest = Some(line);
        while let Some(text) = rest {
            let end = memchr(b'\n', text);
            let (bytes, behind) = text.split_at(end.unwrap_or(text.len()));
            rest = end.and_then(|_| behind.get(1..));
            self.pending.add(&new, bytes);
            new.offset = new
                .offset
                .saturating_add(u64::try_from(bytes.len()).unwrap_or(0) + 1);
            if self.pending.is_full(self.limits.frame_bytes) {
                self.write_frame()?;
            }
        }
        Ok(())
    }

    /// Makes everything that was added durable. The result is to be recorded in `index.db`, in the transaction with the place
    /// of the indexer behind the last line that was added. `now_ms`: milliseconds since 1970.
    ///
    /// After an error of any function, drop the writer and open the store again at the recorded position.
    pub fn sync(&mut self, now_ms: i64) -> Result<StorePosition, StoreError> {
        self.now_ms = now_ms;
        // A clock that was ahead is not waited for.
        self.begun_at_ms = self
            .has_lines()
            .then(|| self.begun_at_ms.map_or(now_ms, |begun| begun.min(now_ms)));
        if self.is_due(now_ms) {
            if !self.pending.is_empty() {
                self.write_frame()?;
            }
            self.close_segment()?;
        }
        self.write_tail()?;
        // No order among them: all are cut back to the position, and it is recorded only after this.
        for file in [&mut self.frames, &mut self.words, &mut self.tail] {
            file.sync()?;
        }
        Ok(self.position())
    }

    /// Whether the segment that is written is to be closed for its age: the next [`Self::sync`] does it, also without new lines.
    pub fn is_due(&self, now_ms: i64) -> bool {
        let age_ms = i64::try_from(self.limits.age.as_millis()).unwrap_or(i64::MAX);
        let begun_at_ms = self.begun_at_ms.filter(|_| self.has_lines());
        begun_at_ms.is_some_and(|begun| now_ms.saturating_sub(begun) >= age_ms)
    }

    fn has_lines(&self) -> bool {
        self.frames_in_segment > 0 || !self.pending.is_empty()
    }

    /// The result of the last [`Self::sync`] is recorded: what only an older position needs is removed.
    pub fn recorded(&mut self) -> Result<(), StoreError> {
        while self.oldest_words < self.segment {
            let words = self.folder.file(self.oldest_words, SegmentFile::Words);
            let removed = self.disk.len(&words)?.unwrap_or(0);
            self.disk.remove(&words)?;
            self.closed_bytes = self.closed_bytes.saturating_sub(removed);
            self.oldest_words += 1;
        }
        // The tail before this one stays for a search that has read an older position a moment ago.
        while self.oldest_tail + 1 < self.tail_number {
            let tail = self.folder.file(self.oldest_tail, SegmentFile::Tail);
            self.disk.remove(&tail)?;
            self.oldest_tail += 1;
        }
        Ok(())
    }

    /// Removes the segments that are too old or too many, the oldest first. To be called once a minute or so, at any time between
    /// two other calls.
    pub fn remove_expired(
        &mut self,
        limits: StoreLimits,
        now_ms: i64,
    ) -> Result<RemovedSegments, StoreError> {
        let others = self.bytes().saturating_sub(self.closed_bytes);
        let removed = retention::remove(&self.disk, &self.folder, self.segment, others, limits, now_ms)?;
        self.closed_bytes = self.closed_bytes.saturating_sub(removed.bytes);
        Ok(removed)
    }

    /// Bytes of the store on disk, for metrics.
    pub fn bytes(&self) -> u64 {
        self.closed_bytes + self.frames.len + self.words.len + self.tail.len
    }

    /// Frames written since it was opened, for metrics.
    pub fn frames(&self) -> u64 {
        self.frames_written
    }

    fn position(&self) -> StorePosition {
        StorePosition {
            segment: self.segment,
            frames_len: self.frames.len,
            tail: self.tail_number,
            tail_start: self.tail_start,
            tail_len: self.tail.len,
        }
    }

    /// Makes a frame of the pending lines; those in the tail are there in vain from now on.
    fn write_frame(&mut self) -> Result<(), StoreError> {
        let pending = &self.pending;
        let encoded = self.encoder.encode(&pending.text, &pending.meta, self.frames.len);
        let (frame, entry) = encoded.map_err(StoreError::Memory)?;
        self.frames.append(&frame)?;
        self.words
            .append(&WordsRecord::write(&entry, pending.filter.bytes()))?;
        self.frames_in_segment += 1;
        self.frames_written += 1;
        self.pending.clear();
        self.tail_start = self.tail.len;
        if self.frames.len >= self.limits.bytes || self.frames_in_segment >= self.limits.frames {
            self.close_segment()?;
        }
        Ok(())
    }

    /// Writes the index of the segment, and begins the next. A crash before the next position is recorded removes the index
    /// again: `N.words` stays until [`Self::recorded`].
    fn close_segment(&mut self) -> Result<(), StoreError> {
        self.frames.sync()?;
        self.words.sync()?;
        let path = self.folder.file(self.segment, SegmentFile::Words);
        let words = self.disk.read(&path)?.unwrap_or_default();
        let index = build_index(&words, self.frames.len, self.now_ms);
        let index = index.ok_or(StoreError::Damaged { path })?;
        self.disk
            .replace(&self.folder.file(self.segment, SegmentFile::Index), &index)?;
        self.closed_bytes += self.frames.len + self.words.len + u64::try_from(index.len()).unwrap_or(0);
        self.segment += 1;
        self.frames = open_file(&self.disk, &self.folder.file(self.segment, SegmentFile::Frames))?;
        self.words = open_file(&self.disk, &self.folder.file(self.segment, SegmentFile::Words))?;
        self.frames_in_segment = 0;
        self.begun_at_ms = None;
        Ok(())
    }

    /// Adds the pending lines that are not in the tail yet to it.
    fn write_tail(&mut self) -> Result<(), StoreError> {
        if self.tail_start == self.tail.len && self.tail.len >= self.limits.tail_bytes {
            // Nothing in it counts any more, but a search may be reading it.
            self.tail_number += 1;
            self.tail_start = 0;
            self.tail = open_file(&self.disk, &self.folder.file(self.tail_number, SegmentFile::Tail))?;
        }
        let Some((text, meta)) = self.pending.take_for_tail() else {
            return Ok(());
        };
        let encoded = self.encoder.encode(text, &meta, self.tail.len);
        let (frame, _) = encoded.map_err(StoreError::Memory)?;
        Ok(self.tail.append(&frame)?)
    }
}

impl<D: Disk> fmt::Debug for StoreWriter<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreWriter")
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

fn open_file<D: Disk>(disk: &D, path: &Path) -> Result<GrowingFile<D::File>, DiskError> {
    let file = disk.open_append(path)?;
    let len = file.len()?;
    let is_dirty = false;
    Ok(GrowingFile { file, len, is_dirty })
}
