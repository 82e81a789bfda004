//! Lines of the spool that are not in the store: scanned from its files.

use std::io::Read;

use logferry_durable::{Disk, DiskError, DiskOperation};
use logferry_fields::{Format, LineReader};
use logferry_ledger::Batch;
use logferry_protocol::names::LogName;
use logferry_spool::Spool;
use logferry_spool::follow::BLOCK_LEN;
use memchr::memrchr;

use crate::error::StoreError;
use crate::frame::OriginRecord;

/// A batch has about so many pieces, at most,
const PIECES_MAX: u64 = 64;
/// of so many bytes, at least: a block.
const PIECE_BYTES: u64 = 1 << 20;

/// A line without a time has that of a line before it; so many are looked at.
const LINES_BACK: usize = 50;

/// A batch that is not in the store, or not wholly.
#[derive(Debug, Clone)]
pub struct UnindexedBatch {
    /// It.
    pub batch: Batch,
    /// So many bytes of it are in the store.
    pub indexed: u64,
}

impl UnindexedBatch {
    /// The times of its lines, in milliseconds since 1970.
    pub(super) fn times(&self) -> (i64, i64) {
        let start = self.batch.window.start;
        let end = start.saturating_add(i64::from(self.batch.window.seconds));
        (start.saturating_mul(1000), end.saturating_mul(1000) - 1)
    }

    pub(super) fn origin(&self) -> OriginRecord {
        OriginRecord {
            source: self.batch.source.to_string(),
            group: self.batch.group.to_string(),
            log: self
                .batch
                .log
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            batch: self.batch.name(),
            format: String::new(),
        }
    }
}

/// The lines of the spool that are not in the store.
pub struct SpoolLines<'s, D> {
    /// The spool.
    pub spool: &'s Spool<D>,
    /// The batches, in any order.
    pub batches: Vec<UnindexedBatch>,
    /// The format of a log's lines; of lines of any log, if it is not known.
    pub format_of: &'s dyn Fn(Option<&LogName>) -> Format,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchScan {
    Done,
    /// The reader wanted no more.
    Stopped,
    /// Its file is deleted.
    Gone,
}

/// Whole lines of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct SpoolBlock<'b> {
    pub(super) text: &'b [u8],
    /// Its first byte in the batch.
    pub(super) position: u64,
    is_compressed: bool,
}

impl SpoolBlock<'_> {
    /// Whether a piece, which later pages read alone, begins with it, if the one before began at `start`. A compressed file is
    /// read from its beginning for each: it is one piece as a whole.
    pub(super) fn begins_piece(&self, start: u64, part: &UnindexedBatch) -> bool {
        let with_this = (self.position - start).saturating_add(u64::try_from(self.text.len()).unwrap_or(0));
        let is_large = with_this > part.batch.contents.bytes / PIECES_MAX && with_this > PIECE_BYTES;
        self.position > start && is_large && !self.is_compressed
    }
}

/// Calls `see` with blocks of whole lines in `from..to` of the batch, until it returns false; before them, now and then, with an
/// empty one.
pub(super) fn scan<D: Disk>(
    spool: &Spool<D>,
    part: &UnindexedBatch,
    from: u64,
    to: u64,
    mut see: impl FnMut(SpoolBlock<'_>) -> bool,
) -> Result<BatchScan, StoreError> {
    let Some((file, mut reader)) = spool.find_and_open(&part.batch)? else {
        return Ok(BatchScan::Gone);
    };
    let is_compressed = reader.is_compressed();
    let read_error = |error| DiskError::new(DiskOperation::Read, &file.path, error);
    let nothing = SpoolBlock {
        text: &[],
        position: from,
        is_compressed,
    };
    if !reader.seek_to_while(from, || see(nothing)).map_err(read_error)? {
        return Ok(BatchScan::Stopped);
    }
    let mut reader = reader.take(to.saturating_sub(from));
    let mut position = from;
    let mut block = Vec::with_capacity(BLOCK_LEN);
    loop {
        let room = u64::try_from(BLOCK_LEN - block.len()).unwrap_or(0);
        let mut limited = reader.by_ref().take(room);
        let is_end = limited.read_to_end(&mut block).map_err(read_error)? == 0;
        let whole = match memrchr(b'\n', &block) {
            Some(newline) => newline + 1,
            // The end of an open batch may be within a line.
            None if is_end => return Ok(BatchScan::Done),
            None if block.len() == BLOCK_LEN => block.len(),
            None => continue,
        };
        let seen = SpoolBlock {
            text: block.get(..whole).unwrap_or_default(),
            position,
            is_compressed,
        };
        if !see(seen) {
            return Ok(BatchScan::Stopped);
        }
        position += u64::try_from(whole).unwrap_or(0);
        block.drain(..whole);
    }
}

/// The time of the line that begins at `start`, or of the nearest line before it in the text that has one.
pub(super) fn time_of(text: &[u8], start: usize, reader: &mut LineReader<'_>) -> Option<i64> {
    let mut start = start;
    for _ in 0..LINES_BACK {
        let rest = text.get(start..)?;
        let line = rest.split(|byte| *byte == b'\n').next()?;
        if let Some(time) = reader.read(line).time {
            return Some(time.unix.saturating_mul(1000));
        }
        let before = text.get(..start.checked_sub(1)?)?;
        start = memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    }
    None
}
