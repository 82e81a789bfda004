//! Several destinations: who gets what, what is said of it, and where it goes.

use std::fmt::Write as _;
use std::path::Path;

use logferry_config::{Config, ConfigError, parse};

fn read(text: &str) -> Result<Config, ConfigError> {
    parse(text, Path::new("c.yaml"), &|_| None)
}

/// A relay with the given groups and name, and one destination for each of the given settings.
fn host(groups: &str, name: &str, destinations: &[&str]) -> String {
    let mut text =
        format!("relay:\n  groups: [{groups}]\n  batch: {{name: \"{name}\"}}\nforwarder:\n  destinations:\n");
    for (number, settings) in destinations.iter().enumerate() {
        let login = "host: h, user: u, password: p";
        let directory = if settings.contains("directory:") {
            ""
        } else {
            "directory: /in, "
        };
        writeln!(text, "    - {{name: d{number}, {login}, {directory}{settings}}}")
            .expect("a String takes everything");
    }
    text
}

const NAME: &str = "a_{yymmddHH}_{window}_{source}";
const GROUPS: &str = "{name: web-1, listen: '127.0.0.1:1', sources: ['198.51.100.1-198.51.100.5']}, \
                      {name: web-2, listen: '127.0.0.1:2', sources: ['198.51.100.6/31', '198.51.100.8']}";

/// The warnings, without the one about the password in the file.
fn warnings(text: &str) -> Vec<String> {
    let config = read(text).expect("valid");
    let warnings = config.warnings.into_iter();
    warnings.filter(|warning| !warning.contains("secret")).collect()
}

fn problems(text: &str) -> Vec<String> {
    let said = read(text).expect_err(text).to_string();
    said.lines()
        .map(|line| line.trim_start_matches("c.yaml:").to_owned())
        .collect()
}

#[test]
fn filters_are_read() {
    let text = host(
        GROUPS,
        "{log}_{yymmddHH}_{window}_{source}",
        &[
            "sources: ['198.51.100.0/29', app.example.com], groups: [web-1], logs: [access, error]",
            "",
        ],
    );
    let forwarder = read(&text).expect("valid").forwarder.expect("a forwarder");
    let subscribers = forwarder.subscribers();
    let takes = |index: usize, source: &str, group: &str, log: &str| {
        let log = log.parse().expect("a log");
        let (source, group) = (source.parse().expect("a source"), group.parse().expect("a group"));
        subscribers[index].filter.accepts(&source, &group, Some(&log))
    };
    assert!(takes(0, "198.51.100.7", "web-1", "error"));
    assert!(takes(0, "app.example.com", "web-1", "access"));
    assert!(!takes(0, "198.51.100.8", "web-1", "access"));
    assert!(!takes(0, "198.51.100.7", "web-2", "access"));
    assert!(!takes(0, "198.51.100.7", "web-1", "audit"));
    assert!(takes(1, "2001:db8::1", "anything", "audit"));
}

#[test]
fn a_group_that_nobody_wants_is_warned_about() {
    assert_eq!(warnings(&host(GROUPS, NAME, &[""])), [""; 0]);
    assert_eq!(
        warnings(&host(
            GROUPS,
            NAME,
            &["groups: [web-1]", "sources: ['198.51.100.8']"]
        )),
        [
            "relay.groups[1]: some of its sources are wanted by no destination; their batches wait in ready/ until one \
             wants them"
        ]
    );
    assert_eq!(
        warnings(&host(GROUPS, NAME, &["groups: [web-1]"])),
        ["relay.groups[1]: no destination wants it; its batches wait in ready/ until one does"]
    );
    let ranges = [
        "sources: ['198.51.100.0/30', '198.51.100.6']",
        "sources: ['198.51.100.4/31', '198.51.100.7-198.51.100.9']",
    ];
    assert_eq!(
        warnings(&host(GROUPS, NAME, &ranges)),
        [""; 0],
        "together they want all"
    );
    let any = "{name: web-1, listen: '127.0.0.1:1'}";
    assert_eq!(
        warnings(&host(any, NAME, &["sources: ['0.0.0.0/0']"])).len(),
        1,
        "IPv6 may come too"
    );
}

#[test]
fn a_group_that_is_not_there_is_warned_about() {
    assert_eq!(
        warnings(&host(GROUPS, NAME, &["groups: [web-1, web2]", ""])),
        ["forwarder.destinations[0].groups: there is no group `web2` in relay.groups; did you mean `web-2`?"]
    );
}

#[test]
fn a_filter_by_log_is_refused_where_logs_share_a_batch() {
    assert_eq!(
        problems(&host(GROUPS, NAME, &["logs: [access]"])),
        [
            "6: forwarder.destinations[0].logs: cannot be told apart, as relay.batch.name has no {log} and logs share a \
             batch; add {log} to it, or leave `logs` out"
        ]
    );
    assert!(
        read(&host(
            GROUPS,
            "{log}_{yymmddHH}_{window}_{source}",
            &["logs: [access]"]
        ))
        .is_ok()
    );
}

#[test]
fn filters_without_an_entry_or_with_a_wrong_one_are_refused() {
    assert_eq!(
        problems(&host(GROUPS, NAME, &["sources: [], groups: ['a b'], logs: []"])),
        [
            "6: forwarder.destinations[0].sources: is empty, so nothing would be delivered; list at least one, or leave it out",
            "6: forwarder.destinations[0].groups[0]: a group name may hold letters, digits, '.', '_' and '-', and starts \
             with a letter or digit; \"a b\" is not valid",
            "6: forwarder.destinations[0].logs: is empty, so nothing would be delivered; list at least one, or leave it out",
        ]
    );
}

#[test]
fn the_folder_and_the_names_below_it_are_taken_apart() {
    let text = host(
        GROUPS,
        NAME,
        &["directory: '/in/{group}/{yyyy}', file_name: '{batch}'", ""],
    );
    let destinations = read(&text)
        .expect("valid")
        .forwarder
        .expect("a forwarder")
        .destinations;
    assert_eq!(destinations[0].directory, "/in");
    assert_eq!(destinations[1].directory, "/in");
    assert_ne!(destinations[0].layout, destinations[1].layout);
}

#[test]
fn names_that_two_batches_could_share_are_refused() {
    let name = |name: &str, file_name: &str| {
        let text = host(
            GROUPS,
            name,
            &[&format!("directory: '/in/{{source}}', file_name: '{file_name}'")],
        );
        read(&text).map(drop).map_err(|error| error.to_string())
    };
    let refused = |message: &str| {
        Err(format!(
            "c.yaml:6: forwarder.destinations[0].file_name: {message}"
        ))
    };
    assert_eq!(
        name(NAME, "{yymmddHH}_{window}"),
        Ok(()),
        "the folder has the source"
    );
    assert_eq!(name(NAME, "x.{batch}"), Ok(()));
    assert_eq!(
        name(NAME, "{yymmddHH}"),
        refused("has no {window}, so two batches would share a name; add it")
    );
    let with_log = "{log}_{yymmddHH}_{window}_{source}";
    assert_eq!(
        name(with_log, "{yymmddHH}_{window}"),
        refused("has no {log}, so two batches would share a name; add it")
    );
    assert_eq!(name(with_log, "{yymmddHH}_{window}_{log}"), Ok(()));
    let with_group = "{group}_{yymmddHH}_{window}_{source}";
    assert_eq!(
        name(with_group, "{yymmddHH}_{window}"),
        refused("has no {group}, so two batches would share a name; add it")
    );
    assert_eq!(
        name(NAME, "{batch}_{log}"),
        refused(
            "has {log}, but relay.batch.name has none, so logs share a batch; remove it here, or add it there"
        )
    );
}

#[test]
fn without_the_relay_only_the_batchs_own_name_is_known_to_be_its_own() {
    let text = |name: &str| {
        format!(
            "forwarder:\n  destinations:\n    - {{name: d, host: h, user: u, password: p, directory: '/in/{{group}}', file_name: '{name}'}}\n"
        )
    };
    assert!(read(&text("{log}_{batch}")).is_ok());
    assert_eq!(
        problems(&text("{source}_{yymmddHH}_{window}")),
        [
            "3: forwarder.destinations[0].file_name: has no {batch}, and this file has no relay section \
             that shows whether the other fields give each batch its own path; add {batch}"
        ]
    );
}

#[test]
fn window_manifests_know_the_sources_that_the_monitor_expects() {
    let text = host(GROUPS, NAME, &["window_manifest: true, window_wait: 5m", ""])
        + "monitor:\n  expected_sources: ['198.51.100.1']\n  smtp: {host: m, from: a@b, to: [a@b]}\n";
    let destinations = read(&text)
        .expect("valid")
        .forwarder
        .expect("a forwarder")
        .destinations;
    let settings = destinations[0].window_manifest.as_ref().expect("asked for");
    assert_eq!(settings.wait, std::time::Duration::from_mins(5));
    assert_eq!(settings.expected_sources.len(), 1);
    assert_eq!(destinations[1].window_manifest, None);
}
