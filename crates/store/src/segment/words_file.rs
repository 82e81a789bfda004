//! `N.words`: for each frame of the segment that is being written, its entry and its filter, in records of one length. Pure.

use crate::filter::{BLOCK_BYTES, FILTER_BYTES, block_has, block_of};
use crate::frame::{ByteReader, FrameEntry};

/// Bytes of an entry with its checksum, in `N.words` and in `N.index`.
pub(super) const ENTRY_BYTES: usize = 48;

/// Bytes of a record.
pub(crate) const WORDS_RECORD: usize = ENTRY_BYTES + FILTER_BYTES;

/// A record.
#[derive(Debug)]
pub(crate) struct WordsRecord<'b> {
    pub(crate) entry: FrameEntry,
    pub(super) filter: &'b [u8],
}

impl<'b> WordsRecord<'b> {
    /// The record with these bytes; `None` if it is damaged.
    pub(crate) fn read(record: &'b [u8]) -> Option<Self> {
        let (head, filter) = record.split_at_checked(ENTRY_BYTES)?;
        let (fields, sum) = head.split_at_checked(40)?;
        let checksum = crc32c::crc32c_append(crc32c::crc32c(fields), filter);
        let is_sound = ByteReader::new(sum).u32() == Some(checksum) && filter.len() == FILTER_BYTES;
        let entry = read_entry(fields)?;
        is_sound.then_some(Self { entry, filter })
    }

    /// The record of a frame.
    pub(crate) fn write(entry: &FrameEntry, filter: impl Iterator<Item = u8>) -> Vec<u8> {
        let mut record = Vec::with_capacity(WORDS_RECORD);
        record.extend(entry_bytes(entry));
        record.extend([0; ENTRY_BYTES - 40]);
        record.extend(filter);
        let checksum = crc32c::crc32c(record.get(..40).unwrap_or_default());
        let checksum = crc32c::crc32c_append(checksum, record.get(ENTRY_BYTES..).unwrap_or_default());
        record.splice(40..44, checksum.to_le_bytes());
        record
    }

    /// Whether the frame may have all these words.
    pub(crate) fn may_have(&self, words: &[u64]) -> bool {
        words.iter().all(|word| {
            let start = block_of(*word) * BLOCK_BYTES;
            let block = self.filter.get(start..start + BLOCK_BYTES);
            block.is_none_or(|block| block_has(block, *word))
        })
    }
}

/// 40 bytes.
pub(super) fn entry_bytes(entry: &FrameEntry) -> Vec<u8> {
    let mut bytes = entry.offset.to_le_bytes().to_vec();
    for number in [entry.header_len, entry.text_len, entry.raw_len, entry.lines] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(entry.min_ms.to_le_bytes());
    bytes.extend(entry.max_ms.to_le_bytes());
    bytes
}

pub(super) fn read_entry(bytes: &[u8]) -> Option<FrameEntry> {
    let mut reader = ByteReader::new(bytes);
    Some(FrameEntry {
        offset: reader.u64()?,
        header_len: reader.u32()?,
        text_len: reader.u32()?,
        raw_len: reader.u32()?,
        lines: reader.u32()?,
        min_ms: reader.i64()?,
        max_ms: reader.i64()?,
    })
}
