//! Reading one block of a file, and cutting a chunk off it.

use std::io;

use logferry_protocol::chunk::StreamEnd;
use logferry_protocol::stream::Offset;

use super::stream::{Position, Stream};
use crate::chunker::{Chunker, Cut, Ending};
use crate::files::{self, Handle};

/// How far back the start of a line is sought in a file that is read from its end.
const LINE_START_SPAN: u64 = 64 * 1024;

/// What a read brought.
pub(crate) enum Read {
    Cut { cut: Cut, stream_end: StreamEnd },
    Nothing,
    Changed,
}

/// Reads a block where reading stopped, with the bytes before it, and cuts a chunk off it.
pub(crate) fn read(
    handle: &impl Handle,
    stream: &mut Stream,
    buffer: &mut [u8],
    chunk_bytes: usize,
    chunker: &mut Chunker,
) -> io::Result<Read> {
    // An exhausted stream is only read once more to be closed.
    let closing = stream.exhausted;
    let Position { offset, tail } = stream.read;
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
        return Ok(Read::Changed);
    }
    let (filled, at_end) = (end - before, end < block_end);
    let ending = if closing && at_end {
        Ending::Final
    } else {
        Ending::MayGrow
    };
    let Some(cut) = chunker.cut(buffer, before, filled, !at_end, ending) else {
        stream.exhausted = true;
        return Ok(Read::Nothing);
    };
    let reaches_end = at_end && cut.raw == filled;
    stream.exhausted = reaches_end;
    let finished = reaches_end && ending == Ending::Final;
    Ok(Read::Cut {
        cut,
        stream_end: if finished {
            StreamEnd::Finished
        } else {
            StreamEnd::Live
        },
    })
}

/// A chunk without lines over all that `start: end` leaves out: up to the last line start before `end`.
pub(super) fn skip(handle: &impl Handle, end: Offset) -> io::Result<Read> {
    let start = Offset::new(end.get().saturating_sub(LINE_START_SPAN));
    let mut bytes = vec![0; usize::try_from(end.since(start)).unwrap_or(0)];
    let filled = files::fill(handle, &mut bytes, start)?;
    let end = memchr::memrchr(b'\n', &bytes[..filled]).map_or(end, |newline| start.plus(newline as u64 + 1));
    let Some(before) = files::ending_at(handle, end)? else {
        return Ok(Read::Changed);
    };
    let raw = usize::try_from(end.get()).unwrap_or(usize::MAX);
    let cut = Cut {
        raw,
        ..Cut::of_nothing(&before)
    };
    Ok(Read::Cut {
        cut,
        stream_end: StreamEnd::Live,
    })
}
