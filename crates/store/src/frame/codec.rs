//! Compresses frames, and reads them.

use std::io;

use memchr::memchr_iter;
use zstd::bulk::{Compressor, Decompressor};

use super::bytes::ByteReader;
use super::meta::{FrameEntry, FrameMeta};
use super::{HEADER_BYTES, RAW_MAX};

/// The first number of a skippable frame.
const SKIPPABLE: u32 = 0x184d_2a50;
const MAGIC: [u8; 4] = *b"lfr1";
/// The fastest of zstd's usual levels: the best ratio for its time on logs.
const LEVEL: i32 = 1;

/// Compresses frames.
pub(crate) struct FrameEncoder(Compressor<'static>);

impl FrameEncoder {
    pub(crate) fn new() -> io::Result<Self> {
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.include_checksum(true)?;
        Ok(Self(compressor))
    }

    /// The bytes of a frame with the lines `text`, each ending in a newline, and its entry, if it is written at `offset`.
    pub(crate) fn encode(
        &mut self,
        text: &[u8],
        meta: &FrameMeta,
        offset: u64,
    ) -> io::Result<(Vec<u8>, FrameEntry)> {
        let lens = line_lens(text);
        let raw_meta = meta.to_bytes(|line| lens.get(line).copied().unwrap_or(0));
        let small_meta = self.0.compress(&raw_meta)?;
        let small_text = self.0.compress(text)?;
        let (min_ms, max_ms) = meta.times();
        let len = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
        let entry = FrameEntry {
            offset,
            header_len: len(HEADER_BYTES + small_meta.len())?,
            text_len: len(small_text.len())?,
            raw_len: len(text.len())?,
            lines: len(meta.lines.len())?,
            min_ms,
            max_ms,
        };
        let mut bytes = Vec::with_capacity(HEADER_BYTES + small_meta.len() + small_text.len());
        bytes.extend(SKIPPABLE.to_le_bytes());
        bytes.extend((entry.header_len - 8).to_le_bytes());
        bytes.extend(MAGIC);
        for number in [entry.text_len, entry.raw_len, entry.lines] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(min_ms.to_le_bytes());
        bytes.extend(max_ms.to_le_bytes());
        bytes.extend(len(raw_meta.len())?.to_le_bytes());
        let checksum = crc32c::crc32c(bytes.get(8..).unwrap_or_default());
        let checksum = crc32c::crc32c_append(checksum, &small_meta);
        bytes.extend(checksum.to_le_bytes());
        bytes.extend(small_meta);
        bytes.extend(small_text);
        Ok((bytes, entry))
    }
}

impl std::fmt::Debug for FrameEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrameEncoder")
    }
}

/// Reads frames. Its buffer is used again for each.
pub(crate) struct FrameDecoder {
    decompressor: Decompressor<'static>,
    text: Vec<u8>,
}

impl FrameDecoder {
    pub(crate) fn new() -> io::Result<Self> {
        let decompressor = Decompressor::new()?;
        let text = Vec::new();
        Ok(Self { decompressor, text })
    }

    /// The entry of the frame whose header this is.
    pub(crate) fn entry(header: &[u8], offset: u64) -> Option<FrameEntry> {
        let mut reader = ByteReader::new(header);
        let (magic, len, own) = (reader.u32()?, reader.u32()?, reader.array()?);
        let entry = FrameEntry {
            offset,
            header_len: len.checked_add(8)?,
            text_len: reader.u32()?,
            raw_len: reader.u32()?,
            lines: reader.u32()?,
            min_ms: reader.i64()?,
            max_ms: reader.i64()?,
        };
        let is_sound = (magic, own) == (SKIPPABLE, MAGIC)
            && usize::try_from(entry.header_len).is_ok_and(|len| (HEADER_BYTES..=RAW_MAX).contains(&len))
            && [entry.text_len, entry.raw_len]
                .into_iter()
                .all(|len| usize::try_from(len).is_ok_and(|len| len <= RAW_MAX));
        is_sound.then_some(entry)
    }

    /// The lines of the frame with these bytes; `None` if it is damaged.
    pub(crate) fn text(&mut self, frame: &[u8], entry: &FrameEntry) -> Option<&[u8]> {
        let header_len = usize::try_from(entry.header_len).ok()?;
        let raw_len = usize::try_from(entry.raw_len)
            .ok()
            .filter(|len| *len <= RAW_MAX)?;
        let compressed = frame.get(header_len..)?;
        self.text.clear();
        self.text.reserve(raw_len);
        let read = self.decompressor.decompress_to_buffer(compressed, &mut self.text);
        (read.ok()? == raw_len).then_some(self.text.as_slice())
    }

    /// What is known about the lines that [`Self::text`] has read last; `None` if it is damaged.
    pub(crate) fn meta(&mut self, frame: &[u8], entry: &FrameEntry) -> Option<FrameMeta> {
        let meta = self.meta_without_offsets(frame, entry)?;
        self.placed(meta)
    }

    /// The same, with offsets, of what was read before the lines.
    pub(crate) fn placed(&self, meta: FrameMeta) -> Option<FrameMeta> {
        meta.place(&line_lens(&self.text))
    }

    /// What is known about the lines, but their offsets; it needs no line. `None` if it is damaged.
    pub(crate) fn meta_without_offsets(&mut self, frame: &[u8], entry: &FrameEntry) -> Option<FrameMeta> {
        let header_len = usize::try_from(entry.header_len).ok()?;
        let (header, small) = frame.get(..header_len)?.split_at_checked(HEADER_BYTES)?;
        let mut reader = ByteReader::new(header.get(HEADER_BYTES - 8..)?);
        let (raw_len, checksum) = (reader.u32()?, reader.u32()?);
        let sum = crc32c::crc32c(header.get(8..HEADER_BYTES - 4)?);
        if crc32c::crc32c_append(sum, small) != checksum || Self::entry(header, entry.offset)? != *entry {
            return None;
        }
        let raw_len = usize::try_from(raw_len).ok().filter(|len| *len <= RAW_MAX)?;
        let raw = self.decompressor.decompress(small, raw_len).ok()?;
        FrameMeta::from_bytes(&raw)
    }

    /// The lines that were read last.
    pub(crate) fn last_text(&self) -> &[u8] {
        &self.text
    }
}

impl std::fmt::Debug for FrameDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrameDecoder")
    }
}

/// The lengths of the lines, without their newlines.
fn line_lens(text: &[u8]) -> Vec<u64> {
    let mut start = 0;
    let lens = memchr_iter(b'\n', text).map(|newline| {
        let len = newline - start;
        start = newline + 1;
        u64::try_from(len).unwrap_or(0)
    });
    lens.collect()
}
