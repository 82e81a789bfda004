//! A chunk: a contiguous range of a stream, shipped as the lines of it that were kept.
//!
//! The header names the *raw* range `[start, end)` of the file. The body holds the kept lines of that range, one
//! after the other, so it is shorter than the range where lines were excluded. A body ends in a newline, except
//! with [`LineEnd::Open`]: a line longer than the sender's `max_line` is sent in pieces, and only the last has the newline.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::LogName;
use crate::stream::{ByteRange, FileKey, Fingerprint, Head, Offset, ParseError, StreamId, Tail, parse_pair};

/// How many lines of a range were read, dropped by an exclusion rule, and sent.
///
/// A line counts where it ends, so pieces of a long line count once, with the last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineCounts {
    /// Lines dropped by an exclusion rule.
    pub excluded: u64,
    /// Lines in the chunk's body.
    pub sent: u64,
}

impl LineCounts {
    /// Lines read: every one was either excluded or sent.
    pub const fn read(self) -> u64 {
        self.excluded.saturating_add(self.sent)
    }

    /// Both counts added up.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            excluded: self.excluded.saturating_add(other.excluded),
            sent: self.sent.saturating_add(other.sent),
        }
    }
}

/// How the last line of a chunk's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnd {
    /// With its newline, or the body is empty.
    Whole,
    /// The line continues in the next chunk of the stream.
    Open,
    /// The file is complete and has no newline at its end. The sender added the newline at the end of the body.
    Added,
}

/// Whether more of the stream can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The file may still grow.
    Live,
    /// The file was rotated away and read to its end.
    Finished,
}

/// The metadata of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkHeader {
    /// The stream the chunk is a range of.
    pub stream: StreamId,
    /// The log the stream belongs to, as the sender's configuration names it.
    pub log: LogName,
    /// Device and inode of the file, now.
    pub file: FileKey,
    /// The stream's beginning.
    pub head: Head,
    /// The raw range of the file that was read.
    pub range: ByteRange,
    /// The raw bytes that end at `range.end()`.
    pub tail: Tail,
    /// Lines of the range.
    pub lines: LineCounts,
    /// How the body's last line ends.
    pub line_end: LineEnd,
    /// Whether the stream goes on.
    pub stream_end: StreamEnd,
    /// CRC-32C of the body.
    pub crc32c: u32,
}

/// A chunk header that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A header is missing.
    #[error("header {0} is missing")]
    Missing(&'static str),
    /// A header has an invalid value.
    #[error("header {name}: {reason}")]
    Malformed {
        /// Which header.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

const STREAM: &str = "ferry-stream";
const LOG: &str = "ferry-log";
const FILE: &str = "ferry-file";
const HEAD: &str = "ferry-head";
const RANGE: &str = "ferry-range";
const TAIL: &str = "ferry-tail";
const LINES: &str = "ferry-lines";
const END: &str = "ferry-end";
const CRC: &str = "ferry-crc32c";

impl ChunkHeader {
    /// The HTTP headers that carry this, as name and value.
    pub fn to_pairs(&self) -> [(&'static str, String); 9] {
        let line_end = match self.line_end {
            LineEnd::Whole => "whole",
            LineEnd::Open => "open",
            LineEnd::Added => "added",
        };
        let stream_end = match self.stream_end {
            StreamEnd::Live => "live",
            StreamEnd::Finished => "finished",
        };
        [
            (STREAM, self.stream.to_string()),
            (LOG, self.log.to_string()),
            (FILE, self.file.to_string()),
            (HEAD, self.head.0.to_string()),
            (RANGE, self.range.to_string()),
            (TAIL, self.tail.0.to_string()),
            (LINES, format!("{}/{}", self.lines.sent, self.lines.excluded)),
            (END, format!("{line_end}/{stream_end}")),
            (CRC, format!("{:08x}", self.crc32c)),
        ]
    }

    /// Reads the header back from HTTP headers; `get` looks one up by its lower-case name.
    pub fn from_pairs<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, HeaderError> {
        let text = |name| get(name).ok_or(HeaderError::Missing(name));
        let (line_end, stream_end) = parse_end(text(END)?)?;
        Ok(Self {
            stream: field(STREAM, text(STREAM)?)?,
            log: field(LOG, text(LOG)?)?,
            file: field(FILE, text(FILE)?)?,
            head: Head(field::<Fingerprint>(HEAD, text(HEAD)?)?),
            range: field(RANGE, text(RANGE)?)?,
            tail: Tail(field::<Fingerprint>(TAIL, text(TAIL)?)?),
            lines: parse_lines(text(LINES)?)?,
            line_end,
            stream_end,
            crc32c: parse_crc(text(CRC)?)?,
        })
    }
}

fn field<T: FromStr<Err: fmt::Display>>(name: &'static str, text: &str) -> Result<T, HeaderError> {
    text.parse().map_err(|error: T::Err| HeaderError::Malformed {
        name,
        reason: error.to_string(),
    })
}

fn malformed(name: &'static str, expected: &'static str, got: &str) -> HeaderError {
    HeaderError::Malformed {
        name,
        reason: ParseError::new(expected, got).to_string(),
    }
}

fn parse_lines(text: &str) -> Result<LineCounts, HeaderError> {
    let counts = parse_pair(text, '/').map(|(sent, excluded)| LineCounts { excluded, sent });
    counts.ok_or_else(|| malformed(LINES, "line counts SENT/EXCLUDED", text))
}

fn parse_end(text: &str) -> Result<(LineEnd, StreamEnd), HeaderError> {
    let parse = || {
        let (line, stream) = text.split_once('/')?;
        let line = match line {
            "whole" => LineEnd::Whole,
            "open" => LineEnd::Open,
            "added" => LineEnd::Added,
            _ => return None,
        };
        match stream {
            "live" => Some((line, StreamEnd::Live)),
            "finished" => Some((line, StreamEnd::Finished)),
            _ => None,
        }
    };
    parse().ok_or_else(|| malformed(END, "whole, open or added / live or finished", text))
}

fn parse_crc(text: &str) -> Result<u32, HeaderError> {
    let is_valid = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let crc = u32::from_str_radix(text, 16).ok().filter(|_| is_valid);
    crc.ok_or_else(|| malformed(CRC, "8 hex digits", text))
}

/// The relay's answer to a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The stream is durable up to here. The sender continues from here.
    pub committed: Offset,
    /// The result for the chunk.
    pub outcome: ChunkOutcome,
    /// More bytes are on their way to the relay than it stores fastest: the sender should have fewer chunks in flight. A relay
    /// of an earlier version does not say it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub congested: bool,
}

impl Receipt {
    /// A receipt of a relay that is not congested.
    pub fn new(committed: Offset, outcome: ChunkOutcome) -> Self {
        Self {
            committed,
            outcome,
            congested: false,
        }
    }
}

/// The result for a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkOutcome {
    /// Its lines are durable now (status 200).
    Stored,
    /// They were durable before (status 200).
    Duplicate,
    /// It does not start at the committed offset, and was not stored (status 409).
    #[serde(rename = "elsewhere")]
    OffsetMismatch,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> ChunkHeader {
        let file = FileKey { dev: 1, inode: 2 };
        let head = Head::of(b"line\n").expect("a line");
        ChunkHeader {
            stream: StreamId::derive(file, head, 0),
            log: "access".parse().expect("a name"),
            file,
            head,
            range: ByteRange::new(Offset::ZERO, Offset::new(5)).expect("forwards"),
            tail: Tail::of(b"line\n"),
            lines: LineCounts { sent: 1, excluded: 0 },
            line_end: LineEnd::Whole,
            stream_end: StreamEnd::Live,
            crc32c: 0x0000_beef,
        }
    }

    #[test]
    fn a_header_reads_back_from_its_pairs() {
        let header = header();
        let pairs = header.to_pairs();
        let get = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
        assert_eq!(ChunkHeader::from_pairs(get), Ok(header));
    }

    #[test]
    fn a_missing_or_malformed_header_is_named() {
        let pairs = header().to_pairs();
        for (spoiled, _) in &pairs {
            let get = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
            let without = |name: &str| if name == *spoiled { None } else { get(name) };
            let missing = ChunkHeader::from_pairs(without);
            assert_eq!(missing, Err(HeaderError::Missing(spoiled)));
            let garbled = |name: &str| if name == *spoiled { Some("?/?") } else { get(name) };
            let error = ChunkHeader::from_pairs(garbled).expect_err("garbled").to_string();
            assert!(error.contains(spoiled), "{error}");
        }
    }

    #[test]
    fn the_outcomes_have_fixed_names_on_the_wire() {
        for (outcome, name) in [
            (ChunkOutcome::Stored, "\"stored\""),
            (ChunkOutcome::Duplicate, "\"duplicate\""),
            (ChunkOutcome::OffsetMismatch, "\"elsewhere\""),
        ] {
            assert_eq!(serde_json::to_string(&outcome).expect("JSON"), name);
            let read: ChunkOutcome = serde_json::from_str(name).expect("an outcome");
            assert_eq!(read, outcome);
        }
    }
}
