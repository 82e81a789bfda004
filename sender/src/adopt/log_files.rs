//! The files of a log as they are on the disk, and the marks that leave out their bytes.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use logferry_config::LogSettings;
use logferry_protocol::stream::{Head, Offset, Tail};

use super::location::{FileFacts, FoundBy, ResumeLocation};
use super::offset_file::seconds;
use super::{AdoptError, Takeover};
use crate::checkpoint::SkippedStart;
use crate::files::compressed::{CompressedFileError, LogText};
use crate::files::discovery::{FileRole, FoundFile, LogPatterns};
use crate::files::{self, FileHandle, FileStat, FileSystem, RealFileSystem};
use crate::streams::timed_line::time_of;

/// Bytes before the offset in which a line with a time is looked for.
const LOOK_BACK: u64 = 64 << 10;

/// The bytes that a mark leaves out.
#[derive(Debug, Clone, Copy)]
pub(super) enum SkippedBytes {
    All,
    Before(u64),
}

/// The files of a log, oldest first, the live one last.
pub(super) struct LogFiles<'a> {
    log: &'a LogSettings,
    files: Vec<OpenLogFile>,
}

struct OpenLogFile {
    path: PathBuf,
    /// The live path that it belongs to.
    live_path: PathBuf,
    is_live: bool,
    stat: FileStat,
    text: LogText<File>,
    size: Offset,
    facts: FileFacts,
}

impl<'a> LogFiles<'a> {
    /// Opens all files of the log. `offset`: the one whose place is looked for.
    pub(super) fn open(log: &'a LogSettings, offset: u64) -> Result<Self, AdoptError> {
        let patterns = LogPatterns::of_log(log);
        let found = patterns.scan(&RealFileSystem).files;
        let files = found.into_iter().map(|file| OpenLogFile::open(file, offset));
        let mut files: Vec<_> = files.collect::<Result<_, _>>()?;
        // A compressor may give a file a new time. Where all lines have times, they say which file is older.
        let is_timed = |file: &OpenLogFile| file.is_live || file.facts.first_time.is_some();
        if files.iter().all(is_timed) {
            files.sort_by_key(|file| (file.is_live, file.facts.first_time));
        }
        Ok(Self { log, files })
    }

    /// An offset without a name counts in one file.
    pub(super) fn require_one_live_file(&self) -> Result<(), AdoptError> {
        let live: BTreeSet<_> = self.files.iter().map(|file| &file.live_path).collect();
        if live.len() < 2 {
            return Ok(());
        }
        let files: Vec<_> = live.iter().map(|path| path.display().to_string()).collect();
        Err(AdoptError::SeveralLiveFiles {
            log: self.log.name.clone(),
            files: files.join(", "),
        })
    }

    pub(super) fn facts(&self) -> Vec<FileFacts> {
        self.files.iter().map(|file| file.facts).collect()
    }

    /// The file that was named.
    pub(super) fn named(&self, path: &Path, offset: u64) -> Result<ResumeLocation, AdoptError> {
        let refused = |reason| AdoptError::NotThere {
            path: path.to_owned(),
            offset,
            reason,
        };
        let key = RealFileSystem.stat(path).map(|stat| stat.key);
        let index = self.files.iter().position(|file| Some(file.stat.key) == key);
        let index = index.ok_or_else(|| refused("it is no file of the log"))?;
        let is_long_enough = self
            .files
            .get(index)
            .is_some_and(|file| file.size.get() >= offset);
        if !is_long_enough {
            return Err(refused("it is shorter"));
        }
        Ok(ResumeLocation {
            index,
            found_by: FoundBy::Named,
        })
    }

    /// The marks that leave out the files older than the location, and the bytes before the offset there.
    pub(super) fn marks(&self, location: usize, offset: u64) -> Result<Vec<SkippedStart>, AdoptError> {
        let older = self
            .files
            .iter()
            .take(location)
            .map(|file| (file, SkippedBytes::All));
        let there = self
            .files
            .get(location)
            .map(|file| (file, SkippedBytes::Before(offset)));
        older
            .chain(there)
            .filter_map(|(file, bytes)| file.mark(self.log, bytes).transpose())
            .collect()
    }

    /// A mark for each file.
    pub(super) fn marks_of(&self, bytes: SkippedBytes) -> Result<Vec<SkippedStart>, AdoptError> {
        let marks = self.files.iter().map(|file| file.mark(self.log, bytes));
        marks.filter_map(Result::transpose).collect()
    }

    pub(super) fn takeover(&self, location: ResumeLocation, offset: u64) -> Result<Takeover, AdoptError> {
        let paths = |files: &[OpenLogFile]| files.iter().map(|file| file.path.clone()).collect();
        let (older, rest) = self.files.split_at_checked(location.index).unwrap_or_default();
        let Some((file, newer)) = rest.split_first() else {
            return Err(AdoptError::NotThere {
                path: PathBuf::from(&self.log.path),
                offset,
                reason: "the log has no such file any more",
            });
        };
        Ok(Takeover {
            log: self.log.name.clone(),
            path: file.path.clone(),
            offset,
            size: file.size.get(),
            found_by: location.found_by,
            inside_line: file.inside_line(offset)?,
            finished: paths(older),
            newer: paths(newer),
        })
    }
}

impl OpenLogFile {
    fn open(found: FoundFile, offset: u64) -> Result<Self, AdoptError> {
        let FoundFile {
            path,
            role,
            live_path,
            ..
        } = found;
        let is_live = role == FileRole::Live;
        let read = |source| AdoptError::Read {
            path: path.clone(),
            source,
        };
        let file = RealFileSystem.open(&path).map_err(read)?;
        let stat = FileHandle::stat(&file).map_err(read)?;
        let mut text = LogText::plain(file);
        text.detect_compression(is_live).map_err(|error| match error {
            CompressedFileError::Unreadable(source) => read(source),
            CompressedFileError::Incomplete => unreadable(&path, "it ends in the middle"),
            CompressedFileError::Damaged(error) => unreadable(&path, &error.to_string()),
            CompressedFileError::TooDeep => unreadable(&path, "it is compressed too often"),
            CompressedFileError::TooLarge => unreadable(&path, "its decoder needs too much memory"),
        })?;
        let size = text.size(&stat);
        let mut this = Self {
            path,
            live_path,
            is_live,
            stat,
            text,
            size,
            facts: FileFacts {
                size: size.get(),
                modified: seconds(stat.modified),
                first_time: None,
                time_before: None,
            },
        };
        this.facts.first_time = this
            .lines_before(size.get().min(LOOK_BACK))?
            .iter()
            .find_map(|line| time_of(line));
        if size.get() >= offset {
            this.facts.time_before = this
                .lines_before(offset)?
                .iter()
                .rev()
                .find_map(|line| time_of(line));
        }
        this.text.release_decoder();
        Ok(this)
    }

    /// The lines in the last bytes before an offset. The first and the last one may be parts.
    fn lines_before(&self, offset: u64) -> Result<Vec<Vec<u8>>, AdoptError> {
        let start = offset.saturating_sub(LOOK_BACK);
        let mut bytes = vec![0; usize::try_from(offset - start).unwrap_or(0)];
        let filled =
            files::fill(&self.text, &mut bytes, Offset::new(start)).map_err(|source| self.failed(source))?;
        bytes.truncate(filled);
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        Ok(lines.map(<[u8]>::to_vec).collect())
    }

    fn failed(&self, source: std::io::Error) -> AdoptError {
        AdoptError::Read {
            path: self.path.clone(),
            source,
        }
    }

    /// `None` if it leaves nothing out.
    fn mark(&self, log: &LogSettings, bytes: SkippedBytes) -> Result<Option<SkippedStart>, AdoptError> {
        let end = match bytes {
            SkippedBytes::All => self.size,
            SkippedBytes::Before(offset) => Offset::new(offset),
        };
        if end == Offset::ZERO {
            return Ok(None);
        }
        let beginning = files::beginning(&self.text).map_err(|source| self.failed(source))?;
        let before = files::ending_at(&self.text, end).map_err(|source| self.failed(source))?;
        let tail = before.map(|before| Tail::of(&before));
        self.text.release_decoder();
        Ok(Some(SkippedStart {
            log: log.name.clone(),
            path: self.path.display().to_string(),
            file: self.stat.key,
            head: Head::of(&beginning),
            end,
            tail,
            confirmed: true,
            exact: true,
        }))
    }

    /// Bytes between the last start of a line and the offset.
    fn inside_line(&self, offset: u64) -> Result<u64, AdoptError> {
        let lines = self.lines_before(offset)?;
        let last = lines.last().filter(|line| !line.ends_with(b"\n"));
        Ok(last.map_or(0, |line| line.len() as u64))
    }
}

fn unreadable(path: &Path, reason: &str) -> AdoptError {
    AdoptError::Compressed {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}
