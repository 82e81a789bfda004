//! `logferry rules`, `test-mail --channel` and what `check --connect` says of channels, by what they print.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::path::Path;
use std::process::{Command, Output};

use jiff::Timestamp;
use logferry_ledger::Ledger;
use logferry_numbers::{CountedLine, IndexChange, IndexDb, NumbersKept, SeriesKey};
use logferry_test_servers::{HttpScript, ScriptedHttp};
use serde_json::Value;
use tempfile::TempDir;

/// A configuration whose mail server cannot be reached, with rules and these channels.
fn configuration(channels: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let text = format!(
        "monitor:\n  data_dir: {}\n  metrics: null\n  hold: {{firing: 0s, clear: 0s}}\n  \
         smtp: {{host: 127.0.0.1, port: 1, from: a@example.com, to: [a@example.com]}}\n  rules:\n    \
         - {{name: errors, counter: status_5xx, measure: share, above: 5%, by: source}}\n  channels: {{{channels}}}\n\
         indexer:\n  data_dir: {}\n  store_dir: {}\n",
        path("relay"),
        path("relay"),
        path("index")
    );
    std::fs::write(dir.path().join("logferry.yaml"), text).unwrap();
    std::fs::create_dir(dir.path().join("relay")).unwrap();
    dir
}

fn logferry(dir: &Path, arguments: &[&str]) -> (String, String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command.args(arguments).arg("-c").arg(dir.join("logferry.yaml"));
    let Output {
        status,
        stdout,
        stderr,
    } = command.env_remove("LOGFERRY_LOG").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(stdout), text(stderr), status.code().unwrap())
}

/// Counts lines with a status in the minute so many minutes ago, as the indexer does.
fn count(dir: &Path, ago: i64, status: u16) {
    let ledger = Ledger::open_or_create(&dir.join("relay")).unwrap();
    let index = dir.join("index");
    std::fs::create_dir_all(&index).unwrap();
    let mut change = IndexChange {
        ledger: ledger.id().unwrap().to_string(),
        ..IndexChange::default()
    };
    let now = Timestamp::now().as_second();
    let series = change.tally.series(SeriesKey {
        source: "web-1".to_owned(),
        group: "web".to_owned(),
        log: None,
    });
    let line = CountedLine {
        bytes: 10,
        status: Some(status),
        is_parsed: true,
        ..CountedLine::default()
    };
    change.tally.minute(now - 60 * ago, series).count(&line);
    let day = std::time::Duration::from_hours(48);
    let kept = NumbersKept {
        minutes: day,
        hours: day,
        gaps: day,
    };
    IndexDb::open_or_create(&index)
        .unwrap()
        .record(&mut change, kept, now)
        .unwrap();
}

#[test]
fn rules_are_shown_and_tested_on_what_is_stored() {
    let dir = configuration("");
    drop(Ledger::open_or_create(&dir.path().join("relay")).unwrap());
    let (shown, _, code) = logferry(dir.path(), &["rules"]);
    assert!(
        shown.contains("\nnot evaluated: there are no numbers, as "),
        "{shown}"
    );
    assert_eq!(code, 1);

    count(dir.path(), 600, 200);
    count(dir.path(), 120, 503);
    let (shown, _, code) = logferry(dir.path(), &["rules"]);
    let line = shown.lines().nth(1).unwrap();
    assert!(
        line.starts_with("errors  status_5xx  above 5%  5 min  warning   mail"),
        "{shown}"
    );
    assert!(line.ends_with("unknown"), "no lines in the last minutes: {shown}");
    assert_eq!(code, 0);

    let (json, _, code) = logferry(dir.path(), &["rules", "--test", "--since", "24h", "--json"]);
    let tested: Value = serde_json::from_str(&json).unwrap();
    let firings = tested[0]["firings"].as_array().unwrap();
    assert_eq!((firings.len(), code), (1, 0), "{json}");
    assert_eq!(firings[0]["subject"], "web-1");
    let text = firings[0]["text"].as_str().unwrap();
    assert_eq!(text, "status_5xx: 100% of 1 line in 5 min, above 5%");
    let (table, _, _) = logferry(dir.path(), &["rules", "--test"]);
    assert!(table.contains("errors: 1 alert\n"), "{table}");
    let (none, _, _) = logferry(dir.path(), &["rules", "--test", "--since", "1h"]);
    assert_eq!(none, "errors: would not have fired\n");
}

#[test]
fn channels_are_tried_with_a_message_and_without_one() {
    let server = ScriptedHttp::start([
        HttpScript::Answer(405, &[], ""),
        HttpScript::Answer(200, &[], ""),
        HttpScript::Answer(410, &[], "gone: /hook/s3cr3ts3cr3t"),
    ]);
    let channel = format!(
        "chat: {{slack_url: \"http://127.0.0.1:{}/hook/s3cr3ts3cr3t\"}}",
        server.port()
    );
    let dir = configuration(&channel);
    let (checked, _, _) = logferry(dir.path(), &["check", "--connect"]);
    let expected = format!(
        "channel chat: http://127.0.0.1:{}/… answers (405); no message was sent",
        server.port()
    );
    assert!(checked.contains(&expected), "{checked}");

    let (sent, _, code) = logferry(dir.path(), &["test-mail", "--channel", "chat"]);
    assert_eq!((sent.as_str(), code), ("channel chat took a test message\n", 0));
    let (_, failed, code) = logferry(dir.path(), &["test-mail", "--channel", "chat"]);
    assert!(
        failed.contains("answered 410 (gone: …); the address may have been withdrawn"),
        "{failed}"
    );
    assert!(!failed.contains("s3cr3t") && code == 3, "{failed}");
    let (_, unknown, code) = logferry(dir.path(), &["test-mail", "--channel", "caht"]);
    assert!(
        unknown.contains("there is no channel `caht` in monitor.channels"),
        "{unknown}"
    );
    assert_eq!(code, 2);
}
