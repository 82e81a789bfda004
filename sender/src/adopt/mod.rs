//! Takes over from another shipper that has left a byte offset and nothing else: which file it counts in is found out.
//!
//! The result is a checkpoint, from which the first start of the sender goes on: it leaves out, by contents, every file that the
//! other shipper has finished, and of the file in which the offset counts the bytes before it. Everything else is shipped. As
//! marks of a checkpoint count by contents, the logs may be rotated and compressed between this and the first start.
//!
//! Invariants:
//! - Nothing is written unless the place is certain, and nothing over a place that the sender has in the log, or over an earlier
//!   takeover of the same live file.
//! - Each live file of a log is taken over by itself. The files of others are not even opened.
//! - The checkpoint is on stable storage when this returns.
//!
//! `offset_file` reads what the other shipper has left, `location` decides in which file it counts (pure), `log_files` reads the
//! files, `error` has the texts.

mod error;
mod location;
mod log_files;
mod offset_file;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use logferry_config::{LogSettings, SenderSettings, StartPosition};
use logferry_durable::{Disk, LockError, LockFile, RealDisk};
use logferry_protocol::names::LogName;

pub use self::error::AdoptError;
pub use self::location::FoundBy;
use self::log_files::{LogFiles, end_marks};
use self::offset_file::OffsetFile;
use crate::checkpoint::{self, Checkpoint, SeenLog, SkippedStart};
use crate::files::discovery::LogPatterns;
use crate::runner::LOCK_FILE;
use crate::tail::log::first_start::start_of;
use crate::tail::log::handover::share;

/// What to take over.
#[derive(Debug, Clone, Copy)]
pub struct AdoptRequest<'a> {
    /// The other shipper's offset file.
    pub offset_file: &'a Path,
    /// The log; `None`: the one that `live_file` belongs to, or the only one.
    pub log: Option<&'a LogName>,
    /// The live file that the other shipper followed; `None`: the only one of the log.
    pub live_file: Option<&'a Path>,
    /// The file in which the offset counts; `None`: it is found out.
    pub counted_in: Option<&'a Path>,
    /// Nothing is written.
    pub dry_run: bool,
}

/// Where the sender will go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Takeover {
    /// The log.
    pub log: LogName,
    /// The file in which the offset counts.
    pub path: PathBuf,
    /// The offset, in bytes of text.
    pub offset: u64,
    /// Bytes of text in that file now.
    pub size: u64,
    /// How the file was found.
    pub found_by: FoundBy,
    /// Bytes of the line in which the offset stands that are before it; 0 if it stands at the start of a line.
    pub inside_line: u64,
    /// Older files, which are left out.
    pub finished: Vec<PathBuf>,
    /// Newer files, which are shipped whole.
    pub newer: Vec<PathBuf>,
}

/// Finds the location, and makes the first start of the sender go on there.
pub fn adopt(config: &SenderSettings, request: AdoptRequest<'_>) -> Result<Takeover, AdoptError> {
    let live_file = request.live_file.map(std::path::absolute).transpose();
    let live_file = live_file.map_err(|source| AdoptError::Read {
        path: request.live_file.map(Path::to_owned).unwrap_or_default(),
        source,
    })?;
    let log = chosen_log(config, request.log, live_file.as_deref())?;
    let left = OffsetFile::read(request.offset_file)?;
    let state_dir = &config.state_dir;
    let _lock = if request.dry_run {
        None
    } else {
        RealDisk.create_dir_all(state_dir)?;
        Some(lock(state_dir)?)
    };
    let checkpoint = saved_checkpoint(state_dir)?;
    let already_shipped = || AdoptError::AlreadyShipped {
        log: log.name.clone(),
        state_dir: state_dir.clone(),
    };
    if checkpoint
        .as_ref()
        .is_some_and(|saved| saved.has_shipped(&log.name))
    {
        return Err(already_shipped());
    }
    let files = LogFiles::open(log, left.offset, live_file.as_deref())?;
    if checkpoint
        .as_ref()
        .is_some_and(|saved| saved.took_over(&log.name, &files))
    {
        return Err(already_shipped());
    }
    let location = match request.counted_in {
        Some(path) => files.named(path, left.offset)?,
        None => location::find(&files.facts(), left.offset, left.written_at).map_err(|reason| {
            AdoptError::not_found(
                reason,
                request.offset_file,
                (left.offset, left.written_at_time()),
                &log.path,
            )
        })?,
    };
    if !request.dry_run {
        let mut next = with_other_ends(config, log, &files, checkpoint.as_ref());
        // What was marked for `start: end` when another file was taken over.
        let is_of_these = |mark: &SkippedStart| mark.log == log.name && files.hold(mark);
        next.skipped.retain(|mark| !is_of_these(mark));
        next.skipped.extend(files.marks(location.index, left.offset)?);
        // A crash before the rename leaves the state folder as it was.
        RealDisk.replace(&state_dir.join(checkpoint::FILE_NAME), &next.to_bytes())?;
    }
    files.takeover(location, left.offset)
}

fn chosen_log<'a>(
    config: &'a SenderSettings,
    name: Option<&LogName>,
    live_file: Option<&Path>,
) -> Result<&'a LogSettings, AdoptError> {
    let listed = |logs: &[&LogSettings]| {
        let names = logs.iter().map(|log| format!("`{}`", log.name));
        names.collect::<Vec<_>>().join(", ")
    };
    let all: Vec<_> = config.logs.iter().collect();
    if let Some(name) = name {
        let named = all.iter().find(|log| log.name == *name);
        return named.copied().ok_or_else(|| AdoptError::UnknownLog {
            name: name.clone(),
            known: listed(&all),
        });
    }
    let possible: Vec<_> = match live_file {
        Some(path) => {
            let has_file = |log: &&&LogSettings| LogPatterns::of_log(log).includes(path);
            all.iter().filter(has_file).copied().collect()
        }
        None => all.clone(),
    };
    match (&possible[..], live_file) {
        ([only], _) => Ok(only),
        ([], Some(path)) => Err(AdoptError::NoLogOfFile {
            path: path.to_owned(),
            known: listed(&all),
        }),
        (several, _) => Err(AdoptError::UnclearLog {
            known: listed(several),
        }),
    }
}

fn lock(state_dir: &Path) -> Result<LockFile, AdoptError> {
    LockFile::acquire(&state_dir.join(LOCK_FILE)).map_err(|error| match error {
        LockError::Held { .. } => AdoptError::SenderRuns(error),
        LockError::Io { .. } => AdoptError::Lock(error),
    })
}

fn saved_checkpoint(state_dir: &Path) -> Result<Option<Checkpoint>, AdoptError> {
    let path = state_dir.join(checkpoint::FILE_NAME);
    let Some(bytes) = RealDisk.read(&path)? else {
        return Ok(None);
    };
    Checkpoint::from_bytes(&bytes)
        .map(Some)
        .map_err(|reason| AdoptError::Checkpoint {
            path,
            reason: reason.to_string(),
        })
}

/// The checkpoint with the ends of all other files that the first start with their log would mark. The sender starts for the first time
/// with all logs if it has no checkpoint, and otherwise with the logs that it has not seen. Of these it marks the others itself.
fn with_other_ends(
    config: &SenderSettings,
    adopted: &LogSettings,
    adopted_files: &LogFiles<'_>,
    saved: Option<&Checkpoint>,
) -> Checkpoint {
    let shares = saved.map(|saved| share(saved, &config.logs).of_logs);
    let mut next = saved.cloned().unwrap_or_default();
    for (index, log) in config.logs.iter().enumerate() {
        let is_adopted = log.name == adopted.name;
        let share = shares.as_ref().and_then(|shares| shares.get(index));
        let is_first = is_adopted || saved.is_none();
        if is_first && start_of(log, share) == StartPosition::End {
            let adopted_live = is_adopted.then(|| adopted_files.live_path()).flatten();
            next.skipped.extend(end_marks(log, adopted_live));
        }
    }
    let seen = SeenLog {
        name: adopted.name.clone(),
        path: adopted.path.clone(),
    };
    // Otherwise the next start would mark the ends of the files that are taken over.
    if let Some(logs) = next.seen_logs.as_mut().filter(|logs| !logs.contains(&seen)) {
        logs.push(seen);
    }
    next
}

impl Checkpoint {
    /// Whether the sender has a place of its own in this log.
    fn has_shipped(&self, log: &LogName) -> bool {
        let streams = self.streams.iter().chain(&self.former).map(|it| &it.log);
        let files = self.unsent.iter().map(|it| &it.log);
        let archives = self.archives.iter().map(|it| &it.log);
        streams.chain(files).chain(archives).any(|it| it == log)
    }

    /// Whether one of these files was taken over. A mark for `start: end` says only where the file ended.
    fn took_over(&self, log: &LogName, files: &LogFiles<'_>) -> bool {
        self.skipped
            .iter()
            .any(|mark| mark.exact && mark.log == *log && files.hold(mark))
    }
}
