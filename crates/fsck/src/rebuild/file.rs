//! What one file of the spool holds: its whole lines, their times, and its end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use logferry_config::TimestampFormat;
use logferry_durable::{DiskError, DiskOperation};
use logferry_ledger::BatchContents;
use logferry_protocol::stream::FINGERPRINT_SPAN;
use logferry_windows::{LineClock, LineTime};
use memchr::{memchr_iter, memmem, memrchr};
use sha2::{Digest, Sha256};

/// Read at once; large enough that the calls do not count, and that the first line with a time is in the first block.
const BLOCK_LEN: usize = 1 << 20;

/// How many lines with a time are looked at for the window that all of them are of.
const TIMED_LINES: usize = 100;

/// A file that was read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Its whole lines.
    pub(crate) contents: BatchContents,
    /// SHA-256 of those, in hex.
    pub(crate) sha256: String,
    /// Bytes after the last newline.
    pub(crate) rest: u64,
    /// The times of its first lines that have one.
    pub(crate) times: Vec<LineTime>,
    /// When it was last written.
    pub(crate) written_at: Timestamp,
}

/// A compressed file that cannot be decompressed.
#[derive(Debug, thiserror::Error)]
#[error("it cannot be decompressed: {0}; restore it from a backup")]
pub(crate) struct Unreadable(io::Error);

/// Reads a file whole.
pub(crate) fn read(
    path: &Path,
    is_compressed: bool,
    format: TimestampFormat,
) -> Result<Result<Reading, Unreadable>, DiskError> {
    let failed = |error| DiskError::new(DiskOperation::Read, path, error);
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let written_at = metadata.modified().map_err(failed)?;
    let written_at = Timestamp::try_from(written_at).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut tally = Tally::default();
    if is_compressed {
        if let Err(error) = tally.add_all(MultiGzDecoder::new(file), format) {
            return Ok(Err(Unreadable(error)));
        }
    } else {
        tally.add_all(file, format).map_err(failed)?;
    }
    Ok(Ok(tally.finish(written_at)))
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// The up to [`FINGERPRINT_SPAN`] bytes that end at `len`, if they stand in the file there only.
pub(crate) fn sole_ending(path: &Path, len: u64) -> Result<Option<Vec<u8>>, DiskError> {
    let failed = |error| DiskError::new(DiskOperation::Read, path, error);
    let mut file = File::open(path).map_err(failed)?;
    let span = u64::try_from(FINGERPRINT_SPAN).unwrap_or(u64::MAX).min(len);
    let mut ending = Vec::new();
    file.seek(SeekFrom::Start(len - span)).map_err(failed)?;
    (&mut file).take(span).read_to_end(&mut ending).map_err(failed)?;
    if ending.is_empty() || ending.len() != usize::try_from(span).unwrap_or(usize::MAX) {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    // All but the last byte, so that the ending itself is not found.
    let is_repeated = holds(file.take(len - 1), &ending).map_err(failed)?;
    Ok((!is_repeated).then_some(ending))
}

/// Whether `wanted` stands somewhere in the input.
fn holds(mut input: impl Read, wanted: &[u8]) -> io::Result<bool> {
    let finder = memmem::Finder::new(wanted);
    let mut window = Vec::new();
    loop {
        let read = fill(&mut input, &mut window)?;
        if finder.find(&window).is_some() {
            return Ok(true);
        }
        if read == 0 {
            return Ok(false);
        }
        // It may stand across the border.
        window.drain(..window.len().saturating_sub(wanted.len() - 1));
    }
}

/// Adds up to a block to the buffer.
fn fill(input: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<u64> {
    let most = u64::try_from(BLOCK_LEN).unwrap_or(u64::MAX);
    let read = input.by_ref().take(most).read_to_end(buffer)?;
    Ok(u64::try_from(read).unwrap_or(u64::MAX))
}

/// Counts and hashes, of bytes one after the other.
#[derive(Clone, Default)]
struct Sums {
    contents: BatchContents,
    hasher: Sha256,
}

impl Sums {
    fn add(&mut self, bytes: &[u8]) {
        let newlines = memchr_iter(b'\n', bytes).count();
        self.contents.lines += u64::try_from(newlines).unwrap_or(u64::MAX);
        self.contents.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.contents.crc32c = crc32c::crc32c_append(self.contents.crc32c, bytes);
        self.hasher.update(bytes);
    }
}

/// A file while it is read.
#[derive(Default)]
struct Tally {
    all: Sums,
    /// Up to the last newline.
    whole: Sums,
    times: Vec<LineTime>,
}

impl Tally {
    fn add_all(&mut self, mut input: impl Read, format: TimestampFormat) -> io::Result<()> {
        let mut block = Vec::new();
        while fill(&mut input, &mut block)? > 0 {
            if self.all.contents.bytes == 0 {
                let mut clock = LineClock::new(format);
                let times = block
                    .split(|&byte| byte == b'\n')
                    .filter_map(|line| clock.read(line));
                self.times = times.take(TIMED_LINES).collect();
            }
            let lines = memrchr(b'\n', &block).map_or(0, |newline| newline + 1);
            let (lines, rest) = block.split_at(lines);
            self.all.add(lines);
            if !lines.is_empty() {
                self.whole = self.all.clone();
            }
            self.all.add(rest);
            block.clear();
        }
        Ok(())
    }

    fn finish(self, written_at: Timestamp) -> Reading {
        let digest = self.whole.hasher.finalize();
        Reading {
            contents: self.whole.contents,
            sha256: hex(&digest),
            rest: self.all.contents.bytes - self.whole.contents.bytes,
            times: self.times,
            written_at,
        }
    }
}
