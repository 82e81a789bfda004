//! Streams: how a physical log file is identified, and how its bytes are numbered.
//!
//! A stream is identified by its contents: the [`Head`] of its first bytes, and the [`Tail`] that ends at the
//! committed offset. Device and inode ([`FileKey`]) only break ties. Its id is derived from head, file key and
//! a generation, so a sender that lost its state derives the same id again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Most bytes that a [`Head`] or a [`Tail`] covers.
pub const FINGERPRINT_SPAN: usize = 1024;

/// A text that does not have the expected form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {got:?}")]
pub struct ParseError {
    /// The form that would be right.
    pub expected: &'static str,
    /// The text that was read instead, shortened.
    pub got: String,
}

impl ParseError {
    /// `got` is cut to 80 characters: a hostile header may be long, and the error goes to the log.
    pub fn new(expected: &'static str, got: &str) -> Self {
        Self {
            expected,
            got: got.chars().take(80).collect(),
        }
    }
}

/// The two values on both sides of the first `separator`.
pub(crate) fn parse_pair<A: FromStr, B: FromStr>(text: &str, separator: char) -> Option<(A, B)> {
    let (first, second) = text.split_once(separator)?;
    Some((first.parse().ok()?, second.parse().ok()?))
}

/// A number of exactly so many hex digits. The standard parser alone would also accept a sign and fewer digits.
pub(crate) fn parse_hex(text: &str, digits: usize) -> Option<u128> {
    let is_valid = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u128::from_str_radix(text, 16).ok().filter(|_| is_valid)
}

/// A byte position in a stream, counted from the stream's first byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(u64);

impl Offset {
    /// The position of a stream's first byte.
    pub const ZERO: Self = Self(0);

    /// The position `bytes` after the start of the stream.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Bytes since the start of the stream.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position `bytes` further on. Saturates at a size that no file reaches.
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// Bytes from `earlier` to here; 0 if `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The range `[start, end)` of a stream. May be empty; is never backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    start: Offset,
    end: Offset,
}

impl ByteRange {
    /// The range from `start` up to and without `end`; `None` if that is backwards.
    pub fn new(start: Offset, end: Offset) -> Option<Self> {
        (start <= end).then_some(Self { start, end })
    }

    /// First byte of the range.
    pub const fn start(self) -> Offset {
        self.start
    }

    /// First byte after the range.
    pub const fn end(self) -> Offset {
        self.end
    }

    /// Bytes in the range.
    pub const fn len(self) -> u64 {
        self.end.since(self.start)
    }

    /// Whether the range holds no byte.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

impl FromStr for ByteRange {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let range = parse_pair(text, '-').and_then(|(start, end)| Self::new(Offset(start), Offset(end)));
        range.ok_or_else(|| ParseError::new("a range START-END", text))
    }
}

/// The first 16 bytes of a SHA-256: enough to tell files apart, short enough for a header. Text form: 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash16(pub(crate) [u8; 16]);

impl Hash16 {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::finish(Sha256::new_with_prefix(bytes))
    }

    fn finish(hasher: Sha256) -> Self {
        let full: [u8; 32] = hasher.finalize().into();
        Self(*full.first_chunk().expect("32 bytes are more than 16"))
    }
}

impl fmt::Display for Hash16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash16 {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let hash = parse_hex(text, 32).map(|value| Self(value.to_be_bytes()));
        hash.ok_or_else(|| ParseError::new("32 hex digits", text))
    }
}

impl TryFrom<String> for Hash16 {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Hash16> for String {
    fn from(hash: Hash16) -> Self {
        hash.to_string()
    }
}

/// Device and inode. They identify a file until the kernel reuses the inode (inode(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileKey {
    /// Device the file is on.
    pub dev: u64,
    /// Inode number on that device.
    pub inode: u64,
}

impl fmt::Display for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.dev, self.inode)
    }
}

impl FromStr for FileKey {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let key = parse_pair(text, ':').map(|(dev, inode)| Self { dev, inode });
        key.ok_or_else(|| ParseError::new("a file key DEVICE:INODE", text))
    }
}

/// A span of a file and its hash. Text form `LEN:HASH`.
///
/// In JSON too it covers at most [`FINGERPRINT_SPAN`] bytes: what a relay stores of a message must be readable later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "FingerprintParts")]
pub struct Fingerprint {
    len: u16,
    hash: Hash16,
}

/// A fingerprint in JSON, not checked yet.
#[derive(Deserialize)]
struct FingerprintParts {
    len: u16,
    hash: Hash16,
}

impl TryFrom<FingerprintParts> for Fingerprint {
    type Error = ParseError;
    fn try_from(FingerprintParts { len, hash }: FingerprintParts) -> Result<Self, ParseError> {
        let fingerprint = Self { len, hash };
        let is_valid = fingerprint.len() <= FINGERPRINT_SPAN;
        let error = || ParseError::new("a fingerprint of at most 1024 bytes", &len.to_string());
        is_valid.then_some(fingerprint).ok_or_else(error)
    }
}

impl Fingerprint {
    /// Bytes the fingerprint covers, 0 to [`FINGERPRINT_SPAN`].
    pub fn len(self) -> usize {
        usize::from(self.len)
    }

    /// Whether the fingerprint covers nothing.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    fn of(bytes: &[u8]) -> Self {
        let len = u16::try_from(bytes.len()).expect("callers cut the span to FINGERPRINT_SPAN");
        Self {
            len,
            hash: Hash16::of(bytes),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.len, self.hash)
    }
}

impl FromStr for Fingerprint {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parts = parse_pair(text, ':').map(|(len, hash)| FingerprintParts { len, hash });
        let valid = parts.and_then(|parts| Self::try_from(parts).ok());
        valid.ok_or_else(|| ParseError::new("a fingerprint LEN:HASH", text))
    }
}

/// The fingerprint of a stream's beginning: its first line with its newline, or its first
/// [`FINGERPRINT_SPAN`] bytes where the line is longer. It never changes while the file grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Head(pub Fingerprint);

impl Head {
    /// The head of a file that begins with `beginning` (its first [`FINGERPRINT_SPAN`] bytes, or all it has).
    ///
    /// `None` while it holds neither a whole line nor that many bytes: its head is not fixed yet.
    pub fn of(beginning: &[u8]) -> Option<Self> {
        let span = &beginning[..beginning.len().min(FINGERPRINT_SPAN)];
        let newline = span.iter().position(|&byte| byte == b'\n');
        let end = newline.map_or(FINGERPRINT_SPAN, |newline| newline + 1);
        span.get(..end).map(|head| Self(Fingerprint::of(head)))
    }

    /// The head of a file that will not grow any more. Without a whole line, the head covers the whole file.
    pub fn of_final(beginning: &[u8]) -> Option<Self> {
        Self::of(beginning).or_else(|| (!beginning.is_empty()).then(|| Self(Fingerprint::of(beginning))))
    }

    /// Whether a file that begins with `beginning` has this head.
    pub fn matches(self, beginning: &[u8]) -> bool {
        beginning
            .get(..self.0.len())
            .is_some_and(|span| Hash16::of(span) == self.0.hash)
    }
}

/// The fingerprint of the up to [`FINGERPRINT_SPAN`] raw bytes (excluded lines included) that end at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tail(pub Fingerprint);

impl Tail {
    /// The tail of a stream whose bytes up to some offset end with `before`.
    pub fn of(before: &[u8]) -> Self {
        Self(Fingerprint::of(
            &before[before.len().saturating_sub(FINGERPRINT_SPAN)..],
        ))
    }

    /// Whether `before`, the bytes that end at the offset, have this tail.
    pub fn matches(self, before: &[u8]) -> bool {
        let start = before.len().checked_sub(self.0.len());
        start.is_some_and(|start| Hash16::of(&before[start..]) == self.0.hash)
    }
}

/// The name of a stream, unique within its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(Hash16);

impl StreamId {
    /// The id of the `generation`-th stream seen in file `key` with beginning `head`.
    ///
    /// The generation counts streams that had the same key and head but other contents later on: a log truncated
    /// and begun anew with the same first line.
    pub fn derive(key: FileKey, head: Head, generation: u32) -> Self {
        let mut hasher = Sha256::new_with_prefix(b"logferry stream 1\0");
        hasher.update(key.dev.to_be_bytes());
        hasher.update(key.inode.to_be_bytes());
        hasher.update(head.0.len.to_be_bytes());
        hasher.update(head.0.hash.0);
        hasher.update(generation.to_be_bytes());
        Self(Hash16::finish(hasher))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for StreamId {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_stays_the_same_while_the_file_grows() {
        let grown = b"first line\nsecond line\n";
        let head = Head::of(&grown[..11]).expect("a whole line");
        for len in 11..=grown.len() {
            assert_eq!(Head::of(&grown[..len]), Some(head));
            assert!(head.matches(&grown[..len]));
        }
        assert_eq!(Head::of(&grown[..10]), None, "half a line may become anything");
    }

    #[test]
    fn a_long_first_line_has_a_head_from_its_first_kilobyte_on() {
        let long = vec![b'x'; 5000];
        assert_eq!(Head::of(&long[..1023]), None);
        assert_eq!(Head::of(&long[..1024]), Head::of(&long));
        assert!(Head::of(&long).is_some());
    }

    #[test]
    fn a_tail_tells_files_with_like_beginnings_apart() {
        let tail = Tail::of(b"same\nsame\nA\n");
        assert!(tail.matches(b"same\nsame\nA\n"));
        assert!(!tail.matches(b"same\nsame\nB\n"));
        assert!(!tail.matches(b"A\n"), "shorter than the span it covers");
        assert_eq!(Tail::of(&[b'x'; 4000]), Tail::of(&[b'x'; 1024]));
    }

    #[test]
    fn every_text_form_reads_back() {
        let head = Head::of(b"line\n").expect("a line");
        let key = FileKey { dev: 66, inode: 1234 };
        let id = StreamId::derive(key, head, 0);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(head.0.to_string().parse(), Ok(head.0));
        let range = ByteRange::new(Offset::new(5), Offset::new(9)).expect("forwards");
        assert_eq!(range.to_string().parse(), Ok(range));
        for bad in ["", "9-5", "-", "1-", "a-b", "1-18446744073709551616"] {
            assert!(bad.parse::<ByteRange>().is_err(), "{bad:?}");
        }
        assert!("+0000000000000000000000000000001".parse::<Hash16>().is_err());
    }

    #[test]
    fn a_fingerprint_from_a_message_is_one_that_its_text_form_can_hold() {
        for len in [0, 1, 1024, 1025, u16::MAX] {
            let json = format!(r#"{{"len":{len},"hash":"000102030405060708090a0b0c0d0e0f"}}"#);
            let read = serde_json::from_str::<Fingerprint>(&json);
            assert_eq!(read.is_ok(), len <= 1024, "{len}");
            if let Ok(fingerprint) = read {
                assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
                assert_eq!(serde_json::to_string(&fingerprint).expect("JSON"), json);
            }
        }
    }
}
