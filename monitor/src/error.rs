//! Errors, worded for the operator who has to fix them.

use std::path::PathBuf;

use logferry_durable::{DiskError, LockError};
use logferry_ledger::LedgerError;
use logferry_telemetry::HealthEndpointError;
use logferry_text::count_of;
use tokio::task::JoinError;

/// The monitor cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The ledger cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Another monitor, most likely the daemon, runs on this data folder.
    #[error(
        "another monitor (process {holder}) is running on {}, and two would send each mail twice; stop that one first",
        .data_dir.display()
    )]
    AlreadyRunning {
        /// The relay's data folder.
        data_dir: PathBuf,
        /// The other monitor's process id, or `unknown`.
        holder: String,
    },
    /// The lock against a second monitor cannot be taken.
    #[error(
        "cannot take the lock that prevents a second monitor; check that this user may write to data_dir"
    )]
    Lock(#[source] LockError),
    /// An address in `monitor.smtp` is not usable in a mail.
    #[error("`{address}` in monitor.smtp is not a valid mail address; write it like ops@example.com")]
    Address {
        /// The address.
        address: String,
        /// Why it is not usable.
        #[source]
        source: lettre::address::AddressError,
    },
    /// TLS to the mail server cannot be set up.
    #[error(
        "cannot set up TLS to mail server {server}; check that the system's CA certificates are installed"
    )]
    Tls {
        /// Its host and port.
        server: String,
        /// The cause.
        #[source]
        source: lettre::transport::smtp::Error,
    },
    /// The address for `/metrics` cannot be used.
    #[error(transparent)]
    Metrics(#[from] HealthEndpointError),
    /// A mail cannot be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Some mails were not sent and stay in the outbox.
    #[error("{} not sent; the next run tries again; the last error", count_of(*.mails as u64, "mail"))]
    Unsent {
        /// How many.
        mails: usize,
        /// Why the last of them was not sent.
        #[source]
        source: SendError,
    },
    /// A task of the monitor crashed.
    #[error("the monitor crashed; this is a bug")]
    Crashed(#[source] JoinError),
}

/// Replies that concern every mail: the server is closing (421, RFC 5321), or refuses the login (RFC 4954).
const CODES_FOR_ALL: [u16; 7] = [421, 432, 454, 530, 534, 535, 538];

/// Why the mail server did not take a mail.
///
/// The reasons are text, not causes: the mail library's errors repeat their cause in their own text.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The server refused it.
    #[error("mail server {server} refused the mail: {reason}")]
    Refused {
        /// Its host and port.
        server: String,
        /// Its reply code (RFC 5321, 4.2).
        code: u16,
        /// Its reply.
        reason: String,
    },
    /// The connection could not be opened, or it broke off.
    #[error("mail server {server} cannot be reached: {reason}; check monitor.smtp.host, port and tls")]
    Unreachable {
        /// Its host and port.
        server: String,
        /// The cause.
        reason: String,
    },
    /// The server took too long.
    #[error("mail server {server} did not take the mail within {seconds} s")]
    TimedOut {
        /// Its host and port.
        server: String,
        /// The time limit.
        seconds: u64,
    },
    /// The mail could not be composed.
    #[error("cannot compose the mail")]
    Compose(#[source] lettre::error::Error),
}

impl SendError {
    /// Whether the error concerns this one mail, so that the next one may be taken.
    pub(crate) fn concerns_one_mail(&self) -> bool {
        match self {
            Self::Refused { code, .. } => !CODES_FOR_ALL.contains(code),
            Self::Compose(_) => true,
            Self::Unreachable { .. } | Self::TimedOut { .. } => false,
        }
    }
}

/// The status or the audit cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum InspectionError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The spool cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
