//! Sources: who was heard of, when, and how much of theirs there is.

use jiff::Timestamp;
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::names::{GroupName, SourceId};
use logferry_protocol::stream::Offset;
use rusqlite::{Connection, OptionalExtension, Result as SqlResult};

use crate::row;
use crate::{Ledger, LedgerError};

/// A source as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRecord {
    /// The source.
    pub source: SourceId,
    /// The group it last made contact in.
    pub group: GroupName,
    /// When it was first heard of.
    pub first_seen: Timestamp,
    /// When it was last heard of.
    pub last_contact: Timestamp,
    /// When lines of it were last committed.
    pub last_lines: Option<Timestamp>,
    /// Bytes that were on its disk when it last reported, and are not here now.
    pub lag_bytes: u64,
    /// Its last report; `None` if it never sent one, or an old version wrote it.
    pub heartbeat: Option<Heartbeat>,
}

/// The lines that a source's streams have brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamTotals {
    /// The source.
    pub source: SourceId,
    /// Lines its streams say they sent.
    pub lines_sent: u64,
    /// Lines its streams say they dropped by rule.
    pub lines_excluded: u64,
    /// Lines in the batches of the source.
    pub lines_batched: u64,
}

impl Ledger {
    /// All sources.
    pub fn sources(&self) -> Result<Vec<SourceRecord>, LedgerError> {
        self.read("list sources", |sql| {
            let mut query = sql.prepare_cached("SELECT * FROM sources ORDER BY source")?;
            let sources = query.query_map([], |row| {
                let source: SourceId = row::text(row, "source")?;
                let heartbeat: Option<String> = row.get("heartbeat")?;
                let heartbeat: Option<Heartbeat> =
                    heartbeat.and_then(|text| serde_json::from_str(&text).ok());
                Ok(SourceRecord {
                    group: row::text(row, "grp")?,
                    first_seen: row::time(row, "first_seen")?,
                    last_contact: row::time(row, "last_contact")?,
                    last_lines: row::optional_time(row, "last_lines")?,
                    lag_bytes: lag(sql, &source, heartbeat.as_ref())?,
                    heartbeat,
                    source,
                })
            })?;
            sources.collect()
        })
    }

    /// What each source's streams say they sent, beside what its batches hold: the two must be equal.
    pub fn stream_totals(&self) -> Result<Vec<StreamTotals>, LedgerError> {
        self.read("add up lines", |sql| {
            sql.prepare_cached(
                "SELECT source, sum(sent) AS sent, sum(excluded) AS excluded, sum(batched) AS batched FROM (
                     SELECT source, lines_sent AS sent, lines_excluded AS excluded, 0 AS batched FROM streams
                     UNION ALL SELECT source, 0, 0, lines FROM batches)
                 GROUP BY source ORDER BY source",
            )?
            .query_map([], |row| {
                Ok(StreamTotals {
                    source: row::text(row, "source")?,
                    lines_sent: row::count(row, "sent")?,
                    lines_excluded: row::count(row, "excluded")?,
                    lines_batched: row::count(row, "batched")?,
                })
            })?
            .collect()
        })
    }
}

/// What a report says is on the sender's disk, less what has come since.
fn lag(sql: &Connection, source: &SourceId, heartbeat: Option<&Heartbeat>) -> SqlResult<u64> {
    let mut query = sql.prepare_cached("SELECT committed FROM streams WHERE source = ?1 AND stream = ?2")?;
    let streams = heartbeat.map_or(&[][..], |heartbeat| &heartbeat.streams);
    streams.iter().try_fold(0_u64, |sum, stream| {
        let key = (source.as_str(), stream.stream.to_string());
        let committed = query
            .query_row(key, |row| row::count(row, "committed"))
            .optional()?
            .unwrap_or(0);
        Ok(sum.saturating_add(stream.size.since(stream.acked.max(Offset::new(committed)))))
    })
}
