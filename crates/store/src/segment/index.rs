//! `N.index`: the entries of a closed segment's frames, and their filters block by block.
//!
//! All filters' blocks of one number stand together, so one read of 64 bytes a frame, 32 KiB a segment, says which frames may
//! have a word. A coarse filter for the segment would save no read that is worth its bytes.
//!
//! | bytes | |
//! | --- | --- |
//! | 0..8 | `lfindex1` |
//! | 8..12 | number of frames |
//! | 12..44 | time of the oldest line and of the newest; when it was closed; length of `N.frames` |
//! | 44..48 | CRC-32C of bytes 0..44 and of entries and row checksums |
//! | then | the entries, 40 bytes each; CRC-32C of each row, 256 × 4 bytes; 256 rows of 64 bytes a frame |

use std::io::{self, Read, Seek};

use super::read::read_at;
use super::words_file::{WORDS_RECORD, WordsRecord, entry_bytes, read_entry};
use crate::filter::{BLOCK_BYTES, BLOCKS, block_has, block_of};
use crate::frame::{ByteReader, FrameEntry};

const MAGIC: [u8; 8] = *b"lfindex1";
const HEADER: usize = 48;
const ENTRY: usize = 40;

/// The bytes of `N.index`, from those of `N.words`; `None` if a record is damaged.
pub(crate) fn build_index(words: &[u8], frames_len: u64, closed_at_ms: i64) -> Option<Vec<u8>> {
    let records: Option<Vec<_>> = words.chunks(WORDS_RECORD).map(WordsRecord::read).collect();
    let records = records?;
    let times = |pick: fn(&FrameEntry) -> i64| records.iter().map(move |record| pick(&record.entry));
    let mut bytes = MAGIC.to_vec();
    bytes.extend(u32::try_from(records.len()).ok()?.to_le_bytes());
    bytes.extend(times(|entry| entry.min_ms).min().unwrap_or(0).to_le_bytes());
    bytes.extend(times(|entry| entry.max_ms).max().unwrap_or(0).to_le_bytes());
    bytes.extend(closed_at_ms.to_le_bytes());
    bytes.extend(frames_len.to_le_bytes());
    let mut rows = Vec::with_capacity(records.len() * BLOCKS * BLOCK_BYTES);
    let mut tables: Vec<u8> = records
        .iter()
        .flat_map(|record| entry_bytes(&record.entry))
        .collect();
    for block in 0..BLOCKS {
        let start = rows.len();
        for record in &records {
            rows.extend_from_slice(
                record
                    .filter
                    .get(block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES)?,
            );
        }
        tables.extend(crc32c::crc32c(rows.get(start..)?).to_le_bytes());
    }
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes), &tables);
    bytes.extend(checksum.to_le_bytes());
    bytes.extend(tables);
    bytes.extend(rows);
    Some(bytes)
}

/// A closed segment, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClosedSegment {
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
    pub(crate) closed_at_ms: i64,
    pub(crate) frames_len: u64,
    frames: usize,
    checksum: u32,
}

impl ClosedSegment {
    /// Reads the header of `N.index`; `None` if it is damaged.
    pub(crate) fn read(file: &mut (impl Read + Seek)) -> io::Result<Option<Self>> {
        let mut header = Vec::new();
        match read_at(file, 0, HEADER, &mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            read => read.map(|()| Self::parse(&header)),
        }
    }

    fn parse(header: &[u8]) -> Option<Self> {
        let mut reader = ByteReader::new(header);
        let is_ours = reader.array()? == MAGIC;
        let frames = usize::try_from(reader.u32()?).ok()?;
        let segment = Self {
            frames,
            min_ms: reader.i64()?,
            max_ms: reader.i64()?,
            closed_at_ms: reader.i64()?,
            frames_len: reader.u64()?,
            checksum: reader.u32()?,
        };
        is_ours.then_some(segment)
    }

    /// The frames that may have all these words, by the index, in the order of the file; `None` if the index is damaged.
    pub(crate) fn candidates(
        &self,
        file: &mut (impl Read + Seek),
        words: &[u64],
    ) -> io::Result<Option<Vec<FrameEntry>>> {
        match self.read_candidates(file, words) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            read => read,
        }
    }

    fn read_candidates(
        &self,
        file: &mut (impl Read + Seek),
        words: &[u64],
    ) -> io::Result<Option<Vec<FrameEntry>>> {
        let entries_len = self.frames * ENTRY;
        let (mut tables, mut row) = (Vec::new(), Vec::new());
        read_at(file, 0, HEADER + entries_len + BLOCKS * 4, &mut tables)?;
        let (header, tables) = tables.split_at(HEADER);
        let sum = crc32c::crc32c(header.get(..HEADER - 4).unwrap_or_default());
        if crc32c::crc32c_append(sum, tables) != self.checksum {
            return Ok(None);
        }
        let (entries, row_sums) = tables.split_at(entries_len);
        let mut may_have = vec![true; self.frames];
        let row_len = self.frames * BLOCK_BYTES;
        for word in words {
            let block = block_of(*word);
            let at = HEADER + entries_len + BLOCKS * 4 + block * row_len;
            read_at(file, u64::try_from(at).unwrap_or(u64::MAX), row_len, &mut row)?;
            let sum = row_sums
                .get(block * 4..)
                .and_then(|sums| ByteReader::new(sums).u32());
            if sum != Some(crc32c::crc32c(&row)) {
                return Ok(None);
            }
            for (may_have, block) in may_have.iter_mut().zip(row.chunks(BLOCK_BYTES)) {
                *may_have &= block_has(block, *word);
            }
        }
        let entries = entries
            .chunks(ENTRY)
            .zip(may_have)
            .filter(|(_, may_have)| *may_have);
        Ok(entries.map(|(entry, _)| read_entry(entry)).collect())
    }
}
