//! The tables of `console.db`, by steps: a new step at the end, never an edit.

use std::path::Path;

use logferry_sqlite_file::{Schema, SchemaState};
use rusqlite::Connection;

use crate::error::ConsoleError;

/// Marks the file as ours: `lfco`.
const APPLICATION_ID: i64 = 0x6c66_636f;

const STEPS: [&str; 1] = ["
-- Times are milliseconds since 1970.
CREATE TABLE users (
    name          TEXT PRIMARY KEY,
    -- argon2id, PHC string format
    password_hash TEXT NOT NULL,
    scope         TEXT NOT NULL,
    created_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- `hash`: SHA-256 of the token, which nobody has but its owner.
CREATE TABLE tokens (
    name         TEXT PRIMARY KEY,
    hash         BLOB NOT NULL UNIQUE,
    scope        TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    hash       BLOB PRIMARY KEY,
    user       TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    address    TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user);

-- Lines that somebody pinned, made a ticket of, or hid. `line` is the id of the line. What is shown of it is kept, since the line
-- itself may be older than what the store keeps.
CREATE TABLE marks (
    line       TEXT PRIMARY KEY,
    time_ms    INTEGER NOT NULL,
    source     TEXT NOT NULL,
    log        TEXT,
    level      TEXT,
    text       BLOB NOT NULL,
    is_pinned  INTEGER NOT NULL DEFAULT 0,
    is_hidden  INTEGER NOT NULL DEFAULT 0,
    is_ticket  INTEGER NOT NULL DEFAULT 0,
    changed_at INTEGER NOT NULL,
    changed_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX marks_by_time ON marks (time_ms);

CREATE TABLE tickets (
    line       TEXT PRIMARY KEY REFERENCES marks (line),
    status     TEXT NOT NULL,
    note       TEXT NOT NULL,
    assignee   TEXT,
    opened_at  INTEGER NOT NULL,
    opened_by  TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- `query`: the part of the address of /search behind the question mark.
CREATE TABLE saved_searches (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL UNIQUE,
    query      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT;

-- Who did what: rows are added, and removed by age alone.
CREATE TABLE actions (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    who     TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL
) STRICT;
CREATE INDEX actions_by_subject ON actions (subject);

-- What was asked of a role of the relay host, and what became of it. `outcome` is empty until the role says it.
CREATE TABLE requests (
    id         TEXT PRIMARY KEY,
    at         INTEGER NOT NULL,
    who        TEXT NOT NULL,
    body       TEXT NOT NULL,
    outcome    TEXT,
    ended_at   INTEGER
) STRICT, WITHOUT ROWID;
"];

/// Brings the file to the tables of this version. A file without tables gets all.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), ConsoleError> {
    let schema = Schema {
        application_id: APPLICATION_ID,
        steps: &STEPS,
    };
    let path = path.to_owned();
    match schema.migrate(connection, true) {
        Ok(SchemaState::Current) => Ok(()),
        Ok(SchemaState::Other(found)) => Err(ConsoleError::TooNew {
            path,
            found,
            known: schema.known(),
        }),
        Ok(SchemaState::Blank | SchemaState::Foreign) => Err(ConsoleError::Foreign { path }),
        Err(source) => Err(ConsoleError::Database {
            path,
            action: "bring the tables up to date",
            source,
        }),
    }
}
