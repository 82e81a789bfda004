//! The file that a person wants a result in, such as `--html page.html`.

use std::fs::{File, OpenOptions};
use std::io::{Result as IoResult, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A file that is open for a result.
#[derive(Debug)]
pub(crate) struct ResultFile {
    path: PathBuf,
    file: File,
}

impl ResultFile {
    /// Opens it before root takes the rights of the data folder's owner, who may not write there; and before the work, which
    /// would be in vain. What is in it stays until the result is written.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        // Made again by the same command if it is lost in a crash.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// The path that the person gave.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the result in the place of what was in the file.
    pub(crate) fn write(mut self, text: &[u8]) -> anyhow::Result<()> {
        self.replace(text)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn replace(&mut self, text: &[u8]) -> IoResult<()> {
        // A pipe such as /dev/stdout has neither a length nor a disk.
        let is_file = self.file.metadata()?.is_file();
        if is_file {
            self.file.set_len(0)?;
        }
        self.file.write_all(text)?;
        if is_file { self.file.sync_all() } else { Ok(()) }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_contents_until_the_result_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("page.html");
        std::fs::write(&path, "an older and longer page").unwrap();
        let file = ResultFile::open(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"an older and longer page");
        file.write(b"a page").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"a page");
        let error = ResultFile::open(&dir.path().join("no/page.html")).unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
    }
}
