//! A role needs its own section to be valid, not those of others.

use std::path::Path;

use logferry_config::{Config, ConfigError, parse_for};

const RELAY: &str = "relay:\n  data_dir: /spool\n  groups: [{name: a, listen: '127.0.0.1:0'}]\n";
const FORWARDER: &str =
    "forwarder:\n  destinations: [{name: d, host: h, user: u, directory: d, password: p}]\n";

fn read(text: &str, role: &str) -> Result<Config, ConfigError> {
    parse_for(text, Path::new("c.yaml"), &|_| None, role)
}

#[test]
fn a_typo_in_another_section_is_a_warning() {
    let text = format!("{RELAY}{FORWARDER}monitor:\n  smpt: {{}}\nhouskeeper: {{}}\n");
    for role in ["relay", "forwarder"] {
        let config = read(&text, role).expect(role);
        assert!(config.relay.is_some() && config.forwarder.is_some() && config.monitor.is_none());
        let own = "does not use this setting, but the role that does cannot start";
        let typo = format!("c.yaml:7: monitor.smpt: unknown key; did you mean `smtp`?; the {role} {own}");
        assert!(config.warnings.contains(&typo), "{:?}", config.warnings);
    }
    let error = read(&text, "monitor").expect_err("its own section").to_string();
    assert!(
        error.starts_with("c.yaml:7: monitor.smpt: unknown key"),
        "{error}"
    );
}

#[test]
fn the_data_folder_of_a_broken_relay_section_still_counts() {
    let text = format!("relay:\n  data_dir: /spool\n  groups: 5\n{FORWARDER}");
    let forwarder = read(&text, "forwarder")
        .expect("valid")
        .forwarder
        .expect("a section");
    assert_eq!(forwarder.data_dir, Path::new("/spool"));
    for unknown in ["relay: 5\n", "relay:\n  data_dir: [a]\n", "relay:\n"] {
        let error = read(&format!("{unknown}{FORWARDER}"), "forwarder").expect_err(unknown);
        assert!(
            error.to_string().contains(": relay"),
            "its folder is not known: {error}"
        );
    }
}

#[test]
fn window_manifests_wait_for_the_monitors_sources() {
    let manifests = FORWARDER.replace("password: p", "password: p, window_manifest: true");
    let monitor = "monitor:\n  expected_sources: [../x]\n  smtp: {host: m, from: a@b, to: [a@b]}\n";
    assert!(read(&format!("{RELAY}{FORWARDER}{monitor}"), "forwarder").is_ok());
    let error = read(&format!("{RELAY}{manifests}{monitor}"), "forwarder").expect_err("unknown sources");
    assert!(
        error.to_string().contains("monitor.expected_sources[0]"),
        "{error}"
    );
}

#[test]
fn a_file_without_the_roles_section_is_judged_as_a_whole() {
    let error = read(&format!("{RELAY}forwader: {{}}\n"), "forwarder").expect_err("a typo");
    assert_eq!(
        error.to_string(),
        "c.yaml:4: forwader: unknown key; did you mean `forwarder`?"
    );
    assert!(read(RELAY, "forwarder").expect("valid").forwarder.is_none());
}

#[test]
fn formats_of_logs_concern_the_roles_that_look_into_lines() {
    let sections = "housekeeper: {}\nindexer: {}\nconsole: {}\n\
                    monitor: {smtp: {host: m, from: a@b, to: [a@b]}}\n\
                    sender: {relay: 'http://h:1', logs: [{path: /a.log}]}\n\
                    collector: {sources: [{type: tcp, name: app, listen: '127.0.0.1:0'}]}\n";
    let text = format!("{RELAY}{FORWARDER}{sections}formats: {{shop: combind}}\n");
    let broken = |role: &str| read(&text, role).err().map(|error| error.to_string());
    for role in ["relay", "indexer", "console"] {
        let said = broken(role).expect(role);
        assert!(said.starts_with("c.yaml:12: formats.shop: "), "{said}");
    }
    for role in ["sender", "collector", "forwarder", "monitor", "housekeeper"] {
        assert_eq!(broken(role), None, "{role}");
        let warnings = read(&text, role).expect(role).warnings;
        let told = format!("; the {role} does not use this setting, but the role that does cannot start");
        let is_told = |warning: &String| warning.contains("formats.shop: ") && warning.ends_with(&told);
        assert!(warnings.iter().any(is_told), "{role}: {warnings:?}");
    }
}

/// The sections of a host whose roles have users of their own. None of the files is there, as none may be opened.
const FOREIGN_FILES: &str = "\
relay:
  data_dir: /spool
  groups: [{name: web, listen: '127.0.0.1:0'}]
  limits: {min_free_disk: 7GiB}
  tls: {cert_file: /none/relay.crt, key_file: /none/relay.key, client_ca_file: /none/ca.crt}
  tokens_file: /none/tokens
forwarder:
  destinations:
    - {name: edw, host: h, user: u, directory: d, password_file: /none/edw}
    - {name: old, host: h, user: u, directory: d, key_file: /none/key, passphrase: '${NOT_SET_HERE}'}
monitor:
  expected_sources: [198.51.100.1]
  smtp: {host: m, from: a@b, to: [a@b], user: u, password_file: /none/smtp, ca_file: /none/ca.crt}
  channels:
    chat: {slack_url_file: /none/slack, ca_file: /none/ca.crt}
    page: {webhook_url: 'https://h/${NOT_SET_HERE}'}
  heartbeat: {url_file: /none/heartbeat}
  rules: [{name: silence, counter: lines, measure: count, below: 1, over: 15m, channels: [chat]}]
collector:
  sources:
    - {type: http, name: api, listen: '127.0.0.1:0', keys_file: /none/keys, tls: {cert_file: /none/api.crt, key_file: /none/api.key}}
    - {type: mysql, name: shop, user: u, password_file: /none/shop, database: d, table: t}
sender:
  relay: https://h:1
  token_file: /none/token
  logs: [{path: /a.log}]
housekeeper: {}
";
const INDEXER: &str =
    "indexer:\n  opensearch: {url: 'https://h:9200', api_key_file: /none/api, ca_file: /none/ca.crt}\n";
const CONSOLE: &str = "console:\n  tls: {cert_file: /none/console.crt, key_file: /none/console.key}\n";

#[test]
fn files_and_secrets_of_another_role_are_not_read_and_its_section_counts() {
    let indexer = read(&format!("{FOREIGN_FILES}indexer: {{}}\n{CONSOLE}"), "indexer").expect("valid");
    assert_eq!(indexer.warnings, [""; 0]);
    let left_free = indexer.indexer.expect("a section").min_free_disk;
    assert_eq!(left_free, 7 << 30, "what the relay needs");

    let config = read(&format!("{FOREIGN_FILES}{INDEXER}console: {{}}\n"), "console").expect("valid");
    assert_eq!(config.warnings, [""; 0]);
    let shared = config.console.expect("a section").shared;
    let destinations = shared.host.destinations.iter();
    let destinations: Vec<_> = destinations
        .map(|destination| destination.name.as_str())
        .collect();
    assert_eq!(destinations, ["edw", "old"]);
    assert_eq!(shared.host.min_free_disk, 7 << 30);
    assert_eq!(shared.expected_sources.len(), 1);
    assert_eq!(shared.rules.len(), 1);
    assert!(shared.has_opensearch);
    assert_eq!(shared.host.roles.len(), 8);
    let certificates = shared.host.certificates.iter();
    let relays = certificates.filter(|used| used.setting.starts_with("relay.tls."));
    assert_eq!(relays.count(), 2, "the paths stay");
}

#[test]
fn files_of_the_own_role_are_read() {
    for (role, setting) in [
        ("relay", "relay.tls.key_file: /none/relay.key"),
        ("forwarder", "forwarder.destinations[0].password_file: /none/edw"),
        ("monitor", "monitor.channels.chat.slack_url_file: /none/slack"),
        ("collector", "collector.sources[0].keys_file: /none/keys"),
        ("sender", "sender.token_file: /none/token"),
    ] {
        let error = read(FOREIGN_FILES, role).expect_err(role).to_string();
        assert!(error.contains(setting), "{error}");
        let foreign = error.lines().filter(|line| !line.contains(&format!(": {role}.")));
        assert_eq!(foreign.collect::<Vec<_>>(), [""; 0], "{error}");
    }
}
