//! The rule for mails about logs that senders cannot ship, and files that roles of this host cannot use. Pure.
//!
//! Invariants:
//! - A path is mailed about once, when its problem has lasted for `firing`, and once more when it is over.
//! - It is over when the sender or role has reported for `clear` without it. A silent one ends nothing: that is told by other
//!   means.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::AlertHold;
use logferry_ledger::{LogAlert, SourceRecord};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::names::SourceId;
use logferry_telemetry::{Presence, PresenceState};

use super::log_problem::log_problems;
use crate::time::age;

/// A path without a reason is mailed about after so long: a sender finds out the reason, and reports it, within 20 s. Older ones
/// never do.
const UNEXPLAINED_HOLD: Duration = Duration::from_secs(30);

/// The alerts about a role have this before its name, where those about a source have the source.
const ROLE_PREFIX: &str = "role.";

/// What a source or a role last said that it cannot use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProblemReport {
    subject: SourceId,
    problems: Vec<ReportedProblem>,
    /// When it said so.
    reported_at: Option<Timestamp>,
}

/// One path with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ReportedProblem {
    path: String,
    reason: String,
    /// Whether the reason is the sender's, or only that there is one.
    is_explained: bool,
}

impl ProblemReport {
    /// The last report of a source's sender.
    pub(crate) fn of_source(source: &SourceRecord) -> Self {
        Self {
            subject: source.source.clone(),
            problems: source.heartbeat.iter().flat_map(problems).collect(),
            reported_at: source.heartbeat_at,
        }
    }

    /// The last sign of a role of this host. Its problems are whole sentences.
    pub(crate) fn of_role(name: &str, sign: &Presence) -> Option<Self> {
        let sentences = sign
            .problems
            .iter()
            .filter(|_| sign.state == PresenceState::Running);
        Some(Self {
            subject: format!("{ROLE_PREFIX}{name}").parse().ok()?,
            problems: sentences.map(|text| ReportedProblem::new(text, "")).collect(),
            reported_at: Some(sign.last_seen),
        })
    }
}

/// The role that an alert is about; `None` if it is about a source.
pub(crate) fn role_of(alert: &LogAlert) -> Option<&str> {
    alert.source.as_str().strip_prefix(ROLE_PREFIX)
}

/// The alerts to keep, and those to mail about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogAlertDecision {
    /// All alerts from now on.
    pub(crate) alerts: Vec<LogAlert>,
    /// Those that are raised now.
    pub(crate) begun: Vec<LogAlert>,
    /// Those that are over.
    pub(crate) over: Vec<LogAlert>,
}

/// Applies the rule to the last reports and the alerts of the last look.
pub(crate) fn decide(
    reports: &[ProblemReport],
    known: Vec<LogAlert>,
    hold: AlertHold,
    now: Timestamp,
) -> LogAlertDecision {
    let key = |alert: &LogAlert| (alert.source.clone(), alert.path.clone());
    let mut known: BTreeMap<(SourceId, String), LogAlert> =
        known.into_iter().map(|alert| (key(&alert), alert)).collect();
    let mut decision = LogAlertDecision::default();
    for report in reports {
        for problem in report.problems.iter().cloned() {
            let ReportedProblem { path, reason, .. } = problem;
            let firing = if problem.is_explained {
                hold.firing
            } else {
                hold.firing.max(UNEXPLAINED_HOLD)
            };
            let before = known.remove(&(report.subject.clone(), path.clone()));
            let mut alert = LogAlert {
                source: report.subject.clone(),
                since: before.as_ref().map_or(now, |before| before.since),
                raised_at: before.and_then(|before| before.raised_at),
                path,
                reason,
                gone_since: None,
            };
            if alert.raised_at.is_none() && age(alert.since, now) >= firing {
                alert.raised_at = Some(now);
                decision.begun.push(alert.clone());
            }
            decision.alerts.push(alert);
        }
    }
    for mut alert in known.into_values() {
        // The last report that came after the problem was seen decides.
        let reported_at = reports
            .iter()
            .find(|report| report.subject == alert.source)
            .and_then(|report| report.reported_at);
        let gone_since = *alert.gone_since.get_or_insert(now);
        let is_reported = reported_at.is_none_or(|at| age(gone_since, at) >= hold.clear);
        let is_over = is_reported && age(gone_since, now) >= hold.clear;
        match (alert.raised_at, is_over) {
            (None, _) => {}
            (Some(_), true) => decision.over.push(alert),
            (Some(_), false) => decision.alerts.push(alert),
        }
    }
    decision
}

/// The paths that a sender cannot use, with the reasons.
fn problems(report: &Heartbeat) -> impl Iterator<Item = ReportedProblem> {
    let logs = log_problems(report).into_iter();
    let checkpoint = report.checkpoint_failing_since.map(|_| {
        let reason =
            "the sender cannot write its checkpoint there; make the folder writable and free its disk";
        ReportedProblem::new("state_dir", reason)
    });
    let logs = logs.map(|problem| ReportedProblem {
        // Without a log it is from the list of unreadable files, which has no reasons.
        is_explained: problem.log.is_some(),
        path: problem.path,
        reason: problem.reason,
    });
    logs.chain(checkpoint)
}

impl ReportedProblem {
    fn new(path: &str, reason: &str) -> Self {
        Self {
            path: path.to_owned(),
            reason: reason.to_owned(),
            is_explained: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use logferry_protocol::heartbeat::{HostTime, LogProblem, LogProblemKind};

    use super::*;

    const HOLD: AlertHold = AlertHold {
        firing: Duration::ZERO,
        clear: Duration::from_mins(2),
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).expect("in range")
    }

    /// A source whose sender has reported these paths at this second.
    fn record(paths: &[&str], second: i64) -> ProblemReport {
        ProblemReport::of_source(&source_record(paths, second))
    }

    fn source_record(paths: &[&str], second: i64) -> SourceRecord {
        let problem = |path: &&str| LogProblem {
            log: "access".parse().expect("a name"),
            path: (*path).to_owned(),
            kind: LogProblemKind::NoMatch,
            reason: "there is no such file yet".to_owned(),
            since: None,
        };
        SourceRecord {
            source: "198.51.100.1".parse().expect("valid"),
            group: "web-1".parse().expect("valid"),
            first_seen: at(0),
            last_contact: at(second),
            last_lines: None,
            lag_bytes: 0,
            streams: Vec::new(),
            heartbeat: Some(Heartbeat {
                log_problems: paths.iter().map(problem).collect(),
                ..Heartbeat::default()
            }),
            heartbeat_at: Some(at(second)),
        }
    }

    fn paths(alerts: &[LogAlert]) -> Vec<&str> {
        alerts.iter().map(|alert| alert.path.as_str()).collect()
    }

    #[test]
    fn a_path_that_finds_nothing_is_mailed_once_when_it_begins_and_once_when_it_is_over() {
        let first = decide(&[record(&["/acces.log"], 0)], Vec::new(), HOLD, at(1));
        assert_eq!(paths(&first.begun), ["/acces.log"]);
        let second = decide(&[record(&["/acces.log"], 60)], first.alerts, HOLD, at(61));
        assert_eq!((second.begun.len(), second.over.len()), (0, 0));
        let mended = decide(&[record(&[], 120)], second.alerts, HOLD, at(121));
        assert_eq!(mended.over, [], "it must last for two minutes");
        let over = decide(&[record(&[], 245)], mended.alerts, HOLD, at(246));
        assert_eq!((paths(&over.over), over.alerts.len()), (vec!["/acces.log"], 0));
    }

    #[test]
    fn a_path_that_comes_and_goes_is_one_alert() {
        let mut alerts = Vec::new();
        let (mut begun, mut over) = (0, 0);
        for minute in 0..30 {
            let paths: &[&str] = if minute % 2 == 0 { &["/a"] } else { &[] };
            let sources = [record(paths, minute * 60)];
            let decision = decide(&sources, alerts, HOLD, at(minute * 60 + 1));
            (begun, over) = (begun + decision.begun.len(), over + decision.over.len());
            alerts = decision.alerts;
        }
        assert_eq!((begun, over), (1, 0));
    }

    #[test]
    fn a_sender_that_falls_silent_does_not_end_its_problem() {
        let first = decide(&[record(&["/a"], 0)], Vec::new(), HOLD, at(1));
        let silent = decide(&[record(&["/a"], 0)], first.alerts, HOLD, at(9000));
        assert_eq!(
            (silent.begun.len(), silent.over.len(), silent.alerts.len()),
            (0, 0, 1)
        );
        // One report without it, and then silence: nobody knows whether it lasts.
        let gone = decide(&[record(&[], 9010)], silent.alerts, HOLD, at(9011));
        let later = decide(&[record(&[], 9010)], gone.alerts, HOLD, at(9999));
        assert_eq!((later.over.len(), later.alerts.len()), (0, 1));
    }

    #[test]
    fn a_problem_shorter_than_the_hold_is_never_mailed() {
        let hold = AlertHold {
            firing: Duration::from_mins(5),
            ..HOLD
        };
        let first = decide(&[record(&["/a"], 0)], Vec::new(), hold, at(1));
        assert_eq!((first.begun.len(), first.alerts.len()), (0, 1));
        let mended = decide(&[record(&[], 60)], first.alerts, hold, at(61));
        assert_eq!(mended, LogAlertDecision::default());
        let again = decide(&[record(&["/a"], 120)], mended.alerts, hold, at(121));
        let lasts = decide(&[record(&["/a"], 430)], again.alerts, hold, at(431));
        assert_eq!(paths(&lasts.begun), ["/a"]);
    }

    #[test]
    fn a_state_folder_that_cannot_be_written_is_mailed_too() {
        let mut source = source_record(&[], 0);
        let report = source.heartbeat.as_mut().expect("a report");
        report.checkpoint_failing_since = Some(HostTime::from_millis(0));
        let decision = decide(&[ProblemReport::of_source(&source)], Vec::new(), HOLD, at(1));
        assert_eq!(paths(&decision.begun), ["state_dir"]);
    }

    #[test]
    fn an_unreadable_file_is_mailed_with_its_reason_or_without_one_if_the_sender_never_tells_it() {
        let report = |path: &str, second, is_explained| {
            let mut source = source_record(if is_explained { &["/secret.log"] } else { &[] }, second);
            source.heartbeat.as_mut().expect("a report").unreadable = vec![path.to_owned()];
            [ProblemReport::of_source(&source)]
        };
        let first = decide(&report("/secret.log", 0, false), Vec::new(), HOLD, at(1));
        assert_eq!((first.begun.len(), first.alerts.len()), (0, 1));
        let explained = decide(
            &report("/secret.log", 10, true),
            first.alerts.clone(),
            HOLD,
            at(11),
        );
        assert_eq!(explained.begun[0].reason, "there is no such file yet");
        let never = decide(&report("/secret.log", 30, false), first.alerts, HOLD, at(31));
        assert_eq!(paths(&never.begun), ["/secret.log"]);
    }

    #[test]
    fn a_file_of_a_role_is_mailed_until_the_role_runs_and_can_use_it() {
        let sign = |state, second, problems: &[&str]| {
            let sign = Presence {
                state,
                host: "relay1".to_owned(),
                since: at(0),
                last_seen: at(second),
                problems: problems.iter().map(|&problem| problem.to_owned()).collect(),
            };
            [ProblemReport::of_role("forwarder", &sign).expect("a name")]
        };
        let key = "key_file /k does not exist; make the key, or correct the path";
        let first = decide(&sign(PresenceState::Running, 0, &[key]), Vec::new(), HOLD, at(1));
        assert_eq!(
            (paths(&first.begun), role_of(&first.begun[0])),
            (vec![key], Some("forwarder"))
        );
        let stopped = decide(
            &sign(PresenceState::Stopped, 10, &[]),
            first.alerts,
            HOLD,
            at(500),
        );
        let later = decide(
            &sign(PresenceState::Stopped, 10, &[]),
            stopped.alerts,
            HOLD,
            at(900),
        );
        assert_eq!(
            (later.over.len(), later.alerts.len()),
            (0, 1),
            "it may still be so"
        );
        let over = decide(
            &sign(PresenceState::Running, 900, &[]),
            later.alerts,
            HOLD,
            at(901),
        );
        assert_eq!((over.over.len(), over.alerts.len()), (1, 0));
    }
}
