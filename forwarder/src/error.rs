//! What can go wrong on the way to a destination, and whose fault it is.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use logferry_durable::DiskError;
use logferry_sftp::{JobError, ProtocolError};

use crate::ssh::HostKeyError;

/// A delivery, or the connection for one, failed.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// No connection: the name does not resolve, nobody listens, or nothing answers.
    #[error("cannot connect to {address}: check host, port and the network between")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody listens, but no SSH session came of it.
    #[error(
        "no SSH session with {address}: it may not be an SSH server, or offer only what this one does not know"
    )]
    Handshake {
        /// Host and port.
        address: String,
        /// What libssh2 said.
        #[source]
        source: ssh2::Error,
    },
    /// The host key is not one that is trusted.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// The server does not let us in.
    #[error("{address} refuses to log in {user}: check user, password or key")]
    Login {
        /// Host and port.
        address: String,
        /// The user.
        user: String,
        /// What libssh2 said.
        #[source]
        source: ssh2::Error,
    },
    /// The key file cannot be read.
    #[error("cannot read the key file {}", .path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// We are in, but the server gives us no SFTP.
    #[error("{address} has no SFTP for this user")]
    NoSftp {
        /// Host and port.
        address: String,
        /// What libssh2 said.
        #[source]
        source: ssh2::Error,
    },
    /// The destination's folder is not there.
    #[error("there is no folder {directory} at {address}: have it made, or correct `directory`")]
    NoDirectory {
        /// Host and port.
        address: String,
        /// The folder.
        directory: String,
    },
    /// The session ended before its time.
    #[error("the connection to {address} broke")]
    Lost {
        /// Host and port.
        address: String,
        /// How.
        #[source]
        source: io::Error,
    },
    /// Not a byte came or went while the server owed an answer.
    #[error("{address} has been silent for {} s: the server or the network hangs", .silent.as_secs())]
    Stalled {
        /// Host and port.
        address: String,
        /// For how long.
        silent: Duration,
    },
    /// The server broke the SFTP protocol.
    #[error("{address} does not keep to the SFTP protocol")]
    Protocol {
        /// Host and port.
        address: String,
        /// How.
        #[source]
        source: ProtocolError,
    },
    /// The server refused a request for one file.
    #[error(transparent)]
    Remote(#[from] JobError),
    /// The batch's name is taken at the destination.
    #[error(
        "a different file of that name is there: {path}; it was left alone, move it away to have the batch delivered"
    )]
    NameTaken {
        /// The remote path.
        path: String,
    },
    /// What was uploaded was read back and is something else.
    #[error(
        "{path} was not what had been uploaded when it was read back: it was removed and is not published"
    )]
    Spoiled {
        /// The remote path, a temporary one.
        path: String,
    },
    /// No compressed file could be made of the batch's.
    #[error("cannot make a compressed file to send")]
    NotCompressed {
        /// What the disk refused.
        #[source]
        source: DiskError,
    },
    /// The batch's file is nowhere in the spool.
    #[error("the batch's file is missing: {}", .path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The batch's file holds something else than the relay wrote.
    #[error("{} was altered after it was sealed ({detail}): restore it; it is not delivered as it is", .path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// What differs.
        detail: String,
    },
    /// The batch's file cannot be read.
    #[error("cannot read {}", .path.display())]
    LocalFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The forwarder was told to stop.
    #[error("stopped on request")]
    Stopped,
}

/// What a failure speaks against, and so what must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The destination: nothing can be delivered there for now.
    Destination,
    /// The credentials: the same, and trying often could have the account locked.
    Login,
    /// The connection broke while a batch was on its way.
    Connection,
    /// This batch at this destination; others may do better.
    Batch,
    /// This batch's file, wherever it goes.
    File,
    /// Nobody.
    Nobody,
}

impl DeliveryError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Unreachable { .. }
            | Self::Handshake { .. }
            | Self::HostKey(_)
            | Self::NoSftp { .. }
            | Self::NoDirectory { .. } => Blame::Destination,
            Self::Login { .. } | Self::KeyFile { .. } => Blame::Login,
            Self::Lost { .. } | Self::Stalled { .. } | Self::Protocol { .. } => Blame::Connection,
            Self::Remote(_) | Self::NameTaken { .. } | Self::Spoiled { .. } | Self::NotCompressed { .. } => {
                Blame::Batch
            }
            Self::Missing { .. } | Self::Altered { .. } | Self::LocalFile { .. } => Blame::File,
            Self::Stopped => Blame::Nobody,
        }
    }
}

/// An error with all its causes on one line, for the log and the ledger.
pub(crate) fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
