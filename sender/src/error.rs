//! Why a request to the relay did not succeed, and what that means for other requests.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("cannot find the address of {0}")]
    Lookup(String, #[source] io::Error),
    #[error("cannot bind to the local address {0}")]
    Bind(IpAddr, #[source] io::Error),
    #[error("cannot connect to {0}")]
    Connect(String, #[source] io::Error),
    #[error("{} of {setting} cannot be used: {reason}", .path.display())]
    CredentialFile {
        path: PathBuf,
        setting: &'static str,
        reason: String,
    },
    #[error("no safe connection to {relay}: {reason}")]
    Tls { relay: String, reason: String },
    /// Lines that are shipped there could arrive twice.
    #[error(
        "{relay} is not the relay that lines were shipped to, which was at {known}: sender.relay may list addresses of \
         one relay only; if the old relay is gone for good, remove its address from the list"
    )]
    WrongLedger { relay: String, known: String },
    #[error("{relay} did not answer within {after:?}")]
    Timeout { relay: String, after: Duration },
    #[error("the connection to {0} broke")]
    Broken(String, #[source] hyper::Error),
    #[error("{relay} sent a response that this sender does not understand: {reason}")]
    InvalidResponse { relay: String, reason: String },
    #[error("{relay} refused with status {status}: {reason}")]
    Refused {
        relay: String,
        status: u16,
        reason: String,
        retry_after: Option<Duration>,
    },
    /// The chunk does not start at the relay's committed offset.
    #[error("the relay has another committed offset of the stream")]
    OffsetMismatch,
    /// The next request has a new id.
    #[error("another process uses this sender's id")]
    IdTaken,
    #[error("cancelled, because the sender stops")]
    Stopping,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestErrorKind {
    /// Normal operation: the relay asks to wait, or to continue at another offset.
    Expected,
    /// The relay cannot be reached.
    Unreachable,
    /// Somebody has to change a setting or a file.
    Refused,
}

impl RequestError {
    pub(crate) fn kind(&self) -> RequestErrorKind {
        match self {
            Self::OffsetMismatch
            | Self::IdTaken
            | Self::Stopping
            | Self::Refused {
                status: 429 | 503, ..
            } => RequestErrorKind::Expected,
            // A proxy does not reach the relay, which itself answers so to no request.
            Self::Refused {
                status: 500..=599, ..
            } => RequestErrorKind::Unreachable,
            Self::Refused { .. }
            | Self::InvalidResponse { .. }
            | Self::Bind(..)
            | Self::CredentialFile { .. }
            | Self::Tls { .. }
            | Self::WrongLedger { .. } => RequestErrorKind::Refused,
            Self::Lookup(..) | Self::Connect(..) | Self::Timeout { .. } | Self::Broken(..) => {
                RequestErrorKind::Unreachable
            }
        }
    }

    /// Whether any other request would fail now too. Then all requests wait, not only those of one stream.
    pub(crate) fn concerns_all(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 429 | 500..=599),
            Self::Bind(..)
            | Self::CredentialFile { .. }
            | Self::Tls { .. }
            | Self::WrongLedger { .. }
            | Self::IdTaken => true,
            _ => self.kind() == RequestErrorKind::Unreachable,
        }
    }

    /// Whether the request might succeed at another of the relay's addresses.
    pub(crate) fn concerns_endpoint(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 421 | 500..=599),
            Self::Tls { .. } | Self::WrongLedger { .. } => true,
            _ => self.kind() == RequestErrorKind::Unreachable,
        }
    }

    /// What to do, unless the reason says it.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Refused {
                status: 429 | 500..=599,
                ..
            } => Some(
                "no line is dropped; on the relay's host `logferry status` says why it refuses, and what to do",
            ),
            _ => None,
        }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
