//! The ledger of a relay host: how far each stream is durable, which batch files hold its lines, and where each batch has
//! been delivered.
//!
//! One SQLite file (`<data_dir>/ledger.db`), WAL, `synchronous=FULL`: a completed transaction survives a power
//! cut (<https://sqlite.org/pragma.html#pragma_synchronous>). Every role of the relay host opens its own connection. The roles share
//! the ledger and the folders of the spool, but no memory.
//!
//! Invariants:
//! - **The ledger decides, the folder follows.** A batch changes its state here first and its folder second. A role
//!   that starts moves files to the folders that the ledger names.
//! - A batch row exists before its file does, so logferry does not touch a file that the ledger does not know.
//! - Committed offsets, and a sealed batch's lines, bytes and checksum, never decrease.
//!
//! Who writes what: the relay `sources`, `streams`, `uploads`, `gaps`, `group_reports` and open `batches`; the forwarder
//! `deliveries`, `destinations`, `subscriptions`, `manifests`, `in_flight` and the state of sealed batches; the monitor
//! `incidents`, `summaries`, `daily_summaries`, `outbox`, `mail_parts`, `alert_events`, `channel_attempts`, `window_records`,
//! `refused_recipients`, `monitor_clock`, and deletes closed `gaps`; the housekeeper `housekeeper_run`, `forgotten_sources`,
//! `forgotten_windows`, the times of compression and expiry, and deletes old rows of batches.

mod alert_events;
mod batches;
mod copy;
mod create_guard;
mod deliveries;
mod file_check;
mod housekeeping;
mod incidents;
mod monitor;
mod outbox;
mod rebuild;
mod requests;
mod row;
mod schema;
pub mod schema_version;
mod streams;
mod summaries;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Params, Row, TransactionBehavior};

pub use alert_events::{
    AlertEvent, AlertEventKind, ChannelBacklog, ChannelRecord, MessageOutcome, QueuedAlertEvent,
};
pub use batches::{
    Batch, BatchContents, BatchFilter, BatchId, BatchKey, BatchOutline, BatchState, FORGOTTEN_PARTS,
    LAST_RECORD_FILE, LiveBatches, NewBatch, PARTS_MAX, Scanned, ScannedBatch, ScannedDelivery, SignedRecord,
    SpooledSize, WindowPart, is_last_part,
};
pub use copy::RestoreRecord;
pub use deliveries::{
    Delivery, DeliveryCertainty, DestinationHealth, DestinationState, FailureKind, ManifestId,
    ManifestRecord, NewManifest, PublishedBatch, PublishedFile, PublishingNote, ResendRequestOutcome,
    SourceProgress, TransferRecord, WindowBatch,
};
pub use housekeeping::{FileUse, ForgottenSums, HousekeeperRecord, WindowKey};
pub use incidents::{
    Incident, IncidentId, IncidentUpdate, SILENCES_MAX, Severity, Silence, SilenceOutcome, TIMELINE_MAX,
    TimelineEntry, covers,
};
pub use logferry_time_windows::Window;
pub use monitor::{ClockRecord, ClockStep, DISK_STEP, DiskRecord, ForgottenRows, IncidentMail, NewMail};
pub use outbox::{MAIL_WAIT_MAX, MailBacklog, MailId, MailTaken, QueuedMail, RefusedRecipient};
pub use rebuild::{FoundBatch, FoundSource, SourceEnd};
pub use streams::{
    BatchGrowth, Commit, DuplicatesEnd, GapRecord, GroupReport, GroupState, PossibleDuplicate, REPORT_GRACE,
    ReportedStream, SENDERS_KEPT, SenderRecord, SourceLineTotals, SourceLogs, SourceReach, SourceRecord,
    StreamMove, StreamRecord, UPLOAD_MEMORY, UPLOADS_REMEMBERED, UploadChanges, UploadedBody, is_sender_live,
    live_together,
};
pub use summaries::{MailPart, SourceWindowSum, SummaryKey};

/// Name of the ledger's file in the relay's data folder.
pub const FILE_NAME: &str = "ledger.db";

/// How long a writer waits for another role's transaction before it gives up. Transactions take milliseconds; this
/// is reached only when a role hangs inside one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause of a waiting writer between two tries. SQLite's own pauses grow to 100 ms, so the longest waiting writer would
/// come last.
const BUSY_PAUSE: Duration = Duration::from_millis(1);

/// SQLite's write-ahead log is beside the ledger, under this extension.
const WAL_EXTENSION: &str = "db-wal";

/// SQLite starts the write-ahead log over after 1,000 pages (<https://sqlite.org/wal.html>).
const WAL_BYTES: u64 = 1000 * 4096;

/// Bytes of a transaction of which so much exceeds SQLite's cache of 2 MB.
const UNDONE_BYTES: u64 = WAL_BYTES + (2 << 20);

/// Why an operation on the ledger failed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// SQLite returned an error.
    #[error("ledger {}: cannot {action}", .path.display())]
    Sqlite {
        /// The ledger's file.
        path: PathBuf,
        /// The operation.
        action: &'static str,
        /// SQLite's error.
        #[source]
        source: rusqlite::Error,
    },
    /// The file does not exist, and this role must not create it.
    #[error("{}", create_guard::missing_text(.path, .trace.as_deref()))]
    Missing {
        /// The ledger's file.
        path: PathBuf,
        /// A file that a lost ledger or its relay has left, as in [`Self::Lost`].
        trace: Option<PathBuf>,
    },
    /// The file is missing or empty, but there was a ledger before. A new one would forget which lines were stored.
    #[error("{}", create_guard::missing_text(.path, Some(.trace)))]
    Lost {
        /// The ledger's file.
        path: PathBuf,
        /// A file that the lost ledger or its relay has left.
        trace: PathBuf,
    },
    /// A folder of the spool cannot be read, so nobody knows whether there was a ledger before.
    #[error("cannot read the folder {}", .folder.display())]
    Spool {
        /// The folder.
        folder: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The file is the SQLite database of another program.
    #[error("{} is not a logferry ledger; move it away or correct data_dir", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error(
        "ledger {} is damaged ({detail}); do not delete it: keep a copy of the whole data folder, then {}", .path.display(),
        create_guard::REMEDY
    )]
    Damaged {
        /// The ledger's file.
        path: PathBuf,
        /// The damage that SQLite found.
        detail: String,
    },
    /// The row to change is not in the expected state.
    #[error("ledger {}: cannot {action}, because another role or group has changed it in the meantime", .path.display())]
    Conflict {
        /// The ledger's file.
        path: PathBuf,
        /// The operation.
        action: &'static str,
    },
    /// The file was written by a later version.
    #[error(
        "ledger {} has schema {found}, this version knows up to {known}: install the version that wrote it, or put back the data \
         folder as it was before the upgrade",
        .path.display()
    )]
    TooNew {
        /// The ledger's file.
        path: PathBuf,
        /// The schema found.
        found: usize,
        /// The newest schema known.
        known: usize,
    },
}

impl LedgerError {
    /// Whether the disk is full (`SQLITE_FULL`).
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Sqlite { source, .. } if source.sqlite_error_code() == Some(ErrorCode::DiskFull))
    }
}

/// An open ledger. Not shared between threads: each thread opens its own, or calls [`Self::reopen`].
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
    /// Taken while this connection, or one that it was reopened from, writes.
    write_lock: Arc<WriteLock>,
    /// Held while changes are made together.
    together: Option<WriteGuard>,
}

/// One writer at a time.
#[derive(Debug, Default)]
struct WriteLock {
    is_taken: Mutex<bool>,
    given_back: Condvar,
}

/// The lock, taken. Dropping this gives it back.
#[derive(Debug)]
struct WriteGuard(Arc<WriteLock>);

impl WriteGuard {
    fn take(lock: &Arc<WriteLock>) -> Self {
        // The lock protects no data, so a panic of another thread does no harm.
        let is_taken = lock.is_taken.lock().unwrap_or_else(PoisonError::into_inner);
        let free = lock.given_back.wait_while(is_taken, |is_taken| *is_taken);
        *free.unwrap_or_else(PoisonError::into_inner) = true;
        Self(Arc::clone(lock))
    }
}

impl Drop for WriteGuard {
    fn drop(&mut self) {
        *self.0.is_taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.given_back.notify_one();
    }
}

impl Ledger {
    /// Opens the ledger in `data_dir`, and creates it if there never was one. For the relay.
    ///
    /// Reads the file, so that damage is found now and not when a damaged page is needed: all of it or, if it is large, what
    /// says how far streams are durable. Then [`Self::check_file`] reads the rest.
    pub fn open_or_create(data_dir: &Path) -> Result<Self, LedgerError> {
        let path = data_dir.join(FILE_NAME);
        let is_blank = create_guard::is_blank(&path);
        let log = create_guard::log(data_dir).filter(|_| is_blank);
        let trace = create_guard::spool_file(data_dir)?.or(log);
        if let Some(trace) = trace.clone().filter(|_| is_blank) {
            return Err(LedgerError::Lost { path, trace });
        }
        let create = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let opened = Self::connect(path, create, trace.is_none(), Arc::default());
        let ledger = match (opened, trace) {
            (Err(LedgerError::Missing { path, .. }), Some(trace)) => Err(LedgerError::Lost { path, trace }),
            (opened, _) => opened,
        }?;
        ledger.check_at_start(file_check::WHOLE_AT_START_MAX)?;
        Ok(ledger)
    }

    /// Opens the ledger in `data_dir`, which must exist. For every role except the relay.
    pub fn open(data_dir: &Path) -> Result<Self, LedgerError> {
        Self::open_existing(data_dir, OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    /// Opens the ledger in `data_dir` without the right to change it, for the indexer, which runs as another user. While no
    /// role of the relay host has the ledger open, SQLite may refuse such a user; then try again later.
    pub fn open_read_only(data_dir: &Path) -> Result<Self, LedgerError> {
        Self::open_existing(data_dir, OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    fn open_existing(data_dir: &Path, flags: OpenFlags) -> Result<Self, LedgerError> {
        let path = data_dir.join(FILE_NAME);
        // SQLite deletes the log when it opens a blank file.
        let is_blank = create_guard::is_blank(&path);
        let log = create_guard::log(data_dir).filter(|_| is_blank);
        let missing = |path| LedgerError::Missing {
            path,
            trace: create_guard::spool_file(data_dir).ok().flatten().or(log),
        };
        if is_blank {
            return Err(missing(path));
        }
        match Self::connect(path, flags, false, Arc::default()) {
            Err(LedgerError::Missing { path, .. }) => Err(missing(path)),
            connected => connected,
        }
    }

    /// Opens the same ledger once more, for another thread. Both share a lock for writing, so one waits until
    /// the other is done. Two independent connections would retry, and the busier one would win.
    pub fn reopen(&self) -> Result<Self, LedgerError> {
        let (path, write_lock) = (self.path.clone(), Arc::clone(&self.write_lock));
        Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, false, write_lock)
    }

    /// Whether there is no ledger in `data_dir`: no file, or a blank one, which SQLite would accept as a new database.
    pub fn is_missing(data_dir: &Path) -> bool {
        create_guard::is_blank(&data_dir.join(FILE_NAME))
    }

    /// `may_begin`: a file without tables becomes a ledger.
    fn connect(
        path: PathBuf,
        flags: OpenFlags,
        may_begin: bool,
        write_lock: Arc<WriteLock>,
    ) -> Result<Self, LedgerError> {
        let open = || {
            let mut connection = Connection::open_with_flags(&path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.busy_handler(Some(wait_for_lock))?;
            if may_begin {
                housekeeping::make_new_file_give_back(&connection)?;
            }
            enter_wal(&connection)?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            Ok(connection)
        };
        let mut connection = open().map_err(|source| sqlite_error(&path, "open it", source))?;
        schema::migrate(&mut connection, &path, may_begin)?;
        Ok(Self {
            connection,
            path,
            write_lock,
            together: None,
        })
    }

    /// The ledger's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long each change waits while another process writes, instead of 30 s.
    pub fn wait_for_locks(&mut self, at_most: Duration) -> Result<(), LedgerError> {
        self.read("set its time-out", |sql| sql.busy_timeout(at_most))
    }

    /// Checks that the ledger can be written, and prevents a failed transaction from coming back.
    ///
    /// A commit whose flush failed may have left all its bytes in the write-ahead log. No connection sees them now, but
    /// after a crash SQLite reads the log again and would treat them as committed. This transaction overwrites them and
    /// changes nothing else. Call it before a file is cut back to the length in the ledger.
    pub fn overwrite_stale_wal(&mut self) -> Result<(), LedgerError> {
        self.write("overwrite its write-ahead log", |sql| {
            // SQLite does not write a row that does not change, so change it and change it back.
            sql.execute("UPDATE identity SET id = id || '-'", [])?;
            sql.execute("UPDATE identity SET id = rtrim(id, '-')", [])
                .map(drop)
        })
    }

    /// Makes all reads of a function see the ledger as it is at one moment. Other roles write on meanwhile.
    pub fn at_one_moment<T, E: From<LedgerError>>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        // It only reads, so its end is a rollback of nothing.
        let begun = self.connection.unchecked_transaction();
        let _moment = begun.map_err(|source| sqlite_error(&self.path, "begin to read", source))?;
        read(self)
    }

    /// Begins to make changes together: those up to [`Self::end_together`] are one durable transaction, and each of them is
    /// made whole or not at all. Nobody else can write meanwhile.
    pub fn begin_together(&mut self) -> Result<(), LedgerError> {
        let guard = WriteGuard::take(&self.write_lock);
        self.read("begin a transaction", |sql| sql.execute_batch("BEGIN IMMEDIATE"))?;
        self.together = Some(guard);
        Ok(())
    }

    /// Makes these changes durable. After an error none of them counts.
    pub fn end_together(&mut self) -> Result<(), LedgerError> {
        let _guard = self.together.take();
        let ended = self.read("end a transaction", |sql| sql.execute_batch("COMMIT"));
        if ended.is_err() {
            // If that fails, SQLite has done it by itself.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        ended
    }

    /// Makes the write-ahead log as large as SQLite lets it become before it starts over, unless it is: a commit then
    /// overwrites what is there, and its sync has no new length to make durable. For the relay, which commits most.
    ///
    /// No row changes. SQLite writes pages of a transaction that is larger than its cache into the log before the commit, and
    /// this one is undone. What is left of it in the log counts for nobody: it has no end of a transaction.
    pub fn reserve_wal(&mut self) -> Result<(), LedgerError> {
        let log = self.path.with_extension(WAL_EXTENSION);
        if std::fs::metadata(log).is_ok_and(|log| log.len() >= WAL_BYTES) {
            return Ok(());
        }
        let _guard = WriteGuard::take(&self.write_lock);
        let mut run = || {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch("CREATE TABLE undone (bytes BLOB) STRICT")?;
            transaction.execute("INSERT INTO undone VALUES (zeroblob(?1))", [UNDONE_BYTES])?;
            transaction.rollback()
        };
        run().map_err(|source| sqlite_error(&self.path, "make room in its write-ahead log", source))
    }

    fn read<T>(
        &self,
        action: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        query(&self.connection).map_err(|source| sqlite_error(&self.path, action, source))
    }

    /// All rows of a query.
    fn list<T, L: FromIterator<T>>(
        &self,
        action: &'static str,
        query: &str,
        params: impl Params,
        read_row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<L, LedgerError> {
        self.read(action, |sql| {
            sql.prepare_cached(query)?.query_map(params, read_row)?.collect()
        })
    }

    /// The row of a query that has one at most.
    fn find<T>(
        &self,
        action: &'static str,
        query: &str,
        params: impl Params,
        read_row: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, LedgerError> {
        self.read(action, |sql| {
            sql.prepare_cached(query)?.query_row(params, read_row).optional()
        })
    }

    /// Makes one change as a durable transaction.
    fn execute(
        &mut self,
        action: &'static str,
        change: &str,
        params: impl Params,
    ) -> Result<(), LedgerError> {
        self.write(action, |sql| sql.execute(change, params).map(drop))
    }

    /// Runs `change` as one durable transaction: all of it or, on an error or a crash, none of it.
    fn write<T>(
        &mut self,
        action: &'static str,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        let run = || {
            if self.together.is_some() {
                let savepoint = self.connection.savepoint()?;
                let value = change(&savepoint)?;
                savepoint.commit()?;
                return Ok(value);
            }
            let _guard = WriteGuard::take(&self.write_lock);
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

/// SQLite's busy handler (<https://sqlite.org/c3ref/busy_handler.html>). Takes the number of
/// earlier calls for the same lock; returns whether to try again.
fn wait_for_lock(tries: i32) -> bool {
    std::thread::sleep(BUSY_PAUSE);
    BUSY_PAUSE.saturating_mul(tries.unsigned_abs()) < BUSY_TIMEOUT
}

/// Puts the file into WAL mode. The mode is stored in the file.
///
/// If two connections do this to a new file at the same time, each waits for the shared lock of the other. SQLite then
/// returns "busy" to one of them without calling the busy handler (<https://sqlite.org/c3ref/busy_handler.html>).
/// That one tries again: the other needs only milliseconds.
fn enter_wal(connection: &Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        let is_busy = |error: &rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if is_busy(&error) && Instant::now() < deadline => std::thread::sleep(BUSY_PAUSE),
            entered => return entered,
        }
    }
}

/// Translates SQLite's error into one that tells the operator what to do.
fn sqlite_error(path: &Path, action: &'static str, source: rusqlite::Error) -> LedgerError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let path = path.to_owned();
    if matches!(source, rusqlite::Error::StatementChangedRows(_)) {
        return LedgerError::Conflict { path, action };
    }
    if let Some(DatabaseCorrupt | NotADatabase) = source.sqlite_error_code() {
        let detail = source.to_string();
        return LedgerError::Damaged { path, detail };
    }
    LedgerError::Sqlite { path, action, source }
}

#[cfg(test)]
mod tests;
