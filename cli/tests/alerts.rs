//! Incidents from outside: a monitor with an embedded mail server, `alerts`, `silence` and `status`.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::fs;
use std::process::{Command, Output};

use jiff::Timestamp;
use logferry_embedded_servers::MailSink;
use logferry_ledger::Ledger;
use serde_json::Value;
use tempfile::TempDir;

/// A relay host whose monitor looks when it is told to, as by cron, and what it mails.
struct RelayHost {
    dir: TempDir,
    sink: MailSink,
    ledger: Ledger,
}

impl RelayHost {
    async fn start() -> Self {
        let (dir, sink) = (tempfile::tempdir().unwrap(), MailSink::start().await.unwrap());
        let text = format!(
            "monitor:\n  data_dir: {}\n  metrics: null\n  expected_sources: [198.51.100.9]\n  \
             hold: {{clear: 0s}}\n  limits: {{disk: 100%}}\n  \
             smtp: {{host: 127.0.0.1, port: {}, from: ferry@example.com, to: [ops@example.com]}}\n",
            dir.path().display(),
            sink.port()
        );
        fs::write(dir.path().join("logferry.yaml"), text).unwrap();
        let ledger = Ledger::open_or_create(dir.path()).unwrap();
        Self { dir, sink, ledger }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_logferry"))
            .arg("-c")
            .arg(self.dir.path().join("logferry.yaml"))
            .args(arguments)
            .env_remove("LOGFERRY_CONFIG")
            .env_remove("LOGFERRY_LOG")
            .output()
            .unwrap()
    }

    /// What a command prints; it must succeed.
    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The monitor looks once. Returns the subjects of all mails so far.
    fn look(&self) -> Vec<String> {
        self.text(&["monitor", "--once"]);
        let mails = self.sink.messages().into_iter();
        let subject = |data: &[u8]| {
            let text = String::from_utf8_lossy(data).into_owned();
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("Subject: [logferry] "));
            line.unwrap_or_default().to_owned()
        };
        mails.map(|mail| subject(&mail.data)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_mailed_once_listed_with_its_timeline_and_its_end_is_mailed_once() {
    let mut host = RelayHost::start().await;
    for _ in 0..2 {
        assert_eq!(host.look(), ["critical: missing 198.51.100.9"]);
    }
    let alerts = host.json(&["alerts", "--json"]);
    let [open] = &alerts.as_array().unwrap()[..] else {
        panic!("{alerts}")
    };
    for (key, value) in [
        ("rule", "missing"),
        ("subject", "198.51.100.9"),
        ("severity", "critical"),
        ("state", "open"),
    ] {
        assert_eq!(open[key], value, "{open}");
    }
    assert_eq!(open["until"], Value::Null);
    assert!(open["since"].as_str().unwrap().parse::<Timestamp>().is_ok());
    let entry = &open["timeline"][0];
    assert!(
        entry["text"]
            .as_str()
            .unwrap()
            .starts_with("critical: source 198.51.100.9"),
        "{open}"
    );
    assert!(entry["at"].as_str().unwrap().parse::<Timestamp>().is_ok());
    let status = host.json(&["status", "--json"]);
    for key in ["rule", "subject", "severity", "since", "text"] {
        assert_eq!(status["incidents"][0][key], open[key], "{status}");
    }

    let group = "web-1".parse().unwrap();
    let source = "198.51.100.9".parse().unwrap();
    host.ledger
        .note_contact(&source, &group, Timestamp::now())
        .unwrap();
    for _ in 0..2 {
        let subjects = host.look();
        assert_eq!(subjects.len(), 2, "{subjects:?}");
        assert!(
            subjects[1].starts_with("over: missing 198.51.100.9 after "),
            "{subjects:?}"
        );
    }
    let alerts = host.json(&["alerts", "--json"]);
    assert_eq!(
        (&alerts[0]["state"], &alerts[1]),
        (&"closed".into(), &Value::Null)
    );
    assert!(alerts[0]["until"].is_string(), "{alerts}");
    assert_eq!(
        host.json(&["alerts", "--json", "--since", "2100-01-01"]),
        Value::Array(vec![])
    );
    assert!(host.text(&["alerts"]).contains("nothing is open\n\nover:\n- "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_mutes_a_subject_is_shown_and_ends_by_itself_and_a_slip_names_the_nearest() {
    let host = RelayHost::start().await;
    let wrong = host.run(&["silence", "198.51.100.8", "--for", "2h", "--why", "moving"]);
    assert_eq!(wrong.status.code(), Some(2));
    let error = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(
        error.contains("there is no subject 198.51.100.8; the nearest known one is 198.51.100.9"),
        "{error}"
    );
    for arguments in [
        &["silence", "198.51.100.9", "--for", "2h"][..],
        &["silence", "198.51.100.9", "--for", "2h", "--why", " "],
        &["alerts", "silence", "198.51.100.9", "--why", "moving"],
    ] {
        assert_eq!(host.run(arguments).status.code(), Some(2), "{arguments:?}");
    }

    let done = host.text(&[
        "alerts",
        "silence",
        "198.51.100.9",
        "--for",
        "2h",
        "--why",
        "moving",
    ]);
    assert!(done.starts_with("198.51.100.9 is silenced until "), "{done}");
    assert_eq!(host.look(), [""; 0]);
    let alerts = host.json(&["alerts", "--json"]);
    assert_eq!(alerts[0]["state"], "silenced", "{alerts}");
    assert!(host.text(&["alerts"]).contains("- SILENCED until "));
    let status = String::from_utf8(host.run(&["status"]).stdout).unwrap();
    let status = status.replace("\n  ", " ");
    assert!(
        status.contains("(SILENCED for ") && status.contains(": moving)"),
        "{status}"
    );

    assert_eq!(
        host.text(&["silence", "198.51.100.9", "--for", "0s", "--why", "done"]),
        "198.51.100.9 is no longer silenced\n"
    );
    assert_eq!(host.look(), ["critical: missing 198.51.100.9"], "it still is so");
    host.text(&["silence", "198.51.100.9", "--for", "1s", "--why", "a moment"]);
    while host.json(&["alerts", "--json"])[0]["state"] == "silenced" {}
    assert_eq!(host.json(&["alerts", "--json"])[0]["state"], "open");
}
