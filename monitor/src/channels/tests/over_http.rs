//! Messages over real connections, and by a command.
#![expect(clippy::disallowed_methods, reason = "tests lay out files")]

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::{
    ChannelKind, ChannelSettings, HeartbeatSettings, HeartbeatTarget, MonitorSettings, WebEndpoint,
};
use logferry_ledger::AlertEventKind::{Began, Over};
use logferry_test_servers::{HttpScript, ScriptedHttp};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::{heartbeat, probe_channel, run, send_once, test_channel};
use super::event;
use crate::tests::settings::MonitoredHost as _;
use logferry_testkit::relay_host::RelayHost;

const DEADLINE: Duration = Duration::from_mins(1);

fn endpoint(port: u16) -> WebEndpoint {
    let address = format!("http://127.0.0.1:{port}/hook/s3cr3ts3cr3t");
    WebEndpoint {
        address: address.parse().expect("an address"),
        ca_file: None,
    }
}

fn channel(name: &str, kind: ChannelKind) -> ChannelSettings {
    ChannelSettings {
        name: name.to_owned(),
        kind,
        all_alerts: false,
        time_limit: Duration::from_millis(500),
    }
}

fn config(host: &RelayHost, channels: Vec<ChannelSettings>) -> MonitorSettings {
    MonitorSettings {
        channels,
        ..host.config(1)
    }
}

fn queue(host: &mut RelayHost, channel: &str, events: &[logferry_ledger::AlertEvent]) {
    let events: Vec<_> = events
        .iter()
        .map(|event| (channel.to_owned(), event.clone()))
        .collect();
    let queued = host.ledger.queue_alert_events(&events, Timestamp::now());
    queued.expect("queued");
}

fn body(server: &ScriptedHttp, number: usize) -> Value {
    let requests = server.requests();
    serde_json::from_str(&requests[number].body).expect("JSON")
}

#[tokio::test]
async fn an_alert_that_ends_while_the_channel_is_down_comes_as_one_message_with_the_original_times() {
    let mut host = RelayHost::new();
    let server = ScriptedHttp::start([
        HttpScript::Answer(503, &[], ""),
        HttpScript::Answer(429, &["Retry-After: 1\r\n"], "wait"),
    ]);
    let config = config(
        &host,
        vec![channel("hook", ChannelKind::Webhook(endpoint(server.port())))],
    );
    queue(&mut host, "hook", &[event("a", Began, (0, 0))]);
    assert_eq!(send_once(&config).await.expect("tried").len(), 1);
    queue(
        &mut host,
        "hook",
        &[event("a", Over, (0, 600)), event("b", Began, (60, 60))],
    );
    let failed = send_once(&config).await.expect("tried");
    assert!(
        failed[0].1.to_string().contains("answered 429 (wait)"),
        "{failed:?}"
    );
    assert_eq!(send_once(&config).await.expect("tried").len(), 0);
    assert_eq!(send_once(&config).await.expect("tried").len(), 0);
    assert_eq!(server.requests().len(), 3, "and none once more");
    let message = body(&server, 2);
    assert_eq!(message["title"], "[logferry] warning: stale, b, and 1 over");
    let [b, a] = &message["alerts"].as_array().expect("a list")[..] else {
        panic!("two alerts: {message}")
    };
    assert_eq!(
        (&b["state"], &a["state"]),
        (&Value::from("open"), &Value::from("closed"))
    );
    assert_eq!(
        (&a["since"], &a["until"]),
        (
            &Value::from("2026-11-21T02:20:00Z"),
            &Value::from("2026-11-21T02:30:00Z")
        )
    );
    assert!(host.ledger.channel_backlogs().expect("read").is_empty());
}

#[tokio::test]
async fn a_message_without_an_answer_is_repeated_as_it_was_and_not_for_ever() {
    let mut host = RelayHost::new();
    let server = ScriptedHttp::start([
        HttpScript::HangUp,
        HttpScript::Silence,
        HttpScript::Answer(500, &[], "oops"),
        HttpScript::Refuse,
    ]);
    let config = config(
        &host,
        vec![channel("hook", ChannelKind::Webhook(endpoint(server.port())))],
    );
    queue(&mut host, "hook", &[event("a", Began, (0, 0))]);
    for number in 0..4 {
        // Each time, as after a restart.
        let failed = send_once(&config).await.expect("tried");
        assert_eq!(failed.len(), 1, "{number}");
        queue(&mut host, "hook", &[event("a", Over, (0, 600 + number))]);
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert_eq!(request.body, requests[0].body, "later events wait");
        assert_eq!(request.header("idempotency-key"), body(&server, 0)["id"]);
    }
    let record = &host.ledger.channel_records().expect("read")[0];
    let presumed = record.last_error.as_deref().unwrap_or_default();
    assert!(
        presumed.contains("broke off"),
        "three without an answer: {record:?}"
    );
    assert_eq!(send_once(&config).await.expect("tried").len(), 0);
    let next = body(&server, 3);
    assert_ne!(next["id"], body(&server, 0)["id"]);
    assert_eq!(next["alerts"][0]["state"], "closed");
}

#[tokio::test]
async fn a_channel_that_hangs_holds_up_no_other_and_a_stop_ends_all() {
    let mut host = RelayHost::new();
    let (stuck, quick) = (
        ScriptedHttp::start([HttpScript::Silence, HttpScript::Silence]),
        ScriptedHttp::start([]),
    );
    let mut slow = channel("slow", ChannelKind::Slack(endpoint(stuck.port())));
    slow.time_limit = DEADLINE;
    let config = config(
        &host,
        vec![slow, channel("quick", ChannelKind::Teams(endpoint(quick.port())))],
    );
    queue(&mut host, "slow", &[event("a", Began, (0, 0))]);
    let (news, heard) = watch::channel(());
    let stop = CancellationToken::new();
    let working = tokio::spawn({
        let stop = stop.clone();
        async move { run(&config, heard, &stop).await }
    });
    let comes = async |server: &ScriptedHttp| {
        while server.requests().len() != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waits = tokio::time::timeout(DEADLINE / 2, comes(&stuck));
    waits.await.expect("the slow one is tried");
    queue(&mut host, "quick", &[event("b", Began, (0, 0))]);
    news.send(()).expect("heard");
    let came = tokio::time::timeout(DEADLINE / 2, comes(&quick));
    came.await.expect("the quick one has its message");
    stop.cancel();
    let ended = tokio::time::timeout(DEADLINE / 2, working).await;
    ended.expect("it ends").expect("no panic").expect("no error");
    let waiting = host.ledger.channel_backlogs().expect("read");
    assert_eq!(waiting.len(), 1, "the slow one keeps its event: {waiting:?}");
}

#[tokio::test]
async fn a_command_gets_json_and_its_failures_are_told() {
    let mut host = RelayHost::new();
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let script = |name: &str, text: &str| {
        std::fs::write(path(name), format!("#!/bin/sh\n{text}\n")).expect("written");
        std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(0o755)).expect("allowed");
    };
    script("page", "cat > \"$1\"");
    script("fails", "echo 'no modem' >&2; exit 3");
    script("hangs", "sleep 600 & wait");
    let command = |argv: &[String]| channel("page", ChannelKind::Command(argv.to_vec()));
    let odd = path("out $(id) ;'");
    let mut config = config(&host, vec![command(&[path("page"), odd.clone()])]);
    queue(&mut host, "page", &[event("a", Began, (0, 0))]);
    config.channels[0].time_limit = DEADLINE;
    assert_eq!(send_once(&config).await.expect("tried").len(), 0);
    let got: Value =
        serde_json::from_str(&std::fs::read_to_string(odd).expect("no shell took it apart")).expect("JSON");
    assert_eq!(got["alerts"][0]["subject"], "a");

    for (argv, expected) in [
        (path("fails"), "ended with exit status: 3, and said: no modem"),
        (path("hangs"), "did not end within"),
        (path("absent"), "cannot start the command"),
    ] {
        let mut failing = command(&[argv]);
        failing.time_limit = if expected.starts_with("did") {
            Duration::from_millis(300)
        } else {
            DEADLINE
        };
        let error = test_channel(&config, &failing)
            .await
            .expect_err(expected)
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
    let found = probe_channel(&config.channels[0]).await.expect("a program");
    assert!(found.ends_with("is there; it was not run"), "{found}");
    assert!(probe_channel(&command(&[path("absent")])).await.is_err());
}

#[tokio::test]
async fn a_command_that_is_killed_each_time_has_not_taken_the_message() {
    let mut host = RelayHost::new();
    let hangs = ["sleep".to_owned(), "600".to_owned()];
    let mut page = channel("page", ChannelKind::Command(hangs.to_vec()));
    page.time_limit = Duration::from_millis(20);
    let config = config(&host, vec![page]);
    queue(&mut host, "page", &[event("a", Began, (0, 0))]);
    for attempt in 1..=5 {
        let failed = send_once(&config).await.expect("tried");
        assert_eq!(failed.len(), 1, "attempt {attempt} is made, and fails");
    }
    let waiting = host.ledger.channel_backlogs().expect("read");
    assert_eq!(waiting.len(), 1, "it still waits: {waiting:?}");
    let attempts = host.ledger.channel_records().expect("read")[0].attempts;
    assert_eq!(attempts, 5, "the rule `channel` sees that it fails");
}

#[tokio::test]
async fn a_probe_sends_no_message_and_an_error_shows_no_secret() {
    let host = RelayHost::new();
    let server = ScriptedHttp::start([
        HttpScript::Answer(405, &[], ""),
        HttpScript::Answer(404, &[], "no_service s3cr3ts3cr3t"),
        HttpScript::Answer(302, &["Location: http://192.0.2.1/\r\n"], ""),
    ]);
    let chat = channel("chat", ChannelKind::Slack(endpoint(server.port())));
    let config = config(&host, vec![chat.clone()]);
    let found = probe_channel(&chat).await.expect("it answers");
    assert!(found.contains("/… answers (405); no message was sent"), "{found}");
    assert_eq!(
        (
            server.requests()[0].request_line.as_str(),
            &*server.requests()[0].body
        ),
        ("OPTIONS /hook/s3cr3ts3cr3t HTTP/1.1", "")
    );
    for expected in [
        "answered 404 (no_service …); the address may have been withdrawn",
        "wants another address",
    ] {
        let error = test_channel(&config, &chat)
            .await
            .expect_err(expected)
            .to_string();
        assert!(error.contains(expected) && !error.contains("s3cr3t"), "{error}");
    }
    test_channel(&config, &chat).await.expect("taken");
    assert!(server.requests()[3].body.contains("this is a test"));
}

#[tokio::test]
async fn the_heartbeat_comes_while_looks_succeed_and_ends_when_they_fail() {
    let host = RelayHost::new();
    let server = ScriptedHttp::start([HttpScript::Answer(500, &[], "")]);
    let every = Duration::from_millis(20);
    let mut config = config(&host, Vec::new());
    config.interval = Duration::from_millis(5);
    config.heartbeat = Some(HeartbeatSettings {
        to: HeartbeatTarget::Url(endpoint(server.port())),
        every,
    });
    let (looked, seen) = watch::channel(None);
    let stop = CancellationToken::new();
    let beating = tokio::spawn({
        let (config, stop) = (config.clone(), stop.clone());
        async move { Box::pin(heartbeat::run(&config, seen, &stop)).await }
    });
    assert!(server.requests().is_empty(), "not before the first look");
    let until = async |signs: usize| {
        while server.requests().len() < signs {
            looked.send(Some(Instant::now())).expect("heard");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, until(4))
        .await
        .expect("signs, also after one was refused");
    assert_eq!(
        server.requests()[0].request_line,
        "GET /hook/s3cr3ts3cr3t HTTP/1.1"
    );
    // No look succeeds any more: the signs end.
    let mut last = server.requests().len();
    let ends = async {
        loop {
            tokio::time::sleep(every * 10).await;
            let now = server.requests().len();
            if now == last {
                break;
            }
            last = now;
        }
    };
    tokio::time::timeout(DEADLINE, ends).await.expect("they end");
    stop.cancel();
    tokio::time::timeout(DEADLINE, beating)
        .await
        .expect("it ends")
        .expect("no panic");

    let file = host.data_dir().join("heartbeat");
    config.heartbeat = Some(HeartbeatSettings {
        to: HeartbeatTarget::File(file.clone()),
        every,
    });
    let heartbeat = config.heartbeat.as_ref().expect("one");
    heartbeat::give(heartbeat, &config.smtp).await.expect("written");
    let text = std::fs::read_to_string(file).expect("a file");
    assert!(text.trim().parse::<Timestamp>().is_ok(), "{text}");
}

#[tokio::test]
async fn no_sign_is_given_while_looks_fail_however_rare_the_signs_are() {
    let host = RelayHost::new();
    let server = ScriptedHttp::start([]);
    let mut config = config(&host, Vec::new());
    config.interval = Duration::from_millis(1);
    config.heartbeat = Some(HeartbeatSettings {
        to: HeartbeatTarget::Url(endpoint(server.port())),
        every: Duration::from_hours(1),
    });
    let (looked, seen) = watch::channel(None);
    let stop = CancellationToken::new();
    let long_ago = Instant::now();
    tokio::time::sleep(Duration::from_millis(10)).await;
    looked.send(Some(long_ago)).expect("heard");
    let beating = heartbeat::run(&config, seen, &stop);
    tokio::pin!(beating);
    let waited = tokio::time::timeout(Duration::from_millis(200), &mut beating).await;
    assert!(waited.is_err() && server.requests().is_empty(), "the looks fail");
    // With the next look it is given, not an hour later.
    let given = async {
        while server.requests().is_empty() {
            looked.send(Some(Instant::now())).expect("heard");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let given = async {
        let given = tokio::time::timeout(DEADLINE, given).await;
        stop.cancel();
        given
    };
    let (given, ()) = tokio::join!(given, beating);
    given.expect("a sign");
}
