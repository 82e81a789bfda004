//! Incidents from the ledger to the mail, look by look, with the time as an argument.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use logferry_config::{AlertHold, MonitorSettings};
use logferry_ledger::{FailureKind, GroupReport, GroupState, NewMail, Severity, Silence};
use logferry_protocol::heartbeat::{Heartbeat, HostTime, LogProblem, LogProblemKind, ReportedGap};
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId};
use logferry_telemetry::{Metrics, PresenceState, give_sign};

use crate::incident_look::{LookScope, look};
use crate::tests::settings::MonitoredHost as _;
use logferry_testkit::relay_host::{RelayHost, at, destination, source, subscriber};

const START: &str = "2026-11-21T08:00:00Z";

/// A relay host whose monitor looks when it is told to.
struct Looking {
    host: RelayHost,
    config: MonitorSettings,
    watched_for: Duration,
}

impl Looking {
    fn new() -> Self {
        let host = RelayHost::new();
        let mut config = MonitorSettings {
            hold: AlertHold {
                firing: Duration::ZERO,
                clear: Duration::from_mins(2),
            },
            ..host.config(25)
        };
        config.summary.after = Duration::MAX;
        Self {
            host,
            config,
            watched_for: Duration::MAX,
        }
    }

    fn time(seconds: i64) -> Timestamp {
        at(START) + SignedDuration::from_secs(seconds)
    }

    /// A look so many seconds after the start; the mails that it has queued, which a server takes.
    fn look(&mut self, seconds: i64) -> Vec<NewMail> {
        let scope = LookScope {
            config: &self.config,
            zone: &TimeZone::UTC,
            watched_for: self.watched_for,
            counts_lines: true,
            now: Self::time(seconds),
        };
        look(&mut self.host.ledger, scope, &Metrics::new().monitor()).expect("looked");
        let queued = self.host.ledger.due_mails(Timestamp::MAX).expect("mails");
        for mail in &queued {
            let (id, now) = (mail.id, Self::time(seconds));
            let sent = self.host.ledger.mail_presumed_sent(id, "sent", now);
            sent.expect("noted");
        }
        queued.into_iter().map(|mail| mail.content).collect()
    }

    /// The subjects of the mails of a look.
    fn subjects(&mut self, seconds: i64) -> Vec<String> {
        self.look(seconds).into_iter().map(|mail| mail.subject).collect()
    }

    /// A role says that it is there, at the present time: signs have the time of their files.
    fn sign(&self, role: &str, state: PresenceState, problems: &[String]) {
        give_sign(self.host.data_dir(), role, state, Timestamp::now(), problems).expect("written");
    }

    fn report(&mut self, name: &str, heartbeat: &Heartbeat, seconds: i64) {
        let group = "web-1".parse().expect("a group");
        self.host
            .ledger
            .note_heartbeat(&source(name), &group, heartbeat, Self::time(seconds))
            .expect("noted");
    }

    fn open(&self) -> Vec<(String, String, Severity)> {
        let incidents = self.host.ledger.incidents(Timestamp::MAX).expect("incidents");
        let open = incidents.into_iter().filter(logferry_ledger::Incident::is_open);
        open.map(|it| (it.rule, it.subject, it.severity)).collect()
    }
}

#[test]
fn the_rules_that_the_status_tells_by_itself_are_rules() {
    let is_rule = |rule: &&str| crate::incidents::rules::BUILT_IN.contains(rule);
    assert!(logferry_inspection::status::TOLD_ANYWAY.iter().all(is_rule));
}

fn with_problem(paths: &[&str]) -> Heartbeat {
    let problem = |path: &&str| LogProblem {
        log: "access".parse().expect("a name"),
        path: (*path).to_owned(),
        kind: LogProblemKind::NoMatch,
        reason: "there is no such file yet; it is shipped once it is there".to_owned(),
        since: None,
    };
    Heartbeat {
        log_problems: paths.iter().map(problem).collect(),
        ..Heartbeat::default()
    }
}

#[test]
fn a_misspelt_log_is_mailed_once_with_its_reason_and_its_correction_once() {
    let mut looking = Looking::new();
    looking.report("198.51.100.1", &with_problem(&["/log/acces.log"]), 0);
    let [mail] = &looking.look(1)[..] else {
        panic!("one mail")
    };
    assert_eq!(mail.subject, "warning: held 198.51.100.1:/log/acces.log");
    let text = mail.text.replace("\n  ", " ");
    assert!(
        text.contains("does not ship /log/acces.log: there is no such file yet"),
        "{text}"
    );
    looking.report("198.51.100.1", &with_problem(&["/log/acces.log"]), 60);
    assert_eq!(looking.subjects(61), [""; 0]);
    looking.report("198.51.100.1", &with_problem(&[]), 120);
    assert_eq!(looking.subjects(121), [""; 0], "it must last for two minutes");
    looking.report("198.51.100.1", &with_problem(&[]), 250);
    assert_eq!(
        looking.subjects(251),
        ["over: held 198.51.100.1:/log/acces.log after 2 min"]
    );
}

#[test]
fn a_sender_that_falls_silent_does_not_end_its_problems() {
    let mut looking = Looking::new();
    looking.report("198.51.100.1", &with_problem(&["/a"]), 0);
    looking.look(1);
    assert_eq!(looking.subjects(400), ["critical: stale 198.51.100.1"]);
    assert_eq!(looking.subjects(9000), [""; 0]);
    assert_eq!(looking.open().len(), 2);
}

#[test]
fn a_sender_that_cannot_say_why_gets_half_a_minute_to_find_out() {
    let mut looking = Looking::new();
    let unreadable = Heartbeat {
        unreadable: vec!["/secret.log".to_owned()],
        ..Heartbeat::default()
    };
    looking.report("198.51.100.1", &unreadable, 0);
    assert_eq!(looking.subjects(1), [""; 0]);
    looking.report("198.51.100.1", &unreadable, 31);
    assert_eq!(looking.subjects(32), ["warning: held 198.51.100.1:/secret.log"]);
}

#[test]
fn a_state_folder_and_a_clock_are_told_and_a_short_step_of_the_clock_is_not() {
    let mut looking = Looking::new();
    let report = |looking: &mut Looking, seconds: i64, difference: i64| {
        let there = Looking::time(seconds - difference).as_millisecond();
        let heartbeat = Heartbeat {
            at: Some(HostTime::from_millis(there)),
            checkpoint_failing_since: Some(HostTime::from_millis(0)),
            ..Heartbeat::default()
        };
        looking.report("198.51.100.1", &heartbeat, seconds);
        looking.subjects(seconds)
    };
    assert_eq!(report(&mut looking, 0, 90), ["warning: checkpoint 198.51.100.1"]);
    assert_eq!(report(&mut looking, 60, 0), [""; 0]);
    assert_eq!(report(&mut looking, 120, 90), [""; 0]);
    assert_eq!(report(&mut looking, 420, 90), ["warning: clock 198.51.100.1"]);
}

#[test]
fn a_key_that_a_role_cannot_read_is_told_once_with_what_to_do() {
    let mut looking = Looking::new();
    let key = "destination edw: key_file /k belongs to root:root (mode 0600); run `chown logferry /k`";
    looking.sign("forwarder", PresenceState::Running, &[key.to_owned()]);
    // Signs have the present time.
    let now = Timestamp::now().duration_since(at(START)).as_secs();
    let [mail] = &looking.look(now)[..] else {
        panic!("one mail")
    };
    assert_eq!(mail.subject, "warning: files forwarder");
    let text = mail.text.replace("\n  ", " ");
    assert!(text.contains(&format!("- forwarder: {key}\n")), "{text}");
    assert_eq!(looking.subjects(now + 1), [""; 0]);
}

/// 300 sources that were heard until the start.
fn with_sources() -> Looking {
    let mut looking = Looking::new();
    for number in 0..300 {
        let name = format!("198.51.{}.{}", number / 100, number % 100);
        looking.host.make_contact(&name, Looking::time(0));
    }
    looking
}

#[test]
fn a_dead_relay_is_one_incident_and_its_300_silent_sources_are_none() {
    let mut looking = with_sources();
    // Its last sign is older than 30 s at these looks, whose time is later.
    looking.sign("relay", PresenceState::Running, &[]);
    let base = Timestamp::now().duration_since(at(START)).as_secs() + 3600;
    assert_eq!(looking.subjects(base), [""; 0], "it may only restart");
    let [mail] = &looking.look(base + 60)[..] else {
        panic!("one mail")
    };
    assert_eq!(mail.subject, "critical: role relay");
    let text = mail.text.replace("\n  ", " ");
    assert!(text.contains("with it 300 are stale (198.51.0.0, "), "{text}");
    for minute in 2..60 {
        assert_eq!(looking.subjects(base + 60 * minute), [""; 0]);
    }
    assert_eq!(looking.open().len(), 1);
}

#[test]
fn role_whose_section_was_removed_is_told_as_that() {
    let mut looking = Looking::new();
    looking.sign("forwarder", PresenceState::Stopped, &[]);
    let base = Timestamp::now().duration_since(at(START)).as_secs() + 3600;
    looking.subjects(base);
    let [mail] = &looking.look(base + 60)[..] else {
        panic!("one mail")
    };
    let text = mail.text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("the forwarder has no section any more, and last ran at "),
        "{text}"
    );
    let sign = looking.host.data_dir().join("forwarder.alive");
    let advice = format!("put its section back, or remove {}", sign.display());
    assert!(text.contains(&advice), "{text}");
    assert!(!text.contains("systemctl start"), "{text}");
}

#[test]
fn after_a_cause_is_over_its_consequences_get_time_to_end_and_those_that_last_are_told() {
    let mut looking = with_sources();
    let group = |state, seconds| GroupReport {
        group: "web-1".parse().expect("a group"),
        reported_at: Looking::time(seconds),
        started_at: Looking::time(0),
        state,
        reason: Some("the disk of /spool is full".to_owned()),
        lines_per_second: 0.0,
        in_flight: 0,
        refused: 0,
    };
    looking.config.host.roles = vec![("relay", looking.host.data_dir().to_owned())];
    looking.sign("relay", PresenceState::Running, &[]);
    let base = Timestamp::now().duration_since(at(START)).as_secs();
    looking
        .host
        .ledger
        .note_group(&group(GroupState::Failing, base))
        .expect("noted");
    assert_eq!(looking.subjects(base), ["critical: group web-1"]);

    looking
        .host
        .ledger
        .note_group(&group(GroupState::Ok, base + 1))
        .expect("noted");
    looking.subjects(base + 1);
    assert_eq!(
        looking.subjects(base + 25),
        [""; 0],
        "nobody knows of the sources yet"
    );
    assert_eq!(looking.open().len(), 1);
}

#[test]
fn sources_that_fall_silent_together_are_one_incident_of_their_group() {
    let mut looking = with_sources();
    looking.host.make_contact("203.0.113.1", Looking::time(-90_000));
    let subjects = looking.subjects(400);
    assert_eq!(
        subjects,
        ["critical: all silent web-1"],
        "one that was given up long ago changes nothing"
    );
    // A monitor that has just started knows of none of them that it is silent, and not that it is well.
    looking.watched_for = Duration::ZERO;
    for seconds in [460, 640, 900] {
        assert_eq!(looking.subjects(seconds), [""; 0]);
    }
    assert_eq!(looking.open().len(), 1);
}

#[test]
fn sources_that_become_stale_one_after_the_other_are_one_incident_if_none_of_their_group_is_heard() {
    let mut looking = Looking::new();
    for number in 0..100 {
        looking
            .host
            .make_contact(&format!("198.51.100.{number}"), Looking::time(number % 10));
    }
    assert_eq!(looking.subjects(299), [""; 0]);
    // Half of them are stale, and the last was heard 296 s ago.
    assert_eq!(looking.subjects(305), ["critical: all silent web-1"]);
    assert_eq!(looking.subjects(365), [""; 0]);
    assert_eq!(looking.open().len(), 1);
}

#[test]
fn a_destination_is_down_then_full_and_its_waiting_batches_are_told_with_it() {
    let mut looking = Looking::new();
    looking.config.host.destinations = vec![subscriber("edw")];
    let batch = looking
        .host
        .take("198.51.100.1", "2026-11-21T07:00:00Z", "a\n", Looking::time(0));
    let batch = looking.host.seal(&batch, Looking::time(0));
    let edw = destination("edw");
    let note = |looking: &mut Looking, error: Option<(FailureKind, &str)>, seconds: i64| {
        let now = Looking::time(seconds);
        let noted = looking.host.ledger.note_destination(&edw, error, now);
        noted.expect("noted");
        looking.host.make_contact("198.51.100.1", now);
        looking.subjects(seconds)
    };
    let refused = Some((FailureKind::Unreachable, "connection refused"));
    assert_eq!(note(&mut looking, refused, 10), ["critical: down edw"]);
    assert_eq!(note(&mut looking, refused, 3600), [""; 0], "late is no news");
    assert_eq!(note(&mut looking, None, 3660), [""; 0]);
    assert_eq!(note(&mut looking, None, 3780), ["over: down edw after 1 h"]);
    assert_eq!(
        note(&mut looking, None, 4000),
        ["warning: late edw"],
        "though it is up for long enough"
    );
    let _ = looking.host.give_up(&batch, "edw", Looking::time(4010));
    assert_eq!(note(&mut looking, None, 4020), ["critical: refusing edw"]);
}

#[test]
fn what_is_silenced_is_told_when_the_silence_ends() {
    let mut looking = Looking::new();
    looking.report("198.51.100.1", &with_problem(&["/a"]), 0);
    let silence = Silence {
        subject: "198.51.100.1".to_owned(),
        since: Looking::time(0),
        until: Looking::time(300),
        why: "moving".to_owned(),
    };
    looking.host.ledger.silence(&silence).expect("silenced");
    assert_eq!(looking.subjects(1), [""; 0]);
    assert_eq!(looking.open().len(), 1, "it is recorded");
    looking.report("198.51.100.1", &with_problem(&["/a"]), 300);
    assert_eq!(looking.subjects(301), ["warning: held 198.51.100.1:/a"]);
}

/// Ten bytes of `/log/access.log.9` that were lost from its beginning, when it was the file with this inode.
fn with_loss(inode: u64, seconds: i64) -> Heartbeat {
    let head = Head::of(b"first\n").expect("a line");
    let at = HostTime::from_millis(Looking::time(seconds).as_millisecond());
    let gap = ReportedGap {
        stream: StreamId::derive(FileKey { dev: 1, inode }, head, 0),
        log: "access".parse().expect("a name"),
        path: "/log/access.log.9".to_owned(),
        from: Offset::new(0),
        until: Some(Offset::new(10)),
        noticed_at: at,
    };
    Heartbeat {
        at: Some(at),
        gaps: vec![gap],
        ..Heartbeat::default()
    }
}

#[test]
fn each_file_that_is_lost_under_one_rotated_name_is_told() {
    let mut looking = Looking::new();
    for (inode, seconds) in [(1, 0), (2, 3600)] {
        looking.report("198.51.100.1", &with_loss(inode, seconds), seconds);
        let [subject] = &looking.subjects(seconds + 1)[..] else {
            panic!("one mail")
        };
        let known = "critical: losing 198.51.100.1:/log/access.log.9@0:";
        assert!(subject.starts_with(known), "{subject}");
    }
    let silence = Silence {
        subject: "198.51.100.1:/log/access.log.9@0".to_owned(),
        since: Looking::time(3610),
        until: Looking::time(9000),
        why: "known".to_owned(),
    };
    looking.host.ledger.silence(&silence).expect("silenced");
    looking.report("198.51.100.1", &with_loss(3, 7200), 7200);
    assert_eq!(
        looking.subjects(7201),
        [""; 0],
        "the path and the offset are enough"
    );
}

#[test]
fn a_role_of_cron_is_told_when_its_last_pass_is_over_an_hour_old() {
    let mut looking = Looking::new();
    looking.config.host.roles = vec![("housekeeper", looking.host.data_dir().to_owned())];
    looking.sign("housekeeper", PresenceState::Once, &[]);
    // Signs have the present time.
    let now = Timestamp::now().duration_since(at(START)).as_secs();
    assert_eq!(looking.subjects(now + 3500), [""; 0]);
    assert_eq!(looking.subjects(now + 3610), [""; 0], "the next pass may come");
    let [mail] = &looking.look(now + 3680)[..] else {
        panic!("one mail")
    };
    assert_eq!(mail.subject, "warning: role housekeeper");
    let text = mail.text.replace("\n  ", " ");
    assert!(
        text.contains("- the last pass of the housekeeper was at 20"),
        "{text}"
    );
}
