//! A log whose lines are numbered, and what of it was lost, doubled or reordered.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// Before the number in a line.
const MARK: &[u8] = b"GET /n/";
const DIGITS: usize = 10;

/// Lines of the same second.
const LINES_PER_SECOND: u64 = 2000;

/// Log time of the first line, in seconds since 1970.
const FIRST_SECOND: i64 = 1_767_600_000;

/// What a receiver has made of the lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LineFaults {
    pub(super) lost: u64,
    pub(super) doubled: u64,
    /// Lines that came, for the first time, after a line with a higher number.
    pub(super) out_of_order: u64,
}

/// Writes a new log. Returns its size.
pub(super) fn write(path: &Path, lines: u64) -> io::Result<u64> {
    // It is read once: a power loss costs nothing, so the durable crate is not needed.
    let mut file = BufWriter::new(OpenOptions::new().write(true).create_new(true).open(path)?);
    let mut time = String::new();
    for number in 0..lines {
        if number.is_multiple_of(LINES_PER_SECOND) {
            let second = FIRST_SECOND.saturating_add_unsigned(number / LINES_PER_SECOND);
            let at = Timestamp::from_second(second).map_err(io::Error::other)?;
            time = at.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
        }
        writeln!(
            file,
            "203.0.113.{} - - [{time}] \"GET /n/{number:010} HTTP/1.1\" 200 5120 \"https://www.example.com/\" \
             \"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36\"",
            number % 250
        )?;
    }
    file.flush()?;
    Ok(file.get_ref().metadata()?.len())
}

/// Compares the lines of `files`, in this order, with those that were written. A torn line counts as none.
pub(super) fn check(files: &[PathBuf], lines: u64) -> io::Result<LineFaults> {
    let mut seen = vec![false; usize::try_from(lines).unwrap_or(usize::MAX)];
    let mut faults = LineFaults::default();
    let mut highest = 0;
    for path in files {
        for line in BufReader::new(File::open(path)?).split(b'\n') {
            let Some(number) = number(&line?) else { continue };
            let Some(is_seen) = seen.get_mut(number) else {
                continue;
            };
            if *is_seen {
                faults.doubled += 1;
            } else if number < highest {
                faults.out_of_order += 1;
            }
            *is_seen = true;
            highest = highest.max(number);
        }
    }
    faults.lost = seen.iter().map(|is_seen| u64::from(!is_seen)).sum();
    Ok(faults)
}

fn number(line: &[u8]) -> Option<usize> {
    let at = line.windows(MARK.len()).position(|bytes| bytes == MARK)? + MARK.len();
    std::str::from_utf8(line.get(at..at + DIGITS)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_doubled_and_reordered_lines_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let size = write(&path, 10).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.len() as u64, size);
        assert_eq!(check(&[path], 10).unwrap(), LineFaults::default());
        let lines: Vec<_> = text.lines().collect();
        let stored: Vec<_> = [0, 1, 3, 2, 3, 5].map(|number: usize| lines[number]).into();
        let path = folder.path().join("stored");
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        file.write_all(stored.join("\n").as_bytes()).unwrap();
        let expected = LineFaults {
            lost: 5,
            doubled: 1,
            out_of_order: 1,
        };
        assert_eq!(check(&[path], 10).unwrap(), expected);
    }
}
