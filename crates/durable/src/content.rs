//! Whether files have changed, by their contents.
//!
//! For small files that are read completely: every change is noticed, also one within a tick of the file system's clock,
//! and one that comes while the files are being read.

use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

/// A digest of the contents of some files. For a file that cannot be read, the error counts. The contents themselves are
/// not kept, since they may be secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentDigest([u8; 32]);

impl ContentDigest {
    /// Reads the files once: the digest, and the contents in the same order.
    pub fn read<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> (Self, Vec<io::Result<Vec<u8>>>) {
        let contents: Vec<_> = paths.into_iter().map(fs::read).collect();
        let mut digest = Sha256::new();
        for content in &contents {
            match content {
                Ok(bytes) => {
                    digest.update(b"+");
                    digest.update(Sha256::digest(bytes));
                }
                Err(error) => {
                    digest.update(b"-");
                    digest.update(Sha256::digest(error.to_string()));
                }
            }
        }
        (Self(digest.finalize().into()), contents)
    }

    /// The digest of the files as they are now.
    pub fn of_files<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self::read(paths).0
    }

    /// Its first 48 bits, as a number that a float holds exactly.
    pub fn number(&self) -> i64 {
        self.0
            .iter()
            .take(6)
            .fold(0, |number, byte| number << 8 | i64::from(*byte))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use super::*;

    #[test]
    fn any_change_of_content_is_noticed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("a"), dir.path().join("b")];
        let now = || ContentDigest::of_files(&paths);
        let (missing, contents) = ContentDigest::read(&paths);
        assert!(contents.iter().all(Result::is_err));
        fs::write(&paths[0], b"").unwrap();
        let empty = now();
        assert_ne!(empty, missing);
        fs::write(&paths[0], b"x").unwrap();
        fs::write(&paths[1], b"y").unwrap();
        let first = now();
        fs::write(&paths[0], b"xy").unwrap();
        fs::write(&paths[1], b"").unwrap();
        assert_ne!(now(), first, "bytes moved from one file to the other");
        fs::write(&paths[0], b"x").unwrap();
        fs::write(&paths[1], b"y").unwrap();
        assert_eq!(now(), first);
        assert_eq!(ContentDigest::read(&paths).1[1].as_deref().unwrap(), b"y");
    }
}
