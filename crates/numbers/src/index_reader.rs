//! Reads `index.db`: the small interface of everybody but the indexer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction};

use crate::counts::CounterId;
use crate::error::IndexError;
use crate::index_db::FILE_NAME;
use crate::query::{self, NumbersQuery, NumbersRow};
use crate::schema;
use crate::state::{self, IndexGap, IndexState, IndexedBatch};

/// How long a reader waits for the indexer, which locks the file for others only while it starts.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// `index.db`, open for reading.
#[derive(Debug)]
pub struct IndexReader {
    connection: Connection,
    path: PathBuf,
    sees_changes: bool,
}

impl IndexReader {
    /// Opens the file in the indexer's folder. It needs rights to read only, and never waits for the indexer's work.
    pub fn open(store_dir: &Path) -> Result<Self, IndexError> {
        let path = store_dir.join(FILE_NAME);
        if !path.exists() {
            return Err(IndexError::Missing { path });
        }
        let failed = |source| IndexError::of(&path, "open it", source);
        let mut sees_changes = true;
        let connection = match connect(&path, "") {
            // The indexer does not run, so there is no write-ahead log, and this user may not make one. Then nothing changes
            // the file, and SQLite need not look for changes.
            Err(_) if !store_dir.join("index.db-wal").exists() => {
                sees_changes = false;
                connect(&path, "?immutable=1")
            }
            connected => connected,
        };
        let connection = connection.map_err(failed)?;
        schema::check(&connection, &path)?;
        Ok(Self {
            connection,
            path,
            sees_changes,
        })
    }

    /// Whether it sees what the indexer writes from now on. If not, it is of use for the moment only: open the file anew.
    pub fn sees_changes(&self) -> bool {
        self.sees_changes
    }

    /// How far the indexer has come: what the store and the numbers hold. One moment's state.
    pub fn state(&self) -> Result<IndexState, IndexError> {
        self.read("read how far the indexer is", |sql| {
            state::read_state(sql, "state")
        })
    }

    /// How far each batch is read, by the batch's name without `.log`.
    pub fn places(&self) -> Result<BTreeMap<String, IndexedBatch>, IndexError> {
        self.read("read the places", |sql| state::places(sql, "batches"))
    }

    /// How far the indexer has come, to be asked batch by batch: there may be very many. The answers are of one moment.
    pub fn moment(&self) -> Result<IndexMoment<'_>, IndexError> {
        let failed = |source| IndexError::of(&self.path, "read how far the indexer is", source);
        let transaction = self.connection.unchecked_transaction().map_err(failed)?;
        let state = state::read_state(&transaction, "state").map_err(failed)?;
        Ok(IndexMoment {
            path: &self.path,
            transaction,
            state,
        })
    }

    /// The rows that answer a question, by time and value.
    pub fn numbers(&self, query: &NumbersQuery) -> Result<Vec<NumbersRow>, IndexError> {
        self.first_numbers(query, usize::MAX)
    }

    /// The first of these rows: once there are `least`, none of a further span. So the memory for an answer has a bound, and a
    /// reader that takes its time between two of them ([`NumbersQuery::go_on_after`]) does not hold the file.
    pub fn first_numbers(&self, query: &NumbersQuery, least: usize) -> Result<Vec<NumbersRow>, IndexError> {
        self.read("read the numbers", |sql| query::first_rows(sql, query, least))
    }

    /// The named counters, by name.
    pub fn counters(&self) -> Result<Vec<(String, CounterId)>, IndexError> {
        self.read("read the counters", |sql| {
            let mut query = sql.prepare_cached("SELECT name, id FROM counters ORDER BY name")?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, CounterId(row.get(1)?))))?;
            rows.collect()
        })
    }

    /// The logs whose lines were counted.
    pub fn logs(&self) -> Result<Vec<String>, IndexError> {
        self.read("read the logs", |sql| {
            let mut query =
                sql.prepare_cached("SELECT DISTINCT log FROM series WHERE log IS NOT NULL ORDER BY log")?;
            let rows = query.query_map([], |row| row.get(0))?;
            rows.collect()
        })
    }

    /// Bytes that were gone before the indexer read them, of windows that end after `since` (seconds since 1970).
    pub fn gaps(&self, since: i64) -> Result<Vec<IndexGap>, IndexError> {
        self.read("read the gaps", |sql| state::gaps(sql, since))
    }

    pub(crate) fn read<T>(
        &self,
        action: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, IndexError> {
        // One transaction: several queries of it see one moment's state.
        let read = || query(&*self.connection.unchecked_transaction()?);
        read().map_err(|source| IndexError::of(&self.path, action, source))
    }
}

/// How far the indexer had come at one moment.
#[derive(Debug)]
pub struct IndexMoment<'r> {
    path: &'r Path,
    transaction: Transaction<'r>,
    state: IndexState,
}

impl IndexMoment<'_> {
    /// How far it had come.
    pub fn state(&self) -> &IndexState {
        &self.state
    }

    /// The places of the batches that were not read to their ends.
    pub fn unread_places(&self) -> Result<Vec<(String, IndexedBatch)>, IndexError> {
        let places = state::unread_places(&self.transaction);
        places.map_err(|source| IndexError::of(self.path, "read the places", source))
    }

    /// How far this batch is read; `None` if it was never seen, or is gone from the spool for long.
    pub fn place(&self, batch: &str) -> Result<Option<IndexedBatch>, IndexError> {
        let place = state::place_of(&self.transaction, batch);
        place.map_err(|source| IndexError::of(self.path, "read the place of a batch", source))
    }

    /// As [`IndexReader::gaps`].
    pub fn gaps(&self, since: i64) -> Result<Vec<IndexGap>, IndexError> {
        let gaps = state::gaps(&self.transaction, since);
        gaps.map_err(|source| IndexError::of(self.path, "read the gaps", source))
    }
}

/// Opens the file and reads from it once: SQLite opens a file's log only then.
fn connect(path: &Path, options: &str) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // https://sqlite.org/uri.html, section 3.1.
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => uri.extend([format!("%{byte:02X}")]),
        }
    }
    let connection = Connection::open_with_flags(uri + options, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}
