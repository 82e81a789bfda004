//! Why a request to the relay did not succeed.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A request that brought no answer, or no good one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("cannot find the address of {host}")]
    Lookup {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot bind to the local address {address}")]
    Bind {
        address: IpAddr,
        #[source]
        source: io::Error,
    },
    #[error("cannot connect to {relay}")]
    Connect {
        relay: String,
        #[source]
        source: io::Error,
    },
    #[error("{} of {setting} cannot be used: {reason}", .path.display())]
    CredentialFile {
        path: PathBuf,
        setting: &'static str,
        reason: String,
    },
    #[error("no safe connection to {relay}: {reason}")]
    Tls { relay: String, reason: String },
    /// It would double lines to ship them there.
    #[error(
        "{relay} is not the relay that lines were shipped to, which was at {home}: sender.relay may list addresses of one \
         relay only; if the old one is gone for good, take its address out of the list"
    )]
    WrongLedger { relay: String, home: String },
    #[error("{relay} did not answer within {after:?}")]
    Timeout { relay: String, after: Duration },
    #[error("the connection to {relay} broke")]
    Broken {
        relay: String,
        #[source]
        source: hyper::Error,
    },
    #[error("{relay} answered what this sender does not understand: {reason}")]
    InvalidResponse { relay: String, reason: String },
    #[error("{relay} refused with status {status}: {reason}")]
    Refused {
        relay: String,
        status: u16,
        reason: String,
        retry_after: Option<Duration>,
    },
    /// Not a failure of the wire: the chunk does not start where the relay is.
    #[error("the relay is at another offset of the stream")]
    OffsetMismatch,
    /// The sender is stopping.
    #[error("given up, as the sender stops")]
    Stopping,
}

/// What to make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestErrorKind {
    /// Part of how things go: the relay asks to wait, or to go on elsewhere.
    Expected,
    /// The relay cannot be reached.
    Unreachable,
    /// Someone has to change something.
    Refused,
}

impl RequestError {
    pub(crate) fn kind(&self) -> RequestErrorKind {
        match self {
            Self::OffsetMismatch
            | Self::Stopping
            | Self::Refused {
                status: 429 | 503, ..
            } => RequestErrorKind::Expected,
            Self::Refused { .. }
            | Self::InvalidResponse { .. }
            | Self::Bind { .. }
            | Self::CredentialFile { .. }
            | Self::Tls { .. }
            | Self::WrongLedger { .. } => RequestErrorKind::Refused,
            Self::Lookup { .. } | Self::Connect { .. } | Self::Timeout { .. } | Self::Broken { .. } => {
                RequestErrorKind::Unreachable
            }
        }
    }

    /// Whether any other request would fare the same now: then all wait, and not only the stream whose chunk failed.
    pub(crate) fn concerns_all(&self) -> bool {
        let waiting = matches!(
            self,
            Self::Refused {
                status: 429 | 503,
                ..
            } | Self::Bind { .. }
                | Self::CredentialFile { .. }
                | Self::Tls { .. }
                | Self::WrongLedger { .. }
        );
        waiting || self.kind() == RequestErrorKind::Unreachable
    }

    /// Whether another address of the relay may fare better.
    pub(crate) fn concerns_endpoint(&self) -> bool {
        let refuses = matches!(
            self,
            Self::Tls { .. }
                | Self::WrongLedger { .. }
                | Self::Refused {
                    status: 421 | 503,
                    ..
                }
        );
        refuses || self.kind() == RequestErrorKind::Unreachable
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
