//! What can go wrong, worded for the person who has to mend it.

use std::path::PathBuf;

use logferry_durable::{DiskError, LockError};
use logferry_ledger::LedgerError;
use logferry_telemetry::HealthEndpointError;
use tokio::task::JoinError;

use crate::words::counted;

/// The monitor could not do it.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Another monitor, most likely the daemon, looks after this data folder.
    #[error(
        "another monitor (process {holder}) looks after {} already, and two would send each mail twice; stop that one \
         first", .data_dir.display()
    )]
    AlreadyRunning {
        /// The relay's data folder.
        data_dir: PathBuf,
        /// The other monitor's process id, or `unknown`.
        holder: String,
    },
    /// The lock that keeps a second monitor away could not be taken.
    #[error("cannot keep a second monitor away; may this user write to data_dir?")]
    Lock(#[source] LockError),
    /// An address of `monitor.smtp` does not work in a mail.
    #[error(
        "`{address}` in monitor.smtp is not a mail address that can be written to; write it like ops@example.com"
    )]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        #[source]
        source: lettre::address::AddressError,
    },
    /// TLS to the mail server could not be set up.
    #[error("cannot set up TLS to mail server {server}; are the system's CA certificates installed?")]
    Tls {
        /// Its host and port.
        server: String,
        /// What was found.
        #[source]
        source: lettre::transport::smtp::Error,
    },
    /// The port for `/metrics` could not be had.
    #[error(transparent)]
    Metrics(#[from] HealthEndpointError),
    /// A mail could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Mails stay in the outbox.
    #[error("{} could not be sent and will be tried again; the last error was this", counted(*.mails, "mail"))]
    Unsent {
        /// How many of those tried.
        mails: usize,
        /// Why, for the last of them.
        #[source]
        source: SendError,
    },
    /// A part of the monitor crashed.
    #[error("the monitor broke off; this is a bug")]
    Broken(#[source] JoinError),
}

/// Replies that turn away every mail: the server is closing (421, RFC 5321), or wants another login (RFC 4954).
const CODES_FOR_ALL: [u16; 7] = [421, 432, 454, 530, 534, 535, 538];

/// The mail server did not take a mail.
///
/// The reasons are text, not causes: the mail library's errors repeat their own cause when they are shown.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The server answered no.
    #[error("mail server {server} refused the mail: {reason}")]
    Refused {
        /// Its host and port.
        server: String,
        /// The number of its reply (RFC 5321, 4.2).
        code: u16,
        /// Its reply.
        reason: String,
    },
    /// No conversation with the server came about, or it broke off.
    #[error("mail server {server} cannot be reached: {reason}; check monitor.smtp.host, port and tls")]
    Unreachable {
        /// Its host and port.
        server: String,
        /// What happened.
        reason: String,
    },
    /// The server took too long.
    #[error("mail server {server} did not take the mail within {seconds} s")]
    TimedOut {
        /// Its host and port.
        server: String,
        /// How long it was given.
        seconds: u64,
    },
    /// The mail could not be put together.
    #[error("cannot put a mail together")]
    Compose(#[source] lettre::error::Error),
}

impl SendError {
    /// Whether only this one mail is concerned, so that the next may fare better.
    pub(crate) fn is_about_the_mail(&self) -> bool {
        match self {
            Self::Refused { code, .. } => !CODES_FOR_ALL.contains(code),
            Self::Compose(_) => true,
            Self::Unreachable { .. } | Self::TimedOut { .. } => false,
        }
    }
}

/// The status or the audit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The spool could not be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
