//! Whether a process has a file open for writing (proc(5)).
//!
//! Root sees every process of its PID namespace. Other users see their own processes only, so for them the answer is
//! mostly "unknown".

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use logferry_protocol::stream::FileKey;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenWriters {
    None,
    Some,
    /// None was seen, but not all processes are visible.
    Unknown,
}

/// The owner's write permission: proc(5) shows it for a descriptor that is open for writing.
const OPEN_FOR_WRITING: u32 = 0o200;

/// Searches the open files of all processes. This takes some milliseconds on a busy host.
pub(crate) fn open_writers(file: FileKey) -> OpenWriters {
    let Ok(processes) = Path::new("/proc").read_dir() else {
        return OpenWriters::Unknown;
    };
    let mut found = OpenWriters::None;
    for process in processes.flatten() {
        let name = process.file_name();
        let is_process = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        match is_process.then(|| writes_to(&process.path(), file)) {
            Some(Ok(true)) => return OpenWriters::Some,
            Some(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                found = OpenWriters::Unknown;
            }
            // A process that has ended meanwhile has no files open.
            Some(Ok(false) | Err(_)) | None => {}
        }
    }
    found
}

fn writes_to(process: &Path, file: FileKey) -> io::Result<bool> {
    for descriptor in process.join("fd").read_dir()?.flatten() {
        let path = descriptor.path();
        let link = path.symlink_metadata();
        let is_writable = link.is_ok_and(|link| link.mode() & OPEN_FOR_WRITING != 0);
        let is_it = |open: std::fs::Metadata| open.dev() == file.dev && open.ino() == file.inode;
        if is_writable && path.metadata().is_ok_and(is_it) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;
    use crate::files::{FileHandle, FileSystem, RealFileSystem};

    #[test]
    fn a_process_that_writes_is_found_and_one_that_only_reads_is_not() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let read = RealFileSystem.open(file.path()).expect("readable");
        let key = read.stat().expect("stat").key;
        assert_eq!(open_writers(key), OpenWriters::Some);
        let path = file.into_temp_path();
        assert_ne!(open_writers(key), OpenWriters::Some);
        let append = OpenOptions::new().append(true).open(&path).expect("writable");
        path.close().expect("deleted");
        assert_eq!(open_writers(key), OpenWriters::Some, "a deleted file too");
        drop(append);
        assert_ne!(open_writers(key), OpenWriters::Some);
    }
}
