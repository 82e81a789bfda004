//! The documented configuration is read as documented, and what it leaves out gets the documented defaults.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use logferry_config::{
    Backoff, ChunkCompression, ChunkLimits, ClientTls, Config, DeliveryRetry, DiskThresholds, GroupLimits,
    HostKeyPolicy, HousekeeperSettings, Login, NameTemplate, RotatedNames, Secret, SmtpTls, SourceSetting,
    StartPosition, TimestampFormat, parse,
};

/// The documented file with every default written out, as far as this version goes, and a password.
const FULL: &str = r#"
sender:
  relay: http://192.0.2.10:5001
  source: auto
  local_address: null
  state_dir: /var/lib/logferry/sender
  logs:
    - path: /app/log/nginx/access.log
      rotated: auto
      name: access
      start: beginning
      exclude:
        - ["/health.php", "nginx/", "health check"]
      max_line: 1MiB
  chunk: {max_bytes: 1MiB, max_lines: 10000, max_delay: 1s}
  in_flight: 4
  compression: none
  retry: {initial: 200ms, max: 30s}
  token_file: null
  tls: {ca_file: null, cert_file: null, key_file: null}
  metrics: null
relay:
  data_dir: /var/lib/logferry/relay
  groups:
    - {name: web-1, listen: "0.0.0.0:5001", sources: ["198.51.100.1-198.51.100.5"]}
    - {name: web-2, listen: "0.0.0.0:5002", sources: ["198.51.100.6/31", "198.51.100.8"], trust_source: false}
  batch:
    window: 20m
    name: "accessLog_{yymmddHH}_{window}_{source}"
    seal_after: 2m
    slack: 10s
    hold: 30m
    max_bytes: 1GiB
    timestamp: auto
  limits: {max_chunk: 16MiB, max_in_flight: 64MiB, max_connections: 1024, min_free_disk: 1GiB}
  tls: {cert_file: null, key_file: null, client_ca_file: null}
  tokens_file: null
  metrics: 127.0.0.1:9102
forwarder:
  data_dir: /var/lib/logferry/relay
  interval: 5s
  destinations:
    - name: edw
      host: drop.example.com
      port: 22
      user: ferry
      directory: /cdrdata/source_data
      password: ${DROP_PASSWORD}
      password_file: null
      known_hosts: /etc/logferry/known_hosts
      sessions: 4
      compress: none
      temp_suffix: .part
      marker: null
      manifest: null
      retry: {attempts: 3, initial: 5s, max: 5m}
      failed_every: 60s
      bandwidth: null
monitor:
  data_dir: /var/lib/logferry/relay
  interval: 60s
  stale_after: 5m
  hold: {firing: 0s, clear: 2m}
  expected_sources: []
  smtp: {host: mail.example.com, port: 25, from: ops@example.com, to: [ops@example.com],
         user: null, password_file: null, tls: none, ca_file: null, hello_name: null, subject_prefix: "[logferry]"}
  summary: {every: hour, after: 15m, daily: true}
  metrics: 127.0.0.1:9103
housekeeper:
  data_dir: /var/lib/logferry/relay
  compress_after: 3h
  delete_after: 4h
  schedule: "0 */10 * * * *"
  disk: {warn: 80%, early_delete: 90%}
  keep_ledger: 90d
"#;

/// The same with only what is required.
const TERSE: &str = r#"
sender:
  relay: http://192.0.2.10:5001
  logs:
    - path: /app/log/nginx/access.log
      exclude:
        - ["/health.php", "nginx/", "health check"]
relay:
  groups:
    - {name: web-1, listen: "0.0.0.0:5001", sources: ["198.51.100.1-198.51.100.5"]}
    - {name: web-2, listen: "0.0.0.0:5002", sources: ["198.51.100.6/31", "198.51.100.8"]}
forwarder:
  destinations:
    - {name: edw, host: drop.example.com, user: ferry, directory: /cdrdata/source_data, password: "${DROP_PASSWORD}"}
monitor:
  smtp: {host: mail.example.com, from: ops@example.com, to: [ops@example.com]}
housekeeper: {}
"#;

fn read(text: &str) -> Config {
    let env = |name: &str| (name == "DROP_PASSWORD").then(|| "hunter2".to_owned());
    parse(text, Path::new("logferry.yaml"), &env).expect("valid")
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_defaults_are_the_documented_ones() {
    assert_eq!(read(TERSE), read(FULL));
}

#[test]
fn the_documented_sender_is_read_as_documented() {
    let sender = read(FULL).sender.expect("a sender section");
    let [relay] = &sender.relay[..] else {
        panic!("one relay")
    };
    assert_eq!(relay.to_string(), "http://192.0.2.10:5001");
    assert_eq!(
        (sender.compression, sender.token_file, sender.tls),
        (ChunkCompression::None, None, ClientTls::default())
    );
    assert_eq!(sender.source, SourceSetting::Auto);
    assert_eq!(sender.local_address, None);
    assert_eq!(sender.state_dir, Path::new("/var/lib/logferry/sender"));
    assert_eq!(
        sender.chunk,
        ChunkLimits {
            max_bytes: 1 << 20,
            max_lines: 10_000,
            max_delay: seconds(1)
        }
    );
    assert_eq!(sender.in_flight, 4);
    assert_eq!(
        sender.retry,
        Backoff {
            initial: Duration::from_millis(200),
            max: seconds(30)
        }
    );
    assert_eq!(sender.metrics, None);

    let [log] = &sender.logs[..] else {
        panic!("one log")
    };
    assert_eq!(log.path, "/app/log/nginx/access.log");
    assert_eq!(log.rotated, RotatedNames::Auto);
    assert_eq!(log.name.as_str(), "access");
    assert_eq!(log.start, StartPosition::Beginning);
    assert_eq!(log.exclude, [["/health.php", "nginx/", "health check"]]);
    assert_eq!(log.max_line, 1 << 20);
}

#[test]
fn smaller_chunks_alone_have_smaller_lines() {
    let text =
        "sender: {relay: 'http://192.0.2.10:5001', chunk: {max_bytes: 512KiB}, logs: [{path: /a.log}]}";
    let sender = read(text).sender.expect("a sender");
    assert_eq!(
        (sender.chunk.max_bytes, sender.logs[0].max_line),
        (512 << 10, 512 << 10)
    );
}

#[test]
fn rotated_names_are_auto_or_globs() {
    let with = |rotated: &str| {
        let text = FULL.replace("rotated: auto", &format!("rotated: {rotated}"));
        parse(&text, Path::new("c.yaml"), &|_| Some("secret".to_owned()))
    };
    let globs = with("[/log/a.*, /old/a-*]")
        .expect("valid")
        .sender
        .expect("a sender");
    let expected = RotatedNames::Globs(vec!["/log/a.*".into(), "/old/a-*".into()]);
    assert_eq!(globs.logs[0].rotated, expected);
    let relative = with("[access.log.*, old/access-*]").expect("valid").sender;
    let expected = ["access.log.*", "old/access-*"].map(|glob| format!("/app/log/nginx/{glob}"));
    assert_eq!(
        relative.expect("a sender").logs[0].rotated,
        RotatedNames::Globs(expected.to_vec())
    );
    let error = with("/log/a.*").expect_err("no list").to_string();
    assert!(error.contains("write globs as a list: [\"/log/a.*\"]"), "{error}");
    assert!(error.contains("c.yaml:9:"), "{error}");
}

#[test]
fn the_documented_relay_is_read_as_documented() {
    let relay = read(FULL).relay.expect("a relay section");
    assert_eq!(relay.data_dir, Path::new("/var/lib/logferry/relay"));
    assert_eq!(
        relay.limits,
        GroupLimits {
            max_chunk: 16 << 20,
            max_in_flight: 64 << 20,
            max_in_flight_total: 64 << 20,
            max_connections: 1024,
            min_free_disk: 1 << 30
        }
    );
    assert_eq!(relay.metrics, Some(([127, 0, 0, 1], 9102).into()));

    let batch = relay.batch;
    assert_eq!(batch.window.seconds(), 1200);
    assert_eq!(
        Ok(batch.name),
        NameTemplate::parse("accessLog_{yymmddHH}_{window}_{source}")
    );
    assert_eq!(
        (batch.seal_after, batch.slack, batch.hold),
        (seconds(120), seconds(10), seconds(1800))
    );
    assert_eq!(batch.max_bytes, 1 << 30);
    assert_eq!(batch.timestamp, TimestampFormat::Auto);

    let [first, second] = &relay.groups[..] else {
        panic!("two groups")
    };
    assert_eq!(
        (first.name.as_str(), first.listen),
        ("web-1", ([0, 0, 0, 0], 5001).into())
    );
    assert!(first.sources.allows_ip([198, 51, 100, 5].into()));
    assert!(!first.sources.allows_ip([198, 51, 100, 6].into()));
    assert!(!first.trust_source);
    assert!(second.sources.allows_ip([198, 51, 100, 7].into()));
}

#[test]
fn formats_are_those_of_the_relays_batches_and_keep_their_dollars() {
    let config = read(
        "formats:\n  shop: |\n    log_format shop '$remote_addr|${time_local}|'\n      '$request';\n  open: '$remote_user|$msec|$request'\n\
         relay:\n  groups: [{name: a, listen: '127.0.0.1:0'}]\n",
    );
    let relay = config.relay.expect("a relay section");
    assert_eq!(relay.batch.formats, config.formats);
    let time = |log: &str, line: &str| {
        let mut clock = relay
            .batch
            .clock(&log.parse().expect("a name"), jiff::Timestamp::UNIX_EPOCH);
        clock.read(line.as_bytes()).map(|time| time.unix)
    };
    assert_eq!(
        time("shop", "10.0.0.1|21/Nov/2026:08:20:03 +0600|GET /"),
        Some(1_795_227_603)
    );
    assert_eq!(time("shop", "2026-11-21T02:20:03Z of no such format"), None);
    assert_eq!(
        time("other", "2026-11-21T02:20:03Z of any format"),
        Some(1_795_227_603)
    );
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(config.warnings[0].starts_with("formats.open: a client can write a second time into"));
}

#[test]
fn the_documented_forwarder_is_read_as_documented() {
    let forwarder = read(FULL).forwarder.expect("a forwarder section");
    assert_eq!(forwarder.data_dir, Path::new("/var/lib/logferry/relay"));
    assert_eq!(forwarder.interval, seconds(5));
    let [edw] = &forwarder.destinations[..] else {
        panic!("one destination")
    };
    assert_eq!(
        (edw.name.as_str(), &*edw.host, edw.port, &*edw.user),
        ("edw", "drop.example.com", 22, "ferry")
    );
    assert_eq!(edw.directory, "/cdrdata/source_data");
    assert_eq!(edw.login, Login::Password(Secret::new("hunter2")));
    assert_eq!(
        edw.host_key,
        HostKeyPolicy::KnownHosts("/etc/logferry/known_hosts".into())
    );
    assert_eq!((edw.sessions, &*edw.temp_suffix), (4, ".part"));
    assert_eq!(
        edw.retry,
        DeliveryRetry {
            attempts: 3,
            backoff: Backoff {
                initial: seconds(5),
                max: seconds(300),
            },
        }
    );
    assert_eq!((edw.failed_every, edw.stall_after), (seconds(60), seconds(30)));
}

#[test]
fn the_documented_helpers_are_read_as_documented() {
    let config = read(FULL);
    let monitor = config.monitor.expect("a monitor section");
    assert_eq!(monitor.data_dir, Path::new("/var/lib/logferry/relay"));
    assert_eq!(
        (monitor.interval, monitor.stale_after),
        (seconds(60), seconds(300))
    );
    assert_eq!(monitor.expected_sources, []);
    assert_eq!((&*monitor.smtp.host, monitor.smtp.port), ("mail.example.com", 25));
    assert_eq!(
        (&*monitor.smtp.from, &monitor.smtp.to[..]),
        ("ops@example.com", &["ops@example.com".to_owned()][..])
    );
    assert_eq!(
        (monitor.smtp.user, monitor.smtp.password, monitor.smtp.tls),
        (None, None, SmtpTls::None)
    );
    assert_eq!((monitor.smtp.ca_file, monitor.smtp.hello_name), (None, None));
    assert_eq!(
        (monitor.hold.firing, monitor.hold.clear),
        (seconds(0), seconds(120))
    );
    assert_eq!(monitor.smtp.subject_prefix, "[logferry]");
    assert_eq!(
        (monitor.summary.after, monitor.summary.daily),
        (seconds(900), true)
    );
    let destinations = monitor.summary.destinations.iter().map(|it| it.name.as_str());
    assert_eq!(destinations.collect::<Vec<_>>(), ["edw"]);
    assert_eq!(monitor.metrics, Some(([127, 0, 0, 1], 9103).into()));
    assert_eq!(
        config.housekeeper,
        Some(HousekeeperSettings {
            data_dir: "/var/lib/logferry/relay".into(),
            compress_after: seconds(3 * 3600),
            delete_after: seconds(4 * 3600),
            schedule: "0 */10 * * * *".to_owned(),
            disk: DiskThresholds {
                warn: 80,
                early_delete: 90,
            },
            keep_ledger: seconds(90 * 24 * 3600),
        })
    );
}

#[test]
fn the_roles_of_one_host_share_the_relays_folder() {
    let text = TERSE.replace("relay:\n  groups", "relay:\n  data_dir: /srv/ferry\n  groups");
    let config = read(&text);
    assert_eq!(
        config.forwarder.expect("forwarder").data_dir,
        Path::new("/srv/ferry")
    );
    assert_eq!(config.monitor.expect("monitor").data_dir, Path::new("/srv/ferry"));
    assert_eq!(
        config.housekeeper.expect("housekeeper").data_dir,
        Path::new("/srv/ferry")
    );
}

#[test]
fn null_turns_the_metrics_port_off() {
    let text = "relay: {groups: [{name: a, listen: '127.0.0.1:0'}, {name: b, listen: '127.0.0.1:0'}], metrics: null}";
    assert_eq!(read(text).relay.expect("relay").metrics, None);
}

#[test]
fn environment_variables_stand_in_any_value() {
    let env = |name: &str| match name {
        "HOST" => Some("192.0.2.10".to_owned()),
        "PORT" => Some("5001".to_owned()),
        "FLIGHT" => Some("7".to_owned()),
        _ => None,
    };
    let text = "sender: {relay: 'http://${HOST}:${PORT}', in_flight: '${FLIGHT}', logs: [{path: /a.log}]}";
    let sender = parse(text, Path::new("c.yaml"), &env)
        .expect("valid")
        .sender
        .expect("sender");
    assert_eq!(
        (sender.relay[0].to_string(), sender.in_flight),
        ("http://192.0.2.10:5001".to_owned(), 7)
    );
}

fn secret_file(folder: &Path, name: &str, content: &str, mode: u32) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("write");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    path
}

fn with_login(login: &str) -> String {
    format!("forwarder: {{destinations: [{{name: d, host: h, user: u, directory: in/, {login}}}]}}")
}

#[test]
fn a_secret_file_is_read_without_its_line_end() {
    let folder = tempfile::tempdir().expect("folder");
    let path = secret_file(folder.path(), "password", "two words \r\n", 0o640);
    let config = read(&with_login(&format!("password_file: {}", path.display())));
    assert_eq!(config.warnings, [""; 0]);
    let destination = &config.forwarder.expect("forwarder").destinations[0];
    assert_eq!(destination.login, Login::Password(Secret::new("two words ")));
    assert_eq!(destination.directory, "in");
}

#[test]
fn every_way_to_log_in_is_read() {
    let login = |text: &str| {
        let config = read(&with_login(text));
        config.forwarder.expect("forwarder").destinations[0].login.clone()
    };
    let socket = Some(PathBuf::from("/run/agent"));
    assert_eq!(login("agent: true"), Login::Agent { socket: None });
    assert_eq!(
        login("agent: true, agent_socket: /run/agent"),
        Login::Agent { socket }
    );
    assert_eq!(
        login("key_file: /k, passphrase: p, password: q"),
        Login::KeyAndPassword {
            file: "/k".into(),
            passphrase: Some(Secret::new("p")),
            password: Secret::new("q"),
        }
    );
}

#[test]
fn a_secret_that_every_user_can_read_is_warned_about() {
    let folder = tempfile::tempdir().expect("folder");
    let key = secret_file(folder.path(), "id", "a key", 0o644);
    let passphrase = secret_file(folder.path(), "passphrase", "open", 0o604);
    let (key, passphrase) = (key.display(), passphrase.display());
    let config = read(&with_login(&format!(
        "key_file: {key}, passphrase_file: {passphrase}"
    )));
    assert_eq!(
        config.warnings,
        [
            format!(
                "forwarder.destinations[0].passphrase_file: {passphrase} holds a secret and every user can read it; \
                 run chmod o-r {passphrase}"
            ),
            format!(
                "forwarder.destinations[0].key_file: {key} holds a secret and every user can read it; \
                 run chmod o-r {key}"
            ),
        ]
    );
}

#[test]
fn a_password_in_a_configuration_that_every_user_can_read_is_warned_about() {
    let folder = tempfile::tempdir().expect("folder");
    let path = secret_file(
        folder.path(),
        "logferry.yaml",
        &with_login("password: hunter2"),
        0o644,
    );
    let config = logferry_config::load(&path).expect("valid");
    let path = path.display();
    let right = format!("holds a secret and every user can read it; run chmod o-r {path}");
    assert_eq!(
        config.warnings,
        [format!("forwarder.destinations[0].password: {path} {right}")]
    );
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", read(FULL));
    assert!(shown.contains("Password(***)"));
    assert!(!shown.contains("hunter2"));
}
