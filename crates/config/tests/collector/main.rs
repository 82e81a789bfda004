//! The `collector` section: the documented one, its defaults, and what is told about a wrong one; and the sender's `captures`.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::path::Path;
use std::time::Duration;

use logferry_config::{CollectorSettings, CollectorSourceKind, Config, ConfigError, parse};

const SOURCES: &str = r#"
    - {type: http, name: api, listen: "0.0.0.0:5000", keys_file: null}
    - {type: tcp, name: app, listen: "0.0.0.0:5170", tls: null}
    - {type: syslog, name: syslog, listen: "0.0.0.0:514", udp: true, tcp: true, tls: null}
    - {type: journal, name: journal, units: [], matches: []}
    - {type: mysql, name: shop, host: 127.0.0.1, port: 3306, user: ferry, password_file: PASSWORD, database: clientdb, table: logs,
       id: id, sent: sent, time: created_at, interval: 1s, batch: 1000}
    - {type: windows_events, name: win, path: "/srv/evtx/*.evtx"}
"#;

fn parsed(text: &str) -> Result<Config, ConfigError> {
    parse(text, Path::new("c.yaml"), &|_| None)
}

fn read(text: &str) -> CollectorSettings {
    parsed(text).expect("valid").collector.expect("a section")
}

/// What is told about the only source of a section.
fn told(source: &str) -> String {
    let text = format!("collector:\n  sources:\n    - {source}\n");
    parsed(&text).expect_err("wrong").to_string()
}

#[test]
fn documented_sources_are_read_with_the_documented_defaults() {
    let dir = tempfile::tempdir().expect("a folder");
    let password = dir.path().join("mysql");
    std::fs::write(&password, "secret\n").expect("a file");
    let sources = SOURCES.replace("PASSWORD", &password.display().to_string());
    let full = read(&format!(
        "collector:\n  state_dir: /var/lib/logferry/collector\n  rotate: {{max_bytes: 256MiB}}\n  sources:{sources}"
    ));
    let terse = read(&format!("collector:\n  sources:{sources}"));
    assert_eq!(full, terse);
    assert_eq!(full.state_dir, Path::new("/var/lib/logferry/collector"));
    assert_eq!(full.sender_state_dir, Path::new("/var/lib/logferry/sender"));
    assert_eq!((full.rotate_max_bytes, full.max_record), (256 << 20, 256 << 10));
    let types: Vec<_> = full.sources.iter().map(|source| source.kind.as_str()).collect();
    assert_eq!(
        types,
        ["http", "tcp", "syslog", "journal", "mysql", "windows_events"]
    );
    for source in &full.sources {
        match &source.kind {
            CollectorSourceKind::Http(http) => {
                assert_eq!((http.max_body, http.max_connections), (8 << 20, 1024));
                assert!(http.keys_file.is_none() && http.tls.is_none() && http.rate.is_none());
            }
            CollectorSourceKind::Tcp(tcp) => assert_eq!(tcp.listen.port(), 5170),
            CollectorSourceKind::Syslog(syslog) => assert!(syslog.udp && syslog.tcp),
            CollectorSourceKind::Journal(journal) => assert!(journal.units.is_empty()),
            CollectorSourceKind::Mysql(mysql) => {
                assert_eq!(
                    (mysql.sent.as_deref(), mysql.time.as_deref()),
                    (Some("sent"), Some("created_at"))
                );
                assert_eq!((mysql.interval, mysql.batch), (Duration::from_secs(1), 1000));
                assert_eq!(
                    mysql.password.as_ref().map(logferry_config::Secret::expose),
                    Some("secret")
                );
            }
            CollectorSourceKind::WindowsEvents(events) => assert_eq!(events.path, "/srv/evtx/*.evtx"),
        }
    }
}

#[test]
fn sender_in_the_same_file_says_where_its_state_is() {
    let text = "sender: {relay: \"http://192.0.2.1:5001\", state_dir: /s, captures: /c}
collector:
  sources: [{type: journal, name: journal}]
";
    let config = parsed(text).expect("valid");
    let sender = config.sender.expect("a sender");
    assert_eq!(
        (sender.captures.as_deref(), sender.logs.len()),
        (Some(Path::new("/c")), 0)
    );
    assert_eq!(
        config.collector.expect("a section").sender_state_dir,
        Path::new("/s")
    );
}

#[test]
fn sender_without_captures_needs_a_log() {
    let error = parsed("sender: {relay: \"http://192.0.2.1:5001\"}").expect_err("no log");
    assert!(error.to_string().contains("sender.logs: has no entry"), "{error}");
}

#[test]
fn section_without_sources_and_sources_of_one_name_are_refused() {
    let error = parsed("collector: {}").expect_err("no source").to_string();
    assert!(
        error.contains("collector.sources: has no entry; write at least `- {type: http"),
        "{error}"
    );
    let twice = "{type: journal, name: a}\n    - {type: journal, name: a}";
    assert!(
        told(twice).contains("collector.sources[1].name: `a` is also collector.sources[0].name"),
        "{}",
        told(twice)
    );
}

#[test]
fn wrong_source_is_told_with_its_line_key_and_cure() {
    for (source, expected) in [
        (
            "{name: a}",
            "3: collector.sources[0].type: is missing; write for example `http`",
        ),
        (
            "{type: smtp, name: a}",
            "write one of http, tcp, syslog, journal, mysql, windows_events",
        ),
        (
            "{type: journal, name: ../a}",
            "collector.sources[0].name: a log name may hold letters",
        ),
        (
            "{type: journal, name: a, port: 5}",
            "3: collector.sources[0].port: does not belong to a source of type journal; remove it",
        ),
        (
            "{type: http, name: a, lisen: \"0.0.0.0:1\"}",
            "unknown key; did you mean `listen`?",
        ),
        (
            "{type: http, name: a}",
            "collector.sources[0].listen: is missing; write for example `0.0.0.0:5000`",
        ),
        (
            "{type: syslog, name: a, listen: \"0.0.0.0:514\", udp: false, tcp: false}",
            "has neither udp nor tcp",
        ),
        (
            "{type: syslog, name: a, listen: \"0.0.0.0:514\", tls: {cert_file: x}}",
            "collector.sources[0].tls",
        ),
        (
            "{type: journal, name: a, matches: [nginx]}",
            "`nginx` is no match; write a field of the journal and its value",
        ),
        (
            "{type: mysql, name: a, database: d, table: t}",
            "collector.sources[0].user: is missing",
        ),
        (
            "{type: mysql, name: a, user: u, database: d, table: t, interval: 0s}",
            "must be above zero",
        ),
        (
            "{type: mysql, name: a, user: u, database: d, table: t, tls: {ca_file: /nothing/ca.pem}}",
            "3: collector.sources[0].tls.ca_file: /nothing/ca.pem cannot be read: there is no such file",
        ),
        (
            "{type: mysql, name: a, user: u, database: d, table: t, tls: {client_ca_file: x}}",
            "collector.sources[0].tls.client_ca_file: is for a source to which clients connect; write ca_file",
        ),
        (
            "{type: mysql, name: a, user: u, database: d, table: t, tls: {ca_file: /dev/null, verify: false}}",
            "collector.sources[0].tls.verify: is false, so nothing is checked against ca_file",
        ),
        (
            "{type: tcp, name: a, listen: \"0.0.0.0:5170\", tls: {ca_file: x}}",
            "collector.sources[0].tls.ca_file: is for a source that connects to a server; client_ca_file says",
        ),
        (
            "{type: windows_events, name: a, path: \"~/x\"}",
            "which only a shell knows",
        ),
        ("{type: windows_events, name: a, path: \"/x/[\"}", "is not a glob"),
    ] {
        let told = told(source);
        assert!(told.contains(expected), "{expected}\nis not in\n{told}");
    }
}

#[test]
fn two_sources_cannot_listen_on_one_address() {
    let told = told(
        "{type: http, name: a, listen: \"0.0.0.0:5000\"}\n    - {type: tcp, name: b, listen: \"127.0.0.1:5000\"}",
    );
    assert!(
        told.contains("`127.0.0.1:5000` cannot be used beside collector.sources[0].listen"),
        "{told}"
    );
}
