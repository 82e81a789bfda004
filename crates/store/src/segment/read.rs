//! Reads bytes at a position, and frames one after the other.

use std::io::{self, Read, Seek, SeekFrom};

use crate::frame::{FrameDecoder, FrameEntry, HEADER_BYTES};

/// Replaces `bytes` by the `len` bytes at `position`.
pub(crate) fn read_at(
    file: &mut (impl Read + Seek),
    position: u64,
    len: usize,
    bytes: &mut Vec<u8>,
) -> io::Result<()> {
    bytes.clear();
    file.seek(SeekFrom::Start(position))?;
    let wanted = u64::try_from(len).unwrap_or(u64::MAX);
    if file.take(wanted).read_to_end(bytes)? < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// The entries of the frames in `from..until`, by their headers. Ends before a header that is damaged.
pub(crate) fn walk(file: &mut (impl Read + Seek), from: u64, until: u64) -> io::Result<Vec<FrameEntry>> {
    let mut entries = Vec::new();
    let mut header = Vec::with_capacity(HEADER_BYTES);
    let mut offset = from;
    while offset < until {
        match read_at(file, offset, HEADER_BYTES, &mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            read => read?,
        }
        match FrameDecoder::entry(&header, offset).filter(|entry| entry.end() <= until) {
            None => break,
            Some(entry) => {
                offset = entry.end();
                entries.push(entry);
            }
        }
    }
    Ok(entries)
}
