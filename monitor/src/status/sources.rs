//! How the sources are: what the relay has seen of them, and what their senders say of themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use logferry_ledger::{BatchFilter, GapRecord, Ledger, LedgerError, ReportedStream, SourceRecord};
use logferry_protocol::heartbeat::HostTime;
use logferry_protocol::names::{GroupName, LogName, SourceId};
use logferry_protocol::stream::{Offset, StreamId};
use serde::Serialize;

use super::{StatusScope, rfc3339};
use crate::SourceState;
use crate::judge::roster;
use crate::words::{age, instant};

/// What "in the last hour" means.
const LAST_HOUR: Duration = Duration::from_hours(1);

/// A loss is shown for so long. It stays in the audit.
const LOSS_SHOWN: Duration = Duration::from_hours(24);

/// How one source is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceStatus {
    /// The source.
    pub source: SourceId,
    /// The group it last made contact in; `None` if it never did.
    pub group: Option<GroupName>,
    /// How it is.
    pub state: SourceState,
    /// When lines of it last came.
    #[serde(serialize_with = "rfc3339")]
    pub last_line_at: Option<Timestamp>,
    /// When it was last heard of.
    #[serde(serialize_with = "rfc3339")]
    pub last_contact_at: Option<Timestamp>,
    /// Bytes on its disk that are not here, as it last reported.
    pub lag_bytes: u64,
    /// Lines of windows that started within the last hour.
    pub lines_last_hour: u64,
    /// Its sender's version; `None` if it never reported. So are the other things that only a sender knows.
    pub version: Option<String>,
    /// When its sender was started, by its own clock.
    #[serde(serialize_with = "rfc3339")]
    pub started_at: Option<Timestamp>,
    /// For how long the oldest line that is not here has been on its disk; 0 if all are here.
    pub oldest_unread_seconds: u64,
    /// Files that were rotated away or deleted, and are not read to their ends.
    pub files_at_risk: u64,
    /// Logs that its sender may not, or cannot, read.
    pub unreadable_files: Vec<String>,
    /// This host's clock minus its clock.
    pub clock_difference_seconds: Option<i64>,
    /// Since when, by its clock, its sender cannot save its checkpoint; `None` if it can.
    #[serde(serialize_with = "rfc3339")]
    pub checkpoint_failing_since: Option<Timestamp>,
    /// What it lost in the last 24 hours.
    pub gaps: Vec<GapStatus>,
    /// The streams that its sender follows.
    pub streams: Vec<StreamStatus>,
}

/// Bytes of a log that were gone before they could be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GapStatus {
    /// The log.
    pub log: LogName,
    /// The stream.
    pub stream: StreamId,
    /// Where its file was.
    pub path: String,
    /// The first byte that is missing.
    pub from: Offset,
    /// At least the bytes before this one are lost.
    pub until: Option<Offset>,
    /// When that was found.
    #[serde(serialize_with = "super::rfc3339_always")]
    pub noticed_at: Timestamp,
}

/// How far one stream is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamStatus {
    /// The log.
    pub log: LogName,
    /// The stream.
    pub stream: StreamId,
    /// Where its file is.
    pub path: String,
    /// Looked at by the sender.
    pub read_offset: Offset,
    /// Sent, or on its way.
    pub sent_offset: Offset,
    /// Durable here.
    pub acked_offset: Offset,
    /// Size of the file.
    pub size_bytes: Offset,
    /// Bytes that are not here.
    pub lag_bytes: u64,
    /// For how long the oldest line that is not here has been in the file; 0 if all are here.
    pub oldest_unread_seconds: u64,
    /// Lines here, since the stream began.
    pub lines_sent: u64,
    /// Lines dropped by rule, since the stream began.
    pub lines_excluded: u64,
    /// Whether the file was rotated away.
    pub rotated: bool,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Whether it was either, and holds what is not here.
    pub at_risk: bool,
}

impl SourceStatus {
    /// Whether nobody has to do anything about it.
    pub(super) fn is_well(&self) -> bool {
        matches!(self.state, SourceState::Active | SourceState::Quiet)
            && self.gaps.is_empty()
            && self.unreadable_files.is_empty()
            && self.checkpoint_failing_since.is_none()
    }

    fn new(source: &SourceId, record: Option<&SourceRecord>, stale_after: Duration, now: Timestamp) -> Self {
        let heartbeat = record.and_then(|record| record.heartbeat.as_ref());
        let reported = record.and_then(|record| record.heartbeat_at);
        let streams = record.map_or(&[][..], |record| &record.streams);
        let streams: Vec<_> = streams
            .iter()
            .map(|stream| StreamStatus::new(stream, reported, now))
            .collect();
        let said = heartbeat.and_then(|heartbeat| heartbeat.at);
        let difference_ms = said
            .zip(reported)
            .map(|(said, reported)| reported.as_millisecond().saturating_sub(said.millis()));
        Self {
            source: source.clone(),
            group: record.map(|record| record.group.clone()),
            state: SourceState::of(record, stale_after, now),
            last_line_at: record.and_then(|record| record.last_lines),
            last_contact_at: record.map(|record| record.last_contact),
            lag_bytes: record.map_or(0, |record| record.lag_bytes),
            lines_last_hour: 0,
            version: heartbeat.map(|heartbeat| heartbeat.version.clone()),
            started_at: heartbeat.and_then(|heartbeat| time(heartbeat.started_at)),
            oldest_unread_seconds: streams
                .iter()
                .map(|stream| stream.oldest_unread_seconds)
                .max()
                .unwrap_or(0),
            files_at_risk: streams.iter().filter(|stream| stream.at_risk).count() as u64,
            unreadable_files: heartbeat.map_or_else(Vec::new, |heartbeat| heartbeat.unreadable.clone()),
            clock_difference_seconds: difference_ms.map(|ms| ms / 1000),
            checkpoint_failing_since: heartbeat
                .and_then(|heartbeat| time(heartbeat.checkpoint_failing_since)),
            gaps: Vec::new(),
            streams,
        }
    }
}

impl GapStatus {
    fn new(gap: &GapRecord) -> Self {
        Self {
            log: gap.log.clone(),
            stream: gap.stream,
            path: gap.path.clone(),
            from: gap.from,
            until: gap.until,
            noticed_at: gap.noticed_at,
        }
    }
}

impl StreamStatus {
    fn new(stream: &ReportedStream, reported: Option<Timestamp>, now: Timestamp) -> Self {
        let (said, lag_bytes) = (&stream.progress, stream.lag_bytes());
        // What was unread then and is not here now has become older since.
        let then = Duration::from_millis(said.oldest_unread_ms);
        let since = reported.map_or(Duration::ZERO, |reported| age(reported, now));
        let oldest = if lag_bytes > 0 && !then.is_zero() {
            then.saturating_add(since)
        } else {
            Duration::ZERO
        };
        let acked_offset = said.acked.max(stream.committed);
        Self {
            log: said.log.clone(),
            stream: said.stream,
            path: said.path.clone(),
            read_offset: said.read.max(acked_offset),
            sent_offset: said.sent.max(acked_offset),
            acked_offset,
            size_bytes: said.size.max(acked_offset),
            lag_bytes,
            oldest_unread_seconds: oldest.as_secs(),
            lines_sent: stream.lines.sent,
            lines_excluded: stream.lines.excluded,
            rotated: said.rotated,
            deleted: said.deleted,
            at_risk: stream.is_at_risk(),
        }
    }
}

/// Every source that was heard of or is expected.
pub(super) fn statuses(
    ledger: &Ledger,
    scope: &StatusScope<'_>,
    now: Timestamp,
) -> Result<Vec<SourceStatus>, LedgerError> {
    let lately = instant(now.as_second().saturating_sub(3600));
    let batches = ledger.batches(&BatchFilter {
        since: Some(lately),
        ..BatchFilter::default()
    })?;
    let mut lines: BTreeMap<&SourceId, u64> = BTreeMap::new();
    for batch in &batches {
        if age(instant(batch.window.start), now) <= LAST_HOUR {
            *lines.entry(&batch.source).or_default() += batch.contents.lines;
        }
    }
    let mut gaps: BTreeMap<SourceId, Vec<GapStatus>> = BTreeMap::new();
    for gap in ledger.gaps()? {
        if gap.bytes() > 0 && age(gap.noticed_at, now) <= LOSS_SHOWN {
            gaps.entry(gap.source.clone())
                .or_default()
                .push(GapStatus::new(&gap));
        }
    }
    let records = ledger.sources()?;
    let statuses = roster(&records, scope.expected_sources)
        .into_iter()
        .map(|(source, record)| SourceStatus {
            lines_last_hour: lines.get(source).copied().unwrap_or(0),
            gaps: gaps.remove(source).unwrap_or_default(),
            ..SourceStatus::new(source, record, scope.stale_after, now)
        });
    Ok(statuses.collect())
}

/// A sender's time; `None` if it is beyond what a calendar has.
fn time(at: Option<HostTime>) -> Option<Timestamp> {
    Timestamp::from_millisecond(at?.millis()).ok()
}
