//! Errors: the failure of one job leaves the session usable; a protocol error ends it.

use std::{fmt, io};

use crate::status::{ServerStatus, StatusCode};

/// The refused request of a job; displayed as the verb in "the server refused to ...".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// Opening the file.
    Open,
    /// Writing data to it.
    Write,
    /// Syncing the written data to the server's disk (`fsync@openssh.com`).
    Sync,
    /// Closing it. A server may report a late write error here.
    Close,
    /// Reading data from it.
    Read,
    /// Reading its attributes.
    Stat,
    /// Hashing it (`check-file`).
    Hash,
    /// Removing it.
    Remove,
    /// Creating a folder.
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

/// The failure of one job. The session and its other jobs continue.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The server answered a request with an error status.
    #[error("the server refused to {step} {path}: {status}")]
    Refused {
        /// The refused request.
        step: RequestKind,
        /// The remote path.
        path: String,
        /// The server's reply.
        status: ServerStatus,
    },
    /// The server refused a rename or a second name. The usual reason for code `Failure` is that the new name exists.
    #[error("the server refused to rename {from} to {to}: {status}")]
    RenameRefused {
        /// The present remote path.
        from: String,
        /// The requested remote path.
        to: String,
        /// The server's reply.
        status: ServerStatus,
    },
    /// The server confirmed every write, but the file has a different size.
    #[error("{path} has {found} bytes at the server after {expected} bytes were uploaded")]
    WrongSize {
        /// The remote path.
        path: String,
        /// Bytes sent.
        expected: u64,
        /// Bytes that the server reports.
        found: u64,
    },
    /// The local data could not be read.
    #[error("cannot read the data to upload to {path}")]
    Local {
        /// The remote path.
        path: String,
        /// The error of [`crate::UploadSource::fill`].
        #[source]
        source: io::Error,
    },
}

impl JobError {
    /// The server's status code, if the server refused a request.
    pub fn code(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } | Self::RenameRefused { status, .. } => Some(status.code),
            Self::WrongSize { .. } | Self::Local { .. } => None,
        }
    }
}

/// The server broke the protocol. The session is over: drop the [`crate::SftpClient`], connect again and repeat its
/// unfinished jobs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A packet announces more bytes than any reply may have. A common cause is a login script that prints to the
    /// channel.
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
    /// The server uses another version.
    #[error("the server speaks SFTP version {version}, only version 3 is supported")]
    Version {
        /// The server's version.
        version: u32,
    },
    /// A packet of this type is no reply to the request.
    #[error("the server sent a packet of type {kind} instead of {expected}")]
    UnexpectedType {
        /// The packet's type number.
        kind: u8,
        /// The expected packet.
        expected: &'static str,
    },
    /// The server answered a request that was not sent, or answered one twice.
    #[error("the server answered request {id}, which is not open")]
    UnknownRequest {
        /// The request id in the answer.
        id: u32,
    },
    /// The server sent more data than requested.
    #[error("the server sent {sent} bytes when {asked} were asked for")]
    TooMuchData {
        /// Bytes sent.
        sent: usize,
        /// Bytes requested.
        asked: usize,
    },
}
