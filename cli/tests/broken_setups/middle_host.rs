//! Mistakes in the sections of the middle host: groups, destinations, rules, channels, counters, OpenSearch.

use std::process::Command;

use crate::{FORWARDER, HOST_KEY, Host, RELAY};

const MONITOR: &str = "monitor:\n  data_dir: DIR/relay\n  metrics: null\n  smtp: {host: 127.0.0.1, port: 1, from: a@b.c, to: [a@b.c]}\n";
const INDEXER: &str = "indexer:\n  data_dir: DIR/relay\n  store_dir: DIR/index\n";

#[test]
fn sources_are_no_addresses_and_a_name_counts_for_nothing() {
    let sources = "[198.51.100.1-5, 198.51.100.300, web-7, 198.51.100.0/33]";
    assert_eq!(
        Host::new().check(&RELAY.replace("7001'}", &format!("7001', sources: {sources}}}"))),
        "logferry: DIR/logferry.yaml:4: relay.groups[0].sources[0]: `198.51.100.1-5` is not a source; write an address \
         (198.51.100.8), a range (198.51.100.1-198.51.100.5), a network (198.51.100.0/24) or a host name\n\
         DIR/logferry.yaml:4: relay.groups[0].sources[1]: `198.51.100.300` is not a source; write an address (198.51.100.8), a \
         range (198.51.100.1-198.51.100.5), a network (198.51.100.0/24) or a host name\n\
         DIR/logferry.yaml:4: relay.groups[0].sources[2]: `web-7` is a host name, which counts only with `trust_source: true`, \
         tokens or client certificates; write its address\n\
         DIR/logferry.yaml:4: relay.groups[0].sources[3]: `198.51.100.0/33` is not a source; write an address (198.51.100.8), a \
         range (198.51.100.1-198.51.100.5), a network (198.51.100.0/24) or a host name\n\
         exit code 2\n"
    );
}

#[test]
fn a_destination_has_no_login_and_another_one_has_three() {
    let second = "    - {name: two, host: drop, user: ferry, directory: ~/in, password: p, key_file: DIR/key, agent: true}\n";
    assert_eq!(
        Host::new().check(&format!("{FORWARDER}{second}")),
        "logferry: DIR/logferry.yaml:4: forwarder.destinations[0]: has no login; write password_file, key_file or agent: true\n\
         DIR/logferry.yaml:9: forwarder.destinations[1].agent: cannot be used together with a password or key_file; remove one of \
         them\n\
         DIR/logferry.yaml:9: forwarder.destinations[1].directory: begins with `~`, which an SFTP server does not know; write it as \
         seen from the login's folder, without `~/`\n\
         exit code 2\n"
    );
}

#[test]
fn a_group_is_wanted_by_no_destination_and_a_filter_by_log_cannot_work() {
    let host = Host::new();
    host.write("known_hosts", &format!("127.0.0.1 ssh-ed25519 {HOST_KEY}\n"));
    let forwarder = format!("{FORWARDER}      known_hosts: DIR/known_hosts\n      password: p\n");
    assert_eq!(
        host.check(&format!("{RELAY}{forwarder}      groups: [web1]\n")),
        "! configuration: forwarder.destinations[0].groups: there is no group `web1` in relay.groups; did you mean `web-1`?\n\
         ! configuration: relay.groups[0]: no destination wants it; its batches wait in ready/ until one does\n\
         exit code 0\n"
    );
    assert_eq!(
        host.check(&format!("{RELAY}{forwarder}      logs: [access]\n")),
        "logferry: DIR/logferry.yaml:15: forwarder.destinations[0].logs: cannot be told apart, as relay.batch.name has no {log} and \
         logs share a batch; add {log} to it, or leave `logs` out\n\
         exit code 2\n"
    );
}

#[test]
fn roles_of_one_host_have_two_data_folders() {
    assert_eq!(
        Host::new().check(&format!("{RELAY}housekeeper:\n  data_dir: DIR/spool\n")),
        "logferry: DIR/logferry.yaml:6: housekeeper.data_dir: is DIR/spool, but relay.data_dir is DIR/relay; the roles of one host \
         share one folder\n\
         exit code 2\n"
    );
}

#[test]
fn the_housekeepers_schedule_is_none_and_it_deletes_before_it_compresses() {
    let housekeeper = "housekeeper:\n  data_dir: DIR/relay\n  schedule: '*/10 * * * *'\n  compress_after: 4h\n  delete_after: 30m\n";
    assert_eq!(
        Host::new().check(housekeeper),
        "logferry: DIR/logferry.yaml:3: housekeeper.schedule: `*/10 * * * *` has 5 fields; write six, seconds first, such as `0 \
         */10 * * * *` for every ten minutes\n\
         DIR/logferry.yaml:5: housekeeper.delete_after: is below compress_after (4h), so no batch would ever be compressed; write a \
         longer time here, or a shorter compress_after\n\
         exit code 2\n"
    );
}

#[test]
fn a_source_would_be_stale_before_it_reports_and_an_address_is_none() {
    let monitor = MONITOR.replace("a@b.c, to", "ops, to") + "  stale_after: 10s\n  interval: soon\n";
    assert_eq!(
        Host::new().check(&monitor),
        "logferry: DIR/logferry.yaml:4: monitor.smtp.from: `ops` is not a mail address; write it like ops@example.com\n\
         DIR/logferry.yaml:5: monitor.stale_after: is below 30s; senders report every 10 s, so a shorter time makes sources stale \
         that are well; write for example 5m\n\
         DIR/logferry.yaml:6: monitor.interval: `soon` is not a time; write it like 200ms, 30s, 20m, 4h or 1h30m\n\
         exit code 2\n"
    );
}

#[test]
fn a_rule_tells_a_channel_that_is_not_there_and_counts_what_nothing_counts() {
    let check = |channel: &str| {
        let rules = format!(
            "  rules:\n    - {{name: no orders, counter: oders, measure: count, below: 1, over: 15m, channels: [{channel}]}}\n  \
             channels:\n    chat: {{command: [/bin/true]}}\n"
        );
        let counters = "  counters: [{name: orders, where: {path: '/order*'}}]\n";
        Host::new().check(&format!("{MONITOR}{rules}{INDEXER}{counters}"))
    };
    assert_eq!(
        check("chta"),
        "logferry: DIR/logferry.yaml:6: monitor.rules[0].channels[0]: there is no channel `chta` in monitor.channels; did you mean \
         `chat`?\n\
         exit code 2\n"
    );
    assert_eq!(
        check("chat"),
        "logferry: DIR/logferry.yaml:6: monitor.rules[0].counter: there is no counter `oders`, neither built in nor in \
         indexer.counters; did you mean `orders`?\n\
         exit code 2\n"
    );
}

#[test]
fn the_address_of_a_channel_is_in_a_file_that_is_not_there() {
    assert_eq!(
        Host::new().check(&format!(
            "{MONITOR}  channels:\n    chat: {{slack_url_file: DIR/slack}}\n"
        )),
        "logferry: DIR/logferry.yaml:6: monitor.channels.chat.slack_url_file: DIR/slack cannot be read: there is no such file; \
         check its path and permissions\n\
         exit code 2\n"
    );
}

#[test]
fn the_folder_of_templates_is_not_there() {
    assert_eq!(
        Host::new().check(&format!("{MONITOR}  templates_dir: DIR/templates\n")),
        "✗ mail templates: cannot read DIR/templates of monitor.templates_dir: there is no such folder; correct the setting, or its \
         rights\n\
         exit code 1\n"
    );
}

#[test]
fn a_template_shows_a_name_that_does_not_exist() {
    let host = Host::new();
    host.folder("templates", 0o755);
    host.write("templates/summary.txt", "{{ verdict }}\n{{ verdikt }}\n");
    assert_eq!(
        host.check(&format!("{MONITOR}  templates_dir: DIR/templates\n")),
        "✗ mail templates: DIR/templates/summary.txt:2: the template is wrong: it names something that does not exist; \
         docs/monitor/mails.md lists what there is\n\
         exit code 1\n"
    );
}

#[test]
fn a_counter_has_a_condition_that_does_not_exist_and_the_name_of_another_one() {
    let counters = "  counters:\n    - {name: orders, where: {pth: /order*}}\n    - {name: lines, where: {status: 2xy}}\n";
    assert_eq!(
        Host::new().check(&format!("{INDEXER}{counters}")),
        "logferry: DIR/logferry.yaml:5: indexer.counters[0].where.pth: unknown key; did you mean `path`?\n\
         DIR/logferry.yaml:6: indexer.counters[1].name: `lines` is a number that there is without a counter; choose another name\n\
         DIR/logferry.yaml:6: indexer.counters[1].where.status: `2xy` is no HTTP status; write one such as 404, or a class such as \
         5xx\n\
         exit code 2\n"
    );
}

#[test]
fn opensearch_has_two_logins_and_an_address_with_a_path() {
    let host = Host::new();
    host.write("key", "k\n");
    let opensearch =
        "  opensearch: {url: 'http://127.0.0.1:1/search', index: Logs, user: ferry, api_key_file: DIR/key}\n";
    assert_eq!(
        host.check(&format!("{INDEXER}{opensearch}")),
        "logferry: DIR/logferry.yaml:4: indexer.opensearch.url: `http://127.0.0.1:1/search` is not the address of a server; write \
         scheme, host and port, such as https://search.example.com:9200, and a user as `user` and `password_file`\n\
         DIR/logferry.yaml:4: indexer.opensearch.index: `Logs` cannot name an index; write small letters, digits, `.`, `-` and `_`, \
         beginning with a letter, such as logferry-{yyyy}.{mm}.{dd}\n\
         DIR/logferry.yaml:4: indexer.opensearch: has an API key and a user or password; write only one kind of login\n\
         exit code 2\n"
    );
}

#[test]
fn nobody_listens_where_opensearch_and_a_channel_should() {
    let host = Host::new();
    let channel = "  channels:\n    chat: {slack_url: 'http://127.0.0.1:1/hook/s3cr3ts3cr3t'}\n";
    let opensearch = "  opensearch: {url: 'http://127.0.0.1:1'}\n";
    assert_eq!(
        host.check_connect(&format!("{MONITOR}{channel}{INDEXER}{opensearch}")),
        "✗ mail server 127.0.0.1:1: cannot be reached: 127.0.0.1:1: Connection error: Connection refused (os error 111); check \
         monitor.smtp.host, port and tls\n\
         ✗ channel chat: cannot connect to 127.0.0.1:1: Connection refused (os error 111); check the address and the firewalls \
         between\n\
         ✗ opensearch http://127.0.0.1:1: cannot connect to 127.0.0.1:1: Connection refused (os error 111); check the address and the \
         firewalls between\n\
         exit code 1\n"
    );
}

#[test]
fn the_indexer_keeps_less_than_it_needs() {
    assert_eq!(
        Host::new().check(&format!("{INDEXER}  keep: {{max_bytes: 1MiB, age: 7}}\n")),
        "logferry: DIR/logferry.yaml:4: indexer.keep.age: `7` is not a time; write it like 200ms, 30s, 20m, 4h or 1h30m\n\
         DIR/logferry.yaml:4: indexer.keep.max_bytes: 1MiB is too small; write at least 64MiB\n\
         exit code 2\n"
    );
}

#[test]
fn a_log_format_is_cut_off_and_another_one_is_misspelt() {
    let formats = "formats:\n  shop: \"log_format shop '$remote_addr \"\n  access: combind\n";
    assert_eq!(
        Host::new().check(&format!("{RELAY}{formats}")),
        "logferry: DIR/logferry.yaml:6: formats.shop: the string that begins with `'$remote_addr` has no closing quote; paste the \
         log_format up to its `;`\n\
         DIR/logferry.yaml:7: formats.access: there is no format `combind` (did you mean `combined`?); write auto, combined, \
         common, json, ltsv, logfmt, syslog, text, or the text of an nginx log_format, such as '$remote_addr [$time_local] \
         \"$request\"'\n\
         exit code 2\n"
    );
}

#[test]
fn two_logs_have_one_name_and_the_relay_has_no_port() {
    let sender = "sender:\n  relay: relay.example.com\n  state_dir: DIR/state\n  logs:\n    - path: DIR/access.log\n    - path: \
                  DIR/nginx/access.log\n      exclude: [[]]\n";
    assert_eq!(
        Host::new().check(sender),
        "logferry: DIR/logferry.yaml:2: sender.relay: `relay.example.com` is not a relay's address; write it like \
         http://192.0.2.10:5001\n\
         DIR/logferry.yaml:6: sender.logs[1].name: `access` is also sender.logs[0].name; give each log a name of its own\n\
         DIR/logferry.yaml:7: sender.logs[1].exclude[0]: is empty, so it would drop every line; write the strings or leave it out\n\
         exit code 2\n"
    );
}

#[test]
fn the_user_has_no_inotify_left() {
    let host = Host::new();
    host.write(
        "logferry.yaml",
        &format!("{}  logs: [{{path: DIR/access.log}}]\n", crate::SENDER).replace("DIR", &host.shown()),
    );
    // The limit of a user namespace counts beside that of the system (namespaces(7)).
    let script = format!(
        "echo 0 > /proc/sys/user/max_inotify_instances && exec {} check \"$@\"",
        host.program().display()
    );
    let mut command = Command::new("unshare");
    assert_eq!(
        host.output(command.args(["--user", "--map-root-user", "sh", "-c", &script, "sh"])),
        "✗ inotify: cannot be used (Too many open files (os error 24): fs.inotify.max_user_instances is too low), so logs are only \
         polled; run `sysctl -w fs.inotify.max_user_instances=1024`, and write `fs.inotify.max_user_instances=1024` into \
         /etc/sysctl.d/logferry.conf\n\
         exit code 1\n"
    );
}
