//! A log file as nginx writes it: appended to, rotated by rename, then reopened.
//!
//! A generated log is test data: nothing is synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A log being written.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    /// Opens the log for appending; creates it if it does not exist.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        Ok(Self {
            file: append_to(&path)?,
            path,
        })
    }

    /// The path of the log.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends whole lines with one write, as nginx does.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)
    }

    /// Renames the log to `PATH.1`, and `PATH.1` to `PATH.2` and so on, as logrotate does. Lines still go to the
    /// renamed file until [`LogFile::reopen`].
    pub fn rename(&mut self) -> io::Result<()> {
        let mut last = 1;
        while self.rotated(last).try_exists()? {
            last += 1;
        }
        for number in (1..last).rev() {
            rename(&self.rotated(number), &self.rotated(number + 1))?;
        }
        rename(&self.path, &self.rotated(1))
    }

    /// Continues in a new file at the log's path, as nginx does on USR1.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.file = append_to(&self.path)?;
        Ok(())
    }

    /// The path of the rotated file with this number; 1 is the youngest.
    pub fn rotated(&self, number: u32) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a generated log need not survive a power loss"
    )]
    std::fs::rename(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_keeps_every_line_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(dir.path().join("access.log")).unwrap();
        for number in 0..3 {
            log.append(format!("{number} before\n").as_bytes()).unwrap();
            log.rename().unwrap();
            log.append(format!("{number} between\n").as_bytes()).unwrap();
            log.reopen().unwrap();
        }
        log.append(b"last\n").unwrap();
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(text(&log.rotated(3)), "0 before\n0 between\n");
        assert_eq!(text(&log.rotated(2)), "1 before\n1 between\n");
        assert_eq!(text(&log.rotated(1)), "2 before\n2 between\n");
        assert_eq!(text(log.path()), "last\n");
    }
}
