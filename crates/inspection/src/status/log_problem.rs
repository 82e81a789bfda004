//! What keeps a sender from its logs, by its last report.

use std::collections::BTreeMap;

use jiff::Timestamp;
use logferry_protocol::heartbeat::{Heartbeat, LogProblemKind};
use logferry_protocol::names::LogName;
use serde::Serialize;

/// A path of a log that its sender does not ship.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogPathProblem {
    /// The log; `None` if the sender is too old to say so.
    pub log: Option<LogName>,
    /// The path or glob of the log, or the folder or file that the problem is about.
    pub path: String,
    /// Its kind.
    pub kind: LogProblemKind,
    /// What is wrong and what to do.
    pub reason: String,
    /// Since when, by the sender's clock; `None` if the sender is too old to say so.
    pub since: Option<Timestamp>,
}

/// The problems of a report, each path once.
pub(crate) fn log_problems(report: &Heartbeat) -> Vec<LogPathProblem> {
    let mut problems = BTreeMap::new();
    for problem in &report.log_problems {
        let since = problem.since;
        problems.entry(&problem.path).or_insert_with(|| LogPathProblem {
            log: Some(problem.log.clone()),
            path: problem.path.clone(),
            kind: problem.kind,
            reason: problem.reason.clone(),
            since: since.and_then(|since| Timestamp::from_millisecond(since.millis()).ok()),
        });
    }
    for path in &report.unreadable {
        problems.entry(path).or_insert_with(|| LogPathProblem {
            log: None,
            path: path.clone(),
            kind: LogProblemKind::Unreadable,
            reason: "its sender cannot read it; the sender's own log says why".to_owned(),
            since: None,
        });
    }
    problems.into_values().collect()
}
