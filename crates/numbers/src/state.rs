//! How far the indexer has come, as `index.db` has it.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Result as SqlResult};

use crate::tally::SeriesKey;

/// How far the indexer has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexState {
    /// The id of the ledger that it reads; `None` before the first transaction.
    pub ledger: Option<String>,
    /// The ledger's number of the newest batch that it has seen.
    pub newest_batch: Option<i64>,
    /// The position of the store that belongs to the places.
    pub store_position: Option<String>,
    /// When it was recorded, in seconds since 1970.
    pub recorded_at: Option<i64>,
    /// When the clock was believed last, in seconds since 1970. It stays behind while the clock is doubted, so that the next
    /// process doubts it too.
    pub believed_at: Option<i64>,
    /// How far it was behind then.
    pub lag: IndexLag,
}

/// How far the indexer is behind the relay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexLag {
    /// Durable bytes that it has not read.
    pub bytes: u64,
    /// Durable lines that it has not read.
    pub lines: u64,
    /// For how long the oldest of them have waited.
    pub seconds: u64,
}

impl IndexLag {
    /// As it is recorded.
    pub(crate) fn to_value(self) -> String {
        format!("{} {} {}", self.bytes, self.lines, self.seconds)
    }
}

/// How far a batch is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexedBatch {
    /// Bytes from its start, gaps included.
    pub bytes: u64,
    /// Lines from its start, those in gaps included.
    pub lines: u64,
    /// Whether that is all: it is sealed.
    pub is_read: bool,
}

/// What the ledger says of a batch whose place is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerLookup {
    /// It has the batch, and its file may be in the spool.
    Kept,
    /// The file is gone.
    Gone,
    /// It does not know the batch. Its file may be there, and another ledger may know it again: then its lines must not be read
    /// twice.
    Unknown,
}

/// Bytes of a batch that were gone before they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexGap {
    /// The batch's name without `.log`.
    pub batch: String,
    /// Its first byte.
    pub from: u64,
    /// Its length.
    pub bytes: u64,
    /// The batch's source.
    pub source: String,
    /// The source's group.
    pub group: String,
    /// First second of the batch's window.
    pub window_start: i64,
    /// First second behind the window.
    pub window_end: i64,
    /// The reason, for people.
    pub reason: String,
    /// When it was noticed, in seconds since 1970.
    pub noticed_at: i64,
}

/// The format that was found for the lines of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLogFormat {
    /// The source.
    pub source: String,
    /// The log, if it is known.
    pub log: Option<String>,
    /// The format, as `Format::parse` takes it.
    pub format: String,
}

pub(crate) fn formats(sql: &Connection) -> SqlResult<Vec<FoundLogFormat>> {
    let mut query = sql.prepare("SELECT source, log, format FROM formats ORDER BY source, log")?;
    let formats = query.query_map([], |row| {
        Ok(FoundLogFormat {
            source: row.get("source")?,
            log: Some(row.get("log")?).filter(|log: &String| !log.is_empty()),
            format: row.get("format")?,
        })
    })?;
    formats.collect()
}

pub(crate) fn series_key(row: &rusqlite::Row<'_>) -> rusqlite::Result<SeriesKey> {
    Ok(SeriesKey {
        source: row.get("source")?,
        group: row.get("grp")?,
        log: row.get("log")?,
    })
}

/// The values of a table of names and values.
pub(crate) fn read_values(sql: &Connection, table: &str) -> SqlResult<BTreeMap<String, String>> {
    let mut query = sql.prepare_cached(&format!("SELECT name, value FROM {table}"))?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Puts values into a table of names and values.
pub(crate) fn put_values(sql: &Connection, table: &str, values: &[(&str, Option<String>)]) -> SqlResult<()> {
    let put =
        format!("INSERT INTO {table} (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2");
    for (name, value) in values {
        if let Some(value) = value {
            sql.prepare_cached(&put)?.execute((name, value))?;
        }
    }
    Ok(())
}

/// The state that a table of names and values has.
pub(crate) fn read_state(sql: &Connection, table: &str) -> SqlResult<IndexState> {
    let values = read_values(sql, table)?;
    let number = |name: &str| values.get(name)?.parse().ok();
    let lag: Vec<u64> = values
        .get("lag")
        .map(|lag| lag.split(' ').filter_map(|number| number.parse().ok()).collect())
        .unwrap_or_default();
    let lag = match lag[..] {
        [bytes, lines, seconds] => IndexLag {
            bytes,
            lines,
            seconds,
        },
        _ => IndexLag::default(),
    };
    Ok(IndexState {
        ledger: values.get("ledger").cloned(),
        newest_batch: number("newest"),
        store_position: values.get("store").cloned(),
        recorded_at: number("recorded_at"),
        believed_at: number("believed_at"),
        lag,
    })
}

/// The places that a table has, by the batch's name. Of all batches in the spool: there may be very many.
pub(crate) fn places(sql: &Connection, table: &str) -> SqlResult<BTreeMap<String, IndexedBatch>> {
    let mut query = sql.prepare_cached(&format!("SELECT batch, bytes, lines, is_read FROM {table}"))?;
    query.query_map([], place)?.collect()
}

/// The places of the batches that are not read to their ends.
pub(crate) fn unread_places(sql: &Connection) -> SqlResult<Vec<(String, IndexedBatch)>> {
    let query = "SELECT batch, bytes, lines, is_read FROM batches WHERE is_read = 0";
    sql.prepare_cached(query)?.query_map([], place)?.collect()
}

/// At most `limit` places behind the batch of this name, by name.
pub(crate) fn places_after(
    sql: &Connection,
    after: &str,
    limit: usize,
) -> SqlResult<Vec<(String, IndexedBatch)>> {
    let query = "SELECT batch, bytes, lines, is_read FROM batches WHERE batch > ?1 ORDER BY batch LIMIT ?2";
    let mut query = sql.prepare_cached(query)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let places = query.query_map((after, limit), place)?;
    places.collect()
}

/// The place of this batch.
pub(crate) fn place_of(sql: &Connection, batch: &str) -> SqlResult<Option<IndexedBatch>> {
    let query = "SELECT batch, bytes, lines, is_read FROM batches WHERE batch = ?1";
    let mut query = sql.prepare_cached(query)?;
    let found = query.query_row([batch], place).optional()?;
    Ok(found.map(|(_, place)| place))
}

/// A batch's name and its place, of a row that has these columns.
pub(crate) fn place(row: &rusqlite::Row<'_>) -> SqlResult<(String, IndexedBatch)> {
    let place = IndexedBatch {
        bytes: row.get("bytes")?,
        lines: row.get("lines")?,
        is_read: row.get("is_read")?,
    };
    Ok((row.get("batch")?, place))
}

/// The gaps whose batches' windows end after `since`, the oldest first.
pub(crate) fn gaps(sql: &Connection, since: i64) -> SqlResult<Vec<IndexGap>> {
    let query = "SELECT * FROM gaps WHERE window_end > ?1 ORDER BY window_start, batch, from_byte";
    let mut query = sql.prepare_cached(query)?;
    let gaps = query.query_map([since], |row| {
        Ok(IndexGap {
            batch: row.get("batch")?,
            from: row.get("from_byte")?,
            bytes: row.get("bytes")?,
            source: row.get("source")?,
            group: row.get("grp")?,
            window_start: row.get("window_start")?,
            window_end: row.get("window_end")?,
            reason: row.get("reason")?,
            noticed_at: row.get("noticed_at")?,
        })
    })?;
    gaps.collect()
}
