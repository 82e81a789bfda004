//! What only the housekeeper changes: old rows are forgotten, the file gets smaller, and the last run is noted.
//!
//! Invariants:
//! - Only windows all of whose batches are delivered and expired are forgotten, each as a whole in one transaction.
//! - Their sums stay, by source and by window: the audit compares them with the counts of the streams and with the signed
//!   records.
//! - Their names stay given: a late line of a forgotten window opens a part after [`FORGOTTEN_PARTS`].

mod file_use;

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, Result as SqlResult, params_from_iter};

use crate::row::{self, millis, signed};
use crate::{BatchFilter, FORGOTTEN_PARTS, Ledger, LedgerError};

pub use file_use::FileUse;
pub(crate) use file_use::make_new_file_give_back;

/// A run of the housekeeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HousekeeperRecord {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// Batches whose file it compressed.
    pub compressed: u64,
    /// Batches whose file it deleted at its age.
    pub expired: u64,
    /// Batches whose file it deleted before its age, because the disk was too full.
    pub expired_early: u64,
    /// Batches whose rows left the ledger.
    pub forgotten: u64,
    /// Bytes by which the files in `sent/` shrank.
    pub bytes_freed: u64,
    /// Batches that it could not compress or delete.
    pub failed: u64,
    /// The first error.
    pub error: Option<String>,
}

/// A window, by its first second and its length in seconds.
pub type WindowKey = (i64, u32);

/// Whether all of a window's batches are delivered, their files deleted before `?2`, and newer batches there.
const IS_OLD: &str =
    "min(state = 'sent' AND coalesce(expired_at < ?2, 0)) AND max(id) < (SELECT max(id) FROM batches)";

/// Sums of batches whose rows left the ledger. All were delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForgottenSums {
    /// How many these are.
    pub batches: u64,
    /// Their lines.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Ledger {
    /// The windows that [`Self::forget_window`] would forget now, oldest first, so many at most. One look at all old rows.
    pub fn windows_to_forget(&self, before: Timestamp, at_most: u32) -> Result<Vec<WindowKey>, LedgerError> {
        let query = format!(
            "SELECT window_start, window_seconds FROM batches
            WHERE window_start < ?1 GROUP BY window_start, window_seconds
            HAVING window_start + window_seconds <= ?1 AND {IS_OLD}
            ORDER BY window_start, window_seconds LIMIT ?3"
        );
        let values = (before.as_second(), millis(before), at_most);
        self.list("find windows to forget", &query, values, |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }

    /// Forgets a window whose files were all deleted before `before`. Returns its number of batches; `None`, without a change,
    /// if it has others: since it was found, late lines may have opened a part of it. One short transaction.
    ///
    /// The newest batch stays in any case: SQLite would give its number again.
    pub fn forget_window(
        &mut self,
        window: WindowKey,
        before: Timestamp,
    ) -> Result<Option<u64>, LedgerError> {
        let query = format!("SELECT {IS_OLD} FROM batches WHERE window_start = ?1 AND window_seconds = ?3");
        self.write("forget a window", |sql| {
            // In the transaction that deletes the rows: a part that is opened before it must stay.
            let values = (window.0, millis(before), window.1);
            let is_old: Option<bool> = sql.prepare_cached(&query)?.query_row(values, |row| row.get(0))?;
            is_old
                .unwrap_or_default()
                .then(|| forget(sql, window))
                .transpose()
        })
    }

    /// The sums of all forgotten batches, by the names of their sources.
    pub fn forgotten_sources(&self) -> Result<Vec<(String, ForgottenSums)>, LedgerError> {
        let query = "SELECT source, batches, lines, bytes FROM forgotten_sources ORDER BY source";
        self.list("list forgotten batches", query, [], |row| {
            Ok((row.get("source")?, sums(row)?))
        })
    }

    /// The sums of the forgotten windows that match the times of the filter, by first second and length.
    pub fn forgotten_windows(
        &self,
        filter: &BatchFilter,
    ) -> Result<Vec<(WindowKey, ForgottenSums)>, LedgerError> {
        let (condition, values) = filter.condition_on_windows();
        let query = format!(
            "SELECT window_start, window_seconds, batches, lines, bytes FROM forgotten_windows b WHERE {condition}"
        );
        self.list(
            "list forgotten windows",
            &query,
            params_from_iter(values),
            |row| {
                let window = (row.get("window_start")?, row.get("window_seconds")?);
                Ok((window, sums(row)?))
            },
        )
    }

    /// Whether rows of a window were forgotten.
    pub fn is_forgotten(&self, window: WindowKey) -> Result<bool, LedgerError> {
        let query = "SELECT 1 FROM forgotten_windows WHERE window_start = ?1 AND window_seconds = ?2";
        let found = self.find("look for a forgotten window", query, window, |_| Ok(()))?;
        Ok(found.is_some())
    }

    /// Notes the last run of the housekeeper.
    pub fn note_housekeeper_run(&mut self, run: &HousekeeperRecord) -> Result<(), LedgerError> {
        let change = "INSERT OR REPLACE INTO housekeeper_run VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let duration = i64::try_from(run.duration.as_millis()).unwrap_or(i64::MAX);
        let values = (
            millis(run.started_at),
            duration,
            signed(run.compressed),
            signed(run.expired),
            signed(run.expired_early),
            signed(run.forgotten),
            signed(run.bytes_freed),
            signed(run.failed),
            run.error.as_deref(),
        );
        self.execute("note a run of the housekeeper", change, values)
    }

    /// The last run of the housekeeper.
    pub fn housekeeper_run(&self) -> Result<Option<HousekeeperRecord>, LedgerError> {
        let query = "SELECT * FROM housekeeper_run";
        self.find("find the last run of the housekeeper", query, [], |row| {
            Ok(HousekeeperRecord {
                started_at: row::time(row, "started_at")?,
                duration: Duration::from_millis(row.get("duration_ms")?),
                compressed: row.get("compressed")?,
                expired: row.get("expired")?,
                expired_early: row.get("expired_early")?,
                forgotten: row.get("forgotten")?,
                bytes_freed: row.get("bytes_freed")?,
                failed: row.get("failed")?,
                error: row.get("error")?,
            })
        })
    }
}

fn sums(row: &rusqlite::Row<'_>) -> SqlResult<ForgottenSums> {
    Ok(ForgottenSums {
        batches: row.get("batches")?,
        lines: row.get("lines")?,
        bytes: row.get("bytes")?,
    })
}

/// Moves a window's sums to the tables of forgotten ones, and deletes its rows.
fn forget(sql: &Connection, window: WindowKey) -> SqlResult<u64> {
    sql.prepare_cached(
        "INSERT INTO forgotten_windows
            SELECT window_start, window_seconds, count(*), sum(lines), sum(bytes) FROM batches
            WHERE window_start = ?1 AND window_seconds = ?2 GROUP BY 1, 2
         ON CONFLICT DO UPDATE SET batches = batches + excluded.batches, lines = lines + excluded.lines,
            bytes = bytes + excluded.bytes",
    )?
    .execute(window)?;
    sql.prepare_cached(
        "INSERT INTO forgotten_sources
            SELECT source, count(*), sum(lines), sum(bytes), max(window_start), max(?3, max(part)) FROM batches
            WHERE window_start = ?1 AND window_seconds = ?2 GROUP BY source
         ON CONFLICT DO UPDATE SET batches = batches + excluded.batches, lines = lines + excluded.lines,
            bytes = bytes + excluded.bytes, newest_window = max(newest_window, excluded.newest_window),
            last_part = max(last_part, excluded.last_part)",
    )?
    .execute((window.0, window.1, FORGOTTEN_PARTS))?;
    let of_window = "batch IN (SELECT id FROM batches WHERE window_start = ?1 AND window_seconds = ?2)";
    for table in ["deliveries", "manifest_files"] {
        sql.prepare_cached(&format!("DELETE FROM {table} WHERE {of_window}"))?
            .execute(window)?;
    }
    let forgotten = sql
        .prepare_cached("DELETE FROM batches WHERE window_start = ?1 AND window_seconds = ?2")?
        .execute(window)?;
    Ok(forgotten as u64)
}

#[cfg(test)]
mod tests;
