//! Reading one block of a file, and cutting a chunk off it.
//!
//! The block comes with the bytes before it in one read. So each read proves that it continues the contents that were
//! read before.

use std::io;
use std::ops::Range;
use std::path::Path;

use logferry_protocol::chunk::{ChunkHeader, LineEnd, StreamEnd};
use logferry_protocol::names::LogName;
use logferry_protocol::stream::{ByteRange, FileKey, Offset};

use crate::chunks::chunker::{ChunkCut, Chunker, FileEnd};
use crate::chunks::line_marks::{self, LineMark, marks_of};
use crate::files::{self, FileHandle};
use crate::messages::ChunkSeq;
use crate::streams::tracked_stream::{InFlightChunk, StreamPosition, TrackedStream};

/// How far back `start: end` searches for the start of a line.
const LINE_START_SPAN: u64 = 64 * 1024;

#[derive(Debug)]
pub(crate) enum ChunkRead {
    Chunk(ChunkDraft),
    /// No whole line yet.
    Nothing,
    /// The bytes before the read offset are not the bytes that were read there.
    Changed,
}

/// A chunk in the buffer that it was read into, not yet numbered.
#[derive(Debug)]
pub(crate) struct ChunkDraft {
    pub(crate) range: ByteRange,
    pub(crate) cut: ChunkCut,
    stream_end: StreamEnd,
    /// Of its lines; empty if they are not marked.
    pub(crate) marks: Vec<LineMark>,
}

impl ChunkRead {
    fn chunk(start: Offset, cut: ChunkCut, stream_end: StreamEnd) -> Self {
        let range = ByteRange::new(start, start.plus(cut.raw as u64));
        range.map_or(Self::Nothing, |range| {
            Self::Chunk(ChunkDraft {
                range,
                cut,
                stream_end,
                marks: Vec::new(),
            })
        })
    }
}

impl ChunkDraft {
    pub(crate) fn body(&self) -> Range<usize> {
        let start = files::span_before(self.range.start());
        start..start + self.cut.body
    }

    pub(crate) fn header(
        &self,
        stream: &TrackedStream,
        file: FileKey,
        log: &LogName,
        body: &[u8],
    ) -> ChunkHeader {
        ChunkHeader {
            stream: stream.id,
            log: log.clone(),
            file,
            head: stream.head,
            range: self.range,
            tail: self.cut.tail,
            lines: self.cut.lines,
            line_end: self.cut.line_end,
            stream_end: self.stream_end,
            crc32c: self.cut.crc32c.unwrap_or_else(|| crc32c::crc32c(body)),
        }
    }

    /// Whether the bytes that it was read from end at this position, and are not those of the position.
    pub(crate) fn contradicts(&self, position: StreamPosition) -> bool {
        self.range.end() == position.offset && self.cut.tail != position.tail
    }

    pub(crate) fn warn_of_long_lines(&self, path: &Path) {
        let (path, offset, lines) = (path.display(), self.range.start(), self.cut.long_lines);
        if lines > 0 && self.cut.line_end == LineEnd::Open {
            tracing::warn!(%path, %offset, lines, "a line longer than max_line is shipped in pieces");
        } else if lines > 0 {
            tracing::warn!(
                %path, %offset, lines,
                "lines longer than max_line are shipped; no line of that length is excluded"
            );
        }
    }

    pub(crate) fn in_flight(&mut self, seq: ChunkSeq) -> InFlightChunk {
        InFlightChunk {
            seq,
            end: StreamPosition {
                offset: self.range.end(),
                tail: self.cut.tail,
            },
            bytes: self.range.len(),
            lines: self.cut.lines,
            closes: self.stream_end == StreamEnd::Finished,
            marks: std::mem::take(&mut self.marks),
        }
    }
}

/// Reads a block at the stream's read position and cuts a chunk off it. An exhausted stream is read once more to be
/// closed. Its lines are marked if this `is_marked`.
pub(crate) fn read_chunk(
    handle: &impl FileHandle,
    stream: &mut TrackedStream,
    buffer: &mut [u8],
    chunk_bytes: usize,
    chunker: &mut Chunker,
    is_marked: bool,
) -> io::Result<ChunkRead> {
    let StreamPosition { offset, tail } = stream.read;
    let before = files::span_before(offset);
    // One byte stays free for a newline.
    let block_end = before + chunk_bytes.min(buffer.len() - before - 1);
    let read_from = Offset::new(offset.get() - before as u64);
    let end = files::fill(handle, &mut buffer[..block_end], read_from)?;
    let has_head = before > 0 || stream.head.matches(&buffer[..end]);
    if end < before || !tail.matches(&buffer[..before]) || !has_head {
        return Ok(ChunkRead::Changed);
    }
    let (filled, at_end) = (end - before, end < block_end);
    let is_final = stream.exhausted && at_end;
    let file_end = if is_final {
        FileEnd::Final
    } else {
        FileEnd::MayGrow
    };
    // The cut removes excluded lines from the buffer.
    let mut marks = if is_marked {
        marks_of(&buffer[before..end])
    } else {
        Vec::new()
    };
    let Some(cut) = chunker.cut(buffer, before, filled, !at_end, file_end) else {
        stream.exhausted = true;
        return Ok(ChunkRead::Nothing);
    };
    stream.exhausted = at_end && cut.raw == filled;
    let stream_end = if stream.exhausted && is_final {
        StreamEnd::Finished
    } else {
        StreamEnd::Live
    };
    let mut chunk = ChunkRead::chunk(offset, cut, stream_end);
    if let ChunkRead::Chunk(draft) = &mut chunk {
        line_marks::cut_to(&mut marks, cut.raw as u64);
        draft.marks = marks;
    }
    Ok(chunk)
}

/// A chunk without lines over everything that is left out of a file: the bytes before `end` if that is exact, otherwise those up
/// to the last line start before it.
pub(crate) fn skip_to_end(handle: &impl FileHandle, end: Offset, is_exact: bool) -> io::Result<ChunkRead> {
    let end = if is_exact {
        end
    } else {
        line_start_before(handle, end)?
    };
    let Some(before) = files::ending_at(handle, end)? else {
        return Ok(ChunkRead::Changed);
    };
    let cut = ChunkCut {
        raw: usize::try_from(end.get()).unwrap_or(usize::MAX),
        ..ChunkCut::without_lines(&before)
    };
    Ok(ChunkRead::chunk(Offset::ZERO, cut, StreamEnd::Live))
}

fn line_start_before(handle: &impl FileHandle, end: Offset) -> io::Result<Offset> {
    let start = Offset::new(end.get().saturating_sub(LINE_START_SPAN));
    let mut bytes = vec![0; usize::try_from(end.since(start)).unwrap_or(0)];
    let filled = files::fill(handle, &mut bytes, start)?;
    let newline = memchr::memrchr(b'\n', &bytes[..filled]);
    Ok(newline.map_or(end, |newline| start.plus(newline as u64 + 1)))
}
