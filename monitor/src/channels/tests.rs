//! The outbox of channels: against a web server that answers by a table, and in generated histories.

mod histories;
mod ledger_faults;
mod messages;
mod over_http;

use jiff::{SignedDuration, Timestamp};
use logferry_ledger::{AlertEvent, AlertEventKind};

use logferry_testkit::relay_host::at;

/// Seconds after a fixed time.
fn second(seconds: i64) -> Timestamp {
    at("2026-11-21T02:20:00Z") + SignedDuration::from_secs(seconds)
}

/// An event of an incident that began at `since`, at `now`.
fn event(subject: &str, kind: AlertEventKind, (since, now): (i64, i64)) -> AlertEvent {
    AlertEvent {
        incident: format!("stale|{subject}|{since}"),
        kind,
        at: second(now),
        since: second(since),
        rule: "stale".to_owned(),
        subject: subject.to_owned(),
        severity: "warning".to_owned(),
        text: "its sender has sent nothing".to_owned(),
        advice: "look at it".to_owned(),
    }
}
