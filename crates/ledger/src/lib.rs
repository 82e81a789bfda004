//! The relay host's record: which bytes of which streams are durable, which batch files hold them, and where each
//! batch has been delivered.
//!
//! One SQLite file (`<data_dir>/ledger.db`), WAL, `synchronous=FULL`: a transaction that returned survives a power
//! cut (<https://sqlite.org/pragma.html#pragma_synchronous>). Every role of the relay host opens it for itself; they meet here
//! and in the folders of the spool, never in each other's memory.
//!
//! Invariants:
//! - **The ledger decides, the folder follows.** A batch changes its state here first and its folder second; whoever
//!   starts up moves files to where the ledger says they are.
//! - A batch row exists before its file does, so a file that the ledger does not know is never ours to touch.
//! - Committed offsets, and a sealed batch's lines, bytes and checksum, never go back.
//!
//! Who writes what: the relay `sources`, `streams`, `uploads`, `gaps` and open `batches`; the forwarder `deliveries`,
//! `destinations`, `subscriptions`, `manifests` and the state of sealed batches; the monitor `alerts`, `summaries` and `outbox`; the housekeeper the times of
//! compression and expiry.

mod batches;
mod deliveries;
mod gaps;
mod ingest;
mod live;
mod manifests;
mod outbox;
mod row;
mod schema;
mod sources;
mod subscriptions;
mod uploads;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

pub use batches::{Batch, BatchFilter, BatchId, BatchKey, BatchState, Contents, NewBatch, Window};
pub use deliveries::{Asked, Delivery, DestinationHealth, DestinationState, Published};
pub use gaps::GapRecord;
pub use ingest::{BatchGrowth, Commit, StreamMove, StreamRecord};
pub use manifests::{ManifestId, ManifestRecord, NewManifest, SourceReach, WindowBatch};
pub use outbox::{Alert, AlertKind, Mail, MailId, NewMail};
pub use sources::{ReportedStream, SourceRecord, StreamTotals};
pub use uploads::{UPLOAD_MEMORY, UPLOADS_REMEMBERED, UploadChanges, UploadedBody};

/// Name of the ledger's file in the relay's data folder.
pub const FILE_NAME: &str = "ledger.db";

/// How long a writer waits for another role's transaction before it gives up. Transactions take milliseconds; this
/// is reached only when a role hangs inside one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// The ledger could not do it.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// SQLite refused.
    #[error("ledger {}: cannot {action}", .path.display())]
    Sqlite {
        /// The ledger's file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The file is not there, and this role must not make a new one.
    #[error("ledger {} does not exist: start the relay once, or correct data_dir", .path.display())]
    Missing {
        /// The ledger's file.
        path: PathBuf,
    },
    /// The file is a SQLite database of something else.
    #[error("{} is not a logferry ledger; move it away or correct data_dir", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error(
        "ledger {} is damaged ({detail}); do not delete it: keep a copy of the whole data folder, then restore \
         ledger.db from a backup", .path.display()
    )]
    Damaged {
        /// The ledger's file.
        path: PathBuf,
        /// What SQLite found.
        detail: String,
    },
    /// What was to be changed is not as it was read.
    #[error("ledger {}: cannot {action}, because another role or group has changed it meanwhile", .path.display())]
    Conflict {
        /// The ledger's file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
    },
    /// The file was written by a later version.
    #[error(
        "ledger {} has schema {found}, this version knows up to {known}: install the version that wrote it",
        .path.display()
    )]
    TooNew {
        /// The ledger's file.
        path: PathBuf,
        /// The schema found.
        found: i64,
        /// The newest schema known.
        known: i64,
    },
}

/// An open ledger. Not shared between threads: each opens its own.
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
}

impl Ledger {
    /// Opens the ledger in `data_dir`, and makes it if there is none. For the relay.
    pub fn open_or_create(data_dir: &Path) -> Result<Self, LedgerError> {
        Self::open_with(
            data_dir,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        )
    }

    /// Opens the ledger in `data_dir`, which must be there. For every other role.
    pub fn open(data_dir: &Path) -> Result<Self, LedgerError> {
        let path = data_dir.join(FILE_NAME);
        if !path.exists() {
            return Err(LedgerError::Missing { path });
        }
        Self::open_with(data_dir, OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    fn open_with(data_dir: &Path, flags: OpenFlags) -> Result<Self, LedgerError> {
        let path = data_dir.join(FILE_NAME);
        let opened = Connection::open_with_flags(&path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX);
        let connection = opened.map_err(|source| sqlite_error(&path, "open it", source))?;
        let mut ledger = Self { connection, path };
        ledger.prepare()?;
        Ok(ledger)
    }

    fn prepare(&mut self) -> Result<(), LedgerError> {
        let connection = &self.connection;
        connection
            .busy_timeout(BUSY_TIMEOUT)
            .and_then(|()| enter_wal(connection))
            .and_then(|()| connection.pragma_update(None, "synchronous", "FULL"))
            .and_then(|()| connection.pragma_update(None, "foreign_keys", true))
            .map_err(|source| sqlite_error(&self.path, "open it", source))?;
        schema::migrate(&mut self.connection, &self.path)
    }

    /// The ledger's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has SQLite check its file, all of it; what it finds amiss, one line each.
    pub fn integrity(&self) -> Result<Vec<String>, LedgerError> {
        self.read("check its file", |sql| {
            let lines = sql
                .prepare("PRAGMA integrity_check")?
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<String>>>()?;
            Ok(lines.into_iter().filter(|line| line != "ok").collect())
        })
    }

    fn read<T>(
        &self,
        action: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        query(&self.connection).map_err(|source| sqlite_error(&self.path, action, source))
    }

    /// Runs `change` as one durable transaction: all of it or, on an error or a crash, none of it.
    fn write<T>(
        &mut self,
        action: &'static str,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        let run = || {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = change(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|source| sqlite_error(&self.path, action, source))
    }
}

/// Puts the file into WAL mode, where it then stays.
///
/// Two connections that do this at once to a new file each hold a shared lock that the other must wait for; SQLite
/// then tells one of them "busy" at once instead of calling the busy handler (<https://sqlite.org/c3ref/busy_handler.html>).
/// Whoever is told so lets go and tries again: the other is through in milliseconds.
fn enter_wal(connection: &Connection) -> rusqlite::Result<()> {
    let patience = Instant::now() + BUSY_TIMEOUT;
    loop {
        let entered = connection.pragma_update(None, "journal_mode", "WAL");
        let busy = entered
            .as_ref()
            .err()
            .and_then(rusqlite::Error::sqlite_error_code)
            == Some(ErrorCode::DatabaseBusy);
        if !busy || Instant::now() >= patience {
            return entered;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Turns what SQLite said into what the operator must know.
fn sqlite_error(path: &Path, action: &'static str, source: rusqlite::Error) -> LedgerError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    if matches!(source, rusqlite::Error::StatementChangedRows(_)) {
        return LedgerError::Conflict {
            path: path.to_owned(),
            action,
        };
    }
    match source.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => LedgerError::Damaged {
            path: path.to_owned(),
            detail: source.to_string(),
        },
        _ => LedgerError::Sqlite {
            path: path.to_owned(),
            action,
            source,
        },
    }
}

#[cfg(test)]
mod tests;
