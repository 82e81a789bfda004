//! A sealed batch's file, read from its beginning to its end with its checksums: what is sent, or compared, and what is
//! hashed are the same bytes.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use logferry_ledger::Contents;
use sha2::{Digest, Sha256};

use crate::error::DeliveryError;
use crate::original::Original;

/// SHA-256 of a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileHash([u8; 32]);

impl FileHash {
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

/// A sealed batch's file, open for reading.
#[derive(Debug)]
pub(crate) struct BatchFile {
    path: PathBuf,
    file: Original,
    /// What the ledger says that it holds.
    expected: Contents,
    /// How far it was read, and the checksums so far.
    position: u64,
    crc32c: u32,
    sha256: Sha256,
}

impl BatchFile {
    /// Opens the file, and refuses it if it has another size than it was sealed with.
    pub(crate) fn open(path: &Path, expected: Contents) -> Result<Self, DeliveryError> {
        let local = |source| DeliveryError::LocalFile {
            path: path.to_owned(),
            source,
        };
        let file = Original::open(path).map_err(local)?;
        if let Some(len) = file.len().map_err(local)?
            && len != expected.bytes
        {
            return Err(DeliveryError::Altered {
                path: path.to_owned(),
                detail: format!("{len} bytes, sealed with {}", expected.bytes),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            expected,
            position: 0,
            crc32c: 0,
            sha256: Sha256::new(),
        })
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.expected.bytes
    }

    /// The error for a read that failed.
    pub(crate) fn unreadable(&self, source: io::Error) -> DeliveryError {
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

    /// Bytes read since the beginning.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Reads the next bytes.
    pub(crate) fn read_next(&mut self, block: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(block, self.position)?;
        self.advance(block);
        Ok(())
    }

    /// Reads on for as long as `theirs`, if those are the next bytes; else stays where it is, and is false.
    pub(crate) fn read_same(&mut self, theirs: &[u8]) -> io::Result<bool> {
        if self.len() - self.position < theirs.len() as u64 {
            return Ok(false);
        }
        let mut ours = vec![0; theirs.len()];
        self.file.read_exact_at(&mut ours, self.position)?;
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

    /// To be called when everything was read: the hash, if the bytes are those that were sealed.
    pub(crate) fn finish(&self) -> Result<FileHash, DeliveryError> {
        if self.crc32c == self.expected.crc32c && self.position == self.len() {
            return Ok(FileHash::of(self.sha256.clone()));
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

    fn sealed(dir: &Path, bytes: &[u8]) -> (PathBuf, Contents) {
        let path = dir.join("batch.log");
        std::fs::write(&path, bytes).unwrap();
        let contents = Contents {
            lines: 1,
            bytes: bytes.len() as u64,
            crc32c: crc32c::crc32c(bytes),
        };
        (path, contents)
    }

    fn read_whole(path: &Path, contents: Contents) -> Result<FileHash, DeliveryError> {
        let mut file = BatchFile::open(path, contents)?;
        let mut block = vec![0; usize::try_from(contents.bytes).unwrap()];
        file.read_next(&mut block).unwrap();
        file.finish()
    }

    #[test]
    fn hash_is_that_of_the_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, contents) = sealed(dir.path(), b"one line\n");
        let hash = read_whole(&path, contents).unwrap();
        assert_eq!(hash, FileHash::of(Sha256::new_with_prefix(b"one line\n")));
        assert_eq!(hash.hex().len(), 64);
        let (path, contents) = sealed(dir.path(), b"");
        let hash = read_whole(&path, contents).unwrap().hex();
        assert!(hash.starts_with("e3b0c44298fc1c14"), "{hash}");
    }

    #[test]
    fn reading_goes_on_behind_what_was_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (path, contents) = sealed(dir.path(), b"one line\n");
        let mut file = BatchFile::open(&path, contents).unwrap();
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
            FileHash::of(Sha256::new_with_prefix(b"one line\n"))
        );
        file.rewind();
        assert!(file.read_same(b"one line\n").unwrap());
        assert_eq!(
            file.finish().unwrap(),
            FileHash::of(Sha256::new_with_prefix(b"one line\n"))
        );
    }

    #[test]
    fn file_of_another_length_or_with_other_bytes_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, contents) = sealed(dir.path(), b"one line\n");
        std::fs::write(&path, b"one line\nmore").unwrap();
        let longer = BatchFile::open(&path, contents);
        assert!(matches!(longer, Err(DeliveryError::Altered { .. })), "{longer:?}");
        std::fs::write(&path, b"one lime\n").unwrap();
        let changed = read_whole(&path, contents);
        assert!(
            matches!(changed, Err(DeliveryError::Altered { .. })),
            "{changed:?}"
        );
    }
}
