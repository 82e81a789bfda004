//! The reports of a backfill on its files.

use std::io;
use std::path::PathBuf;

use crate::files::compressed::LAYERS_MAX;
use logferry_protocol::chunk::LineCounts;
use logferry_protocol::names::LogName;
use logferry_protocol::stream::Offset;

/// An event of a backfill.
#[derive(Debug)]
pub enum BackfillEvent {
    /// Progress of the current file. Sizes of compressed files are those of their text.
    Progress {
        /// The file.
        path: PathBuf,
        /// Bytes at the relay, also those that were shipped before.
        done: u64,
        /// All bytes.
        size: u64,
    },
    /// Nothing can be shipped now, for this reason; it is tried again.
    Waiting(String),
    /// A file is over.
    Done(FileReport),
}

/// The result for one file.
#[derive(Debug)]
pub struct FileReport {
    /// The file as it was given.
    pub path: PathBuf,
    /// Lines that this run shipped or excluded.
    pub lines: LineCounts,
    /// Bytes of text that this run read and shipped, excluded lines included.
    pub bytes: u64,
    /// The outcome, or why the file or its rest was not shipped.
    pub result: Result<FileOutcome, FileRefusal>,
}

/// The outcome for a file whose lines are all at the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileOutcome {
    /// This run shipped it, from this offset of its text on.
    Shipped {
        /// Not zero if the relay had its beginning before.
        from: Offset,
    },
    /// The relay had all of it before.
    AlreadyShipped,
    /// It has no bytes.
    Empty,
}

/// Why a file, or its rest, was not shipped.
#[derive(Debug, thiserror::Error)]
pub enum FileRefusal {
    /// It cannot be opened or read.
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
    /// It is a folder, a pipe or a device.
    #[error("is no regular file; name the log files themselves")]
    NotAFile,
    /// The sender ships it.
    #[error("is the live file of log `{0}`, which the sender ships, or a copy of it")]
    Live(LogName),
    /// Its last line may still be completed.
    #[error("ends in the middle of a line and may still be written to; try again in half a minute")]
    Unfinished,
    /// It is compressed, and ends in the middle.
    #[error("is compressed and ends in the middle: it is still being compressed, or was cut off")]
    Incomplete,
    /// It does not decompress.
    #[error("is damaged")]
    Damaged(#[source] io::Error),
    /// It is compressed too often.
    #[error("is compressed more than {LAYERS_MAX} times; decompress it")]
    TooDeep,
    /// Its decoder would take too much memory.
    #[error("takes more than 128 MiB of memory to decompress; compress it again with a smaller window")]
    TooLarge,
    /// It is binary.
    #[error("is not text: it has a NUL byte in its first KiB")]
    NotText,
    /// It was written to while it was read.
    #[error(
        "has changed while it was shipped; when no process writes to it any more, run this again for the rest"
    )]
    Changed,
    /// It could be the beginning of a file that was shipped. Shipping it might double its lines.
    #[error(
        "begins like a log of which the relay has {0} bytes, more than are in this file: it may be a part of that log"
    )]
    Beginning(Offset),
    /// The relay has its bytes under the name of another log.
    #[error("was shipped as a file of another log")]
    OfAnotherLog,
    /// The relay refuses one of its chunks.
    #[error("was refused by the relay")]
    NotTaken(#[source] Box<dyn std::error::Error + Send + Sync>),
}
