//! A log to ship, and the contents that the relay must store of it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use logferry_ledger::BatchContents;
use logferry_traffic::{LineKind, Traffic, TrafficOptions};

/// One line in this many is a health check, which the sender excludes.
const HEALTH_EVERY: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");

/// Lines per second of log time of a busy host: one GiB spans three windows.
pub(crate) const BUSY_LINES_PER_SECOND: u64 = 2000;

/// Log time of the first line, in seconds since 1970: 2026-01-05, 08:00 UTC, the start of a window.
const FIRST_SECOND: i64 = 1_767_600_000;

/// Bytes per write.
const BLOCK: usize = 1 << 20;

/// The size of a log, and the contents that the relay must store of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SourceLog {
    /// All lines.
    pub(crate) lines: u64,
    /// All bytes.
    pub(crate) bytes: u64,
    /// The lines that are not excluded, in order.
    pub(crate) kept: BatchContents,
}

/// Writes nginx-like lines to a new file until it has at least `size` bytes.
/// `lines_per_second`: of log time, at least 1.
pub(crate) fn write(path: &Path, size: u64, lines_per_second: u64) -> io::Result<SourceLog> {
    // The log is read once: a power loss costs nothing, so the durable crate is not needed.
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let mut traffic = Traffic::new(TrafficOptions {
        health_every: Some(HEALTH_EVERY),
        ..TrafficOptions::default()
    });
    let mut log = SourceLog::default();
    let mut block = Vec::with_capacity(BLOCK + 1024);
    while log.bytes < size {
        block.clear();
        while block.len() < BLOCK && log.bytes + (block.len() as u64) < size {
            let start = block.len();
            let kind = traffic.line(time_of(log.lines / lines_per_second), &mut block);
            log.lines += 1;
            if kind == LineKind::Request {
                count_line(&mut log.kept, block.get(start..).unwrap_or_default());
            }
        }
        log.bytes += block.len() as u64;
        file.write_all(&block)?;
    }
    Ok(log)
}

/// Adds a line to `kept`.
pub(crate) fn count_line(kept: &mut BatchContents, line: &[u8]) {
    kept.lines += 1;
    kept.bytes += line.len() as u64;
    kept.crc32c = crc32c::crc32c_append(kept.crc32c, line);
}

/// The log time of the lines of this second, from 0.
fn time_of(second: u64) -> Timestamp {
    let first = Timestamp::constant(FIRST_SECOND, 0);
    first.checked_add(Duration::from_secs(second)).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_counts_what_the_file_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = write(&path, 3 << 20, BUSY_LINES_PER_SECOND).unwrap();
        let text = std::fs::read(&path).unwrap();
        let mut lines = text.split_inclusive(|&byte| byte == b'\n').collect::<Vec<_>>();
        lines.retain(|line| !String::from_utf8_lossy(line).contains("/health.php"));
        let kept = lines.concat();
        let lines = |text: &[u8]| text.split_inclusive(|&byte| byte == b'\n').count() as u64;
        assert!(text.len() >= 3 << 20);
        assert_eq!((log.lines, log.bytes), (lines(&text), text.len() as u64));
        let expected = BatchContents {
            lines: lines(&kept),
            bytes: kept.len() as u64,
            crc32c: crc32c::crc32c(&kept),
        };
        assert_eq!(log.kept, expected);
    }

    #[test]
    fn log_begins_where_a_window_does() {
        assert_eq!(time_of(0).to_string(), "2026-01-05T08:00:00Z");
        assert_eq!(time_of(1200).to_string(), "2026-01-05T08:20:00Z");
    }
}
