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
