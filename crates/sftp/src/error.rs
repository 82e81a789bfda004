//! What can go wrong: with one job, which leaves the session usable, or with the protocol, which ends it.

use std::{fmt, io};

use crate::status::{ServerStatus, StatusCode};

/// The request of a job that was refused; reads as a verb in "the server refused to ...".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// Opening the file.
    Open,
    /// Writing data to it.
    Write,
    /// Bringing what was written to the server's disk (`fsync@openssh.com`).
    Sync,
    /// Closing it; servers may report a late write error here.
    Close,
    /// Reading data from it.
    Read,
    /// Asking for its attributes.
    Stat,
    /// Hashing it (`check-file`).
    Hash,
    /// Removing it.
    Remove,
    /// Making a folder.
    Mkdir,
}

impl fmt::Display for RequestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Write => "write to",
            Self::Sync => "sync",
            Self::Close => "close",
            Self::Read => "read",
            Self::Stat => "stat",
            Self::Hash => "hash",
            Self::Remove => "remove",
            Self::Mkdir => "make the folder",
        })
    }
}

/// Why one job failed. The session and its other jobs go on.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The server answered a request with an error status.
    #[error("the server refused to {step} {path}: {status}")]
    Refused {
        /// Which request.
        step: RequestKind,
        /// The remote path.
        path: String,
        /// What the server said.
        status: ServerStatus,
    },
    /// The server did not rename, or did not give a second name. With code `Failure` the usual reason is that the new name is taken.
    #[error("the server refused to rename {from} to {to}: {status}")]
    RenameRefused {
        /// The remote path as it was, and still is.
        from: String,
        /// The remote path wanted.
        to: String,
        /// What the server said.
        status: ServerStatus,
    },
    /// The server confirmed every write, and yet the file has another size.
    #[error("{path} has {found} bytes at the server after {expected} bytes were uploaded")]
    WrongSize {
        /// The remote path.
        path: String,
        /// Bytes sent.
        expected: u64,
        /// Bytes the server reports.
        found: u64,
    },
    /// The data to upload could not be read on this side.
    #[error("cannot read the data to upload to {path}")]
    Local {
        /// The remote path.
        path: String,
        /// What [`crate::UploadSource::fill`] returned.
        #[source]
        source: io::Error,
    },
}

impl JobError {
    /// The server's status code, if it was the server that refused.
    pub fn code(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } | Self::RenameRefused { status, .. } => Some(status.code),
            Self::WrongSize { .. } | Self::Local { .. } => None,
        }
    }
}

/// The server broke the protocol. The session is over: drop the [`crate::SftpClient`], connect anew and try its
/// unfinished jobs again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A packet announces more bytes than any reply may have. Often the channel does not carry SFTP at all, but
    /// the output of a login script.
    #[error(
        "the server announced a packet of {len} bytes, at most {max} are allowed; does it print a greeting?"
    )]
    PacketTooLarge {
        /// Bytes announced.
        len: u32,
        /// Bytes allowed.
        max: u32,
    },
    /// A packet ends inside a field.
    #[error("the server sent a packet of type {kind} that ends inside a field")]
    Truncated {
        /// The packet's type number; 0 for an empty packet.
        kind: u8,
    },
    /// The server speaks another version.
    #[error("the server speaks SFTP version {version}, only version 3 is supported")]
    Version {
        /// The version it named.
        version: u32,
    },
    /// A packet of this type answers nothing that was asked.
    #[error("the server sent a packet of type {kind} instead of {expected}")]
    UnexpectedType {
        /// The packet's type number.
        kind: u8,
        /// What was due.
        expected: &'static str,
    },
    /// The server answered a request that was never made, or one twice.
    #[error("the server answered request {id}, which is not open")]
    UnknownRequest {
        /// The request id in the answer.
        id: u32,
    },
    /// The server sent more data than it was asked for.
    #[error("the server sent {sent} bytes when {asked} were asked for")]
    TooMuchData {
        /// Bytes sent.
        sent: usize,
        /// Bytes asked for.
        asked: usize,
    },
    /// A file handle is longer than the protocol allows (256 bytes).
    #[error("the server sent a file handle of {len} bytes, at most 256 are allowed")]
    HandleTooLong {
        /// Its length in bytes.
        len: usize,
    },
}
