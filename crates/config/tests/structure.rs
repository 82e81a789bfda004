//! What is wrong with a file's form is told all at once, with the line and how it should look.

use std::path::Path;

use logferry_config::parse;

/// Checks what is said about a text, without the file's name.
fn check(text: &str, expected: &[&str]) {
    let error = parse(text, Path::new("c.yaml"), &|_| None)
        .expect_err(text)
        .to_string();
    let said: Vec<_> = error
        .lines()
        .map(|line| {
            line.strip_prefix("c.yaml:")
                .expect("the file's name")
                .trim_start()
        })
        .collect();
    assert_eq!(said, expected, "{text}");
}

#[test]
fn every_wrong_key_type_and_value_is_told_at_once() {
    check(
        "sender:
  relay: http://r:5001
  logs:
    - path: /a.log
      exclude: [health]
      strat: end
  chunk: 5
  retrry: {initial: 1s}
relay:
  groups:
    name: a
    listen: '127.0.0.1:0'
  batch: {window: [20m], timestamp: rfc, slak: 5s}
  data_dir:
  - /a
forwarder:
  destinations: [{name: d, host: h, user: u, directory: d, agent: yes, sessions: 0}]
relais: {}
",
        &[
            "5: sender.logs[0].exclude[0]: is `health`, but takes a list; write for example \
             `exclude: [[\"/health.php\", \"nginx/\"]]`",
            "6: sender.logs[0].strat: unknown key; did you mean `start`?",
            "7: sender.chunk: is `5`, but takes settings; write for example `chunk: {max_delay: 1s}`",
            "8: sender.retrry: unknown key; did you mean `retry`?",
            "11: relay.groups: is a mapping, but takes a list; write for example \
             `groups: [{name: web-1, listen: \"0.0.0.0:5001\"}]`",
            "13: relay.batch.timestamp: `rfc` is not a valid value; write one of auto, nginx, iso8601, epoch, arrival",
            "13: relay.batch.window: is a list, but takes one value; write `window: value`",
            "13: relay.batch.slak: unknown key; did you mean `slack`?",
            "15: relay.data_dir: is a list, but takes one value; write `data_dir: value`",
            "17: forwarder.destinations[0].sessions: `0` is not valid; write a whole number from 1 to 64",
            "17: forwarder.destinations[0].agent: is `yes`, but takes true or false",
            "18: relais: unknown key; did you mean `relay`?",
        ],
    );
}

#[test]
fn what_follows_from_a_reported_problem_is_not_reported_too() {
    check(
        "sender:\n  realy: http://r:5001\n  logs: /a.log\n",
        &[
            "2: sender.realy: unknown key; did you mean `relay`?",
            "3: sender.logs: is `/a.log`, but takes a list; write for example \
             `logs: [{path: /app/log/nginx/access.log}]`",
        ],
    );
    check(
        "relay: 5\n",
        &["1: relay: is `5`, but takes settings; write each as `key: value` on a line of its own below it"],
    );
    check(
        "relay:\n  grups: []\n",
        &["2: relay.grups: unknown key; did you mean `groups`?"],
    );
    check(
        "\n- relay\n",
        &[
            "2: is a list; write the sections sender, relay, forwarder, monitor, housekeeper, indexer, collector, console",
        ],
    );
    check(
        "sender:\n  relay: http://r:5001\n  logs:\n    - /a.log\n    - path: /b.log\n      nmae: c\n",
        &[
            "4: sender.logs[0]: is `/a.log`, but takes settings; write for example `- path: /app/log/nginx/access.log`",
            "6: sender.logs[1].nmae: unknown key; did you mean `name`?",
        ],
    );
    check(
        "sender:\n  relay: http://r:5001\n  logs:\n    - nmae: c\n",
        &[
            "4: sender.logs[0].path: is missing; write for example `/app/log/nginx/access.log`",
            "4: sender.logs[0].nmae: unknown key; did you mean `name`?",
        ],
    );
}

#[test]
fn a_missing_space_is_told() {
    check(
        "sender:\n  relay:http://r:5001\n",
        &["2: sender: `relay:http://r:5001` has no space after its colon; write `relay: http://r:5001`"],
    );
    check(
        "sender:\n  relay: http://r:5001\n  logs:\n  -path: /a.log\n",
        &[
            "3: sender.logs: has no entry; write at least `- path: /app/log/nginx/access.log`",
            "4: sender.-path: has no space after its dash; write `- path:`",
        ],
    );
}

#[test]
fn wrong_indentation_is_told_with_the_right_line() {
    check(
        "sender:\n  logs:\n    - path: /a\n     name: x\n",
        &["4: is indented by 5 spaces, but the block of line 3 by 6 spaces; write `      name: x`"],
    );
    check(
        "sender:\n  relay: http://r\n   logs:\n    - path: /a\n",
        &["3: is indented by 3 spaces, but the block of line 2 by 2 spaces; write `  logs:`"],
    );
    check(
        "sender:\n  relay: http://r\n logs:\n    - path: /a\n",
        &["3: is indented by 1 space, but the block of line 2 by 2 spaces; write `  logs:`"],
    );
    check(
        "relay:\n  groups:\n    - name: a\n      listen: '0.0.0.0:1'\n   - name: b\n",
        &["5: is indented by 3 spaces, but the block of line 3 by 4 spaces; write `    - name: b`"],
    );
    check(
        "sender:\n\trelay: http://r\n",
        &["2: begins with a tab, and YAML is indented by spaces; write `  relay: http://r`"],
    );
    check(
        "sender:\n  logs:\n  - path: /a\n\t  name: b\n",
        &["4: begins with a tab, and YAML is indented by spaces; write `    name: b`"],
    );
}

#[test]
fn quotes_brackets_and_colons_are_told() {
    check(
        "sender:\n  relay: http://r\n  logs\n    - path: /a\n",
        &["3: `logs` has no colon; write `logs:` before a block, or `logs: value`"],
    );
    check(
        "sender:\n  relay: \"http://r\n  logs:\n    - path: /a\n",
        &["2: `relay: \"http://r` opens a quote that is not closed; close it at the end of the value"],
    );
    check(
        "sender:\n  logs: [{path: /a}\nrelay: {}\n",
        &[
            "2: `logs: [{path: /a}` opens a `[` whose `]` is not found; close it, and put a comma between its entries",
        ],
    );
    check(
        "relay:\n  groups: [\n",
        &["2: `groups: [` opens a `[` that is not closed; write the `]`"],
    );
    check(
        "sender:\n  logs:\n  - path: *.log\n",
        &["3: a value that begins with `*` needs quotes; write `path: '*.log'`"],
    );
    check(
        "sender:\n  logs:\n  - path: @a\n",
        &["3: a value that begins with `@` needs quotes; write `path: '@a'`"],
    );
    check(
        "sender:\n  relay: http://r: b\n",
        &["2: has a colon in its value, which needs quotes; write `relay: 'http://r: b'`"],
    );
    check(
        "formats:\n  a: \"$x \"$y\"\"\n",
        &[
            "2: goes on after the \" that closes its value; put the value in single quotes instead, or write the inner \" as \\\"",
        ],
    );
}

#[test]
fn one_address_for_two_listeners_is_told() {
    check(
        "relay:\n  groups:\n    - {name: a, listen: '0.0.0.0:7001'}\n    - {name: b, listen: '127.0.0.1:7001'}\n    - {name: c, listen: '[::]:7002'}\n    - {name: d, listen: '0.0.0.0:7002'}\n    - {name: e, listen: '127.0.0.1:0'}\n    - {name: f, listen: '127.0.0.1:0'}\n  metrics: 127.0.0.1:7002\nmonitor:\n  smtp: {host: m, from: a@b, to: [a@b]}\n  metrics: 127.0.0.1:7002\n",
        &[
            "4: relay.groups[1].listen: `127.0.0.1:7001` cannot be used beside relay.groups[0].listen, which is 0.0.0.0:7001; \
             give each a port of its own",
            "6: relay.groups[3].listen: `0.0.0.0:7002` cannot be used beside relay.groups[2].listen, which is [::]:7002; give \
             each a port of its own",
            "9: relay.metrics: `127.0.0.1:7002` cannot be used beside relay.groups[2].listen, which is [::]:7002; give each a \
             port of its own",
            "12: monitor.metrics: `127.0.0.1:7002` cannot be used beside relay.groups[2].listen, which is [::]:7002; give each \
             a port of its own",
        ],
    );
}

#[test]
fn one_address_for_two_listeners_is_told_beside_other_problems_of_their_sections() {
    check(
        "relay:\n  groups:\n    - {name: a, listen: '0.0.0.0:7001', sources: []}\n    - {name: b, listen: '0.0.0.0:7001'}\n    - {name: '', listen: '0.0.0.0:7002'}\n  limits: {max_connections: 0}\nmonitor:\n  smtp: {host: m, from: a, to: [a@b]}\n  metrics: 127.0.0.1:7002\n",
        &[
            "3: relay.groups[0].sources: is empty, so no sender is admitted; list the sources, or leave it out to admit any",
            "4: relay.groups[1].listen: `0.0.0.0:7001` cannot be used beside relay.groups[0].listen, which is 0.0.0.0:7001; \
             give each a port of its own",
            "5: relay.groups[2].name: a group name has 1 to 64 characters, this one has 0",
            "6: relay.limits.max_connections: `0` is not valid; write a whole number from 1 to 65536",
            "8: monitor.smtp.from: `a` is not a mail address; write it like ops@example.com",
            "9: monitor.metrics: `127.0.0.1:7002` cannot be used beside relay.groups[2].listen, which is 0.0.0.0:7002; give \
             each a port of its own",
        ],
    );
}

#[test]
fn a_tilde_and_ages_in_the_wrong_order_are_told() {
    check(
        "housekeeper:\n  data_dir: ~/spool\n  delete_after: 1h\n",
        &[
            "2: housekeeper.data_dir: `~/spool` begins with `~`, which only a shell knows; write the whole path, such as \
             /home/ferry",
            "3: housekeeper.delete_after: is below compress_after (3h), so no batch would ever be compressed; write a longer \
             time here, or a shorter compress_after",
        ],
    );
    check(
        "sender:\n  relay: http://r:5001\n  logs: [{path: ~/access.log}]\n",
        &[
            "3: sender.logs[0].path: `~/access.log` begins with `~`, which only a shell knows; write the whole path, such as \
           /home/ferry",
        ],
    );
    check(
        "forwarder:\n  destinations:\n    - {name: d, host: h, user: u, directory: ~/in, password: p}\n",
        &[
            "3: forwarder.destinations[0].directory: begins with `~`, which an SFTP server does not know; write it as seen from \
           the login's folder, without `~/`",
        ],
    );
}

#[test]
fn yaml_that_is_not_for_configurations_is_told_as_what_it_is() {
    check(
        "relay:
  groups: [{name: a, listen: '127.0.0.1:0'}]
  limits: &base {max_connections: 5}
  batch:
    <<: *base
",
        &[
            "5: relay.batch.<<: mappings are not merged here; write the settings of the other mapping out instead",
        ],
    );
    check(
        "sender:
  relay: http://r:5001
  logs: [{path: ${P}}]
",
        &["3: has `${P}` between brackets, where it needs quotes; write `\"${P}\"`"],
    );
    check(
        "housekeeper:
  data_dir: *spool
",
        &[
            "2: `*spool` stands for the value that is marked `&spool`, and none above it is; mark it, or write the value in \
             quotes if the `*` belongs to it",
        ],
    );
    check(
        "# one
---
housekeeper: {}
---
relay: {}
",
        &[
            "4: `---` begins a second document, and a configuration is one; write all sections in one, without this line",
        ],
    );
}
