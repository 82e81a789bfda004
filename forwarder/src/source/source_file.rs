//! A file to be published, of a sealed batch or made for one, read from its beginning to its end with its checksums: what
//! is sent, or compared, and what is hashed are the same bytes.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use logferry_ledger::BatchContents;
use sha2::{Digest, Sha256};

use crate::error::DeliveryError;
use crate::source::StagedFile;
use crate::source::batch_reader::BatchReader;

/// SHA-256 of a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sha256Hash([u8; 32]);

impl From<[u8; 32]> for Sha256Hash {
    fn from(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

impl Sha256Hash {
    pub(crate) fn of(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }

    /// As the ledger and `sha256sum` write it.
    pub(crate) fn hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a String takes everything");
            hex
        })
    }
}

/// Backing read at a time where nobody else says how many.
const BLOCK_BYTES: usize = 128 << 10;

/// Where the bytes are.
#[derive(Debug)]
enum Backing {
    OnDisk(BatchReader),
    InMemory(Vec<u8>),
}

impl Backing {
    fn read_exact_at(&mut self, block: &mut [u8], position: u64) -> io::Result<()> {
        match self {
            Self::OnDisk(file) => file.read_exact_at(block, position),
            Self::InMemory(text) => {
                let rest = usize::try_from(position).ok().and_then(|at| text.get(at..));
                let wanted = rest.and_then(|rest| rest.get(..block.len()));
                block.copy_from_slice(wanted.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

/// A file to be published, open for reading.
#[derive(Debug)]
pub(crate) struct SourceFile {
    path: PathBuf,
    bytes: Backing,
    /// What it holds, as far as that counts here.
    expected: BatchContents,
    /// Of a compressed file: the hash of the lines in it, and its staged.
    compressed: Option<(Sha256Hash, StagedFile)>,
    /// How far it was read, and the checksums so far.
    position: u64,
    crc32c: u32,
    sha256: Sha256,
}

impl SourceFile {
    /// A file that is made for a batch: its bytes are at hand. `path`: its name in messages.
    pub(crate) fn from_bytes(path: &str, text: Vec<u8>) -> Self {
        let expected = BatchContents {
            lines: 0,
            bytes: text.len() as u64,
            crc32c: crc32c::crc32c(&text),
        };
        Self::new(path.into(), Backing::InMemory(text), expected)
    }

    fn new(path: PathBuf, bytes: Backing, expected: BatchContents) -> Self {
        Self {
            path,
            bytes,
            expected,
            compressed: None,
            position: 0,
            crc32c: 0,
            sha256: Sha256::new(),
        }
    }

    /// Opens a compressed file that was made of a sealed batch's. `lines`: the hash of the lines in it.
    pub(crate) fn open_compressed(
        path: &Path,
        expected: BatchContents,
        lines: Sha256Hash,
        staged: StagedFile,
    ) -> Result<Self, DeliveryError> {
        let bytes = BatchReader::open_raw(path);
        let mut file = Self::of_file(path, bytes, expected)?;
        file.compressed = Some((lines, staged));
        Ok(file)
    }

    /// The hash of the lines in a compressed file.
    pub(crate) fn lines_hash(&self) -> Option<Sha256Hash> {
        self.compressed.as_ref().map(|(lines, _)| *lines)
    }

    /// Hands over the staged of a compressed file.
    pub(crate) fn into_staged(self) -> Option<StagedFile> {
        self.compressed.map(|(_, staged)| staged)
    }

    /// Opens a sealed batch's file, and refuses it if it has another size than it was sealed with.
    pub(crate) fn open(path: &Path, expected: BatchContents) -> Result<Self, DeliveryError> {
        Self::of_file(path, BatchReader::open(path), expected)
    }

    fn of_file(
        path: &Path,
        file: io::Result<BatchReader>,
        expected: BatchContents,
    ) -> Result<Self, DeliveryError> {
        let local = |source| DeliveryError::LocalFile {
            path: path.to_owned(),
            source,
        };
        let file = file.map_err(local)?;
        if let Some(len) = file.len().map_err(local)?
            && len != expected.bytes
        {
            return Err(DeliveryError::Altered {
                path: path.to_owned(),
                detail: format!("{len} bytes, sealed with {}", expected.bytes),
            });
        }
        Ok(Self::new(path.to_owned(), Backing::OnDisk(file), expected))
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.expected.bytes
    }

    /// The error for a read that failed.
    pub(crate) fn read_error(&self, source: io::Error) -> DeliveryError {
        DeliveryError::LocalFile {
            path: self.path.clone(),
            source,
        }
    }

    /// Goes back to the beginning, for another reading.
    pub(crate) fn rewind(&mut self) {
        self.position = 0;
        self.crc32c = 0;
        self.sha256 = Sha256::new();
    }

    /// Backing read since the beginning.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Reads the next bytes.
    pub(crate) fn read_next(&mut self, block: &mut [u8]) -> io::Result<()> {
        self.bytes.read_exact_at(block, self.position)?;
        self.advance(block);
        Ok(())
    }

    /// Reads on for as long as `theirs`, if those are the next bytes; else stays where it is, and is false.
    pub(crate) fn read_same(&mut self, theirs: &[u8]) -> io::Result<bool> {
        if self.len() - self.position < theirs.len() as u64 {
            return Ok(false);
        }
        let mut ours = vec![0; theirs.len()];
        self.bytes.read_exact_at(&mut ours, self.position)?;
        let same = ours == theirs;
        if same {
            self.advance(theirs);
        }
        Ok(same)
    }

    fn advance(&mut self, block: &[u8]) {
        self.position += block.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, block);
        self.sha256.update(block);
    }

    /// Reads everything, for its hash alone.
    pub(crate) fn read_whole(&mut self) -> Result<Sha256Hash, DeliveryError> {
        self.rewind();
        let mut block = vec![0; BLOCK_BYTES];
        while self.position < self.len() {
            let left = usize::try_from(self.len() - self.position).unwrap_or(BLOCK_BYTES);
            let (block, _) = block.split_at_mut(left.min(BLOCK_BYTES));
            self.read_next(block).map_err(|source| self.read_error(source))?;
        }
        self.finish()
    }

    /// To be called when everything was read: the hash, if the bytes are those that were sealed.
    pub(crate) fn finish(&self) -> Result<Sha256Hash, DeliveryError> {
        if self.crc32c == self.expected.crc32c && self.position == self.len() {
            return Ok(Sha256Hash::of(self.sha256.clone()));
        }
        Err(DeliveryError::Altered {
            path: self.path.clone(),
            detail: format!(
                "CRC-32C {:08x}, sealed with {:08x}",
                self.crc32c, self.expected.crc32c
            ),
        })
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use super::*;

    fn sealed(dir: &Path, bytes: &[u8]) -> (PathBuf, BatchContents) {
        let path = dir.join("batch.log");
        std::fs::write(&path, bytes).unwrap();
        let contents = BatchContents {
            lines: 1,
            bytes: bytes.len() as u64,
            crc32c: crc32c::crc32c(bytes),
        };
        (path, contents)
    }

    fn read_whole(path: &Path, contents: BatchContents) -> Result<Sha256Hash, DeliveryError> {
        SourceFile::open(path, contents)?.read_whole()
    }

    #[test]
    fn hash_is_that_of_the_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, contents) = sealed(dir.path(), b"one line\n");
        let hash = read_whole(&path, contents).unwrap();
        assert_eq!(hash, Sha256Hash::of(Sha256::new_with_prefix(b"one line\n")));
        assert_eq!(hash.hex().len(), 64);
        let (path, contents) = sealed(dir.path(), b"");
        let hash = read_whole(&path, contents).unwrap().hex();
        assert!(hash.starts_with("e3b0c44298fc1c14"), "{hash}");
        let text = vec![b'x'; BLOCK_BYTES * 2 + 1];
        let (path, contents) = sealed(dir.path(), &text);
        let made = SourceFile::from_bytes("made", text).read_whole().unwrap();
        assert_eq!(read_whole(&path, contents).unwrap(), made);
    }

    #[test]
    fn reading_goes_on_behind_what_was_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (path, contents) = sealed(dir.path(), b"one line\n");
        let mut file = SourceFile::open(&path, contents).unwrap();
        assert!(file.read_same(b"one ").unwrap());
        assert!(!file.read_same(b"lime").unwrap());
        assert!(!file.read_same(b"line\nmore").unwrap());
        assert_eq!(file.position(), 4);
        assert!(
            matches!(file.finish(), Err(DeliveryError::Altered { .. })),
            "not read whole"
        );
        file.read_next(&mut [0; 5]).unwrap();
        assert_eq!(
            file.finish().unwrap(),
            Sha256Hash::of(Sha256::new_with_prefix(b"one line\n"))
        );
        file.rewind();
        assert!(file.read_same(b"one line\n").unwrap());
        assert_eq!(
            file.finish().unwrap(),
            Sha256Hash::of(Sha256::new_with_prefix(b"one line\n"))
        );
    }

    #[test]
    fn file_of_another_length_or_with_other_bytes_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, contents) = sealed(dir.path(), b"one line\n");
        std::fs::write(&path, b"one line\nmore").unwrap();
        let longer = SourceFile::open(&path, contents);
        assert!(matches!(longer, Err(DeliveryError::Altered { .. })), "{longer:?}");
        std::fs::write(&path, b"one lime\n").unwrap();
        let changed = read_whole(&path, contents);
        assert!(
            matches!(changed, Err(DeliveryError::Altered { .. })),
            "{changed:?}"
        );
    }
}
