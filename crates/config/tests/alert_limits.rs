//! `monitor.limits` and `monitor.hold`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::time::Duration;

use logferry_config::{AlertLimits, ConfigError, MonitorSettings, parse};

fn monitor(more: &str) -> Result<MonitorSettings, ConfigError> {
    let text = format!(
        "monitor:\n  smtp: {{host: mail.example.com, from: a@example.com, to: [b@example.com]}}\n{more}"
    );
    let config = parse(&text, Path::new("logferry.yaml"), &|_| None)?;
    Ok(config.monitor.unwrap())
}

#[test]
fn limits_have_the_documented_defaults_and_take_times_and_a_percentage() {
    let hour = Duration::from_hours(1);
    let default = AlertLimits {
        lag: hour / 6,
        waiting: hour / 2,
        disk_percent: 90,
        certificate: 21 * 24 * hour,
    };
    assert_eq!(monitor("").unwrap().limits, default);
    let set = monitor("  limits: {lag: 1h, waiting: 2h, disk: 75%, certificate: 7d}\n").unwrap();
    let expected = AlertLimits {
        lag: hour,
        waiting: 2 * hour,
        disk_percent: 75,
        certificate: 7 * 24 * hour,
    };
    assert_eq!(set.limits, expected);
}

#[test]
fn wrong_limits_are_told_with_what_is_right() {
    for (text, told) in [
        (
            "limits: {disk: 90}",
            "is not a percentage from 1% to 100%; write it like 90%",
        ),
        ("limits: {lag: 5s}", "is below 30s; senders report every 10 s"),
        ("limits: {waitin: 5m}", "waiting"),
        ("hold: {fire: 1m}", "firing"),
    ] {
        let error = monitor(&format!("  {text}\n")).unwrap_err().to_string();
        assert!(error.contains(told), "{text}: {error}");
    }
}

#[test]
fn the_monitor_watches_what_the_other_sections_name() {
    let text = "  limits: {}\nrelay:\n  groups:\n    - {name: web, listen: \"127.0.0.1:5001\"}\n  limits: {min_free_disk: 2GiB}\n\
                housekeeper: {}\n";
    let host = monitor(text).unwrap().host;
    let groups: Vec<_> = host.groups.iter().map(ToString::to_string).collect();
    assert_eq!((groups, host.min_free_disk), (vec!["web".to_owned()], 2 << 30));
    let roles: Vec<_> = host.roles.iter().map(|(role, _)| *role).collect();
    assert_eq!(roles, ["relay", "monitor", "housekeeper"]);
    assert_eq!(host.certificates, []);
}

#[test]
fn the_monitor_watches_the_certificates_of_every_section() {
    let text = r#"  limits: {}
  channels:
    chat: {webhook_url: "https://hooks.example.com/x", ca_file: /dev/null}
    page: {webhook_url: "https://page.example.com/x", ca_file: /dev/null}
  heartbeat: {url: "https://hc.example.com/x", ca_file: /dev/null}
relay:
  groups: [{name: web, listen: "127.0.0.1:5001"}]
  tls: {cert_file: /dev/null, key_file: /dev/null, client_ca_file: /dev/null}
collector:
  sources:
    - {type: tcp, name: app, listen: "127.0.0.1:5170", tls: {cert_file: /dev/null, key_file: /dev/null}}
    - {type: mysql, name: shop, user: u, password: p, database: d, table: t, tls: {ca_file: /dev/null}}
indexer:
  opensearch: {url: "https://search.example.com:9200", ca_file: /dev/null}
console:
  tls: {cert_file: /dev/null, key_file: /dev/null}
"#;
    let certificates = monitor(text).unwrap().host.certificates;
    let settings: Vec<_> = certificates.iter().map(|it| it.setting).collect();
    let expected = [
        "relay.tls.cert_file",
        "relay.tls.client_ca_file",
        "collector.sources.tls.cert_file",
        "collector.sources.tls.ca_file",
        "indexer.opensearch.ca_file",
        "console.tls.cert_file",
        "monitor.channels.ca_file",
        "monitor.heartbeat.ca_file",
    ];
    assert_eq!(settings, expected);
}
