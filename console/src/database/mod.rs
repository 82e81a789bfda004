//! `console.db`: users, tokens, sessions, and what people do here. The console writes it, and so do the commands
//! `logferry console user|token`; both may be open at once.
//!
//! Queries are changed in the file of their rows; the tables only by a further step in `schema`.

mod accounts;
mod actions;
mod list_page;
mod marks;
mod requests;
mod saved_searches;
mod schema;
mod sessions;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::stat::Mode;
use rusqlite::{Connection, TransactionBehavior};

use crate::error::ConsoleError;

pub(crate) use accounts::{TokenRow, UserRow};
pub(crate) use actions::ActionRow;
pub(crate) use list_page::{ListCursor, ListPage};
pub(crate) use marks::{
    MarkKind, MarkRow, MarkSet, MarkedLine, TicketChange, TicketChoice, TicketRow, TicketStatus,
};
pub(crate) use requests::RequestRow;

/// Its name in the console's folder.
pub(crate) const FILE_NAME: &str = "console.db";

/// How long a writer waits for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// `console.db`, open.
#[derive(Debug)]
pub(crate) struct ConsoleDb {
    connection: Connection,
    path: PathBuf,
}

/// `console.db` for async code.
#[derive(Debug, Clone)]
pub(crate) struct SharedDb(Arc<Mutex<ConsoleDb>>);

impl SharedDb {
    pub(crate) fn new(db: ConsoleDb) -> Self {
        Self(Arc::new(Mutex::new(db)))
    }

    /// Runs a query on this thread, which must be one for blocking work.
    pub(crate) fn run_here<T>(
        &self,
        query: impl FnOnce(&mut ConsoleDb) -> Result<T, ConsoleError>,
    ) -> Result<T, ConsoleError> {
        query(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs a query on a thread for blocking work.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut ConsoleDb) -> Result<T, ConsoleError> + Send + 'static,
    ) -> Result<T, ConsoleError> {
        let db = Arc::clone(&self.0);
        let run = move || query(&mut db.lock().unwrap_or_else(PoisonError::into_inner));
        let ended = tokio::task::spawn_blocking(run).await;
        ended.unwrap_or_else(|error| Err(ConsoleError::Thread(error.to_string())))
    }
}

impl ConsoleDb {
    /// Opens the file in the console's folder, and creates it if it is not there. Only its owner may read it: it has the
    /// hashes of passwords.
    pub(crate) fn open_or_create(state_dir: &Path) -> Result<Self, ConsoleError> {
        let path = state_dir.join(FILE_NAME);
        let open = || {
            // Durable commits: a session that was ended, or a line that was hidden, must not come back by a power loss.
            let connection = logferry_sqlite_file::open(&path, BUSY_TIMEOUT)?;
            connection.pragma_update(None, "foreign_keys", true)?;
            Ok(connection)
        };
        if !path.exists() {
            // SQLite gives its log the rights of the file, so the file has them first.
            let flags = nix::fcntl::OFlag::O_CREAT | nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_CLOEXEC;
            let _ = nix::fcntl::open(&path, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        }
        let mut connection = open().map_err(|source| ConsoleError::Database {
            path: path.clone(),
            action: "open it",
            source,
        })?;
        schema::migrate(&mut connection, &path)?;
        Ok(Self { connection, path })
    }

    fn read<T>(
        &self,
        action: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ConsoleError> {
        query(&self.connection).map_err(|source| self.failed(action, source))
    }

    /// Runs `change` as one durable transaction: all of it or, on an error or a crash, none of it.
    fn write<T>(
        &mut self,
        action: &'static str,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ConsoleError> {
        let run = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = change(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run(&mut self.connection).map_err(|source| self.failed(action, source))
    }

    fn failed(&self, action: &'static str, source: rusqlite::Error) -> ConsoleError {
        ConsoleError::Database {
            path: self.path.clone(),
            action,
            source,
        }
    }
}

/// Milliseconds since 1970, as the tables have them.
fn milliseconds(at: Timestamp) -> i64 {
    at.as_millisecond()
}

fn timestamp(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}
