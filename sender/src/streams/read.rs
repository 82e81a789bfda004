//! Reading one block of a file, and cutting a chunk off it.

use std::io;

use logferry_protocol::chunk::StreamEnd;
use logferry_protocol::stream::Offset;

use crate::chunks::chunker::{ChunkCut, Chunker, FileEnd};
use crate::files::compressed::LogText;
use crate::files::{self, FileHandle};
use crate::streams::identity::FileContents;
use crate::streams::tracked_stream::{StreamPosition, TrackedStream};

/// How far back the start of a line is sought in a file that is read from its end.
const LINE_START_SPAN: u64 = 64 * 1024;

/// What a read brought.
pub(crate) enum ChunkRead {
    Cut { cut: ChunkCut, stream_end: StreamEnd },
    Nothing,
    Changed,
}

/// Reads a block where reading stopped, with the bytes before it, and cuts a chunk off it.
pub(crate) fn read_chunk(
    handle: &impl FileHandle,
    stream: &mut TrackedStream,
    buffer: &mut [u8],
    chunk_bytes: usize,
    chunker: &mut Chunker,
) -> io::Result<ChunkRead> {
    // An exhausted stream is only read once more to be closed.
    let closing = stream.exhausted;
    let StreamPosition { offset, tail } = stream.read;
    let before = files::span_before(offset);
    // One byte stays free for a newline.
    let block_end = before + chunk_bytes.min(buffer.len() - before - 1);
    let end = files::fill(
        handle,
        &mut buffer[..block_end],
        Offset::new(offset.get() - before as u64),
    )?;
    let begins_right = before > 0 || stream.head.matches(&buffer[..end]);
    if end < before || !tail.matches(&buffer[..before]) || !begins_right {
        return Ok(ChunkRead::Changed);
    }
    let (filled, at_end) = (end - before, end < block_end);
    let ending = if closing && at_end {
        FileEnd::Final
    } else {
        FileEnd::MayGrow
    };
    let Some(cut) = chunker.cut(buffer, before, filled, !at_end, ending) else {
        stream.exhausted = true;
        return Ok(ChunkRead::Nothing);
    };
    let reaches_end = at_end && cut.raw == filled;
    stream.exhausted = reaches_end;
    let finished = reaches_end && ending == FileEnd::Final;
    Ok(ChunkRead::Cut {
        cut,
        stream_end: if finished {
            StreamEnd::Finished
        } else {
            StreamEnd::Live
        },
    })
}

/// A chunk without lines over all that `start: end` leaves out: up to the last line start before `end`.
pub(crate) fn skip_to_end(handle: &impl FileHandle, end: Offset) -> io::Result<ChunkRead> {
    let start = Offset::new(end.get().saturating_sub(LINE_START_SPAN));
    let mut bytes = vec![0; usize::try_from(end.since(start)).unwrap_or(0)];
    let filled = files::fill(handle, &mut bytes, start)?;
    let end = memchr::memrchr(b'\n', &bytes[..filled]).map_or(end, |newline| start.plus(newline as u64 + 1));
    let Some(before) = files::ending_at(handle, end)? else {
        return Ok(ChunkRead::Changed);
    };
    let raw = usize::try_from(end.get()).unwrap_or(usize::MAX);
    let cut = ChunkCut {
        raw,
        ..ChunkCut::of_nothing(&before)
    };
    Ok(ChunkRead::Cut {
        cut,
        stream_end: StreamEnd::Live,
    })
}

struct Opened<'a, H>(&'a LogText<H>);

impl<H: FileHandle> FileContents for Opened<'_, H> {
    fn ending_at(&self, end: Offset) -> io::Result<Option<Vec<u8>>> {
        let ending = files::ending_at(self.0, end);
        // Many files may be looked into before one is read on.
        self.0.release_decoder();
        ending
    }
}

/// Looks into an open file.
pub(crate) fn contents<H: FileHandle>(text: &LogText<H>) -> impl FileContents + '_ {
    Opened(text)
}
