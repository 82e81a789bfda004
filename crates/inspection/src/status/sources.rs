//! The state of the sources, from the relay's records and from the senders' heartbeats.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use logferry_ledger::{BatchFilter, Ledger, LedgerError, ReportedStream, Silence, SourceRecord};
use logferry_protocol::heartbeat::{HeldFile, HostTime, LogProblemKind};
use logferry_protocol::names::{GroupName, LogName, SourceId};
use logferry_protocol::stream::{Offset, StreamId};
use serde::Serialize;

use super::StatusScope;
use super::incidents::silence_of;
use super::log_problem::{LogPathProblem, log_problems};
use super::senders::{self, SenderStatus};
use super::source_state::{SourceState, watched_sources};
use crate::gap::GapReport;
use crate::time::{age, clamped_timestamp};

const LAST_HOUR: Duration = Duration::from_hours(1);

/// A loss is shown for so long. The audit keeps it.
const GAP_SHOWN: Duration = Duration::from_hours(24);

/// The state of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceStatus {
    /// The source.
    pub source: SourceId,
    /// The group of its last contact; `None` if it never made contact.
    pub group: Option<GroupName>,
    /// Where it comes from now; `None` if its sender is too old to say who it is.
    pub address: Option<IpAddr>,
    /// Its live senders if there are several: one is a copy of the other. Otherwise empty.
    pub senders: Vec<SenderStatus>,
    /// Its state.
    pub state: SourceState,
    /// Until when nobody is told of it, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silenced_until: Option<Timestamp>,
    /// When its last lines came.
    pub last_line_at: Option<Timestamp>,
    /// When it last made contact.
    pub last_contact_at: Option<Timestamp>,
    /// Bytes on its disk that are not stored here, by its last report; `None` if that is not known: it never reported, or it
    /// names files that it cannot read or has not resolved yet. 0 for old shippers, which never report.
    pub lag_bytes: Option<u64>,
    /// Lines in windows that started within the last hour.
    pub lines_last_hour: u64,
    /// Its sender's version; `None` if the sender never reported. The other facts from the report are then empty too.
    pub version: Option<String>,
    /// When its sender started, by the sender's clock.
    pub started_at: Option<Timestamp>,
    /// For how long the oldest line that is not stored here has been on its disk; 0 if there is none.
    pub oldest_unread_seconds: u64,
    /// Files that were rotated or deleted and have unread lines.
    pub files_at_risk: u64,
    /// Logs that its sender cannot read.
    pub unreadable_files: Vec<String>,
    /// Paths of logs that its sender cannot ship: nothing is found there, or it may not be read.
    pub log_problems: Vec<LogPathProblem>,
    /// Files that its sender sees and does not ship. In JSON they stand in the list `held` of the whole report.
    #[serde(skip)]
    pub held_files: Vec<HeldFile>,
    /// Files beside its logs that begin like a log's name and are not shipped, as rotation does not make such names.
    pub neighbours: Vec<String>,
    /// This host's clock minus the source's clock.
    pub clock_difference_seconds: Option<i64>,
    /// When its sender last reported, by this host's clock.
    #[serde(skip)]
    pub reported_at: Option<Timestamp>,
    /// Since when its sender cannot save its checkpoint, by the sender's clock; `None` if it can.
    pub checkpoint_failing_since: Option<Timestamp>,
    /// Its losses of the last 24 hours.
    pub gaps: Vec<GapReport>,
    /// The streams that its sender reads.
    pub streams: Vec<StreamStatus>,
}

/// The progress of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamStatus {
    /// The log.
    pub log: LogName,
    /// The stream.
    pub stream: StreamId,
    /// Its file's path on the source.
    pub path: String,
    /// Read by the sender.
    pub read_offset: Offset,
    /// Sent, or being sent.
    pub sent_offset: Offset,
    /// Stored here.
    pub acked_offset: Offset,
    /// Size of the file.
    pub size_bytes: Offset,
    /// Bytes that are not stored here.
    pub lag_bytes: u64,
    /// For how long the oldest line that is not stored here has been in the file; 0 if there is none.
    pub oldest_unread_seconds: u64,
    /// Lines stored here since the stream began.
    pub lines_sent: u64,
    /// Lines dropped by an `exclude` rule since the stream began.
    pub lines_excluded: u64,
    /// Whether the file was rotated away.
    pub rotated: bool,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Whether it was rotated or deleted and has bytes that are not stored here.
    pub at_risk: bool,
}

impl SourceStatus {
    /// Whether it is not heard, or never was.
    pub const fn is_silent(&self) -> bool {
        self.state.is_silent()
    }

    /// The unread bytes, as far as they are known now. A silent sender's last report of none says nothing about what came since
    /// then; one of some is the least there is.
    pub fn present_lag(&self) -> Option<u64> {
        self.lag_bytes.filter(|bytes| *bytes > 0 || !self.is_silent())
    }

    /// Whether it is not heard, and somebody has said that this is no news: a host that is gone, for instance.
    pub const fn is_silenced(&self) -> bool {
        self.is_silent() && self.silenced_until.is_some()
    }

    fn new(source: &SourceId, record: Option<&SourceRecord>, stale_after: Duration, now: Timestamp) -> Self {
        let heartbeat = record.and_then(|record| record.heartbeat.as_ref());
        let reported = record.and_then(|record| record.heartbeat_at);
        let streams = record.into_iter().flat_map(|record| &record.streams);
        let streams = streams.map(|stream| StreamStatus::new(stream, reported, now));
        let streams: Vec<_> = streams.collect();
        let times = heartbeat.and_then(|heartbeat| heartbeat.at).zip(reported);
        let difference_ms = times.map(|(sender, here)| here.as_millisecond().saturating_sub(sender.millis()));
        let ages = streams.iter().map(|stream| stream.oldest_unread_seconds);
        Self {
            source: source.clone(),
            group: record.map(|record| record.group.clone()),
            address: None,
            senders: Vec::new(),
            state: SourceState::of(record, stale_after, now),
            silenced_until: None,
            last_line_at: record.and_then(|record| record.last_lines),
            last_contact_at: record.map(|record| record.last_contact),
            lag_bytes: record.and_then(SourceRecord::known_lag_bytes),
            lines_last_hour: 0,
            version: heartbeat.map(|heartbeat| heartbeat.version.clone()),
            started_at: heartbeat.and_then(|heartbeat| timestamp(heartbeat.started_at)),
            oldest_unread_seconds: ages.max().unwrap_or(0),
            files_at_risk: streams.iter().filter(|stream| stream.at_risk).count() as u64,
            neighbours: heartbeat.map_or_else(Vec::new, |heartbeat| heartbeat.neighbours.clone()),
            log_problems: heartbeat.map_or_else(Vec::new, log_problems),
            held_files: heartbeat.map_or_else(Vec::new, |heartbeat| heartbeat.held.clone()),
            unreadable_files: heartbeat.map_or_else(Vec::new, |heartbeat| heartbeat.unreadable.clone()),
            reported_at: reported,
            clock_difference_seconds: difference_ms.map(|ms| ms / 1000),
            checkpoint_failing_since: heartbeat
                .and_then(|heartbeat| timestamp(heartbeat.checkpoint_failing_since)),
            gaps: Vec::new(),
            streams,
        }
    }
}

impl StreamStatus {
    fn new(stream: &ReportedStream, reported: Option<Timestamp>, now: Timestamp) -> Self {
        let (progress, lag_bytes) = (&stream.progress, stream.lag_bytes());
        // A line that was unread at the time of the report, and is not stored yet, has become older since.
        let reported_age = Duration::from_millis(progress.oldest_unread_ms);
        let since_report = reported.map_or(Duration::ZERO, |reported| age(reported, now));
        let is_unread = lag_bytes > 0 && !reported_age.is_zero();
        let oldest_unread = is_unread.then(|| reported_age.saturating_add(since_report));
        let acked_offset = progress.acked.max(stream.committed);
        Self {
            log: progress.log.clone(),
            stream: progress.stream,
            path: progress.path.clone(),
            read_offset: progress.read.max(acked_offset),
            sent_offset: progress.sent.max(acked_offset),
            acked_offset,
            size_bytes: progress.size.max(acked_offset),
            lag_bytes,
            oldest_unread_seconds: oldest_unread.unwrap_or_default().as_secs(),
            lines_sent: stream.lines.sent,
            lines_excluded: stream.lines.excluded,
            rotated: progress.rotated,
            deleted: progress.deleted,
            at_risk: stream.is_at_risk(),
        }
    }
}

/// A file that a sender sees and does not ship.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldLogFile {
    /// The sender's source.
    pub source: SourceId,
    /// Where the file is on the source.
    pub path: String,
    /// Why it is not shipped, and what to do.
    pub reason: String,
}

/// The files of all sources that are not shipped, those that cannot be read included.
pub(super) fn held_files(sources: &[SourceStatus]) -> Vec<HeldLogFile> {
    let held_of = |source: &SourceStatus| {
        let unreadable = source.log_problems.iter().filter(|problem| {
            matches!(
                problem.kind,
                LogProblemKind::Unreadable | LogProblemKind::NotAFile
            )
        });
        let unreadable = unreadable.map(|problem| HeldFile {
            path: problem.path.clone(),
            reason: problem.reason.clone(),
        });
        let files = source.held_files.iter().cloned().chain(unreadable);
        let source = source.source.clone();
        files
            .map(move |HeldFile { path, reason }| HeldLogFile {
                source: source.clone(),
                path,
                reason,
            })
            .collect::<Vec<_>>()
    };
    sources.iter().flat_map(held_of).collect()
}

/// Every source that ever made contact or is expected.
pub(super) fn statuses(
    ledger: &Ledger,
    scope: &StatusScope<'_>,
    silences: &[Silence],
    now: Timestamp,
) -> Result<Vec<SourceStatus>, LedgerError> {
    let batches = ledger.batches(&BatchFilter {
        since: Some(clamped_timestamp(now.as_second().saturating_sub(3600))),
        ..BatchFilter::default()
    })?;
    let mut lines: BTreeMap<&SourceId, u64> = BTreeMap::new();
    for batch in &batches {
        if age(clamped_timestamp(batch.window.start), now) <= LAST_HOUR {
            *lines.entry(&batch.source).or_default() += batch.contents.lines;
        }
    }
    let mut gaps: BTreeMap<SourceId, Vec<GapReport>> = BTreeMap::new();
    for gap in ledger.gaps()? {
        if gap.bytes() > 0 && age(gap.noticed_at, now) <= GAP_SHOWN {
            gaps.entry(gap.source.clone()).or_default().push(gap.into());
        }
    }
    let (records, senders) = (ledger.sources()?, ledger.senders()?);
    let statuses = watched_sources(&records, scope.expected_sources)
        .into_iter()
        .map(|(source, record)| {
            let address = senders::address(&senders, source);
            let status = SourceStatus::new(source, record, scope.stale_after, now);
            // A sender with an id reports, but has not yet.
            let is_reported = status.version.is_some() || address.is_none();
            SourceStatus {
                lag_bytes: status.lag_bytes.filter(|_| is_reported),
                lines_last_hour: lines.get(source).copied().unwrap_or(0),
                gaps: gaps.remove(source).unwrap_or_default(),
                silenced_until: silence_of(silences, source.as_str(), now).map(|silence| silence.until),
                address,
                senders: senders::together(&senders, source, now),
                ..status
            }
        });
    Ok(statuses.collect())
}

/// A sender's time; `None` if no calendar has it.
fn timestamp(at: Option<HostTime>) -> Option<Timestamp> {
    Timestamp::from_millisecond(at?.millis()).ok()
}
