//! Why a shipper is not taken over from.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use logferry_durable::{DiskError, LockError};
use logferry_protocol::names::LogName;

use super::location::NotFound;

/// Nothing was taken over, and nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The sender section has several logs.
    #[error(
        "it is not known which log this offset is of; give one with --log, the sender section has {known}"
    )]
    UnclearLog {
        /// The names there are.
        known: String,
    },
    /// There is no log of this name.
    #[error("there is no log `{name}` in the sender section; it has {known}")]
    UnknownLog {
        /// The name.
        name: LogName,
        /// The names there are.
        known: String,
    },
    /// The pattern of the log finds several live files.
    #[error(
        "the path of log `{log}` finds several live files ({files}), and the offset is of one of them; say which one with --file, and \
         take over each by its own offset file"
    )]
    SeveralLiveFiles {
        /// The log.
        log: LogName,
        /// The live files.
        files: String,
    },
    /// The named live file is none of the log.
    #[error("{} is no live file of log `{log}`; it has {files}", .path.display())]
    UnknownLiveFile {
        /// The log.
        log: LogName,
        /// The file.
        path: PathBuf,
        /// The live files there are.
        files: String,
    },
    /// The named live file belongs to no log.
    #[error("{} is a file of no log in the sender section; it has {known}", .path.display())]
    NoLogOfFile {
        /// The file.
        path: PathBuf,
        /// The names there are.
        known: String,
    },
    /// The offset file does not hold an offset.
    #[error(
        "{} holds {content:?}, which is no byte offset. The old shipper writes it in place, so a crash may have damaged it: \
         find the place in the receiver's last file, and write the offset into a copy of this file, with its old time \
         (`touch -r`)", .path.display()
    )]
    NoOffset {
        /// The file.
        path: PathBuf,
        /// Its first characters.
        content: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A compressed file cannot be read.
    #[error("{} cannot be read: {reason}; wait until it is complete, or move it away if its lines are not needed", .path.display())]
    Compressed {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// No file, or more than one, can be the one in which the offset counts.
    #[error(
        "the place was not found: {} says {offset} bytes, written at {written_at}, and {reason}. Nothing was written. If you know \
         the file, name it with --in FILE", .offset_file.display()
    )]
    NotFound {
        /// The offset file.
        offset_file: PathBuf,
        /// The offset.
        offset: u64,
        /// When it was written.
        written_at: Timestamp,
        /// The reason.
        reason: String,
    },
    /// The named file is none of the log, or too short.
    #[error("the offset {offset} cannot count in {}: {reason}", .path.display())]
    NotThere {
        /// The file.
        path: PathBuf,
        /// The offset.
        offset: u64,
        /// The reason.
        reason: &'static str,
    },
    /// The sender has shipped this log.
    #[error(
        "{} already has a place in log `{log}`: the sender goes on there, and an older place would double lines. If it was never \
         started and this is to be done again, remove the file `checkpoint` there, and take over every log again", .state_dir.display()
    )]
    AlreadyShipped {
        /// The log.
        log: LogName,
        /// The state folder.
        state_dir: PathBuf,
    },
    /// The checkpoint there is unusable.
    #[error("{} cannot be used ({reason}); start the sender once, which moves it aside", .path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The sender runs.
    #[error("the sender is running, and goes on by its own state; stop it first")]
    SenderRuns(#[source] LockError),
    /// The state folder cannot be locked.
    #[error(transparent)]
    Lock(LockError),
    /// The checkpoint cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl AdoptError {
    pub(super) fn not_found(
        reason: NotFound,
        offset_file: &Path,
        (offset, written_at): (u64, Timestamp),
        log: &str,
    ) -> Self {
        let reason = match reason {
            NotFound::NoFile => format!("{log} finds no file"),
            NotFound::Gone => format!(
                "no file of {log} had so many bytes by then: the one in which it counts is gone, or the log was emptied"
            ),
            NotFound::TooShort(size) => format!(
                "the file that was written then has only {size} bytes: the log was shortened, or the offset is of another log"
            ),
            NotFound::Unclear => format!(
                "several files of {log} can be the one in which it counts: their lines have no times with year and zone"
            ),
        };
        Self::NotFound {
            offset_file: offset_file.to_owned(),
            offset,
            written_at,
            reason,
        }
    }
}
