//! The only place that writes, syncs, renames and locks files whose loss would lose lines.
//!
//! Roles use a [`Disk`] and never `std::fs` for durable work, so that tests can replace the real disk by a simulated
//! one, which loses unsynced data.
//!
//! Invariants:
//! - A function that returns `Ok` has made its effect durable, the folder's entry included; the one exception is
//!   [`DiskFile::append`] (and [`DiskFile::append_backlog`]), whose bytes are durable after the next [`DiskFile::sync`].
//! - A name is never left pointing at half a file: contents appear under a final name by rename only.

mod boot_time;
mod content;
mod lock;
mod new_owner;
mod open_files;
mod past_cache;
mod real;
mod sign_file;
mod space;

use std::fmt;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

pub use boot_time::BootTime;
pub use content::ContentDigest;
pub use lock::{LockError, LockFile};
pub use open_files::open_files_max;
pub use real::{LinkOutcome, RealDisk, RealFile};
pub use sign_file::SignFile;
pub use space::{DiskSpace, disk_space};

/// The path without symbolic links, as far as it exists.
pub fn real_path(path: &Path) -> PathBuf {
    let real = path.ancestors().find_map(|existing| {
        let rest = path.strip_prefix(existing).ok()?;
        Some(existing.canonicalize().ok()?.join(rest))
    });
    // An empty rest has added a slash.
    real.map_or_else(|| path.to_owned(), |real| real.components().collect())
}

/// The folder that a path is in.
fn parent(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// The operation that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskOperation {
    /// Making a folder.
    CreateDir,
    /// Opening a file.
    Open,
    /// Reading a file or its length.
    Read,
    /// Adding bytes to a file.
    Append,
    /// Flushing a file or folder to stable storage.
    Sync,
    /// Cutting a file to a length.
    Truncate,
    /// Giving a file another name.
    Rename,
    /// Giving a file a second name.
    Link,
    /// Removing a file.
    Remove,
    /// Listing a folder.
    List,
    /// Asking for free space.
    FreeSpace,
}

impl DiskOperation {
    const fn verb(self) -> &'static str {
        match self {
            Self::CreateDir => "create folder",
            Self::Open => "open",
            Self::Read => "read",
            Self::Append => "write to",
            Self::Sync => "sync",
            Self::Truncate => "truncate",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Remove => "remove",
            Self::List => "list",
            Self::FreeSpace => "find the free space of",
        }
    }
}

/// A disk operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {} {}", .operation.verb(), .path.display())]
pub struct DiskError {
    /// The operation.
    pub operation: DiskOperation,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's error.
    #[source]
    pub source: io::Error,
}

impl DiskError {
    /// An error of `operation` on `path`.
    pub fn new(operation: DiskOperation, path: &Path, source: io::Error) -> Self {
        Self {
            operation,
            path: path.to_owned(),
            source,
        }
    }

    /// Whether the disk or the quota is full (`ENOSPC`, `EDQUOT`).
    pub fn is_disk_full(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

/// A file system, real or simulated.
pub trait Disk: Clone + Send + Sync + 'static {
    /// A file open for appending.
    type File: DiskFile;

    /// A file open for reading.
    type Reader: Read + Seek + fmt::Debug + Send + 'static;

    /// Makes a folder and its missing parents; each new entry is synced.
    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError>;

    /// Opens a file for appending, and makes it if it is not there; a new entry is synced.
    fn open_append(&self, file: &Path) -> Result<Self::File, DiskError>;

    /// Opens files as [`Self::open_append`] does one, in their order.
    fn open_append_all(&self, files: &[PathBuf]) -> Result<Vec<Self::File>, DiskError> {
        files.iter().map(|file| self.open_append(file)).collect()
    }

    /// Makes folders as [`Self::create_dir_all`] does one.
    fn create_dirs_all(&self, dirs: &[PathBuf]) -> Result<(), DiskError> {
        dirs.iter().try_for_each(|dir| self.create_dir_all(dir))
    }

    /// Flushes files as [`DiskFile::sync`] does one. After an error that must be held of each of them.
    fn sync_all(&self, files: &mut [&mut Self::File]) -> Result<(), DiskError> {
        files.iter_mut().try_for_each(|file| file.sync())
    }

    /// Renames a file, replacing what stands at `to`, and syncs both folders.
    ///
    /// A crash leaves the file under exactly one of the two names.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError>;

    /// Renames files as [`Self::rename`] does one, and syncs each folder once for all of them: each pair is a name and
    /// the new one.
    ///
    /// A crash or an error leaves each file under exactly one of its two names.
    fn rename_all(&self, pairs: &[(PathBuf, PathBuf)]) -> Result<(), DiskError> {
        pairs.iter().try_for_each(|(from, to)| self.rename(from, to))
    }

    /// Removes a file and syncs the folder; a file that is not there is fine.
    fn remove(&self, file: &Path) -> Result<(), DiskError>;

    /// Replaces a file's contents at once: temporary file, sync, rename, sync of the folder.
    ///
    /// A crash leaves the old contents or the new, and perhaps a `.tmp` file that the next call overwrites.
    fn replace(&self, file: &Path, contents: &[u8]) -> Result<(), DiskError>;

    /// Writes bytes once more that stand at `at` of a file already, and syncs the file. After a failed sync they may stand in
    /// memory only, and a later sync would not tell (fsync(2), "NOTES").
    ///
    /// A crash leaves the file as it was: the bytes are the same. This way makes the file anew; a disk that can write in place does.
    fn write_again(&self, file: &Path, _at: u64, _bytes: &[u8]) -> Result<(), DiskError> {
        match self.read(file)? {
            Some(contents) => self.replace(file, &contents),
            None => Ok(()),
        }
    }

    /// The whole contents of a file; `None` if there is none.
    fn read(&self, file: &Path) -> Result<Option<Vec<u8>>, DiskError>;

    /// Opens a file for reading piece by piece; `None` if there is none.
    fn open_read(&self, file: &Path) -> Result<Option<Self::Reader>, DiskError>;

    /// Length of a file in bytes; `None` if there is none.
    fn len(&self, file: &Path) -> Result<Option<u64>, DiskError>;

    /// Bytes that the removal of a file gives back: none while the file has another name, as in a backup on the same disk.
    fn own_len(&self, file: &Path) -> Result<u64, DiskError> {
        Ok(self.len(file)?.unwrap_or(0))
    }

    /// Names of the entries of a folder, sorted; empty if there is no such folder.
    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError>;

    /// Bytes that an unprivileged process can still write to the file system of `path`.
    fn free_bytes(&self, path: &Path) -> Result<u64, DiskError> {
        Ok(self.space(path)?.free_bytes)
    }

    /// The space on the file system of `path`.
    fn space(&self, path: &Path) -> Result<DiskSpace, DiskError>;
}

/// A file that grows at its end. A clone is the same open file: one may sync while another appends.
pub trait DiskFile: Clone + Send + 'static {
    /// Adds bytes at the end. They are durable only after [`Self::sync`]; after an error the file may hold any
    /// part of them, and must be cut back.
    fn append(&mut self, bytes: &[u8]) -> Result<(), DiskError>;

    /// As [`Self::append`], for the many bytes of a backlog: a disk that can writes them at once, past the page cache. That waits
    /// for the disk, and leaves little for [`Self::sync`], which is as necessary.
    fn append_backlog(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.append(bytes)
    }

    /// Flushes contents and length to stable storage (`fdatasync(2)`).
    ///
    /// After an error, nothing appended since the last success can be trusted: Linux reports a failed write-back only
    /// once. So the caller must cut the file back, open it again and write again; clones of this one only fail.
    fn sync(&mut self) -> Result<(), DiskError>;

    /// Cuts the file to `len` bytes and syncs it.
    fn truncate(&mut self, len: u64) -> Result<(), DiskError>;

    /// Length of the file in bytes.
    fn len(&self) -> Result<u64, DiskError>;

    /// Whether the file holds no byte.
    fn is_empty(&self) -> Result<bool, DiskError> {
        Ok(self.len()? == 0)
    }
}
