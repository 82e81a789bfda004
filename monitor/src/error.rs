//! Errors, worded for the operator who has to fix them.

use std::path::PathBuf;

use logferry_durable::LockError;
use logferry_ledger::LedgerError;
use logferry_telemetry::HealthEndpointError;
use logferry_text::count_of;
use tokio::task::JoinError;

use crate::channel_error::ChannelError;

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
    /// The authorities for TLS to the mail server cannot be read.
    #[error(
        "cannot use {} of monitor.smtp.ca_file: {reason}; it must hold the certificates of your authorities, in PEM form",
        .path.display()
    )]
    CaFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// The address for `/metrics` cannot be used.
    #[error(transparent)]
    Metrics(#[from] HealthEndpointError),
    /// A mail cannot be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The test mail went to some of the recipients only.
    #[error(
        "the mail server took the mail, but not for these recipients: {refused}; correct monitor.smtp.to"
    )]
    RecipientsRefused {
        /// The recipients with the server's replies.
        refused: String,
    },
    /// Some mails were not sent and stay in the outbox.
    #[error("{} not sent; the next run tries again; the last error", count_of(*.mails as u64, "mail"))]
    Unsent {
        /// How many.
        mails: usize,
        /// Why the last of them was not sent.
        #[source]
        source: SendError,
    },
    /// A message to a channel was not sent and stays in the outbox.
    #[error("channel {channel}: {source}; the next run tries again")]
    Channel {
        /// The channel.
        channel: String,
        /// Why.
        source: ChannelError,
    },
    /// The heartbeat was not given.
    #[error("the heartbeat is not given: {0}")]
    Heartbeat(String),
    /// A task of the monitor crashed.
    #[error("the monitor crashed; this is a bug")]
    Crashed(#[source] JoinError),
}

impl MonitorError {
    /// Whether it may pass by itself: the ledger is busy or cannot grow, or is being made.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Ledger(LedgerError::Sqlite { .. } | LedgerError::Missing { .. })
        )
    }
}

/// Replies that concern every mail: the server is closing (421, RFC 5321), or refuses the login (RFC 4954).
const CODES_FOR_ALL: [u16; 7] = [421, 432, 454, 530, 534, 535, 538];

/// Why the mail server did not take a mail.
///
/// The reasons are text, not causes: the mail library's errors repeat their cause in their own text.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The server refused it, or a step before it.
    #[error("mail server {server} refused {refused}: {reason}{}", advice(*.code))]
    Refused {
        /// Its host and port.
        server: String,
        /// What it refused.
        refused: String,
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
    /// The server does not offer what the configuration wants.
    #[error(
        "mail server {server} cannot be used as configured: {reason}; check monitor.smtp.port, tls and user"
    )]
    Unusable {
        /// Its host and port.
        server: String,
        /// What is missing.
        reason: String,
    },
    /// Nobody who is trusted has signed the server's certificate, or it is for another name.
    #[error("mail server {server} has a certificate that is not trusted: {reason}")]
    Untrusted {
        /// Its host and port.
        server: String,
        /// The cause, and what to do.
        reason: String,
    },
    /// The server took too long.
    #[error("mail server {server} did not answer within {seconds} s; waited for: {awaited}")]
    TimedOut {
        /// Its host and port.
        server: String,
        /// The step without a reply.
        awaited: &'static str,
        /// The time limit.
        seconds: u64,
    },
    /// The mail was sent, and the server's reply to it is missing. Nobody knows whether the server has it.
    #[error("the mail server may have taken the mail or not, as its answer is missing: {cause}")]
    Unconfirmed {
        /// Why.
        cause: Box<SendError>,
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
            Self::Unreachable { .. }
            | Self::Unusable { .. }
            | Self::Untrusted { .. }
            | Self::TimedOut { .. }
            | Self::Unconfirmed { .. } => false,
        }
    }
}

/// What to do about a refusal.
const fn advice(code: u16) -> &'static str {
    match code {
        501 | 504 => "; set monitor.smtp.hello_name to the full name of this host",
        530 | 534 | 535 | 538 => "; check monitor.smtp.user, password and tls",
        _ => "",
    }
}
