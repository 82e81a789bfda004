//! The tables of `index.db`, by steps: a new step at the end, never an edit.

use std::path::Path;

use logferry_sqlite_file::{Schema, SchemaState, versions};
use rusqlite::Connection;

use crate::error::IndexError;

/// Marks the file as ours: `lfix`.
const APPLICATION_ID: i64 = 0x6c66_6978;

pub(crate) const STEPS: [&str; 5] = ["
-- `ledger`: the ledger that the places belong to. `newest`: the number of its newest batch that was seen. `store`: the
-- position of the store. `recorded_at`, `lag`: when the indexer recorded last, and how far behind it was.
CREATE TABLE state (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- How far each batch is read. A batch that is read to its end stays until its file has gone from the spool.
CREATE TABLE batches (
    batch   TEXT PRIMARY KEY,
    bytes   INTEGER NOT NULL,
    lines   INTEGER NOT NULL,
    is_read INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE gaps (
    batch        TEXT NOT NULL,
    from_byte    INTEGER NOT NULL,
    bytes        INTEGER NOT NULL,
    source       TEXT NOT NULL,
    grp          TEXT NOT NULL,
    window_start INTEGER NOT NULL,
    reason       TEXT NOT NULL,
    noticed_at   INTEGER NOT NULL,
    PRIMARY KEY (batch, from_byte)
) STRICT, WITHOUT ROWID;

CREATE TABLE series (
    id     INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    grp    TEXT NOT NULL,
    log    TEXT,
    UNIQUE (source, grp, log)
) STRICT;

CREATE TABLE counters (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE minutes (
    start  INTEGER NOT NULL,
    series INTEGER NOT NULL,
    counts BLOB NOT NULL,
    PRIMARY KEY (start, series)
) STRICT, WITHOUT ROWID;

CREATE TABLE hours (
    start  INTEGER NOT NULL,
    series INTEGER NOT NULL,
    counts BLOB NOT NULL,
    PRIMARY KEY (start, series)
) STRICT, WITHOUT ROWID;
", "
-- First second behind the batch's window. No window is longer than an hour.
ALTER TABLE gaps ADD COLUMN window_end INTEGER NOT NULL DEFAULT 0;
UPDATE gaps SET window_end = window_start + 3600;
", "
-- The format that was found for the lines of a log. `log` is empty if the log of the lines is not known.
CREATE TABLE formats (
    source TEXT NOT NULL,
    log    TEXT NOT NULL,
    format TEXT NOT NULL,
    PRIMARY KEY (source, log)
) STRICT, WITHOUT ROWID;
", "
-- Since when the ledger does not know a batch that was read: it is another ledger, or an older copy.
ALTER TABLE batches ADD COLUMN unknown_since INTEGER;
", "
-- Of the sink. As `state` above, and `documents`, `repeated`, `refused`, `gaps`, `gap_bytes`: sums of all time; `trouble`: why it
-- waits now.
CREATE TABLE sink_state (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- How far each batch is sent, and the index that it was bound to before its first line was sent. `ended_at`: when it was sent
-- to its end. Its row stays for the audit.
CREATE TABLE sink_batches (
    batch      TEXT PRIMARY KEY,
    index_name TEXT NOT NULL,
    bytes      INTEGER NOT NULL,
    lines      INTEGER NOT NULL,
    is_read    INTEGER NOT NULL,
    documents  INTEGER NOT NULL,
    refused    INTEGER NOT NULL,
    gap_bytes  INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT, WITHOUT ROWID;

-- Lines that the server does not want: the newest ones.
CREATE TABLE sink_refused (
    id         INTEGER PRIMARY KEY,
    batch      TEXT NOT NULL,
    from_byte  INTEGER NOT NULL,
    status     INTEGER NOT NULL,
    reason     TEXT NOT NULL,
    document   BLOB NOT NULL,
    noticed_at INTEGER NOT NULL
) STRICT;
"];

/// Since which step the tables of the sink are there.
pub(crate) const SINK_STEP: usize = 5;

/// The tables of the index.
const SCHEMA: Schema = Schema {
    application_id: APPLICATION_ID,
    steps: &STEPS,
};

/// Whether the file has the tables of this version.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<(), IndexError> {
    let state = SCHEMA.state(connection);
    current(
        path,
        state.map_err(|source| IndexError::of(path, "read its schema version", source))?,
    )
}

/// Brings the file to the tables of this version. A file without tables gets all.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), IndexError> {
    let state = SCHEMA.migrate(connection, true);
    current(
        path,
        state.map_err(|source| IndexError::of(path, "bring its schema up to date", source))?,
    )
}

fn current(path: &Path, state: SchemaState) -> Result<(), IndexError> {
    let (path, known) = (path.to_owned(), SCHEMA.known());
    match state {
        SchemaState::Current => Ok(()),
        SchemaState::Blank => Err(IndexError::Missing { path }),
        SchemaState::Foreign => Err(IndexError::Foreign { path }),
        SchemaState::Other(found) if found > known => Err(IndexError::TooNew { path, found, known }),
        SchemaState::Other(found) => Err(IndexError::TooOld { path, found, known }),
    }
}

/// Whether the file has the tables of a step.
pub(crate) fn has_step(connection: &Connection, step: usize) -> rusqlite::Result<bool> {
    Ok(versions(connection)?.1 >= step)
}
