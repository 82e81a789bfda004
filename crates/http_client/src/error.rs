//! Why a request has no answer.

use std::io;
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The host name leads nowhere.
    #[error("cannot find the address of {host}: {source}; check the address and this host's DNS")]
    Lookup {
        /// The host.
        host: String,
        /// The cause.
        source: io::Error,
    },
    /// Nothing answers.
    #[error("cannot connect to {host}: {source}; check the address and the firewalls between")]
    Connect {
        /// Host and port.
        host: String,
        /// The cause.
        source: io::Error,
    },
    /// No TLS session.
    #[error("no safe connection to {host}: {reason}")]
    Tls {
        /// Host and port.
        host: String,
        /// The cause, and what to do.
        reason: String,
    },
    /// The address cannot be asked for.
    #[error("the address at {host} cannot be used in a request; check it")]
    Address {
        /// Host and port.
        host: String,
    },
    /// It took too long.
    #[error("{host} did not answer within {} s", .limit.as_secs())]
    TimedOut {
        /// Host and port.
        host: String,
        /// The time limit.
        limit: Duration,
        /// Whether the request was on its way.
        was_sent: bool,
    },
    /// The connection broke off after the request was on its way.
    #[error("the connection to {host} broke off before the answer: {reason}")]
    Broken {
        /// Host and port.
        host: String,
        /// The cause.
        reason: String,
    },
    /// The answer is longer than its reader wants.
    #[error("the answer of {host} is too long")]
    AnswerTooLong {
        /// Host and port.
        host: String,
    },
}

impl HttpError {
    /// Whether the server may have got the request.
    pub fn may_be_taken(&self) -> bool {
        match self {
            Self::TimedOut { was_sent, .. } => *was_sent,
            Self::Broken { .. } | Self::AnswerTooLong { .. } => true,
            Self::Lookup { .. } | Self::Connect { .. } | Self::Tls { .. } | Self::Address { .. } => false,
        }
    }
}
