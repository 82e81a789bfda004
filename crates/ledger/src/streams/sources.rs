//! Sources: their contacts, their heartbeats, and the number of their lines.

use jiff::Timestamp;
use logferry_protocol::chunk::LineCounts;
use logferry_protocol::heartbeat::{Heartbeat, StreamProgress};
use logferry_protocol::names::{GroupName, SourceId};
use logferry_protocol::sender::SenderId;
use logferry_protocol::stream::Offset;
use rusqlite::{Connection, OptionalExtension, Result as SqlResult, Row};

use super::sender_reports::SourceReports;
use super::{gaps, sender_reports};
use crate::row::{self, millis};
use crate::{Ledger, LedgerError};

/// The most excluded lines that count of one stream. The sender alone knows their number; it must not be so large that the
/// sum of a source overflows, which is an error of SQLite.
const EXCLUDED_MAX: u64 = 1 << 45;

/// A source as recorded in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRecord {
    /// The source.
    pub source: SourceId,
    /// The group it last made contact in.
    pub group: GroupName,
    /// When it first made contact.
    pub first_seen: Timestamp,
    /// When it last made contact.
    pub last_contact: Timestamp,
    /// When lines of it were last committed.
    pub last_lines: Option<Timestamp>,
    /// Bytes that its senders' last reports counted on their disks and that are not stored here.
    pub lag_bytes: u64,
    /// The streams of their last reports.
    pub streams: Vec<ReportedStream>,
    /// The last report, with the files of all its senders; `None` if it never sent one, or an old version wrote it.
    pub heartbeat: Option<Heartbeat>,
    /// When the last report came, by this host's clock; `None` if an old version of the relay received it.
    pub heartbeat_at: Option<Timestamp>,
    /// When the last report came of the sender that was silent for the longest time.
    pub oldest_report_at: Option<Timestamp>,
    /// How many senders report for it at the same time.
    pub senders: usize,
}

/// A stream as its sender last reported it, with its progress here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedStream {
    /// The sender's report.
    pub progress: StreamProgress,
    /// The durable offset here, which includes bytes that came after the report.
    pub committed: Offset,
    /// Lines since the stream began.
    pub lines: LineCounts,
    /// The time of its last line here that had one, in seconds since 1970.
    pub last_line_time: Option<i64>,
}

impl SourceRecord {
    /// The lag, if it is known: `None` if its sender has files that it cannot read or has not resolved yet. An old shipper
    /// never reports, and has none.
    pub fn known_lag_bytes(&self) -> Option<u64> {
        let is_unknown = self.heartbeat.as_ref().is_some_and(Heartbeat::has_unknown_lag);
        (!is_unknown).then_some(self.lag_bytes)
    }

    /// The time that all streams with a lag have reached, in seconds since 1970; `None` if there is none, or if it is not known.
    pub fn lagging_reached(&self) -> Option<i64> {
        let lagging = self.streams.iter().filter(|stream| stream.lag_bytes() > 0);
        // A stream without a time has reached none.
        let reached = lagging.map(|stream| stream.last_line_time).min();
        reached.flatten()
    }
}

impl ReportedStream {
    /// Bytes that the report counted on the sender's disk and that are not stored here.
    pub fn lag_bytes(&self) -> u64 {
        self.progress.size.since(self.progress.acked.max(self.committed))
    }

    /// Whether it has unread lines in a file that rotation may delete at any time, or has deleted.
    pub fn is_at_risk(&self) -> bool {
        self.progress.is_at_risk() && self.lag_bytes() > 0
    }
}

/// The line counts of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLineTotals {
    /// The source.
    pub source: SourceId,
    /// Lines sent, by the counts of its streams.
    pub lines_sent: u64,
    /// Lines excluded by rule, by the counts of its streams.
    pub lines_excluded: u64,
    /// Lines in the batches of the source.
    pub lines_batched: u64,
}

impl Ledger {
    /// The sources with this name in upper or lower case.
    pub fn sources_named(&self, name: &SourceId) -> Result<Vec<SourceId>, LedgerError> {
        self.read("look for a source", |sql| {
            let mut query =
                sql.prepare_cached("SELECT source FROM sources WHERE source = ?1 COLLATE NOCASE")?;
            let named = query.query_map([name.as_str()], |row| row::text(row, "source"))?;
            named.collect()
        })
    }

    /// All sources, in the order of their names.
    pub fn sources(&self) -> Result<Vec<SourceRecord>, LedgerError> {
        self.read("list sources", |sql| {
            let mut query =
                sql.prepare_cached("SELECT source, grp, first_seen, last_contact, last_lines FROM sources")?;
            let sources = query.query_map([], |row| {
                let source: SourceId = row::text(row, "source")?;
                let SourceReports {
                    heartbeat,
                    newest_at,
                    oldest_at,
                    senders,
                } = sender_reports::of_source(sql, &source)?;
                let streams = reported(sql, &source, heartbeat.as_ref())?;
                Ok(SourceRecord {
                    group: row::text(row, "grp")?,
                    first_seen: row::time(row, "first_seen")?,
                    last_contact: row::time(row, "last_contact")?,
                    last_lines: row::optional_time(row, "last_lines")?,
                    lag_bytes: streams
                        .iter()
                        .fold(0, |sum, stream| stream.lag_bytes().saturating_add(sum)),
                    streams,
                    heartbeat,
                    heartbeat_at: newest_at,
                    oldest_report_at: oldest_at,
                    senders,
                    source,
                })
            })?;
            let mut sources: Vec<SourceRecord> = sources.collect::<rusqlite::Result<_>>()?;
            sources.sort_by(|a, b| a.source.cmp(&b.source));
            Ok(sources)
        })
    }

    /// Notes that a source made contact, and in which group.
    pub fn note_contact(
        &mut self,
        source: &SourceId,
        group: &GroupName,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write("note a contact", |sql| note_contact(sql, source, group, now))
    }

    /// Notes the report of a sender that does not name itself, and the gaps in it.
    pub fn note_heartbeat(
        &mut self,
        source: &SourceId,
        group: &GroupName,
        heartbeat: &Heartbeat,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.note_report((source, None), group, heartbeat, now)
    }

    /// Notes the report of a source's sender on itself, and the gaps in it.
    pub fn note_report(
        &mut self,
        sender: (&SourceId, Option<SenderId>),
        group: &GroupName,
        heartbeat: &Heartbeat,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write("note a heartbeat", |sql| {
            note_contact(sql, sender.0, group, now)?;
            sender_reports::note(sql, sender, heartbeat, now)?;
            gaps::note(sql, sender.0, heartbeat, now)
        })
    }

    /// The line counts of each source's streams, without its batches.
    pub fn lines_of_streams(&self) -> Result<Vec<(SourceId, LineCounts)>, LedgerError> {
        let query = format!(
            "SELECT source, sum(sent) AS sent, sum(excluded) AS excluded FROM (
                SELECT source, lines_sent AS sent, min(lines_excluded, {EXCLUDED_MAX}) AS excluded FROM streams
                UNION ALL SELECT source, lines, 0 FROM rebuilt)
            GROUP BY source ORDER BY source"
        );
        self.list("add up the lines of streams", &query, [], |row| {
            let (sent, excluded) = (row.get("sent")?, row.get("excluded")?);
            Ok((row::text(row, "source")?, LineCounts { sent, excluded }))
        })
    }

    /// The line counts of each source's streams and batches. Sent and batched lines must be equal.
    pub fn source_line_totals(&self) -> Result<Vec<SourceLineTotals>, LedgerError> {
        let query = format!(
            "SELECT source, sum(sent) AS sent, sum(excluded) AS excluded, sum(batched) AS batched FROM (
                SELECT source, lines_sent AS sent, min(lines_excluded, {EXCLUDED_MAX}) AS excluded, 0 AS batched
                    FROM streams
                UNION ALL SELECT source, lines, 0, 0 FROM rebuilt
                UNION ALL SELECT source, 0, 0, lines FROM forgotten_sources
                UNION ALL SELECT source, 0, 0, lines FROM batches)
            GROUP BY source ORDER BY source"
        );
        self.list("add up lines", &query, [], |row| {
            Ok(SourceLineTotals {
                source: row::text(row, "source")?,
                lines_sent: row.get("sent")?,
                lines_excluded: row.get("excluded")?,
                lines_batched: row.get("batched")?,
            })
        })
    }
}

/// The streams of a report, each with its progress here.
fn reported(
    sql: &Connection,
    source: &SourceId,
    heartbeat: Option<&Heartbeat>,
) -> SqlResult<Vec<ReportedStream>> {
    let mut query = sql.prepare_cached(
        "SELECT committed, lines_sent, lines_excluded, last_line_time FROM streams WHERE source = ?1 AND stream = ?2",
    )?;
    let here = |row: &Row<'_>| {
        let lines = LineCounts {
            sent: row.get("lines_sent")?,
            excluded: row.get("lines_excluded")?,
        };
        Ok((
            Offset::new(row.get("committed")?),
            lines,
            row.get("last_line_time")?,
        ))
    };
    let mut streams = Vec::new();
    for progress in heartbeat.map_or(&[][..], |heartbeat| &heartbeat.streams) {
        let key = (source.as_str(), progress.stream.to_string());
        let (committed, lines, last_line_time) = query.query_row(key, here).optional()?.unwrap_or_default();
        streams.push(ReportedStream {
            progress: progress.clone(),
            committed,
            lines,
            last_line_time,
        });
    }
    Ok(streams)
}

pub(crate) fn note_contact(
    sql: &Connection,
    source: &SourceId,
    group: &GroupName,
    now: Timestamp,
) -> SqlResult<()> {
    sql.prepare_cached(
        "INSERT INTO sources (source, grp, first_seen, last_contact) VALUES (?1, ?2, ?3, ?3)
         ON CONFLICT (source) DO UPDATE SET grp = ?2, last_contact = ?3",
    )?
    .execute((source.as_str(), group.as_str(), millis(now)))
    .map(drop)
}

#[cfg(test)]
mod tests {
    use logferry_protocol::stream::StreamId;

    use crate::tests::{TestResult, advance, ledger, stream_record};

    #[test]
    fn no_count_of_a_sender_breaks_the_sum() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        for generation in 0..2 {
            let mut record = stream_record(100, 3);
            record.stream = StreamId::derive(record.file, record.head, generation);
            record.lines.excluded = u64::MAX;
            ledger.commit(&advance(0, record))?;
        }
        assert_eq!(ledger.source_line_totals()?[0].lines_sent, 6);
        assert_eq!(ledger.lines_of_streams()?[0].1.sent, 6);
        Ok(())
    }
}
