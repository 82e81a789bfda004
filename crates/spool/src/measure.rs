//! Lines, length and checksums of bytes, taken in one pass.

use std::io::{self, Read};

use logferry_ledger::BatchContents;
use memchr::memchr_iter;
use sha2::{Digest, Sha256};

/// SHA-256 of a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHash([u8; 32]);

impl From<[u8; 32]> for FileHash {
    fn from(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

impl FileHash {
    /// The hash of all bytes that `hasher` was given.
    pub fn of(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }

    /// The hash as the ledger and `sha256sum` write it.
    pub fn hex(&self) -> String {
        logferry_text::hex(&self.0)
    }
}

/// Lines, length and checksums of the bytes added so far.
#[derive(Debug, Clone, Default)]
pub struct Measure {
    contents: BatchContents,
    sha256: Option<Sha256>,
}

impl Measure {
    /// A measure that includes SHA-256. [`Measure::default`] is one without, which is several times as fast.
    pub fn with_sha256() -> Self {
        Self {
            sha256: Some(Sha256::new()),
            ..Self::default()
        }
    }

    /// Adds bytes at the end.
    pub fn add(&mut self, bytes: &[u8]) {
        let count = |len| u64::try_from(len).unwrap_or(u64::MAX);
        self.contents.lines += count(memchr_iter(b'\n', bytes).count());
        self.contents.bytes += count(bytes.len());
        self.contents.crc32c = crc32c::crc32c_append(self.contents.crc32c, bytes);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
    }

    /// Lines (counted by their newlines), length and CRC-32C.
    pub fn contents(&self) -> BatchContents {
        self.contents
    }

    /// Whether length and CRC-32C are the ones that the ledger has.
    pub fn matches(&self, expected: BatchContents) -> bool {
        self.contents.has_same_bytes(expected)
    }

    /// SHA-256, if this measure includes it.
    pub fn sha256(&self) -> Option<FileHash> {
        self.sha256.clone().map(FileHash::of)
    }
}

/// A reader that measures the bytes that pass through it.
#[derive(Debug)]
pub struct MeasuredReader<R> {
    input: R,
    measure: Measure,
}

impl<R> MeasuredReader<R> {
    /// Adds the bytes read from `input` to `measure`.
    pub fn new(input: R, measure: Measure) -> Self {
        Self { input, measure }
    }

    /// The measure of the bytes read so far.
    pub fn measure(&self) -> &Measure {
        &self.measure
    }
}

impl<R: Read> Read for MeasuredReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.measure.add(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
