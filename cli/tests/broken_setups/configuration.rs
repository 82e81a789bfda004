//! Mistakes in the text of the configuration.

use crate::{Host, RELAY, SENDER};

#[test]
fn there_is_no_configuration() {
    assert_eq!(
        Host::new().run(&["check"]),
        "logferry: DIR/logferry.yaml: there is no configuration; `logferry init sender` (or `relay-host`) writes one there, `-c FILE` \
         names another one: No such file or directory (os error 2)\n\
         exit code 2\n"
    );
}

#[test]
fn a_folder_stands_where_the_configuration_should_be() {
    let host = Host::new();
    host.folder("logferry.yaml", 0o755);
    assert_eq!(
        host.run(&["check"]),
        "logferry: DIR/logferry.yaml: is a folder; name the configuration in it with `-c FILE`: Is a directory (os error 21)\n\
         exit code 2\n"
    );
}

#[test]
fn the_configuration_is_empty() {
    assert_eq!(
        Host::new().check(""),
        "logferry: DIR/logferry.yaml: has no section; write at least one of sender, relay, forwarder, monitor, housekeeper, indexer, collector, console\n\
         exit code 2\n"
    );
}

#[test]
fn keys_are_misspelt() {
    let text = RELAY.replace("groups", "gruops") + "  bacth: {window: 20m}\nmonitr: {}\n";
    assert_eq!(
        Host::new().check(&text),
        "logferry: DIR/logferry.yaml:4: relay.gruops: unknown key; did you mean `groups`?\n\
         DIR/logferry.yaml:5: relay.bacth: unknown key; did you mean `batch`?\n\
         DIR/logferry.yaml:6: monitr: unknown key; did you mean `monitor`?\n\
         exit code 2\n"
    );
}

#[test]
fn a_section_is_indented_by_a_tab() {
    assert_eq!(
        Host::new().check("sender:\n\trelay: http://127.0.0.1:1\n"),
        "logferry: DIR/logferry.yaml:2: begins with a tab, and YAML is indented by spaces; write `  relay: http://127.0.0.1:1`\n\
         exit code 2\n"
    );
}

#[test]
fn a_section_is_not_indented() {
    assert_eq!(
        Host::new().check("sender:\nrelay: http://192.0.2.10:5001\n"),
        "logferry: DIR/logferry.yaml:1: sender: is empty; write its settings below it, indented by two spaces, or `sender: {}` for \
         its defaults, or leave it out\n\
         DIR/logferry.yaml:2: relay: is `http://192.0.2.10:5001`, but takes settings; write each as `key: value` on a line of its \
         own below it\n\
         exit code 2\n"
    );
}

#[test]
fn settings_that_are_required_are_missing() {
    assert_eq!(
        Host::new().check("sender: {}\nmonitor: {}\n"),
        "logferry: DIR/logferry.yaml:1: sender.relay: is missing; write for example `http://192.0.2.10:5001`\n\
         DIR/logferry.yaml:1: sender.logs: has no entry; write at least `- path: /app/log/nginx/access.log`\n\
         DIR/logferry.yaml:2: monitor.smtp.host: is missing; write for example `mail.example.com`\n\
         DIR/logferry.yaml:2: monitor.smtp.from: is missing; write for example `ops@example.com`\n\
         DIR/logferry.yaml:2: monitor.smtp.to: has no entry; write at least one address, such as [ops@example.com]\n\
         exit code 2\n"
    );
}

#[test]
fn two_groups_have_one_port() {
    assert_eq!(
        Host::new().check(&RELAY.replace("}]", "}, {name: web-2, listen: '0.0.0.0:7001'}]")),
        "logferry: DIR/logferry.yaml:4: relay.groups[1].listen: `0.0.0.0:7001` cannot be used beside relay.groups[0].listen, which \
         is 127.0.0.1:7001; give each a port of its own\n\
         exit code 2\n"
    );
}

#[test]
fn the_window_divides_no_hour_and_a_limit_has_no_unit() {
    let limits = "  batch: {window: 7m, seal_after: 2}\n  limits: {min_free_disk: 1G}\n";
    assert_eq!(
        Host::new().check(&format!("{RELAY}{limits}")),
        "logferry: DIR/logferry.yaml:5: relay.batch.window: 7m does not divide one hour; write whole seconds that do, such as 10s, \
         5m, 20m or 1h\n\
         DIR/logferry.yaml:5: relay.batch.seal_after: `2` is not a time; write it like 200ms, 30s, 20m, 4h or 1h30m\n\
         DIR/logferry.yaml:6: relay.limits.min_free_disk: `1G` is not a size; write it like 64KiB, 8MiB or 1GiB, or as a plain \
         number of bytes\n\
         exit code 2\n"
    );
}

#[test]
fn a_path_begins_with_a_tilde_and_a_secret_is_in_a_variable_that_is_not_set() {
    let text = format!(
        "{SENDER}  logs: [{{path: ~/access.log}}]\nmonitor:\n  smtp: {{host: m, from: a@b.c, to: [a@b.c], user: u, password: \
         '${{LOGFERRY_NEVER_SET}}'}}\n"
    );
    assert_eq!(
        Host::new().check(&text),
        "logferry: DIR/logferry.yaml:4: sender.logs[0].path: `~/access.log` begins with `~`, which only a shell knows; write the \
         whole path, such as /home/ferry\n\
         DIR/logferry.yaml:6: monitor.smtp.password: the environment variable `LOGFERRY_NEVER_SET` is not set; set it, or write \
         the value here\n\
         exit code 2\n"
    );
}
