//! The `console` section: the documented one, its defaults, and what is told about a wrong one.

use std::path::Path;

use logferry_config::{Config, parse};

const FULL: &str = r"
console:
  listen: 127.0.0.1:8080
  data_dir: /var/lib/logferry/relay
  store_dir: /var/lib/logferry/index
  state_dir: /var/lib/logferry/console
  tls: {cert_file: null, key_file: null}
  open: false
  proxy: null
  metrics: null
";

fn read(text: &str) -> Config {
    parse(text, Path::new("logferry.yaml"), &|_| None).expect("valid")
}

fn told(settings: &str) -> String {
    let text = format!("console:\n{settings}");
    let error = parse(&text, Path::new("c.yaml"), &|_| None).expect_err("wrong");
    error.to_string()
}

#[test]
fn documented_values_are_the_defaults() {
    let full = read(FULL).console.expect("a section");
    assert_eq!(Some(&full), read("console: {}").console.as_ref());
    assert!(!full.open && full.tls.is_none());
    assert_eq!(full.state_dir, Path::new("/var/lib/logferry/console"));
}

#[test]
fn console_without_a_login_is_for_this_host_alone() {
    assert!(read("console: {open: true}").console.expect("a section").open);
    assert!(
        read("console: {open: true, listen: \"[::1]:8080\"}")
            .console
            .is_some()
    );
    let text = told("  open: true\n  listen: 0.0.0.0:8080\n");
    assert!(
        text.contains("console.open: is true, but 0.0.0.0:8080 can be reached from other hosts"),
        "{text}"
    );
    let text = told("  open: true\n  proxy: 127.0.0.1\n");
    assert!(text.contains("console.open: is true behind a proxy"), "{text}");
}

#[test]
fn passwords_on_the_network_are_warned_of_and_a_folder_of_its_own_is_needed() {
    let warnings = read("console: {listen: \"0.0.0.0:8080\"}").warnings;
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("passwords can be read on the network")),
        "{warnings:?}"
    );
    let warnings = read("console: {listen: \"0.0.0.0:8080\", proxy: 192.0.2.1}").warnings;
    assert_eq!(warnings, [""; 0]);
    let text = told("  state_dir: /var/lib/logferry/relay/console\n");
    assert!(
        text.contains("console.state_dir: /var/lib/logferry/relay/console and data_dir"),
        "{text}"
    );
    let text = told("  tls: {cert_file: /dev/null}\n");
    assert!(
        text.contains("console.tls: has only one of cert_file and key_file"),
        "{text}"
    );
}

#[test]
fn console_gets_what_other_sections_say_and_they_its_folder() {
    let config = read(
        "relay:\n  data_dir: /r\n  groups: [{name: web-1, listen: \"127.0.0.1:1\"}]\n\
         indexer: {store_dir: /i}\n\
         console: {state_dir: /c}\n",
    );
    let console = config.console.expect("a section");
    assert_eq!(
        (console.data_dir.as_path(), console.store_dir.as_path()),
        (Path::new("/r"), Path::new("/i"))
    );
    assert_eq!(console.shared.host.groups.len(), 1);
    let roles: Vec<_> = console.shared.host.roles.iter().map(|(name, _)| *name).collect();
    assert_eq!(roles, ["relay", "indexer", "console"]);
}
