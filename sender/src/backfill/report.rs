//! What a backfill says of its files.

use std::io;
use std::path::PathBuf;

use logferry_protocol::chunk::LineCounts;
use logferry_protocol::names::LogName;
use logferry_protocol::stream::Offset;

/// What happens while files are shipped.
#[derive(Debug)]
pub enum BackfillEvent {
    /// So much of the file in work is at the relay. Of compressed files it is the text in them that counts.
    Progress {
        /// The file.
        path: PathBuf,
        /// Bytes at the relay, whoever shipped them.
        done: u64,
        /// Bytes there are.
        size: u64,
    },
    /// Nothing can be shipped now, and why; it is tried again.
    Waiting(String),
    /// Nothing more happens with a file.
    Done(FileReport),
}

/// What became of a file.
#[derive(Debug)]
pub struct FileReport {
    /// The file as it was given.
    pub path: PathBuf,
    /// Lines that this run shipped or excluded.
    pub lines: LineCounts,
    /// Bytes of text that this run read and shipped, excluded lines included.
    pub bytes: u64,
    /// How it ended.
    pub result: Result<FileOutcome, FileRefusal>,
}

/// How a file ended whose lines are all at the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileOutcome {
    /// It was shipped by this run, from this offset of its text on.
    Shipped {
        /// Not zero if the relay had its beginning before.
        from: Offset,
    },
    /// The relay had all of it before.
    AlreadyShipped,
    /// There is nothing in it.
    Empty,
}

/// Why a file, or the rest of it, was not shipped.
#[derive(Debug, thiserror::Error)]
pub enum FileRefusal {
    /// It cannot be opened or read.
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
    /// It is a folder, or something else that has no lines.
    #[error("is no regular file; name the log files themselves")]
    NotAFile,
    /// The sender ships it.
    #[error("is what is being written to as log `{0}`, and the sender ships it")]
    Live(LogName),
    /// Its last line may still get its end.
    #[error("ends in the middle of a line and may still be written to; try again in half a minute")]
    Unfinished,
    /// It is compressed, and ends in the middle.
    #[error("is compressed and ends in the middle: it is still being compressed, or was cut off")]
    Incomplete,
    /// It does not decompress.
    #[error("is damaged")]
    Damaged(#[source] io::Error),
    /// It became another while it was read.
    #[error("has changed while it was shipped; once nobody writes to it, run this again for the rest")]
    Changed,
    /// It could be the beginning of a file that was shipped. Shipping it might double its lines.
    #[error(
        "begins like a log of which the relay has {0} bytes, more than are in this file: it may be a part of that log"
    )]
    Beginning(Offset),
    /// The relay has its bytes under the name of another log.
    #[error("was shipped as a file of another log")]
    OfAnotherLog,
    /// The relay does not take one of its chunks.
    #[error("was not taken by the relay")]
    NotTaken(#[source] Box<dyn std::error::Error + Send + Sync>),
}
