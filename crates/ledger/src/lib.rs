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
//! Who writes what: the relay `sources`, `streams`, `uploads`, `gaps`, `group_reports` and open `batches`; the forwarder
//! `deliveries`, `destinations`, `subscriptions`, `manifests`, `in_flight` and the state of sealed batches; the monitor
//! `alerts`, `summaries` and `outbox`; the housekeeper the times of
//! compression and expiry.

mod batches;
mod create_guard;
mod deliveries;
mod monitor_state;
mod rebuild;
mod row;
mod schema;
mod streams;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

pub use batches::{
    Batch, BatchContents, BatchFilter, BatchId, BatchKey, BatchState, FORGOTTEN_PARTS, NewBatch,
};
pub use deliveries::{
    Delivery, DestinationHealth, DestinationState, FailureKind, ManifestId, ManifestRecord, NewManifest,
    PublishedBatch, PublishedFile, PublishingNote, ResendRequestOutcome, SourceProgress, TransferRecord,
    WindowBatch,
};
pub use logferry_time_windows::Window;
pub use monitor_state::{Alert, AlertKind, MailId, NewMail, QueuedMail};
pub use rebuild::{FoundBatch, FoundSource, PossibleDuplicate, SourceEnd};
pub use streams::{
    BatchGrowth, Commit, GapRecord, GroupReport, GroupState, ReportedStream, SourceLineTotals, SourceRecord,
    StreamMove, StreamRecord, UPLOAD_MEMORY, UPLOADS_REMEMBERED, UploadChanges, UploadedBody,
};

/// Name of the ledger's file in the relay's data folder.
pub const FILE_NAME: &str = "ledger.db";

/// How long a writer waits for another role's transaction before it gives up. Transactions take milliseconds; this
/// is reached only when a role hangs inside one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two tries of a writer that waits. SQLite's own waits grow to 100 ms, so that who has waited long comes last.
const BUSY_PAUSE: Duration = Duration::from_millis(1);

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
    #[error("ledger {} does not exist, or is empty: start the relay once, or correct data_dir", .path.display())]
    Missing {
        /// The ledger's file.
        path: PathBuf,
    },
    /// The file is not there, or is empty, and there was one before: a new one would forget what was taken.
    #[error(
        "ledger {} is missing or empty, but there was one: {} exists. A new ledger would make all senders ship delivered \
         lines again. Restore ledger.db from a backup, or make a new one from the spool with `logferry fsck --rebuild`. \
         To start from nothing, move the whole data folder away", .path.display(), .trace.display()
    )]
    Lost {
        /// The ledger's file.
        path: PathBuf,
        /// A file that it, or its relay, has left.
        trace: PathBuf,
    },
    /// Whether there was a ledger before cannot be seen.
    #[error("cannot read the folder {}", .folder.display())]
    Spool {
        /// A folder of the spool.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
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
         ledger.db from a backup, or make a new one from the spool with `logferry fsck --rebuild`", .path.display()
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

impl LedgerError {
    /// Whether room on the disk is what is missing (`SQLITE_FULL`).
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Sqlite { source, .. } if source.sqlite_error_code() == Some(ErrorCode::DiskFull))
    }
}

/// An open ledger. Not shared between threads: each opens its own, or has [`Self::reopen`].
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
    /// Held while this or another connection of the process writes.
    write_lock: Arc<Mutex<()>>,
}

impl Ledger {
    /// Opens the ledger in `data_dir`, and makes it if there never was one. For the relay.
    ///
    /// It is read whole, so that one that is damaged is found now, and not when a page of it is needed.
    pub fn open_or_create(data_dir: &Path) -> Result<Self, LedgerError> {
        let path = data_dir.join(FILE_NAME);
        let is_blank = create_guard::is_blank(&path);
        let log = create_guard::log(data_dir).filter(|_| is_blank);
        let trace = create_guard::spool_file(data_dir)?.or(log);
        if let Some(trace) = trace.clone().filter(|_| is_blank) {
            return Err(LedgerError::Lost { path, trace });
        }
        let create = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let ledger = match (Self::open_with(path, create, trace.is_none()), trace) {
            (Err(LedgerError::Missing { path }), Some(trace)) => Err(LedgerError::Lost { path, trace }),
            (opened, _) => opened,
        }?;
        match ledger.check("PRAGMA quick_check(1)")?.pop() {
            Some(detail) => Err(LedgerError::Damaged {
                path: ledger.path,
                detail,
            }),
            None => Ok(ledger),
        }
    }

    /// Opens the ledger in `data_dir`, which must be there. For every other role.
    pub fn open(data_dir: &Path) -> Result<Self, LedgerError> {
        let path = data_dir.join(FILE_NAME);
        if create_guard::is_blank(&path) {
            return Err(LedgerError::Missing { path });
        }
        Self::open_with(path, OpenFlags::SQLITE_OPEN_READ_WRITE, false)
    }

    /// Opens the same ledger once more, for another thread. When both write, one waits until the other is done;
    /// two that know nothing of each other would try again and again, and the busier one would win.
    pub fn reopen(&self) -> Result<Self, LedgerError> {
        let write_lock = Arc::clone(&self.write_lock);
        Self::connect(
            self.path.clone(),
            OpenFlags::SQLITE_OPEN_READ_WRITE,
            false,
            write_lock,
        )
    }

    /// Whether there is no ledger in `data_dir`: no file, or a blank one, which SQLite would take for a new ledger.
    pub fn is_missing(data_dir: &Path) -> bool {
        create_guard::is_blank(&data_dir.join(FILE_NAME))
    }

    fn open_with(path: PathBuf, flags: OpenFlags, may_begin: bool) -> Result<Self, LedgerError> {
        Self::connect(path, flags, may_begin, Arc::default())
    }

    /// `may_begin`: a file without tables becomes a ledger.
    fn connect(
        path: PathBuf,
        flags: OpenFlags,
        may_begin: bool,
        write_lock: Arc<Mutex<()>>,
    ) -> Result<Self, LedgerError> {
        let opened = Connection::open_with_flags(&path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX);
        let connection = opened.map_err(|source| sqlite_error(&path, "open it", source))?;
        let mut ledger = Self {
            connection,
            path,
            write_lock,
        };
        ledger.prepare(may_begin)?;
        Ok(ledger)
    }

    fn prepare(&mut self, may_begin: bool) -> Result<(), LedgerError> {
        let connection = &mut self.connection;
        connection
            .busy_handler(Some(wait_for_lock))
            .and_then(|()| enter_wal(connection))
            .and_then(|()| connection.pragma_update(None, "synchronous", "FULL"))
            .and_then(|()| connection.pragma_update(None, "foreign_keys", true))
            .map_err(|source| sqlite_error(&self.path, "open it", source))?;
        schema::migrate(&mut self.connection, &self.path, may_begin)
    }

    /// The ledger's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has SQLite check its file, all of it; what it finds amiss, one line each.
    pub fn integrity(&self) -> Result<Vec<String>, LedgerError> {
        self.check("PRAGMA integrity_check")
    }

    fn check(&self, pragma: &'static str) -> Result<Vec<String>, LedgerError> {
        self.read("check its file", |sql| {
            let lines = sql
                .prepare(pragma)?
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<String>>>()?;
            Ok(lines.into_iter().filter(|line| line != "ok").collect())
        })
    }

    /// Makes sure that the ledger can be written, and that no transaction that failed comes back.
    ///
    /// A commit that failed when its bytes were to be flushed may have left them all in the write-ahead log. Nobody sees
    /// them now, but after a crash SQLite reads the log anew and would take them for a commit. The next transaction is
    /// written over them: this one, which changes nothing else. To be called before a file is cut back to the ledger.
    pub fn overwrite_stale_wal(&mut self) -> Result<(), LedgerError> {
        self.write("settle it", |sql| {
            // A row that is written as it was is not written at all.
            sql.execute("UPDATE identity SET id = id || '-'", [])?;
            sql.execute("UPDATE identity SET id = rtrim(id, '-')", [])
                .map(drop)
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
        // It guards no data, so nothing is amiss after a panic elsewhere.
        let _guard = self.write_lock.lock().unwrap_or_else(PoisonError::into_inner);
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

/// SQLite's busy handler (<https://sqlite.org/c3ref/busy_handler.html>): how often it was called for one lock, and whether to
/// try again.
fn wait_for_lock(tries: i32) -> bool {
    std::thread::sleep(BUSY_PAUSE);
    BUSY_PAUSE.saturating_mul(tries.unsigned_abs()) < BUSY_TIMEOUT
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
        std::thread::sleep(BUSY_PAUSE);
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
