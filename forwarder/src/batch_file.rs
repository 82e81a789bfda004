//! A sealed batch's file, read with its checksums: what is sent, and what is hashed, are the same bytes.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use logferry_ledger::Contents;
use logferry_sftp::{Content, JobId};
use sha2::{Digest, Sha256};

use crate::error::DeliveryError;

/// Bytes read at a time when a file is only hashed.
const BLOCK: usize = 256 << 10;

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
    file: File,
    /// What the ledger says that it holds.
    expected: Contents,
}

impl BatchFile {
    /// Opens the file, and refuses it if it has another size than it was sealed with.
    pub(crate) fn open(path: &Path, expected: Contents) -> Result<Self, DeliveryError> {
        let local = |source| DeliveryError::LocalFile {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(local)?;
        let len = file.metadata().map_err(local)?.len();
        if len != expected.bytes {
            return Err(DeliveryError::Altered {
                path: path.to_owned(),
                detail: format!("{len} bytes, sealed with {}", expected.bytes),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            expected,
        })
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.expected.bytes
    }

    /// A reader from the beginning, for one upload.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader {
            file: self,
            crc32c: 0,
            sha256: Sha256::new(),
        }
    }

    /// Reads it whole; fails if it holds other bytes than were sealed.
    pub(crate) fn hash(&self) -> Result<FileHash, DeliveryError> {
        let mut reader = self.reader();
        let mut block = vec![0; BLOCK];
        let mut offset = 0;
        while offset < self.len() {
            let left = usize::try_from(self.len() - offset).unwrap_or(BLOCK).min(BLOCK);
            let (block, _) = block.split_at_mut(left);
            reader
                .read(offset, block)
                .map_err(|source| self.unreadable(source))?;
            offset += left as u64;
        }
        reader.finish()
    }

    /// The error for a read that failed.
    pub(crate) fn unreadable(&self, source: io::Error) -> DeliveryError {
        DeliveryError::LocalFile {
            path: self.path.clone(),
            source,
        }
    }
}

/// Reads a batch's file from its beginning to its end, and hashes on the way.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    file: &'a BatchFile,
    crc32c: u32,
    sha256: Sha256,
}

impl Reader<'_> {
    fn read(&mut self, offset: u64, block: &mut [u8]) -> io::Result<()> {
        self.file.file.read_exact_at(block, offset)?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, block);
        self.sha256.update(block);
        Ok(())
    }

    /// To be called when everything was read: the hash, if the bytes are those that were sealed.
    pub(crate) fn finish(self) -> Result<FileHash, DeliveryError> {
        if self.crc32c == self.file.expected.crc32c {
            return Ok(FileHash::of(self.sha256));
        }
        Err(DeliveryError::Altered {
            path: self.file.path.clone(),
            detail: format!(
                "CRC-32C {:08x}, sealed with {:08x}",
                self.crc32c, self.file.expected.crc32c
            ),
        })
    }
}

impl Content for Reader<'_> {
    fn fill(&mut self, _: JobId, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read(offset, buf)
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

    #[test]
    fn hash_is_that_of_the_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = vec![b'x'; BLOCK * 2 + 17];
        let (path, contents) = sealed(dir.path(), &bytes);
        let hash = BatchFile::open(&path, contents).unwrap().hash().unwrap();
        assert_eq!(hash, FileHash::of(Sha256::new_with_prefix(&bytes)));
        assert_eq!(hash.hex().len(), 64);
        let (path, contents) = sealed(dir.path(), b"");
        let hash = BatchFile::open(&path, contents).unwrap().hash().unwrap().hex();
        assert!(hash.starts_with("e3b0c44298fc1c14"), "{hash}");
    }

    #[test]
    fn file_of_another_length_or_with_other_bytes_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, contents) = sealed(dir.path(), b"one line\n");
        std::fs::write(&path, b"one line\nmore").unwrap();
        let longer = BatchFile::open(&path, contents);
        assert!(matches!(longer, Err(DeliveryError::Altered { .. })), "{longer:?}");
        std::fs::write(&path, b"one lime\n").unwrap();
        let changed = BatchFile::open(&path, contents).unwrap().hash();
        assert!(
            matches!(changed, Err(DeliveryError::Altered { .. })),
            "{changed:?}"
        );
    }
}
