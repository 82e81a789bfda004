//! Cuts a chunk off a block of a log, in place: nothing is copied per line, and only excluded lines move bytes.
//!
//! A buffer holds up to [`FINGERPRINT_SPAN`] bytes that come before the
//! chunk's start in the file, then the block, then room for one newline:
//!
//! ```text
//! | before | block: whole lines ... | part of a line | room |
//!          ^ start of the range     ^ end of the range
//! ```
//!
//! The bytes before show whether the range starts inside a line, and complete the tail of a short range. So a cut depends
//! only on the file's bytes at an offset, and can be repeated at any time.
//!
//! A block of megabytes does not stay in the processor's cache. So it is counted, searched, moved and summed in slices.

use std::ops::Range;

use logferry_config as config;
use logferry_protocol::chunk::{LineCounts, LineEnd};
use logferry_protocol::stream::{FINGERPRINT_SPAN, Tail};

use crate::chunks::exclusion::{self, ExclusionRules};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileEnd {
    /// A line without its newline may still get it.
    MayGrow,
    /// The block ends at the final end of the file: an unterminated line gets its newline here.
    Final,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkCut {
    /// Bytes of the block that the chunk's range covers.
    pub(crate) raw: usize,
    /// Bytes of its body, from where the block started.
    pub(crate) body: usize,
    pub(crate) lines: LineCounts,
    pub(crate) line_end: LineEnd,
    /// Fingerprint of the raw bytes that end at the range's end.
    pub(crate) tail: Tail,
    /// How many lines over the limit begin here. The last one may be sent in pieces.
    pub(crate) long_lines: usize,
    /// The CRC-32C of its body, if it was read for the cut anyway.
    pub(crate) crc32c: Option<u32>,
}

impl ChunkCut {
    pub(crate) fn without_lines(before: &[u8]) -> Self {
        Self {
            raw: 0,
            body: 0,
            lines: LineCounts::default(),
            line_end: LineEnd::Whole,
            tail: Tail::of(before),
            long_lines: 0,
            crc32c: None,
        }
    }
}

/// Bytes of whole lines that are handled at a time.
const SLICE: usize = 256 << 10;

#[derive(Debug)]
pub(crate) struct Chunker {
    rules: ExclusionRules,
    max_lines: usize,
    /// Bytes of an ordinary block; a larger one may have more lines in proportion.
    max_bytes: usize,
    /// A line longer than this, newline included, may be sent in pieces and is never excluded.
    max_line: usize,
    slice: usize,
    /// Reused from cut to cut.
    dropped: Vec<Range<usize>>,
}

impl Chunker {
    pub(crate) fn of_log(chunk: &config::ChunkLimits, log: &config::LogSettings) -> Self {
        Self {
            rules: ExclusionRules::new(&log.exclude),
            max_lines: chunk.max_lines,
            max_bytes: chunk.max_bytes,
            max_line: log.max_line,
            slice: SLICE,
            dropped: Vec::new(),
        }
    }

    /// Cuts a chunk off the front of the block `buffer[before..before + filled]`; `buffer` has room for one byte more.
    ///
    /// `block_full`: the block has the maximum size, so a line without an end in it must be sent in pieces.
    /// Returns `None` if there is no whole line yet, and the file may still grow.
    pub(crate) fn cut(
        &mut self,
        buffer: &mut [u8],
        before: usize,
        filled: usize,
        block_full: bool,
        ending: FileEnd,
    ) -> Option<ChunkCut> {
        let block = &buffer[before..before + filled];
        let inside_line = before > 0 && buffer[before - 1] != b'\n';
        let blocks = filled.div_ceil(self.max_bytes.max(1)).max(1);
        if let Some(last) = memchr::memrchr(b'\n', block) {
            let max_lines = self.max_lines.saturating_mul(blocks).max(1);
            return Some(self.cut_lines(buffer, before, last + 1, max_lines, inside_line));
        }
        if ending == FileEnd::Final {
            return Some(self.cut_last_line(buffer, before, filled, inside_line));
        }
        // A piece leaves the last byte for later. If the file ends here, the chunk that adds the newline must not have an
        // empty range, or it could be stored twice.
        let long = inside_line || block_full || filled >= self.max_line;
        let piece = filled.checked_sub(1).filter(|&piece| long && piece > 0)?;
        Some(ChunkCut {
            raw: piece,
            body: piece,
            line_end: LineEnd::Open,
            long_lines: usize::from(!inside_line),
            ..ChunkCut::without_lines(&buffer[..before + piece])
        })
    }

    /// Cuts the lines of `buffer[before..before + end]`, at most `max_lines`.
    fn cut_lines(
        &mut self,
        buffer: &mut [u8],
        before: usize,
        end: usize,
        max_lines: usize,
        inside_line: bool,
    ) -> ChunkCut {
        // The raw bytes that end where the last slice does. Moved lines may overwrite them in the buffer.
        let mut span = Vec::with_capacity(2 * FINGERPRINT_SPAN);
        push_span(&mut span, &buffer[..before]);
        let range = &mut buffer[before..before + end];
        let (mut raw, mut body, mut lines, mut excluded, mut crc32c) = (0, 0, 0, 0, 0);
        let mut long = 0;
        while raw < end && lines < max_lines {
            let (len, count) = first_lines(&range[raw..], self.slice, max_lines - lines);
            let slice = raw..raw + len;
            push_span(&mut span, &range[slice.clone()]);
            // The end of a line that began in an earlier chunk is never excluded.
            let rest = if inside_line && raw == 0 {
                memchr::memchr(b'\n', &range[slice.clone()]).map_or(0, |end| end + 1)
            } else {
                0
            };
            let whole = &range[raw + rest..slice.end];
            long += long_lines(whole, self.max_line);
            self.rules.find(whole, self.max_line, &mut self.dropped);
            let kept = exclusion::move_kept(range, slice, rest, &self.dropped, body);
            crc32c = crc32c::crc32c_append(crc32c, &range[body..body + kept]);
            body += kept;
            raw += len;
            lines += count;
            excluded += self.dropped.len();
        }
        ChunkCut {
            raw,
            body,
            lines: LineCounts {
                excluded: excluded as u64,
                sent: (lines - excluded) as u64,
            },
            long_lines: long,
            crc32c: Some(crc32c),
            ..ChunkCut::without_lines(&span)
        }
    }

    /// The file is at its final end: the rest is a line without its newline, or empty.
    fn cut_last_line(
        &mut self,
        buffer: &mut [u8],
        before: usize,
        filled: usize,
        inside_line: bool,
    ) -> ChunkCut {
        let nothing = ChunkCut {
            raw: filled,
            ..ChunkCut::without_lines(&buffer[..before + filled])
        };
        if filled == 0 {
            return nothing;
        }
        let line = &mut buffer[before..=before + filled];
        line[filled] = b'\n';
        if !inside_line {
            self.rules.find(line, self.max_line, &mut self.dropped);
            if !self.dropped.is_empty() {
                return ChunkCut {
                    lines: LineCounts { excluded: 1, sent: 0 },
                    ..nothing
                };
            }
        }
        let lines = LineCounts { excluded: 0, sent: 1 };
        let is_long = !inside_line && filled + 1 > self.max_line;
        ChunkCut {
            body: filled + 1,
            long_lines: usize::from(is_long),
            lines,
            line_end: LineEnd::Added,
            ..nothing
        }
    }
}

/// The bytes and the number of the lines at the front of `lines`: about `slice` bytes of them, and at most `max_lines`.
fn first_lines(lines: &[u8], slice: usize, max_lines: usize) -> (usize, usize) {
    let beyond = lines.get(slice..).unwrap_or_default();
    let end = memchr::memchr(b'\n', beyond).map_or(lines.len(), |at| slice + at + 1);
    let count = memchr::memchr_iter(b'\n', &lines[..end]).count();
    if count <= max_lines {
        return (end, count);
    }
    let nth = memchr::memchr_iter(b'\n', lines).nth(max_lines - 1);
    (nth.map_or(end, |at| at + 1), max_lines)
}

/// How many of the whole lines are longer than `max_line`. It looks at few bytes for each `max_line` of them.
fn long_lines(lines: &[u8], max_line: usize) -> usize {
    let (mut rest, mut count) = (lines, 0);
    while let Some((front, _)) = rest
        .split_at_checked(max_line.max(1))
        .filter(|(_, more)| !more.is_empty())
    {
        let last_end = memchr::memrchr(b'\n', front);
        let end = last_end.or_else(|| {
            count += 1;
            memchr::memchr(b'\n', rest)
        });
        rest = end.and_then(|end| rest.get(end + 1..)).unwrap_or_default();
    }
    count
}

/// Keeps in `span` the last bytes of what it has and `bytes`: as many as a fingerprint needs.
fn push_span(span: &mut Vec<u8>, bytes: &[u8]) {
    span.extend_from_slice(&bytes[bytes.len().saturating_sub(FINGERPRINT_SPAN)..]);
    span.drain(..span.len().saturating_sub(FINGERPRINT_SPAN));
}

#[cfg(test)]
mod tests;
