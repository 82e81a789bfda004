//! Whether a process has a file open for writing (proc(5)).
//!
//! Root sees every process of its PID namespace. Other users see their own processes only, so for them the answer is
//! mostly "unknown". Where `/proc` hides what they may not see (`ProtectProc=invisible` of systemd, `hidepid`), nothing is
//! refused: so it counts whether the first process can be looked at. In a container that may be this one.

use std::collections::HashSet;
use std::fs::Metadata;
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

/// The files that processes have open for writing.
#[derive(Debug)]
pub(crate) struct WrittenFiles {
    pub(crate) files: HashSet<FileKey>,
    /// Whether all processes are visible.
    pub(crate) is_complete: bool,
}

impl WrittenFiles {
    pub(crate) fn writers_of(&self, file: FileKey) -> OpenWriters {
        if self.files.contains(&file) {
            OpenWriters::Some
        } else if self.is_complete {
            OpenWriters::None
        } else {
            OpenWriters::Unknown
        }
    }
}

/// Searches the open files of all processes, once for all files that are asked for. This takes some milliseconds on a busy
/// host.
pub(crate) fn written_files() -> WrittenFiles {
    written_files_in(Path::new("/proc"))
}

fn written_files_in(proc: &Path) -> WrittenFiles {
    let mut written = WrittenFiles {
        files: HashSet::new(),
        is_complete: proc.join("1/fd").read_dir().is_ok(),
    };
    let Ok(processes) = proc.read_dir() else {
        written.is_complete = false;
        return written;
    };
    for process in processes.flatten() {
        let name = process.file_name();
        if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        match add_written(&process.path(), &mut written.files) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => written.is_complete = false,
            // A process that has ended meanwhile has no files open.
            Ok(()) | Err(_) => {}
        }
    }
    written
}

fn add_written(process: &Path, written: &mut HashSet<FileKey>) -> io::Result<()> {
    for descriptor in process.join("fd").read_dir()?.flatten() {
        let path = descriptor.path();
        let link = path.symlink_metadata();
        let is_writable = link.is_ok_and(|link| link.mode() & OPEN_FOR_WRITING != 0);
        let Ok(open) = is_writable.then(|| path.metadata()).transpose() else {
            continue;
        };
        written.extend(open.filter(Metadata::is_file).map(|open| FileKey {
            dev: open.dev(),
            inode: open.ino(),
        }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{OpenOptions, create_dir_all};

    use super::*;
    use crate::files::{FileHandle, FileSystem, RealFileSystem};

    #[test]
    fn processes_that_are_hidden_may_write() {
        let proc = tempfile::tempdir().expect("a folder");
        create_dir_all(proc.path().join("4242/fd")).expect("the sender's own process");
        let key = FileKey { dev: 1, inode: 1 };
        let writers = || written_files_in(proc.path()).writers_of(key);
        assert_eq!(writers(), OpenWriters::Unknown);
        create_dir_all(proc.path().join("1/fd")).expect("the first process");
        assert_eq!(writers(), OpenWriters::None);
    }

    #[test]
    fn a_process_that_writes_is_found_and_one_that_only_reads_is_not() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let read = RealFileSystem.open(file.path()).expect("readable");
        let key = read.stat().expect("stat").key;
        assert_eq!(written_files().writers_of(key), OpenWriters::Some);
        let path = file.into_temp_path();
        assert_ne!(written_files().writers_of(key), OpenWriters::Some);
        let append = OpenOptions::new().append(true).open(&path).expect("writable");
        path.close().expect("deleted");
        assert_eq!(
            written_files().writers_of(key),
            OpenWriters::Some,
            "a deleted file too"
        );
        drop(append);
        assert_ne!(written_files().writers_of(key), OpenWriters::Some);
    }
}
