//! The trail: who did what, and when. It is read newest first, and kept for [`KEPT_MS`].

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::{ConsoleDb, milliseconds, timestamp};
use crate::error::ConsoleError;

/// How long an entry is kept, and what is over of marks and requests.
pub(super) const KEPT_MS: i64 = 400 * 24 * 3_600_000;

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ActionRow {
    pub(crate) id: i64,
    pub(crate) at: Timestamp,
    pub(crate) who: String,
    pub(crate) action: String,
    pub(crate) subject: String,
    pub(crate) detail: String,
}

/// Adds an entry to the transaction of what it tells.
pub(super) fn add(
    sql: &Connection,
    who: &str,
    action: &str,
    subject: &str,
    detail: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let now = milliseconds(now);
    sql.execute("DELETE FROM actions WHERE at < ?1", [now.saturating_sub(KEPT_MS)])?;
    sql.execute(
        "INSERT INTO actions (at, who, action, subject, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![now, who, action, subject, detail],
    )
    .map(drop)
}

impl ConsoleDb {
    /// The entries before the one of this number, the newest first; `subject`: only about it.
    pub(crate) fn actions(
        &self,
        before: Option<i64>,
        subject: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ActionRow>, ConsoleError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read("read the trail of actions", |sql| {
            let query = "SELECT id, at, who, action, subject, detail FROM actions
                         WHERE id < ?1 AND (?2 IS NULL OR subject = ?2) ORDER BY id DESC LIMIT ?3";
            let row = |row: &Row<'_>| {
                Ok(ActionRow {
                    id: row.get(0)?,
                    at: timestamp(row.get(1)?),
                    who: row.get(2)?,
                    action: row.get(3)?,
                    subject: row.get(4)?,
                    detail: row.get(5)?,
                })
            };
            let params = params![before.unwrap_or(i64::MAX), subject, limit];
            sql.prepare_cached(query)?.query_map(params, row)?.collect()
        })
    }
}
