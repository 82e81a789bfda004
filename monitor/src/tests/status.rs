//! The status matches the ledger, in the documented form.

use std::time::Duration;

use jiff::Timestamp;
use logferry_ledger::{
    Batch, DestinationState, FailureKind, GroupReport, GroupState, Ledger, NewMail, SummaryKey,
    TransferRecord,
};
use logferry_protocol::chunk::LineCounts;
use logferry_protocol::heartbeat::{
    Heartbeat, HeldFile, HostTime, LogProblem, LogProblemKind, ReportedGap, StreamProgress,
};
use logferry_protocol::names::LogName;
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId};
use logferry_telemetry::{PresenceState, give_sign};
use serde_json::json;

use logferry_inspection::InspectionError;
use logferry_inspection::status::{DiskState, RoleState, StatusReport, StatusScope, WatchedRole, status};
use logferry_testkit::relay_host::{RelayHost, at, destination, source, subscriber};

use super::settings::{bare_scope, texts};

const NOW: &str = "2026-11-21T03:10:00Z";

/// One destination is down, with a batch in flight. Another one has an old record of the batch in flight, and refused it.
fn note_problems(host: &mut RelayHost, batch: &Batch) {
    let (edw, backup) = (destination("edw"), destination("backup"));
    let ledger = &mut host.ledger;
    let down = (FailureKind::Unreachable, "connection refused");
    ledger.note_destination(&edw, Some(down), at(NOW)).expect("noted");
    let under_way = TransferRecord {
        batch: batch.id,
        bytes_done: 3,
        bytes_total: 8,
        bytes_per_second: 2,
    };
    for (name, noted_at) in [(&edw, "2026-11-21T03:09:50Z"), (&backup, "2026-11-21T03:00:00Z")] {
        ledger
            .record_transfers(name, &[under_way], at(noted_at))
            .expect("noted");
    }
    let taken = (FailureKind::NameTaken, "a different file is there");
    ledger
        .record_failure(batch.id, &backup, taken, at("2026-11-21T03:11:00Z"), false)
        .expect("recorded");
}

/// A host with a source in each state, and the name of a batch that was refused.
fn host_with_problems() -> (RelayHost, String) {
    let mut host = RelayHost::new();
    let early = host.take(
        "198.51.100.1",
        "2026-11-21T02:00:00Z",
        "old\n",
        at("2026-11-21T02:01:00Z"),
    );
    let recent = host.take(
        "198.51.100.1",
        "2026-11-21T02:40:00Z",
        "one\ntwo\n",
        at("2026-11-21T03:09:00Z"),
    );
    let early = host.seal(&early, at("2026-11-21T02:22:00Z"));
    host.deliver(&early, "edw", at("2026-11-21T02:22:05Z"));
    host.seal(&recent, at("2026-11-21T03:09:30Z"));
    host.make_contact("198.51.100.2", at("2026-11-21T03:09:59Z"));
    host.make_contact("198.51.100.3", at("2026-11-21T03:05:00Z"));
    note_problems(&mut host, &recent);
    (host, recent.name())
}

#[test]
fn the_json_is_the_documented_one() {
    let (host, name) = host_with_problems();
    let scope = StatusScope {
        expected_sources: &[source("198.51.100.4")],
        stale_after: Duration::from_mins(5),
        groups: &[],
        destinations: &[subscriber("edw"), subscriber("backup")],
        min_free_disk: 0,
        roles: &[],
    };
    let status = status(host.data_dir(), &scope, at(NOW)).expect("a status");
    assert!(!status.is_healthy());
    let free_bytes = status.disk.free_bytes;
    let silent = |name: &str, state: &str, contact: Option<&str>| {
        json!({"source": name, "group": contact.map(|_| "web-1"), "state": state, "last_line_at": null,
               "last_contact_at": contact, "lag_bytes": contact.map(|_| 0), "lines_last_hour": 0, "version": null,
               "started_at": null, "oldest_unread_seconds": 0, "files_at_risk": 0, "unreadable_files": [], "neighbours": [], "log_problems": [],
               "clock_difference_seconds": null, "checkpoint_failing_since": null, "gaps": [], "streams": [],
               "address": null, "senders": []})
    };
    let mut active = silent("198.51.100.1", "active", Some("2026-11-21T03:09:00Z"));
    active["last_line_at"] = json!("2026-11-21T03:09:00Z");
    active["lines_last_hour"] = json!(2);
    assert_eq!(
        serde_json::to_value(&status).expect("JSON"),
        json!({
            "sources": [
                active,
                silent("198.51.100.2", "quiet", Some("2026-11-21T03:09:59Z")),
                silent("198.51.100.3", "stale", Some("2026-11-21T03:05:00Z")),
                silent("198.51.100.4", "missing", None),
            ],
            "groups": [],
            "batches": {"open": 0, "ready": 1, "sent": 1, "failed": 0, "unwanted": 0},
            "destinations": [
                {"name": "edw", "state": "down", "last_delivery_at": "2026-11-21T02:22:05Z",
                 "waiting_batches": 1, "oldest_waiting_seconds": 30, "waiting_manifests": 0,
                 "is_refusing": false, "error": "connection refused", "error_kind": "unreachable", "held": [],
                 "in_flight": [{"batch": name, "bytes_done": 3, "bytes_total": 8, "bytes_per_second": 2}]},
                {"name": "backup", "state": "unknown", "last_delivery_at": null,
                 "waiting_batches": 1, "oldest_waiting_seconds": 30, "waiting_manifests": 0,
                 "is_refusing": false, "error": null, "error_kind": null,
                 "held": [{"batch": name, "attempts": 1, "error": "a different file is there",
                           "error_kind": "name_taken", "next_attempt_at": "2026-11-21T03:11:00Z"}],
                 "in_flight": []},
            ],
            "held": [],
            "refused_recipients": [],
            "disk": {"free_bytes": free_bytes, "total_bytes": status.disk.total_bytes, "state": "ok"},
            "incidents": [],
            "roles": [],
            "mails": {"waiting": 0, "failing": 0, "oldest_waiting_seconds": 0, "last_error": null},
            "channels": [],
            "problems": [
                "source 198.51.100.3 is silent, its sender was last heard 5 min ago: look at its host and its sender",
                "source 198.51.100.4 is expected and was never heard: start its sender",
                "destination edw is down, batches that wait for it: 1; connection refused",
            ],
        })
    );
}

/// Records a heartbeat 30 s old, from a sender with a clock two minutes behind and every kind of problem.
fn report_problems(host: &mut RelayHost) -> StreamId {
    let file = FileKey { dev: 1, inode: 7 };
    let stream = StreamId::derive(file, Head::of(b"first\n").expect("a line"), 0);
    let log: LogName = "access".parse().expect("a name");
    let clock = HostTime::from_millis(at("2026-11-21T03:07:30Z").as_millisecond());
    let gap = |from, until| ReportedGap {
        stream,
        log: log.clone(),
        path: "/log/access.log.9".to_owned(),
        from: Offset::new(from),
        until,
        noticed_at: clock,
    };
    let heartbeat = Heartbeat {
        version: "0.1.0".to_owned(),
        at: Some(clock),
        started_at: Some(HostTime::from_millis(0)),
        checkpoint_failing_since: Some(HostTime::from_millis(1000)),
        unreadable: vec!["/log/access.log.2".to_owned()],
        held: vec![HeldFile {
            path: "/log/access.log.3".to_owned(),
            reason: "it is not text".to_owned(),
        }],
        neighbours: vec!["/log/access.log.html".to_owned()],
        log_problems: vec![LogProblem {
            log: log.clone(),
            path: "/log/acces.log".to_owned(),
            kind: LogProblemKind::NoMatch,
            reason: "there is no such file yet".to_owned(),
            since: Some(HostTime::from_millis(2000)),
        }],
        unresolved_files: 0,
        streams: vec![StreamProgress {
            stream,
            log: log.clone(),
            path: "/log/access.log.1".to_owned(),
            read: Offset::new(40),
            sent: Offset::new(30),
            acked: Offset::new(20),
            size: Offset::new(50),
            oldest_unread_ms: 90_500,
            lines: LineCounts::default(),
            rotated: true,
            deleted: false,
        }],
        gaps: vec![gap(50, Some(Offset::new(70))), gap(70, None)],
        part: None,
    };
    let group = "web-1".parse().expect("a group");
    host.ledger
        .note_heartbeat(
            &source("198.51.100.1"),
            &group,
            &heartbeat,
            at("2026-11-21T03:09:30Z"),
        )
        .expect("noted");
    stream
}

#[test]
fn reported_problems_are_shown_and_are_not_healthy() {
    let mut host = RelayHost::new();
    let stream = report_problems(&mut host);
    let scope = bare_scope();
    let found = status(host.data_dir(), &scope, at(NOW)).expect("a status");
    assert!(!found.is_healthy());
    assert_eq!(
        serde_json::to_value(&found.sources).expect("JSON"),
        json!([{
            "source": "198.51.100.1", "group": "web-1", "state": "quiet", "address": null, "senders": [],
            "last_line_at": null, "last_contact_at": "2026-11-21T03:09:30Z", "lag_bytes": null, "lines_last_hour": 0, "version": "0.1.0",
            "started_at": "1970-01-01T00:00:00Z", "oldest_unread_seconds": 120, "files_at_risk": 1,
            "unreadable_files": ["/log/access.log.2"],
            "log_problems": [
                {"log": "access", "path": "/log/acces.log", "kind": "no_match", "reason": "there is no such file yet",
                 "since": "1970-01-01T00:00:02Z"},
                {"log": null, "path": "/log/access.log.2", "kind": "unreadable",
                 "reason": "its sender cannot read it; the sender's own log says why", "since": null},
            ],
            "neighbours": ["/log/access.log.html"], "clock_difference_seconds": 120,
            "checkpoint_failing_since": "1970-01-01T00:00:01Z",
            "gaps": [{"log": "access", "stream": stream, "path": "/log/access.log.9", "from": 50, "until": 70,
                      "noticed_at": "2026-11-21T03:09:30Z"}],
            "streams": [{"log": "access", "stream": stream, "path": "/log/access.log.1", "read_offset": 40,
                         "sent_offset": 30, "acked_offset": 20, "size_bytes": 50, "lag_bytes": 30,
                         "oldest_unread_seconds": 120, "lines_sent": 0, "lines_excluded": 0, "rotated": true,
                         "deleted": false, "at_risk": true}],
        }])
    );
    assert_eq!(
        serde_json::to_value(&found.held).expect("JSON"),
        json!([
            {"source": "198.51.100.1", "path": "/log/access.log.3", "reason": "it is not text"},
            {"source": "198.51.100.1", "path": "/log/access.log.2", "reason": "its sender cannot read it; the sender's own log says why"},
        ])
    );
    let next_day = status(host.data_dir(), &scope, at("2026-11-22T03:10:00Z")).expect("a status");
    assert_eq!(
        next_day.sources[0].gaps,
        [],
        "after a day only the audit shows it"
    );
}

/// The status of a source whose sender reports so.
fn status_with(report: &Heartbeat) -> StatusReport {
    let mut host = RelayHost::new();
    let (source, group) = (source("198.51.100.1"), "web-1".parse().expect("a group"));
    host.ledger
        .note_heartbeat(&source, &group, report, at("2026-11-21T03:09:30Z"))
        .expect("noted");
    let scope = StatusScope {
        expected_sources: &[],
        roles: &[],
        stale_after: Duration::from_mins(5),
        groups: &[],
        destinations: &[],
        min_free_disk: 0,
    };
    status(host.data_dir(), &scope, at(NOW)).expect("a status")
}

#[test]
fn a_path_that_finds_nothing_needs_a_look_and_leaves_the_lag_known() {
    let fine = status_with(&Heartbeat::default());
    assert!(fine.is_healthy());
    assert_eq!(fine.sources[0].lag_bytes, Some(0));
    let problem = LogProblem {
        log: "access".parse().expect("a name"),
        path: "/log/acces.log".to_owned(),
        kind: LogProblemKind::NoMatch,
        reason: "there is no such file yet".to_owned(),
        since: None,
    };
    let found = status_with(&Heartbeat {
        log_problems: vec![problem],
        ..Heartbeat::default()
    });
    assert!(!found.is_healthy());
    assert_eq!(found.sources[0].log_problems[0].path, "/log/acces.log");
    assert_eq!(found.sources[0].lag_bytes, Some(0));
}

#[test]
fn the_lag_of_a_sender_that_has_not_resolved_a_file_is_unknown_and_not_zero() {
    let found = status_with(&Heartbeat {
        unresolved_files: 1,
        ..Heartbeat::default()
    });
    assert_eq!(found.sources[0].lag_bytes, None);
    assert!(found.is_healthy(), "after a start that is so for a moment");
}

#[test]
fn groups_have_their_last_reported_state_and_unknown_after_a_while() {
    let mut host = RelayHost::new();
    host.make_contact("198.51.100.2", at("2026-11-21T03:09:59Z"));
    let mut report = GroupReport {
        group: "web-1".parse().expect("a group"),
        reported_at: at("2026-11-21T03:09:00Z"),
        started_at: at("2026-11-21T01:00:00Z"),
        state: GroupState::Failing,
        reason: Some("the relay's disk is full".to_owned()),
        lines_per_second: 0.5,
        in_flight: 2,
        refused: 40,
    };
    host.ledger.note_group(&report).expect("noted");
    let scope = StatusScope {
        expected_sources: &[],
        stale_after: Duration::from_mins(5),
        groups: &["web-2".parse().expect("a group")],
        destinations: &[],
        min_free_disk: 0,
        roles: &[],
    };
    let look = |host: &RelayHost, now: &str| {
        let status = status(host.data_dir(), &scope, at(now)).expect("a status");
        (
            status.is_healthy(),
            serde_json::to_value(&status.groups).expect("JSON"),
        )
    };
    let silent = json!({"group": "web-2", "state": "unknown", "reason": null, "sources": 0, "lines_per_second": null,
                        "requests_in_flight": null, "refused_requests": null, "started_at": null});
    let failing = json!({"group": "web-1", "state": "failing", "reason": "the relay's disk is full", "sources": 1,
                         "lines_per_second": 0.5, "requests_in_flight": 2, "refused_requests": 40,
                         "started_at": "2026-11-21T01:00:00Z"});
    assert_eq!(look(&host, NOW), (false, json!([failing, silent])));
    let mut unknown = silent.clone();
    unknown["group"] = json!("web-1");
    unknown["sources"] = json!(1);
    unknown["reason"] = failing["reason"].clone();
    let later = "2026-11-21T03:11:00Z";
    assert_eq!(
        look(&host, later),
        (false, json!([unknown, silent])),
        "the reason in its last report counts"
    );
    report.reported_at = at(later);
    let mut problems = |host: &mut RelayHost, state, reason: Option<&str>| {
        (report.state, report.reason) = (state, reason.map(str::to_owned));
        host.ledger.note_group(&report).expect("noted");
        let status = status(host.data_dir(), &scope, at(later)).expect("a status");
        texts(&status.problems).concat()
    };
    assert_eq!(
        problems(&mut host, GroupState::Low, Some("the disk is full")),
        "group web-1 accepts no lines, its senders wait: the disk is full"
    );
    let waiting = "lines of h1 wait: too many batches";
    assert_eq!(
        problems(&mut host, GroupState::Ok, Some(waiting)),
        format!("group web-1: {waiting}"),
        "all others are accepted"
    );
    assert_eq!(problems(&mut host, GroupState::Ok, None), "");
}

#[test]
fn a_disk_below_min_free_disk_is_low() {
    let host = RelayHost::new();
    let scope = StatusScope {
        expected_sources: &[],
        stale_after: Duration::from_mins(5),
        groups: &[],
        destinations: &[],
        min_free_disk: u64::MAX,
        roles: &[],
    };
    let full = status(host.data_dir(), &scope, at(NOW)).expect("a status");
    assert_eq!(full.disk.state, DiskState::Low);
    assert!(!full.is_healthy());
    let roomy = StatusScope {
        min_free_disk: 0,
        roles: &[],
        ..scope
    };
    assert!(
        status(host.data_dir(), &roomy, at(NOW))
            .expect("a status")
            .is_healthy()
    );
}

#[test]
fn without_a_ledger_there_is_an_error_and_no_ledger_is_created() {
    let dir = tempfile::tempdir().expect("a folder");
    let scope = bare_scope();
    assert!(matches!(
        status(dir.path(), &scope, at(NOW)),
        Err(InspectionError::Ledger(_))
    ));
    assert!(Ledger::open(dir.path()).is_err(), "and none was made");
}

#[test]
fn a_destination_is_not_up_while_the_forwarder_does_not_run() {
    let mut host = RelayHost::new();
    host.ledger
        .note_destination(&destination("edw"), None, at(NOW))
        .expect("noted");
    let data_dir = host.data_dir().to_owned();
    let role = |name, is_configured| WatchedRole {
        name,
        folder: &data_dir,
        is_configured,
        file_problems: Vec::new(),
    };
    let roles = [
        role("forwarder", true),
        role("housekeeper", true),
        role("monitor", false),
    ];
    let scope = StatusScope {
        expected_sources: &[],
        stale_after: Duration::from_mins(5),
        groups: &[],
        destinations: &[subscriber("edw")],
        min_free_disk: 0,
        roles: &roles,
    };
    let look = || {
        let report = status(&data_dir, &scope, Timestamp::now()).expect("a status");
        let roles: Vec<_> = report
            .roles
            .iter()
            .map(|role| (role.name, role.state, role.once))
            .collect();
        (report.destinations[0].state, roles, report.problems)
    };
    let (state, roles, problems) = look();
    assert_eq!(state, DestinationState::Unknown);
    let never = [
        ("forwarder", RoleState::Unknown, false),
        ("housekeeper", RoleState::Unknown, false),
    ];
    assert_eq!(
        roles, never,
        "a role without a section that never ran is not shown"
    );
    assert_eq!(
        texts(&problems),
        ["forwarder", "housekeeper"]
            .map(|name| format!("the {name} has a section and never ran here: start it"))
    );

    let now = Timestamp::now();
    give_sign(&data_dir, "forwarder", PresenceState::Running, now, &[]).expect("written");
    give_sign(&data_dir, "housekeeper", PresenceState::Once, now, &[]).expect("written");
    let (state, roles, problems) = look();
    assert_eq!((state, problems), (DestinationState::Up, Vec::new()));
    let by_cron = ("housekeeper", RoleState::Stopped, true);
    assert_eq!(roles, [("forwarder", RoleState::Running, false), by_cron]);

    give_sign(&data_dir, "forwarder", PresenceState::Stopped, now, &[]).expect("written");
    let (state, _, problems) = look();
    assert_eq!((state, problems.len()), (DestinationState::Unknown, 1));
    assert!(
        problems[0]
            .text
            .starts_with("the forwarder does not run, it was last seen "),
        "{problems:?}"
    );
}

#[test]
fn mails_that_were_not_sent_are_counted_with_the_reason() {
    let mut host = RelayHost::new();
    let mail = |subject: &str| NewMail {
        subject: subject.to_owned(),
        text: "text\n".to_owned(),
        html: None,
    };
    for hour in ["2026-11-21T01:00:00Z", "2026-11-21T02:00:00Z"] {
        host.ledger
            .queue_summary_mail(SummaryKey::Hour(at(hour)), &mail(hour), &[], at(hour))
            .expect("queued");
    }
    let scope = bare_scope();
    let look = |host: &RelayHost| status(host.data_dir(), &scope, at(NOW)).expect("a status");
    let waiting = look(&host);
    assert_eq!((waiting.mails.waiting, waiting.mails.failing), (2, 0));
    assert_eq!(waiting.mails.oldest_waiting_seconds, 2 * 3600 + 600);
    assert!(waiting.is_healthy(), "it may be sent in a moment");

    let first = host.ledger.due_mails(at(NOW)).expect("mails")[0].id;
    host.ledger
        .mail_failed(first, "mail server m:25 cannot be reached", at(NOW), 0)
        .expect("noted");
    let failing = look(&host);
    assert_eq!((failing.mails.waiting, failing.mails.failing), (2, 1));
    assert_eq!(
        texts(&failing.problems),
        [
            "1 mail not sent, tried again: mail server m:25 cannot be reached; `logferry test-mail` tries the mail server now"
        ]
    );
}
