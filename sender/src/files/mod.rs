//! Log files: finding, opening, reading and watching them, compressed files included. Nothing here writes.
//!
//! The file system is behind a trait, so that the scenarios of `tail` run on files in memory. Compression formats and the
//! watching of folders may be changed here without looking elsewhere.

pub(crate) mod claims;
pub(crate) mod compressed;
pub(crate) mod discovery;
pub(crate) mod open_writers;
pub(crate) mod path_check;
mod rotated_name;
pub(crate) mod watcher;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use logferry_config::LogSettings;
use logferry_durable::open_files_max;
use logferry_protocol::heartbeat::LogProblemKind;
use logferry_protocol::stream::{FINGERPRINT_SPAN, FileKey, Offset};
use serde::{Deserialize, Serialize};

use crate::files::discovery::LogPatterns;
use crate::files::open_writers::{WrittenFiles, written_files};
use crate::files::path_check::PathFinding;

pub(crate) use self::rotated_name::without_compression;

/// The part of `stat(2)` that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileStat {
    pub(crate) key: FileKey,
    pub(crate) size: Offset,
    pub(crate) modified: SystemTime,
}

pub(crate) trait FileSystem {
    /// An open file. It stays the same file however its name changes.
    type FileHandle: FileHandle;

    fn matching(&self, pattern: &str) -> Vec<PathBuf>;

    /// The stat of the regular file at `path`, symbolic links followed; `None` if there is none, or it is not visible.
    fn stat(&self, path: &Path) -> Option<FileStat>;

    fn open(&self, path: &Path) -> io::Result<Self::FileHandle>;

    /// The files that processes have open for writing.
    fn written_files(&self) -> WrittenFiles;

    /// How many files the process may have open, other than logs included.
    fn handle_limit(&self) -> usize;

    /// What is wrong with the path or glob of a log; nothing if it leads to a file.
    fn check_pattern(&self, _pattern: &str) -> Vec<PathFinding> {
        Vec::new()
    }

    /// Why a file cannot be read; `None` if it can.
    fn check_file(&self, _path: &Path) -> Option<PathFinding> {
        None
    }
}

pub(crate) trait FileHandle: 'static {
    fn stat(&self) -> io::Result<FileStat>;

    /// Reads at an offset; may read less than asked; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], at: Offset) -> io::Result<usize>;
}

/// The files beside the logs that begin like a log's name and are no files of any log, for `logferry check`.
pub fn neighbours(logs: &[LogSettings]) -> BTreeSet<PathBuf> {
    let scans: Vec<_> = logs
        .iter()
        .map(|log| LogPatterns::of_log(log).scan(&RealFileSystem))
        .collect();
    let shipped: BTreeSet<_> = scans
        .iter()
        .flat_map(|scan| &scan.files)
        .map(|file| &file.path)
        .collect();
    let neighbours = scans.iter().flat_map(|scan| &scan.neighbours);
    neighbours
        .filter(|path| !shipped.contains(path))
        .cloned()
        .collect()
}

/// What keeps this process from the logs, for `logferry check`: paths that find nothing, and folders and files that it
/// cannot read.
pub fn log_findings(logs: &[LogSettings]) -> Vec<PathFinding> {
    let findings_of = |log: &LogSettings| {
        let found = LogPatterns::of_log(log).scan(&RealFileSystem).files;
        let mut findings = path_check::check_pattern(&log.path);
        // A log that was rotated and has no live file yet has the right path.
        findings.retain(|finding| finding.kind != LogProblemKind::NoMatch || found.is_empty());
        findings.extend(found.iter().filter_map(|file| path_check::check_file(&file.path)));
        findings
    };
    logs.iter().flat_map(findings_of).collect()
}

/// Why the folders of the logs cannot be watched by this user, for `logferry check`; one sentence.
pub fn watch_finding(logs: &[LogSettings]) -> Option<String> {
    let folders: BTreeSet<_> = logs
        .iter()
        .flat_map(|log| LogPatterns::of_log(log).folders())
        .filter(|folder| folder.is_dir())
        .collect();
    watcher::try_watch(&folders).err()
}

/// Reads until `buffer` is full or the file ends. Returns the number of bytes.
pub(crate) fn fill(file: &impl FileHandle, buffer: &mut [u8], at: Offset) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.plus(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// [`FINGERPRINT_SPAN`], or less if `end` is nearer to the start of the file.
pub(crate) fn span_before(end: Offset) -> usize {
    usize::try_from(end.get()).map_or(FINGERPRINT_SPAN, |end| end.min(FINGERPRINT_SPAN))
}

/// The first [`FINGERPRINT_SPAN`] bytes of a file, or all it has.
pub(crate) fn beginning(file: &impl FileHandle) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; FINGERPRINT_SPAN];
    let filled = fill(file, &mut bytes, Offset::ZERO)?;
    bytes.truncate(filled);
    Ok(bytes)
}

/// Whether a file with this beginning is text. A NUL byte is in no log line, and in the first KiB of almost every other file.
pub(crate) fn is_text(beginning: &[u8]) -> bool {
    memchr::memchr(0, beginning).is_none()
}

/// The up to [`FINGERPRINT_SPAN`] bytes of a file that end at `end`; `None` if the file is shorter than that.
pub(crate) fn ending_at(file: &impl FileHandle, end: Offset) -> io::Result<Option<Vec<u8>>> {
    let span = span_before(end);
    let mut bytes = vec![0; span];
    let start = Offset::new(end.get() - span as u64);
    let filled = fill(file, &mut bytes, start)?;
    Ok((filled == span).then_some(bytes))
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct RealFileSystem;

impl FileSystem for RealFileSystem {
    type FileHandle = File;

    fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        match glob::glob(pattern) {
            Ok(paths) => paths.filter_map(Result::ok).collect(),
            Err(error) => {
                tracing::warn!(pattern, %error, "the pattern of a log is invalid, no file is found with it");
                Vec::new()
            }
        }
    }

    fn stat(&self, path: &Path) -> Option<FileStat> {
        let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        stat_of(&metadata).ok()
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn written_files(&self) -> WrittenFiles {
        written_files()
    }

    fn handle_limit(&self) -> usize {
        open_files_max()
    }

    fn check_pattern(&self, pattern: &str) -> Vec<PathFinding> {
        path_check::check_pattern(pattern)
    }

    fn check_file(&self, path: &Path) -> Option<PathFinding> {
        path_check::check_file(path)
    }
}

impl FileHandle for File {
    fn stat(&self) -> io::Result<FileStat> {
        stat_of(&self.metadata()?)
    }

    fn read_at(&self, buffer: &mut [u8], at: Offset) -> io::Result<usize> {
        FileExt::read_at(self, buffer, at.get())
    }
}

fn stat_of(metadata: &std::fs::Metadata) -> io::Result<FileStat> {
    let key = FileKey {
        dev: metadata.dev(),
        inode: metadata.ino(),
    };
    Ok(FileStat {
        key,
        size: Offset::new(metadata.len()),
        // Older times are of no use, and a checkpoint cannot hold them.
        modified: metadata.modified()?.max(SystemTime::UNIX_EPOCH),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_from_before_1970_has_a_stat_that_a_checkpoint_can_hold() {
        let file = tempfile::tempfile().expect("a file");
        file.set_modified(SystemTime::UNIX_EPOCH - Duration::from_hours(1))
            .expect("a time");
        let stat = FileHandle::stat(&file).expect("its stat");
        assert!(serde_json::to_string(&stat).is_ok());
    }
}
