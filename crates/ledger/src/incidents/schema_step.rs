//! The step of the schema that brings incidents, and takes over the alerts of earlier versions: people who were told of one
//! then are told that it is over, and not that it begins again.

/// The tables, with the alerts of the old ones as open incidents that people know.
pub(crate) const INCIDENTS_STEP: &str = "CREATE TABLE incidents (
    id             INTEGER PRIMARY KEY,
    rule           TEXT NOT NULL,
    subject        TEXT NOT NULL,
    severity       TEXT NOT NULL CHECK (severity IN ('warning', 'critical')),
    text           TEXT NOT NULL,
    advice         TEXT NOT NULL,
    channels       TEXT NOT NULL,
    clear_after_ms INTEGER NOT NULL,
    since          INTEGER NOT NULL,
    opened_at      INTEGER,
    gone_since     INTEGER,
    closed_at      INTEGER,
    told           TEXT CHECK (told IN ('warning', 'critical')),
    told_at        INTEGER,
    returns        INTEGER NOT NULL DEFAULT 0,
    relapses       INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX incidents_not_closed ON incidents (rule, subject) WHERE closed_at IS NULL;
CREATE INDEX incidents_closed ON incidents (closed_at) WHERE closed_at IS NOT NULL;

CREATE TABLE incident_timeline (
    id       INTEGER PRIMARY KEY,
    incident INTEGER NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
    at       INTEGER NOT NULL,
    text     TEXT NOT NULL
) STRICT;
CREATE INDEX incident_timeline_of ON incident_timeline (incident, id);

CREATE TABLE silences (
    subject TEXT PRIMARY KEY,
    since   INTEGER NOT NULL,
    until   INTEGER NOT NULL,
    why     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO incidents (rule, subject, severity, text, advice, channels, clear_after_ms, since, opened_at, gone_since, told, told_at)
SELECT kind, source, 'critical', 'source ' || source || ' is ' || kind, '', '', 120000, coalesce(since, raised_at), raised_at,
    back_since, 'critical', raised_at
FROM alerts;
INSERT INTO incidents (rule, subject, severity, text, advice, channels, clear_after_ms, since, opened_at, gone_since, told, told_at)
SELECT 'files', substr(source, 6) || ':' || path, 'warning', path, '', '', 120000, since, raised_at, gone_since, 'warning', raised_at
FROM log_alerts WHERE source LIKE 'role.%' AND raised_at IS NOT NULL;
INSERT INTO incidents (rule, subject, severity, text, advice, channels, clear_after_ms, since, opened_at, gone_since, told, told_at)
SELECT 'checkpoint', source, 'warning', reason, '', '', 120000, since, raised_at, gone_since, 'warning', raised_at
FROM log_alerts WHERE source NOT LIKE 'role.%' AND path = 'state_dir' AND raised_at IS NOT NULL;
INSERT INTO incidents (rule, subject, severity, text, advice, channels, clear_after_ms, since, opened_at, gone_since, told, told_at)
SELECT 'held', source || ':' || path, 'warning', path || ': ' || reason, '', '', 120000, since, raised_at, gone_since, 'warning',
    raised_at
FROM log_alerts WHERE source NOT LIKE 'role.%' AND path <> 'state_dir' AND raised_at IS NOT NULL;
INSERT INTO incident_timeline (incident, at, text) SELECT id, opened_at, text FROM incidents;
DROP TABLE alerts;
DROP TABLE log_alerts;";
