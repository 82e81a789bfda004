//! The schema, and the migration of older files.
//!
//! Times are milliseconds since 1970 (UTC), windows are in seconds, ids and hashes are text as in `ferry-*` headers.

use std::path::Path;

use logferry_sqlite_file::{Schema, SchemaState};
use rusqlite::Connection;

use crate::alert_events::ALERT_EVENTS_STEP;
use crate::incidents::INCIDENTS_STEP;
use crate::monitor::disk_history::DISK_HISTORY_STEP;
use crate::requests::REQUESTS_STEP;
use crate::streams::{DOUBTS_GROW_STEP, SENDER_REPORTS_STEP};
use crate::{LedgerError, sqlite_error};

/// "lfry", in the field of SQLite's header that identifies the application of a file.
pub(crate) const APPLICATION_ID: i64 = 0x6c66_7279;

/// The migrations from an empty file to the current schema; `user_version` counts those applied. Only append steps.
const STEPS: &[&str] = &[
    "CREATE TABLE sources (
    source       TEXT PRIMARY KEY,
    grp          TEXT NOT NULL,
    first_seen   INTEGER NOT NULL,
    last_contact INTEGER NOT NULL,
    last_lines   INTEGER,
    heartbeat    TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE batches (
    id             INTEGER PRIMARY KEY,
    source         TEXT NOT NULL,
    grp            TEXT NOT NULL,
    log            TEXT,
    window_start   INTEGER NOT NULL,
    window_seconds INTEGER NOT NULL,
    utc_offset     INTEGER NOT NULL,
    base_name      TEXT NOT NULL,
    part           INTEGER NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('open', 'ready', 'sent', 'failed')),
    lines          INTEGER NOT NULL DEFAULT 0,
    bytes          INTEGER NOT NULL DEFAULT 0,
    crc32c         INTEGER NOT NULL DEFAULT 0,
    sha256         TEXT,
    opened_at      INTEGER NOT NULL,
    sealed_at      INTEGER,
    sent_at        INTEGER,
    compressed_at  INTEGER,
    expired_at     INTEGER,
    UNIQUE (base_name, part)
) STRICT;
CREATE INDEX batches_by_state ON batches (state, window_start, part);
CREATE INDEX batches_by_source ON batches (source, window_start);

CREATE TABLE streams (
    source         TEXT NOT NULL,
    stream         TEXT NOT NULL,
    log            TEXT NOT NULL,
    dev            INTEGER NOT NULL,
    inode          INTEGER NOT NULL,
    head           TEXT NOT NULL,
    committed      INTEGER NOT NULL,
    tail           TEXT NOT NULL,
    lines_sent     INTEGER NOT NULL,
    lines_excluded INTEGER NOT NULL,
    last_window    INTEGER,
    last_offset    INTEGER,
    last_line_time INTEGER,
    open_line_in   INTEGER,
    finished       INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    PRIMARY KEY (source, stream)
) STRICT, WITHOUT ROWID;
CREATE INDEX streams_by_head ON streams (source, log, head);

CREATE TABLE deliveries (
    batch        INTEGER NOT NULL REFERENCES batches (id),
    destination  TEXT NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    last_error   TEXT,
    next_attempt INTEGER,
    path         TEXT,
    bytes        INTEGER,
    delivered_at INTEGER,
    PRIMARY KEY (batch, destination)
) STRICT, WITHOUT ROWID;

CREATE TABLE destinations (
    name          TEXT PRIMARY KEY,
    state         TEXT NOT NULL CHECK (state IN ('up', 'down')),
    error         TEXT,
    changed_at    INTEGER NOT NULL,
    last_delivery INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE alerts (
    source   TEXT PRIMARY KEY,
    kind     TEXT NOT NULL CHECK (kind IN ('stale', 'missing')),
    since    INTEGER,
    raised_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE summaries (
    hour      INTEGER PRIMARY KEY,
    queued_at INTEGER NOT NULL
) STRICT;

CREATE TABLE outbox (
    id           INTEGER PRIMARY KEY,
    created_at   INTEGER NOT NULL,
    subject      TEXT NOT NULL,
    text         TEXT NOT NULL,
    html         TEXT,
    attempts     INTEGER NOT NULL DEFAULT 0,
    last_error   TEXT,
    next_attempt INTEGER NOT NULL,
    sent_at      INTEGER
) STRICT;",
    // Identifies this ledger. A copy restored from a backup is the same ledger, an emptied one is not.
    "CREATE TABLE identity (
    id TEXT NOT NULL
) STRICT;
INSERT INTO identity (id) VALUES (lower(hex(randomblob(16))));",
    // When a sender last reported, by the relay's clock, and the gaps that senders report.
    "ALTER TABLE sources ADD COLUMN heartbeat_at INTEGER;

CREATE TABLE gaps (
    source       TEXT NOT NULL,
    stream       TEXT NOT NULL,
    log          TEXT NOT NULL,
    path         TEXT NOT NULL,
    from_offset  INTEGER NOT NULL,
    until_offset INTEGER,
    noticed_at   INTEGER NOT NULL,
    PRIMARY KEY (source, stream, from_offset)
) STRICT, WITHOUT ROWID;",
    // Bodies without a stream that are durable and whose answer may be lost.
    "CREATE TABLE uploads (
    source       TEXT NOT NULL,
    body         TEXT NOT NULL,
    committed_at INTEGER NOT NULL,
    PRIMARY KEY (source, body)
) STRICT, WITHOUT ROWID;",
    // The file of a batch that may be published at a destination, with its place; and the SHA-256 of the delivered file,
    // which may be compressed.
    "ALTER TABLE deliveries ADD COLUMN publishing TEXT CHECK (publishing IN ('batch', 'manifest', 'marker'));
ALTER TABLE deliveries ADD COLUMN publishing_place TEXT;
ALTER TABLE deliveries ADD COLUMN file_sha256 TEXT;",
    // The last report of each group of the relay.
    "CREATE TABLE group_reports (
    grp              TEXT PRIMARY KEY,
    reported_at      INTEGER NOT NULL,
    started_at       INTEGER NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('ok', 'low', 'failing')),
    reason           TEXT,
    lines_per_second REAL NOT NULL,
    in_flight        INTEGER NOT NULL,
    refused          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;",
    // Data of a ledger that was rebuilt from the spool about the time before.
    "ALTER TABLE identity ADD COLUMN rebuilt_at INTEGER;

CREATE TABLE rebuilt (
    source        TEXT PRIMARY KEY,
    lines         INTEGER NOT NULL,
    newest_window INTEGER NOT NULL,
    end_bytes     BLOB,
    end_window    INTEGER,
    end_offset    INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE given_names (
    base_name TEXT NOT NULL,
    part      INTEGER NOT NULL,
    PRIMARY KEY (base_name, part)
) STRICT, WITHOUT ROWID;

CREATE TABLE doubts (
    source       TEXT NOT NULL,
    stream       TEXT NOT NULL,
    log          TEXT NOT NULL,
    from_offset  INTEGER NOT NULL,
    until_offset INTEGER NOT NULL,
    noticed_at   INTEGER NOT NULL,
    PRIMARY KEY (source, stream)
) STRICT, WITHOUT ROWID;",
    // Kinds of failures, and transfers in progress.
    "ALTER TABLE deliveries ADD COLUMN error_kind TEXT;
ALTER TABLE destinations ADD COLUMN error_kind TEXT;

CREATE TABLE in_flight (
    destination      TEXT NOT NULL,
    batch            INTEGER NOT NULL,
    bytes_done       INTEGER NOT NULL,
    bytes_total      INTEGER NOT NULL,
    bytes_per_second INTEGER NOT NULL,
    noted_at         INTEGER NOT NULL,
    PRIMARY KEY (destination, batch)
) STRICT, WITHOUT ROWID;",
    // The filters of each destination, with the time they were set; and the time of a resend request.
    "CREATE TABLE subscriptions (
    destination TEXT PRIMARY KEY,
    wants       TEXT NOT NULL,
    since       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
ALTER TABLE deliveries ADD COLUMN asked_at INTEGER;
CREATE INDEX deliveries_asked ON deliveries (batch) WHERE asked_at IS NOT NULL;",
    // Window manifests of a destination, their start, and the batches that they list.
    "CREATE TABLE manifests (
    id             INTEGER PRIMARY KEY,
    destination    TEXT NOT NULL,
    window_start   INTEGER NOT NULL,
    window_seconds INTEGER NOT NULL,
    utc_offset     INTEGER NOT NULL,
    revision       INTEGER NOT NULL,
    name           TEXT NOT NULL,
    content        TEXT NOT NULL,
    written_at     INTEGER NOT NULL,
    attempts       INTEGER NOT NULL DEFAULT 0,
    last_error     TEXT,
    next_attempt   INTEGER,
    path           TEXT,
    delivered_at   INTEGER,
    UNIQUE (destination, name),
    UNIQUE (destination, window_start, window_seconds, revision)
) STRICT;
CREATE INDEX manifests_waiting ON manifests (destination) WHERE delivered_at IS NULL;

CREATE TABLE manifest_files (
    batch       INTEGER NOT NULL REFERENCES batches (id),
    destination TEXT NOT NULL,
    PRIMARY KEY (batch, destination)
) STRICT, WITHOUT ROWID;

CREATE TABLE manifest_starts (
    destination TEXT PRIMARY KEY,
    since       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX batches_by_window ON batches (window_start);",
    // Where a window manifest may have been published before its delivery was recorded.
    "ALTER TABLE manifests ADD COLUMN publishing_place TEXT;",
    // The senders of each source by their ids, and the sender that last wrote to a stream.
    "CREATE TABLE senders (
    id           TEXT NOT NULL,
    grp          TEXT NOT NULL,
    source       TEXT NOT NULL,
    by_address   INTEGER NOT NULL,
    address      TEXT NOT NULL,
    runs         TEXT NOT NULL,
    first_seen   INTEGER NOT NULL,
    run_since    INTEGER NOT NULL,
    last_contact INTEGER NOT NULL,
    PRIMARY KEY (id, grp)
) STRICT, WITHOUT ROWID;
CREATE INDEX senders_by_source ON senders (source, last_contact);

ALTER TABLE streams ADD COLUMN writer TEXT;",
    // Deliveries that were presumed and not proved, and the last one that repeated another on request.
    "ALTER TABLE deliveries ADD COLUMN presumed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN resent_at INTEGER;",
    // When the last line with a time arrived in each stream.
    "ALTER TABLE streams ADD COLUMN timed_at INTEGER;",
    // Logs that senders cannot ship, as far as the monitor has mailed about them.
    "CREATE TABLE log_alerts (
    source     TEXT NOT NULL,
    path       TEXT NOT NULL,
    reason     TEXT NOT NULL,
    since      INTEGER NOT NULL,
    raised_at  INTEGER,
    gone_since INTEGER,
    PRIMARY KEY (source, path)
) STRICT, WITHOUT ROWID;",
    // The recipients that a mail still waits for, its attempts without an answer, and the recipients that the mail server
    // refuses; what is due, by an index.
    "ALTER TABLE outbox ADD COLUMN waiting_for TEXT;
ALTER TABLE outbox ADD COLUMN unconfirmed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX outbox_due ON outbox (next_attempt) WHERE sent_at IS NULL;

CREATE TABLE refused_recipients (
    recipient TEXT PRIMARY KEY,
    reason    TEXT NOT NULL,
    since     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;",
    // The trusted time of the monitor; since when a silent source is back; and what is old, by an index.
    "CREATE TABLE monitor_clock (
    id             INTEGER PRIMARY KEY CHECK (id = 1),
    boot_id        TEXT NOT NULL,
    uptime_ms      INTEGER NOT NULL,
    trusted        INTEGER NOT NULL,
    presumed_after INTEGER,
    step_since_ms  INTEGER,
    step_offset_ms INTEGER
) STRICT;
CREATE INDEX outbox_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX gaps_by_time ON gaps (noticed_at);
ALTER TABLE alerts ADD COLUMN back_since INTEGER;",
    // Reports have a table of their own. A sender with 4,000 logs has one of a megabyte, and each commit writes the row of its
    // source.
    "CREATE TABLE source_reports (
    source       TEXT PRIMARY KEY,
    heartbeat    TEXT,
    heartbeat_at INTEGER
) STRICT;
INSERT INTO source_reports SELECT source, heartbeat, heartbeat_at FROM sources WHERE heartbeat IS NOT NULL;
UPDATE sources SET heartbeat = NULL, heartbeat_at = NULL;",
    // Signed records of delivered windows: each covers the batches of its window with numbers after `after`, up to `last`.
    "CREATE TABLE window_records (
    number         INTEGER PRIMARY KEY,
    window_start   INTEGER NOT NULL,
    window_seconds INTEGER NOT NULL,
    after          INTEGER NOT NULL,
    last           INTEGER NOT NULL,
    batches        INTEGER NOT NULL,
    content        TEXT NOT NULL,
    signature      TEXT NOT NULL
) STRICT;
CREATE INDEX window_records_by_window ON window_records (window_start, window_seconds);",
    // Incidents with their timelines, and silences.
    INCIDENTS_STEP,
    // What channels beside the mail have not got yet.
    ALERT_EVENTS_STEP,
    // Pictures and attachments of mails in the outbox, until the mail is sent; and the days with a summary.
    "CREATE TABLE mail_parts (
    mail         INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    name         TEXT NOT NULL,
    content_type TEXT NOT NULL,
    content_id   TEXT,
    content      BLOB NOT NULL,
    PRIMARY KEY (mail, position)
) STRICT;
CREATE TRIGGER sent_mail_parts AFTER UPDATE OF sent_at ON outbox WHEN new.sent_at IS NOT NULL
    BEGIN DELETE FROM mail_parts WHERE mail = new.id; END;
CREATE TRIGGER deleted_mail_parts AFTER DELETE ON outbox
    BEGIN DELETE FROM mail_parts WHERE mail = old.id; END;

CREATE TABLE daily_summaries (
    day       INTEGER PRIMARY KEY,
    queued_at INTEGER NOT NULL
) STRICT;",
    // What a mail about incidents tells, as the monitor reads it: while the mail waits, a later one can tell it too.
    "ALTER TABLE outbox ADD COLUMN news TEXT;",
    // Restores of this ledger from a backup.
    "CREATE TABLE restores (
    restored_at INTEGER PRIMARY KEY,
    backup_at   INTEGER NOT NULL
) STRICT;",
    // Sums of batches whose rows were deleted, and the last run of the housekeeper.
    "CREATE TABLE forgotten_sources (
    source        TEXT PRIMARY KEY,
    batches       INTEGER NOT NULL,
    lines         INTEGER NOT NULL,
    bytes         INTEGER NOT NULL,
    newest_window INTEGER NOT NULL,
    last_part     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE forgotten_windows (
    window_start   INTEGER NOT NULL,
    window_seconds INTEGER NOT NULL,
    batches        INTEGER NOT NULL,
    lines          INTEGER NOT NULL,
    bytes          INTEGER NOT NULL,
    PRIMARY KEY (window_start, window_seconds)
) STRICT, WITHOUT ROWID;

CREATE TABLE housekeeper_run (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    started_at    INTEGER NOT NULL,
    duration_ms   INTEGER NOT NULL,
    compressed    INTEGER NOT NULL,
    expired       INTEGER NOT NULL,
    expired_early INTEGER NOT NULL,
    forgotten     INTEGER NOT NULL,
    bytes_freed   INTEGER NOT NULL,
    failed        INTEGER NOT NULL,
    error         TEXT
) STRICT;",
    // What came of requests of the console.
    REQUESTS_STEP,
    // The disk over time, for the console.
    DISK_HISTORY_STEP,
    // Of millions of batches few still have a file in the spool. A search of all time lists these.
    "
CREATE INDEX batches_spooled ON batches (window_start) WHERE expired_at IS NULL;",
    // The last report of each sender: several may have one source.
    SENDER_REPORTS_STEP,
    // Ranges that may be stored twice, of which nobody knows the end yet.
    DOUBTS_GROW_STEP,
];

/// The ledger's tables.
pub(crate) const SCHEMA: Schema = Schema {
    application_id: APPLICATION_ID,
    steps: STEPS,
};

/// Migrates the file to the current schema. A file without tables becomes a ledger only if `may_begin`.
pub(crate) fn migrate(connection: &mut Connection, path: &Path, may_begin: bool) -> Result<(), LedgerError> {
    let migrated = SCHEMA.migrate(connection, may_begin);
    let state = migrated.map_err(|source| sqlite_error(path, "bring its schema up to date", source))?;
    let path = path.to_owned();
    match state {
        SchemaState::Current => Ok(()),
        SchemaState::Blank => Err(LedgerError::Missing { path, trace: None }),
        SchemaState::Foreign => Err(LedgerError::Foreign { path }),
        SchemaState::Other(found) => Err(LedgerError::TooNew {
            path,
            found,
            known: SCHEMA.known(),
        }),
    }
}

/// Makes an empty file a ledger of the time before a step.
#[cfg(test)]
pub(crate) fn before(sqlite: &Connection, step: &str) -> rusqlite::Result<()> {
    let steps = STEPS.iter().take_while(|it| **it != step);
    let mut version = 0;
    for step in steps {
        sqlite.execute_batch(step)?;
        version += 1;
    }
    sqlite.pragma_update(None, "application_id", APPLICATION_ID)?;
    sqlite.pragma_update(None, "user_version", version)
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;
    use crate::Ledger;

    #[test]
    fn ledger_keeps_its_id_and_a_ledger_of_the_first_schema_gets_one() -> Result<(), Box<dyn Error>> {
        let (dir, first) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let id = Ledger::open_or_create(dir.path())?.id()?;
        assert_eq!(Ledger::open(dir.path())?.id()?, id);

        let sqlite = Connection::open(first.path().join(crate::FILE_NAME))?;
        sqlite.execute_batch(STEPS[0])?;
        sqlite.pragma_update(None, "application_id", APPLICATION_ID)?;
        sqlite.pragma_update(None, "user_version", 1)?;
        let given = Ledger::open(first.path())?.id()?;
        assert_eq!(Ledger::open(first.path())?.id()?, given);
        assert_ne!(given, id, "no two ledgers have the same");
        Ok(())
    }
}
