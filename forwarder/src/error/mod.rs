//! Why a delivery fails, and the scope of each failure. All other rooms use this one; it uses none.
//! The kind of a failure, its advice and its scope may be changed here; `docs/operate.md` has the table of kinds.

pub(crate) mod host_key;
pub(crate) mod login;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use logferry_durable::DiskError;
use logferry_ledger::FailureKind;
use logferry_sftp::{FreeSpace, JobError, ProtocolError, RequestKind, StatusCode};
use logferry_text::{error_chain, size};

pub use host_key::{HostKeyError, HostKeyStatus};
pub use login::LoginError;

/// Host and port.
pub type ServerAddress = String;

/// A delivery, or the connection for one, failed.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// No connection: the name does not resolve, no server listens, or it does not answer.
    #[error("cannot connect to {0}")]
    Unreachable(ServerAddress, #[source] io::Error),
    /// A server listens, but the SSH handshake failed.
    #[error("the SSH handshake with {0} failed")]
    Handshake(ServerAddress, #[source] russh::Error),
    /// The host key is not trusted.
    #[error(transparent)]
    HostKey(#[from] Box<HostKeyError>),
    /// The connection ended during the login. Some servers refuse a login in this way, others are overloaded.
    #[error("{0} closed the connection during the login")]
    CutInLogin(ServerAddress, #[source] io::Error),
    /// The server refused the login.
    #[error("cannot log in as {user} at {address}")]
    Login {
        /// The server.
        address: ServerAddress,
        /// The user.
        user: String,
        /// The reason.
        #[source]
        source: Box<LoginError>,
    },
    /// The login succeeded, but the server refuses SFTP.
    #[error("{0} offers no SFTP to this user")]
    NoSftp(ServerAddress, #[source] russh::Error),
    /// The server ended the session before SFTP began.
    #[error("{0} ended the session before SFTP began")]
    SftpEnded(ServerAddress, #[source] io::Error),
    /// The destination's folder does not exist.
    #[error("there is no folder {directory} at {address}")]
    NoDirectory {
        /// The server.
        address: ServerAddress,
        /// The folder.
        directory: String,
    },
    /// The session ended during a delivery.
    #[error("the connection to {0} broke")]
    Lost(ServerAddress, #[source] io::Error),
    /// No byte moved for this long while the server owed an answer.
    #[error("{0} has been silent for {seconds} s", seconds = .1.as_secs())]
    Stalled(ServerAddress, Duration),
    /// The server broke the SFTP protocol.
    #[error("{0} violates the SFTP protocol")]
    Protocol(ServerAddress, #[source] ProtocolError),
    /// The server refused a request for one file.
    #[error(transparent)]
    Remote(#[from] JobError),
    /// The destination has no space for the batch.
    #[error("the destination is full: {shortage}")]
    NoSpace {
        /// What there is too little of.
        shortage: String,
        /// The refused request.
        #[source]
        source: JobError,
    },
    /// A different file has the name at the destination.
    #[error("a different file of that name is there: {path}; it was not changed")]
    NameTaken {
        /// The remote path.
        path: String,
    },
    /// The uploaded file was read back and differs.
    #[error("{path} was read back and differs from the uploaded file: it was removed and is not published")]
    Spoiled {
        /// The remote path, a temporary one.
        path: String,
    },
    /// The account may not rename files, so nothing can be published.
    #[error("the account may upload files there, but not rename them")]
    MayNotRename(#[source] JobError),
    /// The uploaded file was gone before it could be renamed.
    #[error(
        "the uploaded file was gone before it got its final name: {path}; a receiver takes files as soon as they are closed"
    )]
    TemporaryTaken {
        /// The remote path, a temporary one.
        path: String,
    },
    /// The account may not do in its folder what each delivery needs.
    #[error("the account cannot {operation} files in {directory}{left}")]
    NotAllowed {
        /// The refused operation, as a verb.
        operation: &'static str,
        /// The folder.
        directory: String,
        /// What the check had to leave there, or nothing.
        left: String,
        /// The refusal.
        #[source]
        source: Box<JobError>,
    },
    /// The batch's file could not be compressed.
    #[error("cannot write the compressed file to send")]
    NotCompressed(#[source] DiskError),
    /// The batch's file is in no folder of the spool. It was expected under this path.
    #[error("the batch's file is missing: {}", .0.display())]
    Missing(PathBuf),
    /// The batch's file differs from what the relay wrote.
    #[error("{} was changed after it was sealed ({detail}); it is not delivered", .path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// The difference.
        detail: String,
    },
    /// The batch's file cannot be read.
    #[error("cannot read {}", .0.display())]
    LocalFile(PathBuf, #[source] io::Error),
    /// The forwarder was told to stop.
    #[error("stopped on request")]
    Stopped,
}

/// The disk failed at a local file.
impl From<DiskError> for DeliveryError {
    fn from(DiskError { path, source, .. }: DiskError) -> Self {
        Self::LocalFile(path, source)
    }
}

/// The scope of a failure: what must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureScope {
    /// The destination: nothing can be delivered there now.
    Destination,
    /// The credentials: the same, and frequent attempts may lock the account.
    Login,
    /// The connection: it broke while an item was in flight.
    Connection,
    /// This batch at this destination; others may succeed.
    Batch,
    /// This batch's local file, at every destination.
    File,
    /// None: the forwarder was told to stop.
    None,
}

impl DeliveryError {
    /// The scope of the failure.
    pub fn scope(&self) -> FailureScope {
        self.classify().0
    }

    /// The kind of the failure.
    pub fn kind(&self) -> FailureKind {
        self.classify().1
    }

    /// The cure, unless the message names it.
    pub fn advice(&self) -> Option<&'static str> {
        self.classify().2
    }

    fn classify(&self) -> (FailureScope, FailureKind, Option<&'static str>) {
        use FailureKind as Kind;
        use FailureScope::{Batch, Connection, Destination, File, Login};
        let (scope, kind, advice) = match self {
            Self::Unreachable(..) => {
                let advice = "check `host`, `port` and the network";
                (Destination, Kind::Unreachable, advice)
            }
            // A server with too many connections closes a new one before its first message.
            Self::Handshake(_, source) if is_disconnect(source) => {
                let advice = "the server may allow fewer connections; see its log and `sessions`";
                (Destination, Kind::Unreachable, advice)
            }
            Self::Handshake(..) => {
                let advice =
                    "check that an SSH server with current ciphers and key types listens on that port";
                (Destination, Kind::Protocol, advice)
            }
            Self::HostKey(_) => return (Destination, Kind::HostKey, None),
            Self::CutInLogin(..) => {
                let advice = "the server may refuse this login or allow fewer logins; see its log";
                (Destination, Kind::ConnectionLost, advice)
            }
            Self::Login { source, .. } => return (Login, Kind::Auth, source.advice()),
            Self::NoSftp(..) => {
                let advice = "ask the server's operator to allow SFTP for the user";
                (Destination, Kind::Protocol, advice)
            }
            Self::SftpEnded(..) => {
                let advice =
                    "see the server's log: the password may have expired, or the account may have no SFTP";
                (Destination, Kind::Protocol, advice)
            }
            Self::NoDirectory { .. } => {
                let advice = "ask the server's operator to create it, or correct `directory`";
                (Destination, Kind::NoFolder, advice)
            }
            Self::Lost(..) => {
                let advice = "see the server's log and check the network";
                (Connection, Kind::ConnectionLost, advice)
            }
            Self::Stalled(..) => {
                let advice = "the server or the network hangs; check both and `stall_after`";
                (Connection, Kind::Stalled, advice)
            }
            Self::Protocol(..) => {
                let advice = "a login script that prints text may cause this; check the server's settings";
                (Connection, Kind::Protocol, advice)
            }
            Self::Remote(error) => refused(kind_of(error)),
            Self::NoSpace { .. } => refused(Kind::NoSpace),
            Self::MayNotRename(_) | Self::NotAllowed { .. } => (Destination, Kind::Permission, ALLOW_ALL),
            Self::TemporaryTaken { .. } => (Destination, Kind::Refused, LEAVE_OUT_TEMPORARY),
            Self::NameTaken { .. } => {
                let advice = "move that file away; then it is delivered";
                (Batch, Kind::NameTaken, advice)
            }
            Self::Spoiled { .. } => {
                let advice = "tell the server's operator: its disk may be failing";
                (Batch, Kind::Spoiled, advice)
            }
            Self::Missing(..) | Self::Altered { .. } => {
                let advice = "restore the file; `logferry fsck` lists all such files";
                (File, Kind::LocalFile, advice)
            }
            Self::NotCompressed(..) => (Batch, Kind::LocalFile, CHECK_DATA_FOLDER),
            Self::LocalFile(..) => (File, Kind::LocalFile, CHECK_DATA_FOLDER),
            Self::Stopped => return (FailureScope::None, Kind::ConnectionLost, None),
        };
        (scope, kind, Some(advice))
    }

    /// One line: what happened, why, and the cure.
    pub fn explanation(&self) -> String {
        let mut text = error_chain(self);
        if let Some(advice) = self.advice() {
            text.push_str("; ");
            text.push_str(advice);
        }
        text
    }

    /// Whether the cause may be a lack of space that the server does not report: OpenSSH answers a full disk or an exceeded
    /// quota with a general failure.
    pub(crate) fn may_be_no_space(&self) -> bool {
        use RequestKind::{Close, Mkdir, Open, Sync, Write};
        matches!(
            self,
            Self::Remote(JobError::Refused { step: Open | Write | Sync | Close | Mkdir, status, .. })
                if status.code == StatusCode::Failure
        )
    }
}

/// What there is too little of, by the free space that a destination reports and the bytes on their way. The free files are no
/// matter where there are some: they would be read as the cause.
pub(crate) fn shortage(free: &FreeSpace, needed: u64) -> String {
    if free.has_no_files() {
        return "no further file can be made there, all its inodes are in use (`df -i`)".to_owned();
    }
    format!("{} free, and {} on the way", size(free.bytes), size(needed))
}

const ALLOW_ALL: &str = "ask the server's operator to let the user write, rename and delete there";
const LEAVE_OUT_TEMPORARY: &str =
    "let the receiver leave out names that end in `temp_suffix`, or set a suffix that it leaves out";
const CHECK_DATA_FOLDER: &str = "check the disk and the permissions in the data folder";

/// Scope and cure of a refused request. Without its folder or without space, the next batch would fail too.
fn refused(kind: FailureKind) -> (FailureScope, FailureKind, &'static str) {
    let (scope, advice) = match kind {
        FailureKind::Permission => {
            let advice = "ask the server's operator to give the user the right to write there";
            (FailureScope::Batch, advice)
        }
        FailureKind::NoFolder => {
            let advice = "ask the server's operator to create the folder, or correct `directory`";
            (FailureScope::Destination, advice)
        }
        FailureKind::NoSpace => (FailureScope::Destination, "free space at the destination"),
        _ => (FailureScope::Batch, "see the server's log"),
    };
    (scope, kind, advice)
}

/// Whether the connection is closed.
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

/// The kind of failure of a refused request.
fn kind_of(error: &JobError) -> FailureKind {
    /// Codes of later versions of the protocol, which some servers use in version 3: `SSH_FX_NO_SPACE_ON_FILESYSTEM` and
    /// `SSH_FX_QUOTA_EXCEEDED` (draft-ietf-secsh-filexfer-13, section 9.1).
    const NO_SPACE: [u32; 2] = [14, 15];
    /// Texts that servers send.
    const NO_SPACE_TEXTS: [&str; 5] = [
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
            let text = status.text.to_string().to_ascii_lowercase();
            if NO_SPACE_TEXTS.iter().any(|part| text.contains(part)) {
                FailureKind::NoSpace
            } else {
                FailureKind::Refused
            }
        }
    }
}
