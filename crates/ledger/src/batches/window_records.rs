//! Signed records of windows: what the monitor signed off when all batches of a window were delivered.
//!
//! A record covers the batches of its window that were opened after those of the window's record before, so that late
//! parts get a record of their own and nothing is signed twice. Records are only added.

use std::ops::Range;

use jiff::Timestamp;
use rusqlite::{Row, params, params_from_iter};

use super::batch::{Batch, BatchFilter, BatchId};
use crate::row::signed;
use crate::{Ledger, LedgerError};

/// The file in the data folder that says which record was signed last. A ledger that is made anew has other records.
pub const LAST_RECORD_FILE: &str = "audit.last";

/// Some batches of a window, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowPart {
    /// First second of the window.
    pub window_start: i64,
    /// Its length in seconds.
    pub window_seconds: u32,
    /// Batches opened after this one,
    pub after: BatchId,
    /// up to this one.
    pub last: BatchId,
}

/// A record as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRecord {
    /// 1 for the first record of the ledger.
    pub number: u64,
    /// The batches that it covers.
    pub covers: WindowPart,
    /// How many these are.
    pub batches: u64,
    /// The signed text.
    pub content: String,
    /// The signature in hex.
    pub signature: String,
}

impl Ledger {
    /// Windows that ended before a time, whose batches are all delivered, and not all covered by records; oldest first, so
    /// many at most. Looks at windows that start between two times.
    pub fn windows_to_sign(
        &self,
        starts: Range<Timestamp>,
        ended_before: Timestamp,
        at_most: u32,
    ) -> Result<Vec<WindowPart>, LedgerError> {
        let query = "SELECT * FROM (
                SELECT window_start, window_seconds, max(id) AS last, sum(state <> 'sent') AS waiting
                FROM batches WHERE window_start >= ?1 AND window_start < ?4 GROUP BY window_start, window_seconds) AS w
            LEFT JOIN (
                SELECT window_start AS start, window_seconds AS seconds, max(last) AS after
                FROM window_records WHERE window_start >= ?1 AND window_start < ?4 GROUP BY window_start, window_seconds) AS r
            ON r.start = w.window_start AND r.seconds = w.window_seconds
            WHERE waiting = 0 AND window_start + window_seconds <= ?2 AND last > coalesce(after, 0)
            ORDER BY window_start, window_seconds LIMIT ?3";
        let values = (
            starts.start.as_second(),
            ended_before.as_second(),
            at_most,
            starts.end.as_second(),
        );
        self.list("find complete windows", query, values, |row| {
            Ok(WindowPart {
                window_start: row.get("window_start")?,
                window_seconds: row.get("window_seconds")?,
                after: BatchId(row.get::<_, Option<i64>>("after")?.unwrap_or(0)),
                last: BatchId(row.get("last")?),
            })
        })
    }

    /// The batches that a record covers, in the order of opening.
    pub fn covered_batches(&self, covers: &WindowPart) -> Result<Vec<Batch>, LedgerError> {
        let query = "SELECT * FROM batches
                     WHERE window_start = ?1 AND window_seconds = ?2 AND id > ?3 AND id <= ?4 ORDER BY id";
        let values = (
            covers.window_start,
            covers.window_seconds,
            covers.after.0,
            covers.last.0,
        );
        self.list("list the batches of a window", query, values, Batch::from_row)
    }

    /// Adds records. Their numbers follow those of the records that are there.
    pub fn add_window_records(&mut self, records: &[SignedRecord]) -> Result<(), LedgerError> {
        self.write("note signed windows", |sql| {
            let mut insert =
                sql.prepare_cached("INSERT INTO window_records VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
            for record in records {
                let covers = &record.covers;
                insert.execute(params![
                    signed(record.number),
                    covers.window_start,
                    covers.window_seconds,
                    covers.after.0,
                    covers.last.0,
                    signed(record.batches),
                    record.content,
                    record.signature,
                ])?;
            }
            Ok(())
        })
    }

    /// The records of the windows that match the times of the filter, each after the record before it, whose hash it has; in the
    /// order of their numbers. Records are never deleted: after years all of them are many.
    pub fn window_records(&self, filter: &BatchFilter) -> Result<Vec<SignedRecord>, LedgerError> {
        let (condition, values) = filter.condition_on_windows();
        let query = format!(
            "WITH wanted AS (SELECT number FROM window_records b WHERE {condition})
            SELECT * FROM window_records WHERE number IN (
                SELECT number FROM wanted
                UNION SELECT (SELECT max(earlier.number) FROM window_records earlier WHERE earlier.number < wanted.number)
                FROM wanted)
            ORDER BY number"
        );
        self.list("list signed windows", &query, params_from_iter(values), from_row)
    }

    /// The records of the windows that start at a time, in the order of their numbers.
    pub fn window_records_at(&self, window_start: i64) -> Result<Vec<SignedRecord>, LedgerError> {
        let query = "SELECT * FROM window_records WHERE window_start = ?1 ORDER BY number";
        self.list(
            "list the signed records of a window",
            query,
            [window_start],
            from_row,
        )
    }

    /// The record that was added last.
    pub fn last_window_record(&self) -> Result<Option<SignedRecord>, LedgerError> {
        let query = "SELECT * FROM window_records ORDER BY number DESC LIMIT 1";
        self.find("find the last signed window", query, [], from_row)
    }

    /// The record with this number.
    pub fn window_record(&self, number: u64) -> Result<Option<SignedRecord>, LedgerError> {
        let query = "SELECT * FROM window_records WHERE number = ?1";
        self.find("find a signed window", query, [signed(number)], from_row)
    }

    /// The start of the newest window that has a record, and of the first window after it. Without records, of the first
    /// window of all.
    pub fn signing_place(&self) -> Result<(Option<Timestamp>, Option<Timestamp>), LedgerError> {
        let second = |query, after: i64| {
            let find = |row: &Row<'_>| row.get::<_, Option<i64>>(0);
            self.find("find the windows to sign", query, [after], find)
                .map(Option::flatten)
        };
        let newest = second(
            "SELECT max(window_start) FROM window_records WHERE window_start > ?1",
            i64::MIN,
        )?;
        let query = "SELECT min(window_start) FROM batches WHERE window_start > ?1";
        let next = second(query, newest.unwrap_or(i64::MIN))?;
        let time = |second: Option<i64>| second.and_then(|second| Timestamp::from_second(second).ok());
        Ok((time(newest), time(next)))
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<SignedRecord> {
    Ok(SignedRecord {
        number: row.get("number")?,
        covers: WindowPart {
            window_start: row.get("window_start")?,
            window_seconds: row.get("window_seconds")?,
            after: BatchId(row.get("after")?),
            last: BatchId(row.get("last")?),
        },
        batches: row.get("batches")?,
        content: row.get("content")?,
        signature: row.get("signature")?,
    })
}
