//! Sources: who was heard of, when, and how much of theirs there is.

use jiff::Timestamp;
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::names::{GroupName, SourceId};

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
    /// Bytes on its disk that are not here, as it last reported.
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
            sql.prepare_cached("SELECT * FROM sources ORDER BY source")?
                .query_map([], |row| {
                    let heartbeat: Option<String> = row.get("heartbeat")?;
                    Ok(SourceRecord {
                        source: row::text(row, "source")?,
                        group: row::text(row, "grp")?,
                        first_seen: row::time(row, "first_seen")?,
                        last_contact: row::time(row, "last_contact")?,
                        last_lines: row::optional_time(row, "last_lines")?,
                        lag_bytes: row::count(row, "lag_bytes")?,
                        heartbeat: heartbeat.and_then(|text| serde_json::from_str(&text).ok()),
                    })
                })?
                .collect()
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
