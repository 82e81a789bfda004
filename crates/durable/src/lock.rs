//! One process per folder, by a lock that the kernel drops with the process: a crash never needs cleaning by hand.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::new_owner;

/// How often [`LockFile::acquire_within`] tries.
const TRY_EVERY: Duration = Duration::from_millis(200);

/// An exclusive lock on a file (`flock(2)`), held until dropped.
#[derive(Debug)]
pub struct LockFile {
    _file: File,
}

/// Why the lock was not acquired.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{} is held by process {holder}: stop that one first, or use another folder", .path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The holder's process id, as it wrote it into the file; `unknown` if it could not be read.
        holder: String,
    },
    /// The lock file cannot be opened or locked.
    #[error("cannot lock {}{}", .path.display(), foreign_owner(.path, .source))]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// The reason and the cure, if the file belongs to another user: a command of root may have made it.
fn foreign_owner(path: &Path, error: &io::Error) -> String {
    let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
    let owner = std::fs::metadata(path).ok().filter(|_| is_denied);
    owner.map_or_else(String::new, |file| {
        let (uid, path) = (file.uid(), path.display());
        format!(", which belongs to another user (uid {uid}); give it the owner of its folder, or remove it: `sudo rm {path}`")
    })
}

impl LockFile {
    /// Acquires the lock `path` without waiting, or names the holder. The file is never removed; only the lock on it counts.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let io_error = |source| LockError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io_error)?;
        // A command of root may take the lock of a role before the role's first start. Where root may not give it away (`/dev`, some
        // network file systems), the role says whose it is.
        let _ = new_owner::of_file(&file, path);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let read = file.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    pid if read.is_ok() && !pid.is_empty() => pid.to_owned(),
                    _ => "unknown".to_owned(),
                };
                return Err(LockError::Held {
                    path: path.to_owned(),
                    holder,
                });
            }
            Err(TryLockError::Error(source)) => return Err(io_error(source)),
        }
        // The holder's process id is only for the message above. So it needs no sync, and a full disk does not prevent
        // the lock.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }

    /// Acquires the lock, and waits as long as `limit` for its holder. `on_wait` is called once, before a wait.
    pub fn acquire_within(path: &Path, limit: Duration, on_wait: impl FnOnce()) -> Result<Self, LockError> {
        let began = Instant::now();
        let mut on_wait = Some(on_wait);
        loop {
            match Self::acquire(path) {
                Err(LockError::Held { .. }) if began.elapsed() < limit => {}
                ended => return ended,
            }
            if let Some(on_wait) = on_wait.take() {
                on_wait();
            }
            thread::sleep(TRY_EVERY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_does_not_cost_the_lock() {
        // full(4): every write fails for want of space.
        assert!(LockFile::acquire(Path::new("/dev/full")).is_ok());
    }
}
