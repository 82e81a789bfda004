//! The state of the relay's groups, by their last reports.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use logferry_ledger::{GroupReport, GroupState, Ledger, LedgerError};
use logferry_protocol::names::GroupName;
use serde::{Serialize, Serializer};

use super::sources::SourceStatus;
use crate::time::age;

/// A group reports at least every 30 s. A report older than this says nothing about the present: the relay does not run,
/// or cannot write to its ledger.
const REPORT_LIFETIME: Duration = Duration::from_secs(90);

/// The state of one group of the relay.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupName,
    /// Its state by its last report; `None`, in JSON `unknown`, if there is no recent report.
    #[serde(serialize_with = "serialize_state")]
    pub state: Option<GroupState>,
    /// Why it accepts no lines, or in the state `ok` those of some sources not; by its last report.
    pub reason: Option<String>,
    /// Sources with their last contact there.
    pub sources: u64,
    /// Lines stored per second in the last minute. This number and those below are `None` if the last report is too old.
    pub lines_per_second: Option<f64>,
    /// Requests in progress.
    pub requests_in_flight: Option<u64>,
    /// Requests answered with a refusal or with "wait" since the relay started.
    pub refused_requests: Option<u64>,
    /// When the relay started.
    pub started_at: Option<Timestamp>,
}

impl GroupStatus {
    /// The name of its state.
    pub fn state_name(&self) -> &'static str {
        state_name(self.state)
    }

    fn new(group: &GroupName, report: Option<&GroupReport>, now: Timestamp) -> Self {
        let current = report.filter(|report| age(report.reported_at, now) <= REPORT_LIFETIME);
        Self {
            group: group.clone(),
            state: current.map(|report| report.state),
            // Reports stop if the ledger cannot be written. The reason in the last report still counts then.
            reason: report.and_then(|report| report.reason.clone()),
            sources: 0,
            lines_per_second: current.map(|report| report.lines_per_second),
            requests_in_flight: current.map(|report| report.in_flight),
            refused_requests: current.map(|report| report.refused),
            started_at: current.map(|report| report.started_at),
        }
    }
}

fn state_name(state: Option<GroupState>) -> &'static str {
    state.map_or("unknown", GroupState::as_str)
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it so"
)]
fn serialize_state<S: Serializer>(state: &Option<GroupState>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state_name(*state))
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
