//! The last report of each of the relay's groups.

use jiff::Timestamp;
use logferry_protocol::names::GroupName;
use rusqlite::named_params;
use serde::Deserialize;

use crate::row::{self, millis, signed};
use crate::{Ledger, LedgerError};

/// Whether a group accepts lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupState {
    /// It accepts lines.
    Ok,
    /// It rejects lines: the disk has too little free space.
    Low,
    /// It cannot commit, or could not a moment ago.
    Failing,
}

impl GroupState {
    /// The state's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Low => "low",
            Self::Failing => "failing",
        }
    }
}

/// A group's report on itself.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupReport {
    /// The group.
    pub group: GroupName,
    /// When it reported.
    pub reported_at: Timestamp,
    /// When it was started; `refused` counts from there.
    pub started_at: Timestamp,
    /// Whether it accepts lines.
    pub state: GroupState,
    /// The reason if it does not.
    pub reason: Option<String>,
    /// Lines made durable in each second of the last minute.
    pub lines_per_second: f64,
    /// Requests that are being answered.
    pub in_flight: u64,
    /// Requests answered with 4xx or 503.
    pub refused: u64,
}

impl Ledger {
    /// Notes a group's report, which replaces its last.
    pub fn note_group(&mut self, report: &GroupReport) -> Result<(), LedgerError> {
        let change = "INSERT OR REPLACE INTO group_reports (grp, reported_at, started_at, state, reason, lines_per_second,
                in_flight, refused)
            VALUES (:grp, :reported_at, :started_at, :state, :reason, :lines_per_second, :in_flight, :refused)";
        self.execute(
            "note a group's report",
            change,
            named_params! {
                ":grp": report.group.as_str(),
                ":reported_at": millis(report.reported_at),
                ":started_at": millis(report.started_at),
                ":state": report.state.as_str(),
                ":reason": report.reason,
                ":lines_per_second": report.lines_per_second,
                ":in_flight": signed(report.in_flight),
                ":refused": signed(report.refused),
            },
        )
    }

    /// Forgets all reports: a relay that starts knows nothing of the groups that ran before.
    pub fn forget_group_reports(&mut self) -> Result<(), LedgerError> {
        let change = "DELETE FROM group_reports";
        self.execute("forget groups' reports", change, [])
    }

    /// The last report of each group.
    pub fn group_reports(&self) -> Result<Vec<GroupReport>, LedgerError> {
        let query = "SELECT * FROM group_reports ORDER BY grp";
        self.list("list groups' reports", query, [], |row| {
            Ok(GroupReport {
                group: row::text(row, "grp")?,
                reported_at: row::time(row, "reported_at")?,
                started_at: row::time(row, "started_at")?,
                state: row::variant(row, "state")?,
                reason: row.get("reason")?,
                lines_per_second: row.get("lines_per_second")?,
                in_flight: row.get("in_flight")?,
                refused: row.get("refused")?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::ledger;

    #[test]
    fn last_report_of_a_group_is_kept_until_the_relay_restarts() -> Result<(), Box<dyn std::error::Error>> {
        let (_dir, mut ledger) = ledger()?;
        let mut report = GroupReport {
            group: "web-1".parse()?,
            reported_at: Timestamp::UNIX_EPOCH,
            started_at: Timestamp::UNIX_EPOCH,
            state: GroupState::Failing,
            reason: Some("the disk is full".to_owned()),
            lines_per_second: 0.5,
            in_flight: 3,
            refused: 7,
        };
        ledger.note_group(&report)?;
        report.state = GroupState::Ok;
        report.reason = None;
        ledger.note_group(&report)?;
        assert_eq!(ledger.group_reports()?, [report]);
        ledger.forget_group_reports()?;
        assert_eq!(ledger.group_reports()?, []);
        Ok(())
    }
}
