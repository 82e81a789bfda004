//! Mails over real SMTP connections.

use std::net::TcpListener;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use logferry_config::{MonitorSettings, SummarySettings};
use logferry_embedded_servers::{MailRefusal, MailSink, ReceivedMail};
use logferry_ledger::{Ledger, NewMail, SummaryKey};
use logferry_telemetry::Metrics;
use tokio_util::sync::CancellationToken;

use crate::error::{MonitorError, SendError};
use crate::incident_look::LookScope;
use crate::mail::outbox::Outbox;
use crate::mail::smtp::SmtpMailer;
use crate::tests::settings::MonitoredHost as _;
use crate::tick::{SummaryProgress, tick};
use crate::{once, probe_mail, run, test_mail};
use logferry_testkit::relay_host::{RelayHost, at, source};

const DEADLINE: Duration = Duration::from_mins(1);

/// A short limit: the daemon knows of no source that it is silent before it has watched for so long.
const WATCHED_FIRST: Duration = Duration::from_secs(3);

/// Subjects without the prefix.
fn subjects(mails: &[ReceivedMail]) -> Vec<String> {
    let subject = |mail: &ReceivedMail| header(mail, "Subject: [logferry] ");
    mails.iter().map(subject).collect()
}

fn header(mail: &ReceivedMail, name: &str) -> String {
    // A long header goes on in lines that begin with a space (RFC 5322, 2.2.3).
    let text = String::from_utf8_lossy(&mail.data).replace("\r\n ", " ");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_default().to_owned()
}

fn queue(host: &mut RelayHost, subjects: &[&str]) {
    for (index, subject) in (1..).zip(subjects) {
        let mail = NewMail {
            subject: (*subject).to_owned(),
            text: "text\n".to_owned(),
            html: Some("<p>html</p>\n".to_owned()),
        };
        let hour = SummaryKey::Hour(Timestamp::from_second(index * 3600).expect("in range"));
        assert!(
            host.ledger
                .queue_summary_mail(hour, &mail, &[], Timestamp::now())
                .expect("queued")
        );
    }
}

/// A configuration without due summaries.
pub(crate) fn without_summaries(config: MonitorSettings) -> MonitorSettings {
    let summary = SummarySettings {
        after: Duration::MAX,
        ..config.summary
    };
    MonitorSettings { summary, ..config }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let reached = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, reached).await.is_ok(), "{what}");
}

#[tokio::test]
async fn silent_and_missing_sources_get_one_mail_and_their_return_another() {
    let mut host = RelayHost::new();
    let sink = MailSink::start().await.expect("a server");
    let config = MonitorSettings {
        expected_sources: vec![source("198.51.100.9")],
        ..without_summaries(host.config(sink.port()))
    };
    let long_ago = Timestamp::now() - SignedDuration::from_mins(6);
    host.make_contact("198.51.100.1", long_ago);
    host.make_contact("198.51.100.2", long_ago);
    host.make_contact("198.51.100.3", Timestamp::now());
    for _ in 0..3 {
        once(&config).await.expect("looked");
    }
    let alert = "critical: missing 198.51.100.9, stale 198.51.100.1, 198.51.100.2".to_owned();
    assert_eq!(subjects(&sink.messages()), [alert.as_str()]);

    host.make_contact("198.51.100.1", Timestamp::now());
    host.make_contact("198.51.100.9", Timestamp::now());
    for _ in 0..3 {
        once(&config).await.expect("looked");
    }
    let back = "over: missing 198.51.100.9, stale 198.51.100.1".to_owned();
    assert_eq!(subjects(&sink.messages()), [alert, back]);
    let first = &sink.messages()[0];
    assert_eq!(
        (first.from.as_str(), first.to.as_slice()),
        ("ferry@example.com", ["ops@example.com".to_owned()].as_slice())
    );
}

/// A window of so many days ago is delivered.
fn deliver(host: &mut RelayHost, days: i64) {
    let now = Timestamp::now();
    let start = (now - SignedDuration::from_hours(24 * days))
        .as_second()
        .div_euclid(1200)
        * 1200;
    let start = Timestamp::from_second(start).expect("in range").to_string();
    let open = host.take("198.51.100.1", &start, "one\n", now);
    let ready = host.seal(&open, now);
    host.deliver(&ready, "edw", now);
}

#[tokio::test]
async fn cron_signs_also_a_window_that_is_delivered_days_after_newer_ones() {
    let mut host = RelayHost::new();
    let sink = MailSink::start().await.expect("a server");
    let config = without_summaries(host.config(sink.port()));
    for (days, signed) in [(1, 1), (7, 2)] {
        deliver(&mut host, days);
        once(&config).await.expect("looked");
        let last = host.ledger.last_window_record().expect("read").expect("signed");
        assert_eq!(last.number, signed, "{days} days");
    }
}

#[tokio::test]
async fn a_server_that_was_down_gets_each_mail_once_oldest_first() {
    let mut host = RelayHost::new();
    queue(&mut host, &["one", "two", "three"]);
    // A port without a listener.
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port();
    let error = once(&without_summaries(host.config(port)))
        .await
        .expect_err("no server");
    assert!(
        matches!(
            &error,
            MonitorError::Unsent {
                mails: 3,
                source: SendError::Unreachable { .. }
            }
        ),
        "{error:?}"
    );

    let sink = MailSink::start().await.expect("a server");
    let config = without_summaries(host.config(sink.port()));
    for refusal in [MailRefusal::Hangup, MailRefusal::Busy] {
        sink.refuse_next(1, refusal);
        assert!(once(&config).await.is_err());
        assert_eq!(sink.count(), 0);
    }
    for _ in 0..3 {
        once(&config).await.expect("sent");
    }
    assert_eq!(subjects(&sink.messages()), ["one", "two", "three"]);
}

#[tokio::test]
async fn a_refused_mail_does_not_delay_the_others_and_keeps_its_id() {
    let mut host = RelayHost::new();
    queue(&mut host, &["one", "two"]);
    let sink = MailSink::start().await.expect("a server");
    let config = without_summaries(host.config(sink.port()));
    sink.refuse_next(1, MailRefusal::LocalError);
    let error = once(&config).await.expect_err("one is refused");
    let MonitorError::Unsent {
        mails: 1,
        source: SendError::Refused { reason, .. },
    } = &error
    else {
        unreachable!("{error:?}");
    };
    assert!(reason.contains("451") && reason.contains("local error, try again later"));
    assert_eq!(subjects(&sink.messages()), ["two"]);
    once(&config).await.expect("sent");
    assert_eq!(subjects(&sink.messages()), ["two", "one"]);
    let ids: Vec<_> = sink
        .messages()
        .iter()
        .map(|mail| header(mail, "Message-ID: "))
        .collect();
    let numbers = ["<logferry-2-", "<logferry-1-"];
    assert!(
        ids.iter().zip(numbers).all(|(id, number)| id.starts_with(number)),
        "{ids:?}"
    );
}

#[tokio::test]
async fn a_failed_mail_waits_for_its_next_attempt() {
    let mut host = RelayHost::new();
    queue(&mut host, &["one"]);
    let sink = MailSink::start().await.expect("a server");
    let stop = CancellationToken::new();
    let config = host.config(sink.port());
    let mailer = SmtpMailer::new(&config.smtp).expect("valid");
    let metrics = Metrics::new();
    let mut outbox = Outbox::new(host.data_dir(), mailer, metrics.monitor());
    sink.refuse_next(1, MailRefusal::Busy);
    let pass = outbox.send(Timestamp::now(), &stop).await.expect("tried");
    assert_eq!(pass.failed, 1);
    let now = Timestamp::now();
    assert!(host.ledger.due_mails(now).expect("asked").is_empty());
    let later = host
        .ledger
        .due_mails(now + SignedDuration::from_secs(31))
        .expect("asked");
    assert_eq!(later.len(), 1);
    let pass = outbox.send(Timestamp::now(), &stop).await.expect("tried");
    assert_eq!((pass.failed, sink.count()), (0, 0));
}

#[tokio::test]
async fn the_first_run_mails_the_previous_hour_with_text_and_html_and_no_hour_twice() {
    let (new_host, mut host) = (RelayHost::new(), RelayHost::new());
    let sink = MailSink::start().await.expect("a server");
    once(&new_host.config(sink.port())).await.expect("looked");
    assert_eq!(
        sink.count(),
        0,
        "before the first contact there is no hour to sum up"
    );
    let config = MonitorSettings {
        stale_after: Duration::from_hours(100),
        ..host.config(sink.port())
    };
    host.make_contact("198.51.100.1", Timestamp::now() - SignedDuration::from_hours(3));
    for _ in 0..3 {
        once(&config).await.expect("looked");
    }
    let mails = sink.messages();
    let mut hours = subjects(&mails);
    assert!(!hours.is_empty() && hours.iter().all(|subject| subject.ends_with(": no lines")));
    let looks = hours.len();
    hours.dedup();
    assert_eq!(
        hours.len(),
        looks,
        "an hour may end meanwhile, but none has two mails"
    );
    let text = String::from_utf8_lossy(&mails[0].data).into_owned();
    assert!(text.contains("Content-Type: text/plain") && text.contains("Content-Type: text/html"));
}

/// Looks until nothing is left to do; returns how many looks that took.
fn look_all(ledger: &mut Ledger, config: &MonitorSettings, metrics: &Metrics, now: Timestamp) -> usize {
    let scope = LookScope {
        config,
        zone: &TimeZone::UTC,
        watched_for: Duration::MAX,
        counts_lines: true,
        now,
    };
    let last = (1..100).find(|_| {
        let progress = tick(ledger, scope, &metrics.monitor());
        progress.expect("looked") == SummaryProgress::Complete
    });
    last.expect("an end")
}

#[test]
fn hours_missed_while_the_monitor_was_down_are_summed_up_once() {
    let mut host = RelayHost::new();
    let config = host.config(25);
    let metrics = Metrics::new();
    let look = |host: &mut RelayHost, now: &str| {
        look_all(&mut host.ledger, &config, &metrics, at(now));
        let mails = host.ledger.due_mails(Timestamp::MAX).expect("mails");
        mails
            .into_iter()
            .map(|mail| mail.content.subject)
            .collect::<Vec<_>>()
    };
    assert!(
        look(&mut host, "2026-11-21T01:20:00Z").is_empty(),
        "before the first contact"
    );
    host.make_contact("198.51.100.1", at("2026-11-21T01:59:00Z"));
    let open = host.take(
        "198.51.100.1",
        "2026-11-21T03:20:00Z",
        "one\n",
        at("2026-11-21T09:20:00Z"),
    );
    let ready = host.seal(&open, at("2026-11-21T09:20:00Z"));
    host.deliver(&ready, "edw", at("2026-11-21T09:20:00Z"));
    assert_eq!(
        look(&mut host, "2026-11-21T02:20:00Z"),
        ["2026-11-21 01:00-02:00: no lines"]
    );
    let all = [
        "2026-11-21 01:00-02:00: no lines",
        "2026-11-21 02:00-03:00: no lines",
        "2026-11-21 03:00-04:00: 1 line, all delivered",
    ];
    assert_eq!(look(&mut host, "2026-11-21T04:15:00Z"), all);
    let mut missed = RelayHost::new();
    missed.make_contact("198.51.100.1", at("2026-11-20T01:59:00Z"));
    look_all(&mut missed.ledger, &config, &metrics, at("2026-11-21T01:20:00Z"));
    let looks = look_all(&mut missed.ledger, &config, &metrics, at("2026-11-21T05:20:00Z"));
    assert_eq!(looks, 4, "one hour a look");
    assert_eq!(look(&mut host, "2026-11-21T05:14:00Z"), all);
    assert_eq!(look(&mut host, "2026-11-21T04:00:00Z"), all, "a clock set back");
}

#[test]
fn a_day_is_summed_up_once_with_its_tables_and_a_late_one_says_so() {
    let mut host = RelayHost::new();
    let mut config = host.config(25);
    config.summary.daily = true;
    let metrics = Metrics::new();
    let look = |host: &mut RelayHost, now: &str| {
        look_all(&mut host.ledger, &config, &metrics, at(now));
        let mut mails = host.ledger.due_mails(Timestamp::MAX).expect("mails");
        mails.retain(|mail| {
            mail.content.subject.starts_with("2026-11-2") && mail.content.subject.as_bytes()[10] == b':'
        });
        mails
    };
    host.make_contact("198.51.100.1", at("2026-11-20T01:59:00Z"));
    assert!(look(&mut host, "2026-11-20T02:20:00Z").is_empty());
    assert!(look(&mut host, "2026-11-21T00:14:00Z").is_empty());
    for now in [
        "2026-11-21T00:15:00Z",
        "2026-11-21T00:20:00Z",
        "2026-11-21T23:00:00Z",
    ] {
        assert_eq!(look(&mut host, now).len(), 1, "{now}");
    }
    let mails = look(&mut host, "2026-11-23T09:00:00Z");
    let subjects: Vec<_> = mails.iter().map(|mail| mail.content.subject.as_str()).collect();
    assert_eq!(
        subjects,
        [
            "2026-11-20: no lines",
            "2026-11-21: no lines",
            "2026-11-22: no lines"
        ]
    );
    assert!(!mails[0].content.text.contains("This mail is late"));
    assert!(
        mails[2]
            .content
            .text
            .contains("This mail is late: it was due at 2026-11-23 00:15:00")
    );
    let parts = host.ledger.mail_parts(mails[2].id).expect("parts");
    let names: Vec<_> = parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["sources-2026-11-22.csv", "files-2026-11-22.csv"]);
}

#[tokio::test]
async fn the_daemon_checks_while_the_mail_server_hangs_and_stops_cleanly() {
    let mut host = RelayHost::new();
    // Accepts connections and sends nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("bound").port();
    host.make_contact("198.51.100.1", Timestamp::now() - SignedDuration::from_mins(6));
    let stop = CancellationToken::new();
    let config = MonitorSettings {
        stale_after: WATCHED_FIRST,
        ..without_summaries(host.config(port))
    };
    let daemon = tokio::spawn(run(config, stop.clone()));
    until("the alert is raised", || {
        host.ledger
            .incidents(Timestamp::MAX)
            .is_ok_and(|open| open.len() == 1)
    })
    .await;
    host.make_contact("198.51.100.1", Timestamp::now());
    until("the return is seen", || {
        host.ledger
            .incidents(Timestamp::MAX)
            .is_ok_and(|open| open.is_empty())
    })
    .await;
    stop.cancel();
    let ended = tokio::time::timeout(DEADLINE, daemon).await.expect("it stops");
    ended.expect("no panic").expect("stopped cleanly");

    let sink = MailSink::start().await.expect("a server");
    once(&without_summaries(host.config(sink.port())))
        .await
        .expect("sent");
    let subjects = subjects(&sink.messages());
    let [over] = &subjects[..] else {
        panic!("one mail, as it was over before any server could take the first: {subjects:?}")
    };
    assert!(over.starts_with("over: stale 198.51.100.1 after "), "{over}");
}

#[tokio::test]
async fn the_daemon_waits_for_the_ledger_mails_at_once_and_holds_the_lock() {
    let dir = tempfile::tempdir().expect("a folder");
    let sink = MailSink::start().await.expect("a server");
    let config = MonitorSettings {
        data_dir: dir.path().join("relay"),
        expected_sources: vec![source("198.51.100.9")],
        stale_after: WATCHED_FIRST,
        ..without_summaries(RelayHost::new().config(sink.port()))
    };
    let stop = CancellationToken::new();
    let daemon = tokio::spawn(run(config.clone(), stop.clone()));
    std::fs::create_dir(&config.data_dir).expect("made");
    drop(logferry_ledger::Ledger::open_or_create(&config.data_dir).expect("a ledger"));
    until("the alert arrives", || sink.count() == 1).await;
    assert!(matches!(
        once(&config).await,
        Err(MonitorError::AlreadyRunning { .. })
    ));
    stop.cancel();
    let ended = tokio::time::timeout(DEADLINE, daemon).await.expect("it stops");
    ended.expect("no panic").expect("stopped cleanly");
    once(&config).await.expect("the lock is free");
    assert_eq!(sink.count(), 1);
}

#[tokio::test]
async fn a_test_mail_needs_no_ledger_and_its_error_quotes_the_server() {
    let sink = MailSink::start().await.expect("a server");
    let config = MonitorSettings {
        data_dir: "/nonexistent".into(),
        ..RelayHost::new().config(sink.port())
    };
    test_mail(&config).await.expect("sent");
    assert_eq!(subjects(&sink.messages()), ["test mail"]);
    sink.refuse_next(1, MailRefusal::Busy);
    let error = test_mail(&config).await.expect_err("refused");
    assert!(
        error.to_string().contains("(421): busy, try again later"),
        "{error}"
    );
}

#[tokio::test]
async fn a_probe_talks_to_the_mail_server_and_sends_nothing() {
    let sink = MailSink::start().await.expect("a server");
    let smtp = RelayHost::new().config(sink.port()).smtp;
    let answers = probe_mail(&smtp).await.expect("the server answers");
    assert_eq!(answers, [("ops@example.com".to_owned(), Ok(()))]);
    sink.refuse_next(1, MailRefusal::Busy);
    let error = probe_mail(&smtp).await.expect_err("refused");
    assert!(
        error.to_string().contains("refused the connection or its EHLO"),
        "{error}"
    );
    assert_eq!(sink.count(), 0);
}
