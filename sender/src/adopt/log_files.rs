//! The files of a log as they are on the disk, and the marks that leave out their bytes.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use logferry_config::LogSettings;
use logferry_protocol::resolve::StreamPosition;
use logferry_protocol::stream::{Head, Offset, Tail};

use super::location::{FileFacts, FoundBy, ResumeLocation};
use super::offset_file::seconds;
use super::{AdoptError, Takeover};
use crate::checkpoint::SkippedStart;
use crate::files::compressed::{CompressedFileError, LogText};
use crate::files::discovery::{FileRole, FoundFile, LogPatterns};
use crate::files::{self, FileHandle, FileStat, FileSystem, RealFileSystem};
use crate::streams::timed_line::{dated_time_of, exact_time_of};

/// Bytes before the offset in which a line with a time is looked for.
const LOOK_BACK: u64 = 64 << 10;

/// The bytes that a mark leaves out.
#[derive(Debug, Clone, Copy)]
enum SkippedBytes {
    All,
    Before(u64),
}

/// The marks that leave out what the files of a log have now, for `start: end`, but for those of the live file that is taken over.
pub(super) fn end_marks(log: &LogSettings, adopted_live: Option<&Path>) -> Vec<SkippedStart> {
    let found = LogPatterns::of_log(log).scan(&RealFileSystem).files;
    let others = found
        .into_iter()
        .filter(|file| Some(&*file.live_path) != adopted_live);
    others.filter_map(|file| end_mark(log, file)).collect()
}

/// `None` if the file is empty.
fn end_mark(log: &LogSettings, found: FoundFile) -> Option<SkippedStart> {
    // Of a file that cannot be read only its size is known.
    let of_unreadable = SkippedStart {
        log: log.name.clone(),
        path: found.path.display().to_string(),
        file: found.stat.key,
        head: None,
        end: found.stat.size,
        tail: None,
        confirmed: false,
        exact: false,
        known: false,
    };
    let read = OpenLogFile::open(found, 0).and_then(|file| file.mark(log, SkippedBytes::All));
    let mark = read.unwrap_or(Some(of_unreadable))?;
    Some(SkippedStart {
        confirmed: false,
        exact: false,
        ..mark
    })
}

/// The files of a log that belong to one live file, oldest first, the live one last.
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
    /// The time in the first line that has one with a year. It says which file is older.
    begun: Option<i64>,
    facts: FileFacts,
}

impl<'a> LogFiles<'a> {
    /// Opens the files of the log that belong to one live file. `offset`: the one whose place is looked for. `live`: the live file;
    /// without it there must be one only, as an offset without a name counts in one file.
    pub(super) fn open(log: &'a LogSettings, offset: u64, live: Option<&Path>) -> Result<Self, AdoptError> {
        let mut found = LogPatterns::of_log(log).scan(&RealFileSystem).files;
        let live_paths: BTreeSet<_> = found.iter().map(|file| file.live_path.clone()).collect();
        let names = || {
            let names = live_paths.iter().map(|path| path.display().to_string());
            names.collect::<Vec<_>>().join(", ")
        };
        match live {
            None if live_paths.len() > 1 => {
                return Err(AdoptError::SeveralLiveFiles {
                    log: log.name.clone(),
                    files: names(),
                });
            }
            Some(path) if !live_paths.contains(path) => {
                return Err(AdoptError::UnknownLiveFile {
                    log: log.name.clone(),
                    path: path.to_owned(),
                    files: names(),
                });
            }
            _ => {}
        }
        // A damaged file of another one must not stop this.
        found.retain(|file| live.is_none_or(|live| file.live_path == live));
        let files = found.into_iter().map(|file| OpenLogFile::open(file, offset));
        let mut files: Vec<_> = files.collect::<Result<_, _>>()?;
        // A compressor may give a file a new time. Where all lines have times, they say which file is older.
        let is_timed = |file: &OpenLogFile| file.is_live || file.begun.is_some();
        if files.iter().all(is_timed) {
            files.sort_by_key(|file| (file.is_live, file.begun));
        }
        Ok(Self { log, files })
    }

    /// The live path that all of them belong to.
    pub(super) fn live_path(&self) -> Option<&Path> {
        self.files.first().map(|file| &*file.live_path)
    }

    /// Whether one of the files has the bytes that the mark leaves out, under whatever name, compressed or not.
    pub(super) fn hold(&self, mark: &SkippedStart) -> bool {
        self.files.iter().any(|file| file.holds(mark))
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
            begun: None,
            facts: FileFacts {
                size: size.get(),
                modified: seconds(stat.modified),
                first_time: None,
                time_before: None,
            },
        };
        let first = this.lines_before(size.get().min(LOOK_BACK))?;
        this.begun = first.iter().find_map(|line| dated_time_of(line));
        this.facts.first_time = first.iter().find_map(|line| exact_time_of(line));
        if size.get() >= offset {
            this.facts.time_before = this
                .lines_before(offset)?
                .iter()
                .rev()
                .find_map(|line| exact_time_of(line));
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

    /// A mark counts by contents. Without them, by the file.
    fn holds(&self, mark: &SkippedStart) -> bool {
        let Some(tail) = mark.tail else {
            return mark.file == self.stat.key;
        };
        let position = StreamPosition {
            offset: mark.end,
            tail,
        };
        let begins_alike = mark.head.is_none_or(|head| self.text.begins_with(head));
        let is_held = begins_alike && self.text.holds(position).unwrap_or(false);
        self.text.release_decoder();
        is_held
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
            known: false,
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
