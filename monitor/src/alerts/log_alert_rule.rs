//! The rule for mails about logs that senders cannot ship. Pure.
//!
//! Invariants:
//! - A path is mailed about once, when its problem has lasted for `firing`, and once more when it is over.
//! - It is over when the sender has reported for `clear` without it. A silent sender ends nothing: that has its own alert.

use std::collections::BTreeMap;

use jiff::Timestamp;
use logferry_config::AlertHold;
use logferry_ledger::{LogAlert, SourceRecord};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::names::SourceId;

use super::log_problem::log_problems;
use crate::time::age;

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
    sources: &[SourceRecord],
    known: Vec<LogAlert>,
    hold: AlertHold,
    now: Timestamp,
) -> LogAlertDecision {
    let key = |alert: &LogAlert| (alert.source.clone(), alert.path.clone());
    let mut known: BTreeMap<(SourceId, String), LogAlert> =
        known.into_iter().map(|alert| (key(&alert), alert)).collect();
    let mut decision = LogAlertDecision::default();
    for source in sources {
        for (path, reason) in source.heartbeat.iter().flat_map(problems) {
            let before = known.remove(&(source.source.clone(), path.clone()));
            let mut alert = LogAlert {
                source: source.source.clone(),
                since: before.as_ref().map_or(now, |before| before.since),
                raised_at: before.and_then(|before| before.raised_at),
                path,
                reason,
                gone_since: None,
            };
            if alert.raised_at.is_none() && age(alert.since, now) >= hold.firing {
                alert.raised_at = Some(now);
                decision.begun.push(alert.clone());
            }
            decision.alerts.push(alert);
        }
    }
    for mut alert in known.into_values() {
        // The last report of a source that came after the problem was seen decides.
        let reported_at = sources
            .iter()
            .find(|source| source.source == alert.source)
            .and_then(|source| source.heartbeat_at);
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
fn problems(report: &Heartbeat) -> impl Iterator<Item = (String, String)> {
    let logs = log_problems(report).into_iter();
    let checkpoint = report.checkpoint_failing_since.map(|_| {
        let reason =
            "the sender cannot write its checkpoint there; make the folder writable and free its disk";
        ("state_dir".to_owned(), reason.to_owned())
    });
    logs.map(|problem| (problem.path, problem.reason))
        .chain(checkpoint)
}

#[cfg(test)]
mod tests {
    use logferry_protocol::heartbeat::{HostTime, LogProblem, LogProblemKind};

    use std::time::Duration;

    use super::*;

    const HOLD: AlertHold = AlertHold {
        firing: Duration::ZERO,
        clear: Duration::from_mins(2),
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).expect("in range")
    }

    /// A source whose sender has reported these paths at this second.
    fn record(paths: &[&str], second: i64) -> SourceRecord {
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
        let mut source = record(&[], 0);
        let report = source.heartbeat.as_mut().expect("a report");
        report.checkpoint_failing_since = Some(HostTime::from_millis(0));
        let decision = decide(&[source], Vec::new(), HOLD, at(1));
        assert_eq!(paths(&decision.begun), ["state_dir"]);
    }

    #[test]
    fn an_unreadable_file_that_an_older_sender_reports_is_mailed_too() {
        let mut source = record(&[], 0);
        let report = source.heartbeat.as_mut().expect("a report");
        report.unreadable = vec!["/secret.log".to_owned()];
        let decision = decide(&[source], Vec::new(), HOLD, at(1));
        assert_eq!(paths(&decision.begun), ["/secret.log"]);
    }
}
