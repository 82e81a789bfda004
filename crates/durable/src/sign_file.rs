//! A file that says that a process lives. It is the one file here that is not durable: it counts only while it is new.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A longer text is no sign.
const TEXT_MAX: u64 = 64 << 10;

/// A small text with a time.
#[derive(Debug)]
pub struct SignFile(PathBuf);

impl SignFile {
    /// The sign at `path`.
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Writes the text if it is another one, and sets the time. A crash leaves the old sign, or one that cannot be read.
    pub fn write(&self, text: &str, at: SystemTime) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.0)?;
        let mut old = String::new();
        let is_same = (&file).take(TEXT_MAX).read_to_string(&mut old).is_ok() && old == text;
        // The time first: it can be set on a full disk, too.
        file.set_modified(at)?;
        if !is_same {
            file.set_len(0)?;
            io::Seek::rewind(&mut file)?;
            file.write_all(text.as_bytes())?;
            file.set_modified(at)?;
        }
        Ok(())
    }

    /// The text and the time; `None` if there is no sign.
    pub fn read(&self) -> Option<(String, SystemTime)> {
        let file = fs::File::open(&self.0).ok()?;
        let at = file.metadata().and_then(|metadata| metadata.modified()).ok()?;
        let mut text = String::new();
        file.take(TEXT_MAX).read_to_string(&mut text).ok()?;
        Some((text, at))
    }
}
