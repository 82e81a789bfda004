//! The collector's account of itself in its state folder, for `logferry status` on its host.
//!
//! `<state_dir>/status.json` is written at the start, every ten seconds, soon after a source's state changes, and at a stop.
//! Nothing depends on it: a file that is torn or of another version is no account.

use jiff::Timestamp;
use logferry_protocol::names::LogName;
use logferry_telemetry::{CollectorMetrics, CollectorTotals};
use serde::{Deserialize, Serialize};

use crate::capture::CaptureReport;
use crate::source::{SourcePhase, SourceReport};

/// What a collector knows of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectorState {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Whether it has stopped, and this is its last word.
    pub is_stopped: bool,
    /// When it was started.
    pub started_at: Timestamp,
    /// When this was written.
    pub written_at: Timestamp,
    /// Its sources, in the order of the configuration.
    pub sources: Vec<CollectedSource>,
}

/// A source, and what became of its records since the collector was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectedSource {
    /// Its name.
    pub name: LogName,
    /// Its type in the configuration.
    pub r#type: String,
    /// How it is.
    pub state: CollectedState,
    /// Since when.
    pub since: Timestamp,
    /// Why no record is taken now; `None` if they are.
    pub refusing: Option<String>,
    /// Records a second over the last seconds.
    pub records_per_second: f64,
    /// Records on stable storage.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Requests that came again and were not stored again.
    pub repeats: u64,
    /// When the last record was taken.
    pub last_record_at: Option<Timestamp>,
    /// Records that wait where the source reads; `None` if nobody can know.
    pub behind: Option<u64>,
    /// The last error; it stays when the source is well again.
    pub last_error: Option<String>,
    /// When it was.
    pub last_error_at: Option<Timestamp>,
    /// Records that were too long and were cut.
    pub cut_records: u64,
    /// Records that were dropped before they could be read.
    pub dropped_records: u64,
    /// Times that records were missing where the source reads.
    pub gaps: u64,
    /// Rotated captures that wait for the sender.
    pub rotated_files: u64,
}

/// How a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CollectedState {
    /// It is being started.
    Starting,
    /// It listens, or it reads.
    Running,
    /// It is down, and is tried again.
    Failing,
    /// It would run, and no record can be made durable.
    Waiting,
}

impl CollectedState {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Failing => "failing",
            Self::Waiting => "waiting",
        }
    }
}

impl CollectedSource {
    pub(crate) fn of(
        (name, kind): (LogName, &str),
        source: SourceReport,
        capture: CaptureReport,
        records_per_second: f64,
    ) -> Self {
        let state = match (source.state, &capture.refusing) {
            (SourcePhase::Failing, _) => CollectedState::Failing,
            (_, Some(_)) => CollectedState::Waiting,
            (SourcePhase::Running, None) => CollectedState::Running,
            (SourcePhase::Starting, None) => CollectedState::Starting,
        };
        let (last_error_at, last_error) = source.last_error.unzip();
        Self {
            name,
            r#type: kind.to_owned(),
            state,
            since: source.since,
            refusing: capture.refusing,
            records_per_second,
            records: capture.records,
            bytes: capture.bytes,
            repeats: capture.repeats,
            last_record_at: capture.last_record_at,
            behind: source.behind,
            last_error,
            last_error_at,
            cut_records: source.cut_records,
            dropped_records: source.dropped_records,
            gaps: source.gaps,
            rotated_files: capture.rotated_files,
        }
    }
}

impl CollectedSource {
    /// Shows it as metrics.
    pub(crate) fn show(&self, metrics: &CollectorMetrics) {
        metrics.show(
            self.name.as_str(),
            CollectorTotals {
                records: self.records,
                bytes: self.bytes,
                repeats: self.repeats,
                cut_records: self.cut_records,
                dropped_records: self.dropped_records,
                gaps: self.gaps,
                is_up: self.state == CollectedState::Running,
                behind: self.behind,
                rotated_files: self.rotated_files,
            },
        );
    }
}
