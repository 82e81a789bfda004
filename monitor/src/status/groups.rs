//! How the relay's groups are, as they last reported.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use logferry_ledger::{GroupReport, GroupState, Ledger, LedgerError};
use logferry_protocol::names::GroupName;
use serde::Serialize;

use super::rfc3339;
use super::sources::SourceStatus;
use crate::words::age;

/// A group reports every half a minute at least. What is so old says nothing about now: the relay does not run, or cannot
/// write to its ledger.
const REPORT_LIFETIME: Duration = Duration::from_secs(90);

/// How one group of the relay is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupName,
    /// How it is.
    pub state: GroupHealth,
    /// Why it takes no lines, as it last said.
    pub reason: Option<String>,
    /// Sources that made contact there last.
    pub sources: u64,
    /// Lines made durable in each second of the last minute; `None` if that is not known. So are the other numbers.
    pub lines_per_second: Option<f64>,
    /// Requests that are being answered.
    pub requests_in_flight: Option<u64>,
    /// Requests refused, or told to wait, since the relay was started.
    pub refused_requests: Option<u64>,
    /// When the relay was started.
    #[serde(serialize_with = "rfc3339")]
    pub started_at: Option<Timestamp>,
}

/// How a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupHealth {
    /// It takes lines.
    Ok,
    /// It takes none: the disk has less room than must stay free.
    Low,
    /// It cannot commit, or could not a moment ago.
    Failing,
    /// It does not say.
    Unknown,
}

impl GroupHealth {
    /// The state's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Low => "low",
            Self::Failing => "failing",
            Self::Unknown => "unknown",
        }
    }
}

impl GroupStatus {
    /// Whether nobody has to do anything about it, as far as is known.
    pub(super) fn is_well(&self) -> bool {
        self.reason.is_none()
    }

    fn new(group: &GroupName, report: Option<&GroupReport>, now: Timestamp) -> Self {
        let current = report.filter(|report| age(report.reported_at, now) <= REPORT_LIFETIME);
        Self {
            group: group.clone(),
            state: match current.map(|report| report.state) {
                Some(GroupState::Ok) => GroupHealth::Ok,
                Some(GroupState::Low) => GroupHealth::Low,
                Some(GroupState::Failing) => GroupHealth::Failing,
                None => GroupHealth::Unknown,
            },
            // A ledger that cannot be written is a reason for silence: then the last word counts.
            reason: report.and_then(|report| report.reason.clone()),
            sources: 0,
            lines_per_second: current.map(|report| report.lines_per_second),
            requests_in_flight: current.map(|report| report.in_flight),
            refused_requests: current.map(|report| report.refused),
            started_at: current.map(|report| report.started_at),
        }
    }
}

/// Every group that is configured or has reported.
pub(super) fn statuses(
    ledger: &Ledger,
    configured: &[GroupName],
    sources: &[SourceStatus],
    now: Timestamp,
) -> Result<Vec<GroupStatus>, LedgerError> {
    let reports = ledger.group_reports()?;
    let reports: BTreeMap<_, _> = reports.iter().map(|report| (&report.group, report)).collect();
    let names: BTreeSet<_> = configured.iter().chain(reports.keys().copied()).collect();
    let statuses = names.into_iter().map(|name| {
        let is_of_group = |source: &&SourceStatus| source.group.as_ref() == Some(name);
        GroupStatus {
            sources: sources.iter().filter(is_of_group).count() as u64,
            ..GroupStatus::new(name, reports.get(name).copied(), now)
        }
    });
    Ok(statuses.collect())
}
