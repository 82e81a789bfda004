//! Each wrong configuration is answered with the file, the line, the key and what would be right, in these words.

use std::error::Error as _;
use std::path::Path;

use logferry_config::{ConfigError, load, parse};

/// What is said about a text, without the file's name.
fn said(text: &str) -> Vec<String> {
    let env = |name: &str| (name == "SET").then(|| "value".to_owned());
    let error = parse(text, Path::new("c.yaml"), &env)
        .expect_err(text)
        .to_string();
    error
        .lines()
        .map(|line| line.strip_prefix("c.yaml:").expect("the file's name").to_owned())
        .collect()
}

fn check(text: &str, expected: &[&str]) {
    assert_eq!(said(text), expected, "{text}");
}

/// Checks a sender section that is valid except for the given lines.
fn check_sender(settings: &str, expected: &[&str]) {
    check(
        &format!("sender:\n  relay: http://r:5001\n  logs: [{{path: /a.log}}]\n{settings}"),
        expected,
    );
}

fn check_log(settings: &str, expected: &[&str]) {
    check(
        &format!("sender:\n  relay: http://r:5001\n  logs:\n    - {settings}\n"),
        expected,
    );
}

fn check_relay(settings: &str, expected: &[&str]) {
    check(
        &format!("relay:\n  groups: [{{name: a, listen: '127.0.0.1:0'}}]\n{settings}"),
        expected,
    );
}

fn check_group(settings: &str, expected: &[&str]) {
    check(&format!("relay:\n  groups:\n    - {settings}\n"), expected);
}

fn check_destination(settings: &str, expected: &[&str]) {
    check(
        &format!(
            "forwarder:\n  destinations:\n    - name: d\n      host: h\n      user: u\n      directory: /in\n{settings}"
        ),
        expected,
    );
}

fn check_monitor(settings: &str, expected: &[&str]) {
    check(
        &format!("monitor:\n  smtp: {{host: m, from: a@b, to: [a@b]}}\n{settings}"),
        expected,
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("none.yaml");
    let error = load(&file).expect_err("no such file");
    let right = "`logferry init sender` (or `relay-host`) writes one there, `-c FILE` names another one";
    assert_eq!(
        error.to_string(),
        format!("{}: there is no configuration; {right}", file.display())
    );
    std::fs::create_dir(&file).expect("a folder");
    let error = load(&file).expect_err("a folder");
    assert_eq!(
        error.to_string(),
        format!(
            "{}: is a folder; name the configuration in it with `-c FILE`",
            file.display()
        )
    );
    assert!(error.source().is_some());
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_key() {
    check(
        "housekeeper: {}\nrelais: {}\n",
        &["2: relais: unknown key; did you mean `relay`?"],
    );
    check_group(
        "name: a\n      listne: x",
        &["4: relay.groups[0].listne: unknown key; did you mean `listen`?"],
    );
    check_relay(
        "  limits: {max_conections: 5}\n",
        &["3: relay.limits.max_conections: unknown key; did you mean `max_connections`?"],
    );
    check_sender(
        "  'odd `, expected key': 1\n",
        &[
            "4: sender.odd `, expected key: unknown key; there are relay, source, local_address, state_dir, logs, captures, chunk, \
           in_flight, compression, retry, token_file, tls, metrics",
        ],
    );
}

#[test]
fn a_key_written_twice_is_named() {
    check(
        "\nhousekeeper:\n  data_dir: a\n  data_dir: b\n",
        &["4: housekeeper.data_dir: is already written above in the same mapping; keep one of them"],
    );
    check_group(
        "{name: a, listen: '127.0.0.1:0', name: b}",
        &["3: relay.groups[0].name: is written twice in the mapping that begins on this line; keep one"],
    );
}

#[test]
fn a_configuration_without_a_role_is_refused() {
    for text in ["", "# nothing\n", "{}"] {
        check(
            text,
            &[
                " has no section; write at least one of sender, relay, forwarder, monitor, housekeeper, indexer, collector, console",
            ],
        );
    }
    check(
        "housekeeper:\n",
        &[
            "1: housekeeper: is empty; write its settings below it, indented by two spaces, or `housekeeper: {}` for its defaults, or \
             leave it out",
        ],
    );
}

#[test]
fn everything_that_is_missing_is_reported_at_once() {
    check(
        "sender: {}\nrelay: {}\nforwarder: {}\nmonitor: {}\n",
        &[
            "1: sender.relay: is missing; write for example `http://192.0.2.10:5001`",
            "1: sender.logs: has no entry; write at least `- path: /app/log/nginx/access.log`",
            "2: relay.groups: has no entry; write at least `- {name: web-1, listen: \"0.0.0.0:5001\"}`",
            "3: forwarder.destinations: has no entry; write at least name, host, user, directory and password_file or \
             key_file of one",
            "4: monitor.smtp.host: is missing; write for example `mail.example.com`",
            "4: monitor.smtp.from: is missing; write for example `ops@example.com`",
            "4: monitor.smtp.to: has no entry; write at least one address, such as [ops@example.com]",
        ],
    );
    check(
        "forwarder:\n  destinations:\n    - {}\n",
        &[
            "3: forwarder.destinations[0]: has no login; write password_file, key_file or agent: true",
            "3: forwarder.destinations[0].name: is missing; write for example `edw`",
            "3: forwarder.destinations[0].host: is missing; write for example `drop.example.com`",
            "3: forwarder.destinations[0].user: is missing; write for example `ferry`",
            "3: forwarder.destinations[0].directory: is missing; write for example `/cdrdata/source_data`",
        ],
    );
    check_group(
        "{}",
        &[
            "3: relay.groups[0].name: is missing; write for example `web-1`",
            "3: relay.groups[0].listen: is missing; write for example `0.0.0.0:5001`",
        ],
    );
    check_log(
        "{}",
        &["4: sender.logs[0].path: is missing; write for example `/app/log/nginx/access.log`"],
    );
}

#[test]
fn wrong_sender_settings_are_explained() {
    check_sender(
        "  source: a b\n  local_address: here\n  in_flight: 65\n  chunk:\n    max_bytes: 17MiB\n    max_lines: 0\n    max_delay: soon\n  retry: {initial: 1m, max: 30s}\n  metrics: localhost:9101\n  state_dir: ''\n  compression: lz4\n",
        &[
            "4: sender.source: a source may hold an IP address, or letters, digits, '.', '_' and '-', and starts with a \
             letter or digit; \"a b\" is not valid",
            "5: sender.local_address: `here` is not an IP address of this host",
            "6: sender.in_flight: `65` is not valid; write a whole number from 1 to 64",
            "8: sender.chunk.max_bytes: 17MiB is not valid; write a size from 4KiB to 16MiB",
            "9: sender.chunk.max_lines: `0` is not valid; write a whole number from 1 to 1000000",
            "10: sender.chunk.max_delay: `soon` is not a time; write it like 200ms, 30s, 20m, 4h or 1h30m",
            "11: sender.retry.max: is below `initial`; write a time that is not",
            "12: sender.metrics: `localhost:9101` is not an IP address with a port; write it like 127.0.0.1:9102 or \
             [::1]:9102",
            "13: sender.state_dir: is empty; write a value",
            "14: sender.compression: `lz4` is not a valid value; write one of none, zstd, gzip",
        ],
    );
}

#[test]
fn wrong_logs_are_explained() {
    check_log(
        "path: /var/log/*.log",
        &[
            "4: sender.logs[0].name: is missing, and `*`, from the path, is not a valid name; write for example `access`",
        ],
    );
    check_log(
        "{path: '/a[.log', name: a}",
        &[
            "4: sender.logs[0].path: `/a[.log` is not a glob: invalid range pattern; put a plain `[`, `*` or `?` in brackets",
        ],
    );
    check_log(
        "path: /a.log\n      exclude: [[], ['']]\n      start: middle\n      max_line: 2MiB",
        &[
            "5: sender.logs[0].exclude[0]: is empty, so it would drop every line; write the strings or leave it out",
            "5: sender.logs[0].exclude[1][0]: is empty; write a value",
            "6: sender.logs[0].start: `middle` is not a valid value; write one of beginning, end",
            "7: sender.logs[0].max_line: 2MiB is not valid; write a size from 1 to 1MiB",
        ],
    );
    check(
        "sender:\n  relay: http://r:5001\n  logs:\n    - path: /a/access.log\n    - path: /b/access.log\n    - path: /a/access.log\n      name: other\n",
        &[
            "5: sender.logs[1].name: `access` is also sender.logs[0].name; give each log a name of its own",
            "6: sender.logs[2].path: `/a/access.log` is also sender.logs[0].path; its lines would be shipped twice",
        ],
    );
}

#[test]
fn wrong_groups_are_explained() {
    check_group(
        "name: a\n      listen: '*:5001'\n      sources:\n        - 198.51.100.300\n        - web-1",
        &[
            "4: relay.groups[0].listen: `*:5001` is not an IP address with a port; write it like 127.0.0.1:9102 or \
             [::1]:9102",
            "6: relay.groups[0].sources[0]: `198.51.100.300` is not a source; write an address (198.51.100.8), a range \
             (198.51.100.1-198.51.100.5), a network (198.51.100.0/24) or a host name",
            "7: relay.groups[0].sources[1]: `web-1` is a host name, which counts only with `trust_source: true`, tokens or \
             client certificates; write \
             its address",
        ],
    );
    check_group(
        "{name: a, listen: '127.0.0.1:0', sources: []}",
        &[
            "3: relay.groups[0].sources: is empty, so no sender is admitted; list the sources, or leave it out to admit any",
        ],
    );
    check(
        "relay:\n  groups:\n    - {name: a, listen: '0.0.0.0:5001'}\n    - {name: a, listen: '0.0.0.0:5001'}\n",
        &[
            "4: relay.groups[1].name: `a` is also relay.groups[0].name; give each group a name of its own",
            "4: relay.groups[1].listen: `0.0.0.0:5001` cannot be used beside relay.groups[0].listen, which is 0.0.0.0:5001; \
             give each a port of its own",
        ],
    );
}

#[test]
fn wrong_batches_and_limits_are_explained() {
    check_relay(
        "  batch:\n    window: 7m\n    name: a_{windw}\n    seal_after: 2\n    max_bytes: 0\n    timestamp: rfc\n",
        &[
            "4: relay.batch.window: 7m does not divide one hour; write whole seconds that do, such as 10s, 5m, 20m or 1h",
            "5: relay.batch.name: there is no field {windw}; did you mean {window}?",
            "6: relay.batch.seal_after: `2` is not a time; write it like 200ms, 30s, 20m, 4h or 1h30m",
            "7: relay.batch.max_bytes: 0 is too small; write at least 1",
            "8: relay.batch.timestamp: `rfc` is not a valid value; write one of auto, nginx, iso8601, epoch, arrival",
        ],
    );
    check_relay(
        "  limits:\n    max_chunk: 1MiB\n    max_in_flight: 512KiB\n    max_connections: many\n    min_free_disk: 1G\n",
        &[
            "5: relay.limits.max_in_flight: 512KiB is too small; write at least 1MiB",
            "6: relay.limits.max_connections: `many` is not valid; write a whole number from 1 to 65536",
            "7: relay.limits.min_free_disk: `1G` is not a size; write it like 64KiB, 8MiB or 1GiB, or as a plain number \
             of bytes",
        ],
    );
}

#[test]
fn wrong_destinations_are_explained() {
    check_destination(
        "      password: p\n      port: 0\n      sessions: 0\n      temp_suffix: /x\n      retry: {attempts: 0}\n      host_key: 'SHA256:short'\n      failed_every: 0s\n",
        &[
            "8: forwarder.destinations[0].port: `0` is not valid; write a whole number from 1 to 65535",
            "9: forwarder.destinations[0].sessions: `0` is not valid; write a whole number from 1 to 64",
            "10: forwarder.destinations[0].temp_suffix: `/x` is not a suffix; write letters, digits, '.', '_' and '-', \
             such as .part",
            "11: forwarder.destinations[0].retry.attempts: `0` is not valid; write a whole number from 1 to 1000",
            "12: forwarder.destinations[0].host_key: `SHA256:short` is not a fingerprint; write `SHA256:` and 43 \
             characters, as ssh-keygen -l prints it",
            "13: forwarder.destinations[0].failed_every: must be above zero; write for example 5s",
        ],
    );
    check(
        "forwarder:\n  destinations:\n    - {name: d, host: 'a b', user: '', directory: '', password: p}\n",
        &[
            "3: forwarder.destinations[0].host: `a b` is not a host; write a name like drop.example.com or an IP address",
            "3: forwarder.destinations[0].user: is empty; write a value",
            "3: forwarder.destinations[0].directory: is empty; write a value",
        ],
    );
    check(
        "forwarder:\n  destinations:\n    - &d {name: d, host: h, user: u, directory: d, password: p}\n    - *d\n",
        &[
            "4: forwarder.destinations[1].name: `d` is also forwarder.destinations[0].name; give each destination a name \
           of its own",
        ],
    );
}

#[test]
fn wrong_logins_are_explained() {
    check_destination(
        "",
        &["3: forwarder.destinations[0]: has no login; write password_file, key_file or agent: true"],
    );
    check_destination(
        "      password: p\n      password_file: /p\n",
        &[
            "8: forwarder.destinations[0].password_file: cannot be used together with `password`; remove one of them",
        ],
    );
    check_destination(
        "      agent: true\n      key_file: /k\n",
        &[
            "7: forwarder.destinations[0].agent: cannot be used together with a password or key_file; remove one of them",
        ],
    );
    check_destination(
        "      password: p\n      agent_socket: /run/agent\n",
        &[
            "8: forwarder.destinations[0].agent_socket: names the socket of an agent that is not used; write agent: true \
           beside it",
        ],
    );
    check_destination(
        "      passphrase: p\n",
        &[
            "3: forwarder.destinations[0]: has a passphrase but no key_file; write key_file, or leave the passphrase out",
        ],
    );
    check_destination(
        "      key_file: /k\n      known_hosts: /h\n      host_key: x\n",
        &[
            "9: forwarder.destinations[0].host_key: cannot be used together with `known_hosts`; remove one of them",
        ],
    );
    check_destination(
        "      password_file: /nowhere/p\n",
        &[
            "7: forwarder.destinations[0].password_file: /nowhere/p cannot be read: there is no such file; check its path \
             and permissions",
        ],
    );
    check_destination(
        "      password_file: /dev/null\n",
        &[
            "7: forwarder.destinations[0].password_file: the file /dev/null is empty; put the secret in its first line",
        ],
    );
}

#[test]
fn wrong_environment_variables_are_explained() {
    check_destination(
        "      password: a${UNSET}b\n",
        &[
            "7: forwarder.destinations[0].password: the environment variable `UNSET` is not set; set it, or write the \
           value here",
        ],
    );
    check_sender(
        "  state_dir: /${SET}/${\n",
        &["4: sender.state_dir: has a `${` without its `}`; write ${NAME} for an environment variable"],
    );
}

#[test]
fn wrong_helpers_are_explained() {
    check_monitor(
        "  interval: 0s\n  stale_after: 5 minutes\n  expected_sources: ['../x']\n  summary: {every: day, after: 1h}\n  metrics: 9103\n",
        &[
            "3: monitor.interval: must be above zero; write for example 5s",
            "4: monitor.stale_after: `5 minutes` is not a time; write it like 200ms, 30s, 20m, 4h or 1h30m",
            "5: monitor.expected_sources[0]: a source may hold an IP address, or letters, digits, '.', '_' and '-', and \
             starts with a letter or digit; \"../x\" is not valid",
            "6: monitor.summary.every: `day` is not a valid value; write one of hour",
            "6: monitor.summary.after: is not below one hour; write for example 15m",
            "7: monitor.metrics: `9103` is not an IP address with a port; write it like 127.0.0.1:9102 or [::1]:9102",
        ],
    );
    check_monitor(
        "  stale_after: 29s\n  hold: {firing: x, clear: 0s}\n",
        &[
            "3: monitor.stale_after: is below 30s; senders report every 10 s, so a shorter time makes sources stale that are \
             well; write for example 5m",
            "4: monitor.hold.firing: `x` is not a time; write it like 200ms, 30s, 20m, 4h or 1h30m",
        ],
    );
    check(
        "monitor:\n  smtp: {host: m, from: a@b, to: [a@b], hello_name: relay, ca_file: /nonexistent/ca.pem}\n",
        &[
            "2: monitor.smtp.ca_file: /nonexistent/ca.pem cannot be read: there is no such file; check its path and \
             permissions",
            "2: monitor.smtp.hello_name: `relay` is not a full host name; write one like relay.example.com, or an address \
             like [192.0.2.1]",
        ],
    );
    check(
        "monitor:\n  smtp:\n    host: m\n    from: ops\n    to: [\"a@b\\nBcc: c@d\"]\n    user: u\n    tls: ssl\n    subject_prefix: \"a\\nb\"\n",
        &[
            "2: monitor.smtp: has only one of user and password; write both or neither",
            "4: monitor.smtp.from: `ops` is not a mail address; write it like ops@example.com",
            "5: monitor.smtp.to[0]: `a@b\\nBcc: c@d` is not a mail address; write it like ops@example.com",
            "7: monitor.smtp.tls: `ssl` is not a valid value; write one of none, starttls, tls",
            "8: monitor.smtp.subject_prefix: has a line break or another control character; write one line",
        ],
    );
    check(
        "housekeeper:\n  schedule: '*/10 * * * *'\n  compress_after: soon\n",
        &[
            "2: housekeeper.schedule: `*/10 * * * *` has 5 fields; write six, seconds first, such as `0 */10 * * * *` for \
             every ten minutes",
            "3: housekeeper.compress_after: `soon` is not a time; write it like 200ms, 30s, 20m, 4h or 1h30m",
        ],
    );
}

#[test]
fn roles_with_different_folders_are_refused() {
    check_relay(
        "  data_dir: /a\nhousekeeper:\n  data_dir: /b\n",
        &["5: housekeeper.data_dir: is /b, but relay.data_dir is /a; the roles of one host share one folder"],
    );
}

#[test]
fn problems_can_be_read_one_by_one() {
    let error = parse("housekeeper:\n  schedule: x\n", Path::new("c.yaml"), &|_| None).expect_err("wrong");
    let ConfigError::Invalid { problems, .. } = error else {
        panic!("the file was read")
    };
    assert_eq!(
        (problems.len(), problems[0].line, &*problems[0].key),
        (1, Some(2), "housekeeper.schedule")
    );
}

#[test]
fn wrong_formats_are_told_with_their_line() {
    let relay = "relay:\n  groups: [{name: a, listen: '127.0.0.1:0'}]\n";
    check(
        &format!("{relay}formats:\n  access: combined\n  shop: combind\n  pay: '$a ${{b'\n  'a b': json\n"),
        &[
            "5: formats.shop: there is no format `combind` (did you mean `combined`?); write auto, combined, common, json, ltsv, \
             logfmt, syslog, text, or the text of an nginx log_format, such as '$remote_addr [$time_local] \"$request\"'",
            "6: formats.pay: `${b` has a `${` without its `}`; write ${remote_addr}, or $remote_addr",
            "7: formats.a b: a log name may hold letters, digits, '.', '_' and '-', and starts with a letter or digit; \"a b\" is \
             not valid",
        ],
    );
}

#[test]
fn a_listed_source_whose_name_is_too_long_for_a_file_is_named() {
    let name = "x".repeat(240);
    check_group(
        &format!("{{name: a, listen: '127.0.0.1:0', trust_source: true, sources: [web-1, {name}]}}"),
        &[&format!(
            "3: relay.groups[0].sources: has `{name}`, whose name is too long: the files of this source would have names of \
             265 bytes, and at most 239 are possible; give the source a shorter name, or shorten `relay.batch.name`"
        )],
    );
}
