//! What can go wrong on the way to a destination, and whose fault it is.

pub(crate) mod host_key;
pub(crate) mod login;

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use logferry_durable::DiskError;
use logferry_ledger::FailureKind;
use logferry_sftp::{FreeSpace, JobError, ProtocolError, RequestKind, StatusCode};

pub use host_key::HostKeyError;
pub use login::LoginError;

/// A delivery, or the connection for one, failed.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// No connection: the name does not resolve, nobody listens, or nothing answers.
    #[error("cannot connect to {address}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody listens, but no SSH session came of it.
    #[error("no SSH session with {address}")]
    Handshake {
        /// Host and port.
        address: String,
        /// What went wrong.
        #[source]
        source: russh::Error,
    },
    /// The host key is not one that is trusted.
    #[error(transparent)]
    HostKey(Box<HostKeyError>),
    /// The connection ended during the login. Some servers refuse so, others have too much to do.
    #[error("{address} closed the connection during the login")]
    CutInLogin {
        /// Host and port.
        address: String,
        /// How it ended.
        #[source]
        source: io::Error,
    },
    /// The server does not let us in.
    #[error("cannot log in as {user} at {address}")]
    Login {
        /// Host and port.
        address: String,
        /// The user.
        user: String,
        /// Why not.
        #[source]
        source: Box<LoginError>,
    },
    /// We are in, but the server gives us no SFTP.
    #[error("{address} has no SFTP for this user")]
    NoSftp {
        /// Host and port.
        address: String,
        /// What the server refused.
        #[source]
        source: russh::Error,
    },
    /// The server ended the session before SFTP began.
    #[error("{address} ends the session before SFTP begins")]
    SftpEnded {
        /// Host and port.
        address: String,
        /// How it ended.
        #[source]
        source: io::Error,
    },
    /// The destination's folder is not there.
    #[error("there is no folder {directory} at {address}")]
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
    #[error("{address} has been silent for {} s", .silent.as_secs())]
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
    /// The destination has no room for the batch.
    #[error("the destination is full: {free}")]
    NoSpace {
        /// What it says of its room.
        free: FreeSpace,
        /// What it refused.
        #[source]
        source: JobError,
    },
    /// The batch's name is taken at the destination.
    #[error("a different file of that name is there: {path}; it was left alone")]
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
    #[error("{} was altered after it was sealed ({detail}); it is not delivered as it is", .path.display())]
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

impl From<HostKeyError> for DeliveryError {
    fn from(error: HostKeyError) -> Self {
        Self::HostKey(Box::new(error))
    }
}

/// What a failure speaks against, and so what must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureScope {
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
    /// None.
    None,
}

impl DeliveryError {
    /// Whose fault it is.
    pub fn scope(&self) -> FailureScope {
        match self {
            Self::Unreachable { .. }
            | Self::Handshake { .. }
            | Self::HostKey(_)
            | Self::CutInLogin { .. }
            | Self::NoSftp { .. }
            | Self::SftpEnded { .. }
            | Self::NoDirectory { .. }
            | Self::NoSpace { .. } => FailureScope::Destination,
            Self::Login { .. } => FailureScope::Login,
            Self::Lost { .. } | Self::Stalled { .. } | Self::Protocol { .. } => FailureScope::Connection,
            // The next batch would fare no better.
            Self::Remote(_) if matches!(self.kind(), FailureKind::NoFolder | FailureKind::NoSpace) => {
                FailureScope::Destination
            }
            Self::Remote(_) | Self::NameTaken { .. } | Self::Spoiled { .. } | Self::NotCompressed { .. } => {
                FailureScope::Batch
            }
            Self::Missing { .. } | Self::Altered { .. } | Self::LocalFile { .. } => FailureScope::File,
            Self::Stopped => FailureScope::None,
        }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Unreachable { .. } => FailureKind::Unreachable,
            // A server with too many connections closes a new one before it has said a word.
            Self::Handshake { source, .. } if is_disconnect(source) => FailureKind::Unreachable,
            Self::Handshake { .. } | Self::NoSftp { .. } | Self::SftpEnded { .. } | Self::Protocol { .. } => {
                FailureKind::Protocol
            }
            Self::HostKey(_) => FailureKind::HostKey,
            Self::Login { .. } => FailureKind::Auth,
            Self::NoDirectory { .. } => FailureKind::NoFolder,
            Self::CutInLogin { .. } | Self::Lost { .. } | Self::Stopped => FailureKind::ConnectionLost,
            Self::Stalled { .. } => FailureKind::Stalled,
            Self::Remote(error) => kind_of(error),
            Self::NoSpace { .. } => FailureKind::NoSpace,
            Self::NameTaken { .. } => FailureKind::NameTaken,
            Self::Spoiled { .. } => FailureKind::Spoiled,
            Self::Missing { .. }
            | Self::Altered { .. }
            | Self::LocalFile { .. }
            | Self::NotCompressed { .. } => FailureKind::LocalFile,
        }
    }

    /// What to do about it, where the message does not say so itself.
    pub fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unreachable { .. } => "check `host`, `port` and the network between",
            Self::Handshake { .. } if self.kind() == FailureKind::Unreachable => {
                "it may allow fewer connections; see its log, and `sessions`"
            }
            Self::Handshake { .. } => "is that port an SSH server's, with ciphers and keys of these days?",
            Self::CutInLogin { .. } => "it may refuse this login, or allow fewer; see its log",
            Self::Login { source, .. } => source.advice()?,
            Self::NoSftp { .. } => "have SFTP allowed for the user",
            Self::SftpEnded { .. } => {
                "see the server's log: the password may have expired, or the account may have no SFTP"
            }
            Self::NoDirectory { .. } => "have it made, or correct `directory`",
            Self::Lost { .. } => "see the server's log, and the network between",
            Self::Stalled { .. } => "the server or the network hangs; see both, and `stall_after`",
            Self::Protocol { .. } => {
                "a login script that prints something does that; see the server's settings"
            }
            Self::Remote(error) => match kind_of(error) {
                FailureKind::Permission => "have the user given the right to write there",
                FailureKind::NoFolder => "have the folder made, or correct `directory`",
                FailureKind::NoSpace => "have room made there",
                _ => "see the server's log",
            },
            Self::NoSpace { .. } => "have room made there",
            Self::NameTaken { .. } => "move it away, and the batch is delivered",
            Self::Missing { .. } | Self::Altered { .. } => "restore it; `logferry fsck` names all such files",
            Self::LocalFile { .. } | Self::NotCompressed { .. } => {
                "check the disk and the rights in the data folder"
            }
            Self::Spoiled { .. } => "tell whoever runs the server: its disk may be failing",
            Self::HostKey(_) | Self::Stopped => return None,
        })
    }

    /// All there is to say on one line: what happened, why, and what to do.
    pub fn explanation(&self) -> String {
        let mut text = error_chain(self);
        if let Some(advice) = self.advice() {
            text.push_str("; ");
            text.push_str(advice);
        }
        text
    }

    /// Whether a lack of room may be behind it that the server does not name: OpenSSH answers a full disk or quota with
    /// a failure like any other.
    pub(crate) fn may_be_no_space(&self) -> bool {
        let Self::Remote(JobError::Refused { step, status, .. }) = self else {
            return false;
        };
        status.code == StatusCode::Failure
            && matches!(
                step,
                RequestKind::Open
                    | RequestKind::Write
                    | RequestKind::Sync
                    | RequestKind::Close
                    | RequestKind::Mkdir
            )
    }
}

/// Whether there is no connection any more.
fn is_disconnect(error: &russh::Error) -> bool {
    matches!(
        error,
        russh::Error::IO(_)
            | russh::Error::HUP
            | russh::Error::Disconnect
            | russh::Error::SendError
            | russh::Error::RecvError
    )
}

/// What kind of failure a refused request is.
fn kind_of(error: &JobError) -> FailureKind {
    /// Codes of later versions of the protocol, which some servers use all the same: `SSH_FX_NO_SPACE_ON_FILESYSTEM` and
    /// `SSH_FX_QUOTA_EXCEEDED` (draft-ietf-secsh-filexfer-13, section 9.1).
    const NO_SPACE: [u32; 2] = [14, 15];
    /// What servers say in words.
    const NO_SPACE_WORDS: [&str; 5] = [
        "no space",
        "quota",
        "disk full",
        "disk is full",
        "insufficient space",
    ];
    let (step, status) = match error {
        JobError::Refused { step, status, .. } => (Some(*step), status),
        JobError::RenameRefused { status, .. } => (None, status),
        JobError::WrongSize { .. } => return FailureKind::Refused,
        JobError::Local { .. } => return FailureKind::LocalFile,
    };
    match status.code {
        StatusCode::PermissionDenied => FailureKind::Permission,
        StatusCode::NoSuchFile if step == Some(RequestKind::Open) => FailureKind::NoFolder,
        StatusCode::NoConnection | StatusCode::ConnectionLost => FailureKind::ConnectionLost,
        StatusCode::Other(code) if NO_SPACE.contains(&code) => FailureKind::NoSpace,
        _ => {
            let words = status.text.to_string().to_ascii_lowercase();
            if NO_SPACE_WORDS.iter().any(|word| words.contains(word)) {
                FailureKind::NoSpace
            } else {
                FailureKind::Refused
            }
        }
    }
}

/// An error with all its causes on one line, for the log and the ledger.
pub(crate) fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
