//! Reads one file of the spool: its whole lines, their times, and its end.

use std::io::{self, Read};
use std::path::Path;

use jiff::Timestamp;
use logferry_durable::{DiskError, DiskOperation, RealDisk};
use logferry_fields::LineClock;
use logferry_ledger::BatchContents;
use logferry_protocol::stream::FINGERPRINT_SPAN;
use logferry_spool::{BatchReader, FileForm, FileHash, Measure, Spool, SpoolFile};
use logferry_time_windows::LineTime;
use memchr::{memmem, memrchr};

/// Bytes read at a time. The first line with a time is nearly always in the first block.
const BLOCK_LEN: usize = 1 << 20;

/// So many lines with a time are tried, to find the window that all of them are of.
const TIMED_LINES: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileLines {
    /// Its whole lines.
    pub(crate) contents: BatchContents,
    /// SHA-256 of those, in hex.
    pub(crate) sha256: String,
    /// Bytes after the last newline.
    pub(crate) torn_bytes: u64,
    /// The times of its first lines that have one.
    pub(crate) times: Vec<LineTime>,
    pub(crate) written_at: Timestamp,
}

#[derive(Debug, thiserror::Error)]
#[error("it cannot be decompressed: {0}; restore it from a backup")]
pub(crate) struct UndecodableFile(io::Error);

/// Reads a file. Each line is read by each of the clocks, which are made for the time when the file was written.
pub(crate) fn read_lines<'c>(
    spool: &Spool<RealDisk>,
    file: &SpoolFile,
    clocks: impl FnOnce(Timestamp) -> Vec<LineClock<'c>>,
) -> Result<Result<FileLines, UndecodableFile>, DiskError> {
    let failed = |error| DiskError::new(DiskOperation::Read, &file.path, error);
    let modified = std::fs::metadata(&file.path).and_then(|metadata| metadata.modified());
    let written_at = Timestamp::try_from(modified.map_err(failed)?).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut tally = LineTally {
        all: Measure::with_sha256(),
        whole_lines: Measure::with_sha256(),
        times: Vec::new(),
    };
    match tally.add_all(open(spool, &file.path, file.form)?, &mut clocks(written_at)) {
        Err(error) if file.is_compressed() => Ok(Err(UndecodableFile(error))),
        read => read.map_err(failed).map(|()| Ok(tally.finish(written_at))),
    }
}

/// The up to [`FINGERPRINT_SPAN`] bytes that end at `len`, unless the file has the same bytes somewhere before.
pub(crate) fn unique_ending(
    spool: &Spool<RealDisk>,
    path: &Path,
    len: u64,
) -> Result<Option<Vec<u8>>, DiskError> {
    let failed = |error| DiskError::new(DiskOperation::Read, path, error);
    let mut file = open(spool, path, FileForm::Plain)?;
    let span = u64::try_from(FINGERPRINT_SPAN).unwrap_or(u64::MAX).min(len);
    let mut ending = Vec::new();
    file.seek_to(len - span).map_err(failed)?;
    let read = file.by_ref().take(span).read_to_end(&mut ending);
    read.map_err(failed)?;
    if ending.is_empty() || ending.len() != usize::try_from(span).unwrap_or(usize::MAX) {
        return Ok(None);
    }
    file.seek_to(0).map_err(failed)?;
    // All but the last byte, so that the ending itself is not found.
    let is_repeated = contains(file.take(len - 1), &ending).map_err(failed)?;
    Ok((!is_repeated).then_some(ending))
}

/// Opens a file that must be there.
pub(crate) fn open(
    spool: &Spool<RealDisk>,
    path: &Path,
    form: FileForm,
) -> Result<BatchReader<std::fs::File>, DiskError> {
    let opened = spool.open_as(path, form)?;
    opened.ok_or_else(|| DiskError::new(DiskOperation::Read, path, io::ErrorKind::NotFound.into()))
}

fn contains(mut input: impl Read, wanted: &[u8]) -> io::Result<bool> {
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
        // It may begin in this block and end in the next.
        window.drain(..window.len().saturating_sub(wanted.len() - 1));
    }
}

fn fill(input: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<u64> {
    let most = u64::try_from(BLOCK_LEN).unwrap_or(u64::MAX);
    let read = input.by_ref().take(most).read_to_end(buffer)?;
    Ok(u64::try_from(read).unwrap_or(u64::MAX))
}

struct LineTally {
    all: Measure,
    /// Up to the last newline.
    whole_lines: Measure,
    times: Vec<LineTime>,
}

impl LineTally {
    fn add_all(&mut self, mut input: impl Read, clocks: &mut [LineClock<'_>]) -> io::Result<()> {
        let mut block = Vec::new();
        while fill(&mut input, &mut block)? > 0 {
            if self.all.contents().bytes == 0 {
                for clock in clocks.iter_mut() {
                    let lines = block.split(|&byte| byte == b'\n');
                    let times = lines.filter_map(|line| clock.read(line));
                    self.times.extend(times.take(TIMED_LINES));
                }
            }
            let lines = memrchr(b'\n', &block).map_or(0, |newline| newline + 1);
            let (lines, rest) = block.split_at(lines);
            self.all.add(lines);
            if !lines.is_empty() {
                self.whole_lines = self.all.clone();
            }
            self.all.add(rest);
            block.clear();
        }
        Ok(())
    }

    fn finish(self, written_at: Timestamp) -> FileLines {
        let contents = self.whole_lines.contents();
        let sha256 = self.whole_lines.sha256();
        FileLines {
            contents,
            sha256: sha256.as_ref().map(FileHash::hex).unwrap_or_default(),
            torn_bytes: self.all.contents().bytes - contents.bytes,
            times: self.times,
            written_at,
        }
    }
}
