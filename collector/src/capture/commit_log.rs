//! The commit log of a capture: what was appended last, with the position and the receipts that go with it.
//!
//! No I/O. `commits` begins with a line that names its version, [`HEADER`]; then entry follows entry:
//!
//! ```text
//! length of what follows the checksum (u32, little endian)   CRC-32C of it (u32, little endian)
//! {"file":7,"at":4096,"position":…,"receipts":[…],"confirmed":[…]}\n
//! the lines that stand in the capture file from `at` on
//! ```
//!
//! The first entry has no lines: it says what was so when the log was begun, at [`Entry::at`] of the capture file, whose earlier
//! bytes are on stable storage. So the log alone says what the end of the capture file has to be.
//!
//! Invariant: [`read`] never fails: an entry that is torn ends the log, as nothing of it was acknowledged.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::capture::receipts::{Receipt, RequestKey};

/// The first line of a commit log of this version.
pub(super) const HEADER: &[u8] = b"logferry capture commits 1\n";

/// What the first line of every version begins with.
const HEADER_START: &[u8] = b"logferry capture commits ";

/// Bytes of length and checksum.
const FRAME: usize = 8;

/// One entry: it counts as a whole or not at all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The number of the capture file.
    pub(super) file: u64,
    /// Where its lines stand in the file.
    pub(super) at: u64,
    /// The source's position after it; `None` if it stays as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<Value>,
    /// Receipts that are new with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) receipts: Vec<Receipt>,
    /// Requests whose answers have arrived. They count before `receipts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) confirmed: Vec<RequestKey>,
}

/// An entry with its lines.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReadEntry<'a> {
    pub(super) entry: Entry,
    pub(super) lines: &'a [u8],
}

/// What a commit log says.
#[derive(Debug, PartialEq)]
pub(super) enum ReadLog<'a> {
    /// It is empty, or its first line is torn: it was just made.
    New,
    /// Another version wrote it, by its first line.
    OtherVersion(Cow<'a, str>),
    /// It has entries, the first without lines, and bytes up to `len` of the log count.
    Entries { entries: Vec<ReadEntry<'a>>, len: usize },
    /// It has a first line and no whole first entry.
    Damaged,
}

/// The bytes of an entry with its lines; `None` if it is larger than an entry can be, 4 GiB.
pub(super) fn entry_bytes(entry: &Entry, lines: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = vec![0; FRAME];
    serde_json::to_writer(&mut bytes, entry).expect("numbers and texts, into memory");
    bytes.push(b'\n');
    bytes.extend_from_slice(lines);
    let body = bytes.get(FRAME..).unwrap_or_default();
    let len = u32::try_from(body.len()).ok()?.to_le_bytes();
    let checksum = crc32c::crc32c(body).to_le_bytes();
    for (to, from) in bytes.iter_mut().zip(len.into_iter().chain(checksum)) {
        *to = from;
    }
    Some(bytes)
}

/// Reads a commit log.
pub(super) fn read(bytes: &[u8]) -> ReadLog<'_> {
    let Some(rest) = bytes.strip_prefix(HEADER) else {
        if !bytes.contains(&b'\n') && (HEADER.starts_with(bytes) || bytes.iter().all(|byte| *byte == 0)) {
            return ReadLog::New;
        }
        if bytes.starts_with(HEADER_START) {
            let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
            return ReadLog::OtherVersion(String::from_utf8_lossy(line.get(..80).unwrap_or(line)));
        }
        return ReadLog::Damaged;
    };
    let mut entries: Vec<ReadEntry<'_>> = Vec::new();
    let mut left = rest;
    while let Some((entry, after)) = read_entry(left) {
        let follows = match entries.last() {
            Some(last) => {
                let end = last.entry.at + last.lines.len() as u64;
                (entry.entry.file, entry.entry.at) == (last.entry.file, end)
            }
            None => entry.lines.is_empty(),
        };
        if !follows {
            break;
        }
        entries.push(entry);
        left = after;
    }
    if entries.is_empty() {
        return ReadLog::Damaged;
    }
    ReadLog::Entries {
        entries,
        len: bytes.len() - left.len(),
    }
}

/// The entry that the bytes begin with, and the bytes after it.
fn read_entry(bytes: &[u8]) -> Option<(ReadEntry<'_>, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let (body, after) = rest.split_at_checked(len)?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let end = memchr::memchr(b'\n', body)?;
    let (entry, lines) = (body.get(..end)?, body.get(end + 1..)?);
    let entry = serde_json::from_slice(entry).ok()?;
    Some((ReadEntry { entry, lines }, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log(lines: &[&[u8]]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = HEADER.to_vec();
        let mut at = 100;
        let mut ends = Vec::new();
        for lines in std::iter::once(&&b""[..]).chain(lines) {
            let entry = Entry {
                file: 3,
                at,
                position: Some(at.into()),
                ..Entry::default()
            };
            bytes.extend(entry_bytes(&entry, lines).expect("small"));
            at += lines.len() as u64;
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn entries(bytes: &[u8]) -> (usize, usize) {
        match read(bytes) {
            ReadLog::Entries { entries, len } => (entries.len(), len),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn entry_that_does_not_follow_the_one_before_ends_the_log() {
        let (mut bytes, ends) = log(&[b"one\n"]);
        let stray = Entry {
            file: 3,
            at: 100,
            ..Entry::default()
        };
        bytes.extend(entry_bytes(&stray, b"two\n").expect("small"));
        assert_eq!(entries(&bytes), (2, ends[1]));
    }

    #[test]
    fn log_of_another_version_and_one_that_is_none_are_told_apart() {
        assert_eq!(read(b""), ReadLog::New);
        assert_eq!(read(b"logferry capt"), ReadLog::New);
        assert_eq!(read(HEADER), ReadLog::Damaged);
        assert_eq!(
            read(b"logferry capture commits 2\nrest"),
            ReadLog::OtherVersion("logferry capture commits 2".into())
        );
        assert_eq!(read(b"something else\n"), ReadLog::Damaged);
    }

    proptest! {
        #[test]
        fn torn_log_has_its_whole_entries_and_no_more(
            lines in proptest::collection::vec("[a-z]{0,20}\n", 0..6),
            cut in 0usize..600,
            flip in proptest::option::of(0usize..600),
        ) {
            let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
            let (mut bytes, ends) = log(&lines);
            let cut = cut.min(bytes.len());
            bytes.truncate(cut);
            let mut intact = cut;
            if let Some(flip) = flip.filter(|flip| (ends[0]..cut).contains(flip)) {
                bytes[flip] ^= 0x55;
                intact = flip;
            }
            let whole = ends.iter().filter(|end| **end <= intact).count();
            match read(&bytes) {
                ReadLog::Entries { entries, len } => {
                    prop_assert_eq!((entries.len(), len), (whole, ends[whole - 1]));
                    prop_assert!(entries.iter().skip(1).zip(&lines).all(|(read, lines)| read.lines == *lines));
                }
                ReadLog::New => prop_assert!(cut < HEADER.len()),
                ReadLog::Damaged => prop_assert!(whole == 0),
                ReadLog::OtherVersion(_) => prop_assert!(false, "not another version"),
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_crash(bytes: Vec<u8>, has_header: bool) {
            let bytes = if has_header { [HEADER, &bytes].concat() } else { bytes };
            let _ = read(&bytes);
        }
    }
}
