//! Lines that may be stored twice since a rebuild.
//!
//! Two streams of a rebuilt ledger may bring lines that the spool has already: one that is recovered before the end of what was
//! posted of it, and one that begins anew, because its sender has lost its state too. Where nobody knows how much was posted, the
//! lines tell: those of windows from before the rebuild may be stored, later ones cannot be.

use jiff::Timestamp;
use logferry_protocol::names::{LogName, SourceId};
use logferry_protocol::stream::{Offset, StreamId};
use rusqlite::{Connection, OptionalExtension, Result as SqlResult};

use crate::row::{self, millis, signed, to_text};
use crate::{Ledger, LedgerError};

pub(crate) const DOUBTS_GROW_STEP: &str = "
ALTER TABLE doubts ADD COLUMN grows_through INTEGER;";

/// A range of a stream whose lines may be stored twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PossibleDuplicate {
    /// The source.
    pub source: SourceId,
    /// The stream.
    pub stream: StreamId,
    /// Its log.
    pub log: LogName,
    /// First byte of the range.
    pub from: Offset,
    /// First byte after the range.
    pub until: Offset,
    /// When it was noticed.
    pub noticed_at: Timestamp,
}

/// Where the bytes end that may be stored twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuplicatesEnd {
    /// Nothing beyond was posted before the rebuild.
    At(Offset),
    /// Nobody knows how much was posted: after the next lines that come, and all further ones of a window up to this (its first second).
    AfterWindow(i64),
}

impl Ledger {
    /// The ranges that may be stored twice since the rebuild, oldest first.
    pub fn possible_duplicates(&self) -> Result<Vec<PossibleDuplicate>, LedgerError> {
        let query =
            "SELECT * FROM doubts WHERE from_offset < until_offset ORDER BY noticed_at, source, stream";
        self.list("list possible duplicates", query, [], |row| {
            Ok(PossibleDuplicate {
                source: row::text(row, "source")?,
                stream: row::text(row, "stream")?,
                log: row::text(row, "log")?,
                from: Offset::new(row.get("from_offset")?),
                until: Offset::new(row.get("until_offset")?),
                noticed_at: row::time(row, "noticed_at")?,
            })
        })
    }
}

/// Records a range that may be stored twice. With `grows_through` its end is not known, see [`DuplicatesEnd::AfterWindow`].
fn insert(sql: &Connection, range: &PossibleDuplicate, grows_through: Option<i64>) -> SqlResult<()> {
    sql.prepare_cached(
        "INSERT INTO doubts (source, stream, log, from_offset, until_offset, noticed_at, grows_through)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        range.source.as_str(),
        to_text(&range.stream),
        range.log.as_str(),
        signed(range.from.get()),
        signed(range.until.get()),
        millis(range.noticed_at),
        grows_through,
    ))
    .map(drop)
}

/// Records what may be stored twice of a stream that was recovered; `at` is the empty range where it goes on.
pub(super) fn note_recovered(sql: &Connection, at: PossibleDuplicate, end: DuplicatesEnd) -> SqlResult<()> {
    match end {
        DuplicatesEnd::At(until) => insert(sql, &PossibleDuplicate { until, ..at }, None),
        DuplicatesEnd::AfterWindow(window) => insert(sql, &at, Some(window)),
    }
}

/// Whether the ledger was rebuilt from the spool.
pub(super) fn is_rebuilt(sql: &Connection) -> SqlResult<bool> {
    sql.prepare_cached("SELECT 1 FROM identity WHERE rebuilt_at IS NOT NULL")?
        .exists([])
}

/// Records what may be stored twice of the bytes `range` that came in a rebuilt ledger. `oldest`: the first second of the oldest window
/// that got lines of them. `is_new`: the ledger did not have the stream.
pub(super) fn note_move(
    sql: &Connection,
    range: &PossibleDuplicate,
    oldest: i64,
    is_new: bool,
) -> SqlResult<()> {
    if !is_new {
        let query = "UPDATE doubts SET until_offset = ?4
             WHERE source = ?1 AND stream = ?2 AND until_offset = ?3
                 AND (grows_through >= ?5 OR grows_through IS NOT NULL AND from_offset = until_offset)";
        let (stream, from, until) = (
            to_text(&range.stream),
            signed(range.from.get()),
            signed(range.until.get()),
        );
        let key = (range.source.as_str(), stream, from, until, oldest);
        return sql.prepare_cached(query)?.execute(key).map(drop);
    }
    // A line with a time from the future makes no later stream doubtful.
    let query = "SELECT min(newest_window, rebuilt_at / 1000) FROM rebuilt, identity WHERE source = ?1";
    let newest: Option<i64> = sql
        .prepare_cached(query)?
        .query_row([range.source.as_str()], |row| row.get(0))
        .optional()?;
    match newest.filter(|newest| oldest <= *newest) {
        Some(newest) => insert(sql, range, Some(newest)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use logferry_protocol::names::GroupName;

    use super::*;
    use crate::tests::{ledger, now, stream_record};
    use crate::{Commit, FoundSource, StreamMove, StreamRecord};

    fn ranges(ledger: &Ledger) -> Result<Vec<(u64, u64)>, LedgerError> {
        let duplicates = ledger.possible_duplicates()?;
        Ok(duplicates
            .iter()
            .map(|range| (range.from.get(), range.until.get()))
            .collect())
    }

    /// A ledger that was rebuilt from a spool in which the source of `record` has files of a window.
    fn rebuilt(
        record: &StreamRecord,
        newest_window: i64,
    ) -> Result<(tempfile::TempDir, Ledger), Box<dyn Error>> {
        let (dir, mut ledger) = ledger()?;
        let found = FoundSource {
            source: record.source.clone(),
            group: "web-1".parse::<GroupName>()?,
            written_at: now(),
            newest_window,
            end: None,
        };
        ledger.restore(&[], &[found], &[], now())?;
        Ok((dir, ledger))
    }

    /// Moves the stream from an offset to another; its lines are of this window and later ones.
    fn advance(ledger: &mut Ledger, (from, to): (u64, u64), oldest_window: i64) -> Result<(), LedgerError> {
        ledger.commit(&Commit {
            streams: vec![StreamMove {
                from: Offset::new(from),
                record: stream_record(to, 0),
                oldest_window: Some(oldest_window),
            }],
            batches: Vec::new(),
        })
    }

    #[test]
    fn stream_is_recovered_once_and_its_possible_duplicates_are_kept() -> Result<(), Box<dyn Error>> {
        let (_dir, mut ledger) = ledger()?;
        let record = stream_record(5, 0);
        ledger.recover_streams(&[(record.clone(), Some(DuplicatesEnd::At(Offset::new(9))))])?;
        ledger.recover_streams(&[(stream_record(7, 0), Some(DuplicatesEnd::At(Offset::new(10))))])?;
        assert_eq!(ledger.stream(&record.source, record.stream)?, Some(record));
        assert_eq!(ranges(&ledger)?, [(5, 9)]);
        // What was posted at most is known: the rest comes once.
        advance(&mut ledger, (5, 9), 0)?;
        advance(&mut ledger, (9, 20), 0)?;
        assert_eq!(ranges(&ledger)?, [(5, 9)]);
        Ok(())
    }

    #[test]
    fn a_range_without_a_known_end_lasts_as_long_as_lines_of_old_windows_come() -> Result<(), Box<dyn Error>>
    {
        let record = stream_record(5, 0);
        let (_dir, mut ledger) = rebuilt(&record, 2400)?;
        ledger.recover_streams(&[(record, Some(DuplicatesEnd::AfterWindow(2400)))])?;
        assert_eq!(ranges(&ledger)?, [], "nothing has come");
        // Lines without a time count with their arrival: the first ones may be stored, whatever their window.
        advance(&mut ledger, (5, 10), 3600)?;
        advance(&mut ledger, (10, 20), 1200)?;
        advance(&mut ledger, (20, 30), 2400)?;
        advance(&mut ledger, (30, 40), 3600)?;
        advance(&mut ledger, (40, 50), 2400)?;
        assert_eq!(ranges(&ledger)?, [(5, 30)], "a late line does not open it again");
        Ok(())
    }

    #[test]
    fn a_stream_that_begins_anew_with_lines_of_old_windows_may_double_them() -> Result<(), Box<dyn Error>> {
        let record = stream_record(0, 0);
        for (oldest, expected) in [(2400, vec![(0, 10)]), (3600, Vec::new())] {
            let (_dir, mut ledger) = rebuilt(&record, 2400)?;
            advance(&mut ledger, (0, 10), oldest)?;
            assert_eq!(ranges(&ledger)?, expected);
        }
        let (_dir, mut ledger) = ledger()?;
        ledger.note_contact(&record.source, &"web-1".parse()?, now())?;
        advance(&mut ledger, (0, 10), 0)?;
        assert_eq!(ranges(&ledger)?, [], "the ledger was not rebuilt");
        Ok(())
    }
}
