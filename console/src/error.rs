//! Why the console cannot work.

use std::net::SocketAddr;
use std::path::PathBuf;

use logferry_durable::{DiskError, LockError};
use logferry_ledger::LedgerError;
use logferry_numbers::IndexError;
use logferry_telemetry::HealthEndpointError;

/// The console cannot go on, or a command on its accounts failed.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The port cannot be had.
    #[error("cannot listen on {address}; is another program using it? `console.listen` sets the address")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The metrics page cannot be served.
    #[error(transparent)]
    Health(#[from] HealthEndpointError),
    /// The console's folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another console runs.
    #[error("another console works in {} ({holder}); stop it, or give this one a state_dir of its own", .state_dir.display())]
    AlreadyRunning {
        /// The folder.
        state_dir: PathBuf,
        /// Its process.
        holder: String,
    },
    /// The lock cannot be used.
    #[error(transparent)]
    Lock(LockError),
    /// The certificate cannot be used.
    #[error("console.tls: {} {reason}", .file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// `console.db` cannot be used.
    #[error("cannot {action} in {}; if it is damaged, restore it from a backup, or delete it and make the users anew", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// The operation.
        action: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The file is the SQLite database of another program.
    #[error("{} is not the console's database; move it away or correct console.state_dir", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a later version.
    #[error("{} has schema {found}, this version knows up to {known}: install the version that wrote it", .path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The schema found.
        found: usize,
        /// The newest schema known.
        known: usize,
    },
    /// What was asked for is not possible; the sentence says why and what to do.
    #[error("{0}")]
    Refused(String),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The indexer's numbers cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A thread cannot be started, or panicked.
    #[error("a thread of the console failed: {0}")]
    Thread(String),
}
