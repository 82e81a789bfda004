//! What a silence changes beside the incidents: the status, for a host or a role that is gone for good.

use std::time::Duration;

use jiff::Timestamp;
use logferry_inspection::status::{StatusReport, StatusScope, WatchedRole, status};
use logferry_ledger::Silence;
use logferry_protocol::heartbeat::{Heartbeat, HeldFile};
use logferry_telemetry::{PresenceState, give_sign};
use logferry_testkit::relay_host::{RelayHost, source};

use super::settings::bare_scope;

const GONE: &str = "198.51.100.1";

fn silence(host: &mut RelayHost, subject: &str, now: Timestamp) {
    let silence = Silence {
        subject: subject.to_owned(),
        since: now,
        until: now + Duration::from_hours(24 * 3650),
        why: "gone".to_owned(),
    };
    host.ledger.silence(&silence).expect("silenced");
}

/// The last report of a source names a file that it did not ship.
fn report_held(host: &mut RelayHost, now: Timestamp) {
    let report = Heartbeat {
        held: vec![HeldFile {
            path: "/log/core".to_owned(),
            reason: "not text".to_owned(),
        }],
        ..Heartbeat::default()
    };
    let group = "web-1".parse().expect("a group");
    let noted = host.ledger.note_heartbeat(&source(GONE), &group, &report, now);
    noted.expect("noted");
}

#[test]
fn a_host_and_a_role_that_are_gone_for_good_can_be_made_well() {
    let mut host = RelayHost::new();
    let now = Timestamp::now();
    report_held(&mut host, now);
    give_sign(host.data_dir(), "housekeeper", PresenceState::Stopped, now, &[]).expect("written");
    let later = now + Duration::from_hours(2);
    let look = |host: &RelayHost| -> StatusReport {
        let roles = [WatchedRole {
            name: "housekeeper",
            folder: host.data_dir(),
            is_configured: true,
            file_problems: Vec::new(),
        }];
        let scope = StatusScope {
            roles: &roles,
            ..bare_scope()
        };
        status(host.data_dir(), &scope, later).expect("a status")
    };
    let rules = |report: &StatusReport| -> Vec<String> {
        let problems = report.problems.iter();
        problems.map(|it| format!("{} {}", it.rule, it.subject)).collect()
    };
    assert_eq!(
        rules(&look(&host)),
        [
            "role housekeeper".to_owned(),
            format!("stale {GONE}"),
            format!("held {GONE}")
        ]
    );
    silence(&mut host, GONE, now);
    assert_eq!(rules(&look(&host)), ["role housekeeper"]);
    silence(&mut host, "housekeeper", now);
    let report = look(&host);
    assert!(report.is_healthy(), "{:?}", report.problems);
    assert!(report.sources[0].is_silenced());
    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!(json["sources"][0]["state"], "stale", "what it is does not change");
    assert!(json["sources"][0]["silenced_until"].is_string(), "{json}");
}

#[test]
fn a_silenced_source_that_is_heard_is_looked_at_all_the_same() {
    let mut host = RelayHost::new();
    let now = Timestamp::now();
    report_held(&mut host, now);
    silence(&mut host, GONE, now);
    let report = status(host.data_dir(), &bare_scope(), now).expect("a status");
    assert_eq!(report.problems.len(), 1);
}
