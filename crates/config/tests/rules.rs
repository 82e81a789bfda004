//! `monitor.rules`, `monitor.channels` and `monitor.heartbeat`: the documented ones, and what is told about wrong ones.

use std::path::Path;
use std::time::Duration;

use logferry_config::{
    BuiltInCounter, ChannelKind, Config, HeartbeatTarget, MonitorSettings, RuleCounter, RuleDimension,
    RuleMeasure, RuleSeverity, RuleThreshold, WebAddress, parse,
};

const SMTP: &str = "  smtp: {host: mail.example.com, from: a@example.com, to: [b@example.com]}\n";

const INDEXER: &str = "indexer:\n  counters:\n    - {name: orders, where: {path: \"/order*\"}}\n";

/// As interface.md has them.
const RULES: &str = r#"
  rules:
    - {name: server errors, counter: status_5xx, measure: share, above: 5%, over: 5m, by: source, hold: 2m, severity: critical, channels: [mail, chat]}
    - {name: no orders, counter: orders, measure: count, below: 1, over: 15m}
    - {name: half of yesterday, counter: lines, measure: ratio_to_yesterday, below: 50%, over: 30m, by: source}
  channels:
    chat: {slack_url: "https://hooks.example.com/services/T0/B0/s3cr3ts3cr3t"}
"#;

fn text(settings: &str) -> String {
    format!("monitor:\n{SMTP}{settings}{INDEXER}")
}

fn config(settings: &str) -> Config {
    parse(&text(settings), Path::new("c.yaml"), &|_| None).expect("valid")
}

fn monitor(settings: &str) -> MonitorSettings {
    config(settings).monitor.expect("a section")
}

/// What is said, without file and line.
fn said(text: &str) -> Vec<String> {
    let error = parse(text, Path::new("c.yaml"), &|_| None).expect_err("wrong");
    let error = error.to_string();
    let message = |line: &str| line.splitn(3, ':').nth(2).unwrap_or(line).trim().to_owned();
    error.lines().map(message).collect()
}

/// Checks a rule that has these settings beside its name.
fn check_rule(settings: &str, expected: &str) {
    let rules = format!("  rules:\n    - {{name: r, {settings}}}\n");
    assert_eq!(
        said(&text(&rules)),
        [format!("monitor.rules[0]{expected}")],
        "{settings}"
    );
}

fn check(settings: &str, expected: &str) {
    assert_eq!(
        said(&text(settings)),
        [format!("monitor.{expected}")],
        "{settings}"
    );
}

#[test]
fn documented_rules_are_read() {
    let monitor = monitor(RULES);
    let [errors, orders, half] = &monitor.rules[..] else {
        panic!("three rules")
    };
    let status = RuleCounter::BuiltIn(BuiltInCounter::Status(4));
    assert_eq!((&*errors.name, &errors.counter), ("server errors", &status));
    assert_eq!(
        (errors.measure, errors.threshold),
        (RuleMeasure::Share, RuleThreshold::Above(0.05))
    );
    let minutes = |minutes| Duration::from_mins(minutes);
    assert_eq!(
        (errors.over, errors.hold, errors.by),
        (minutes(5), Some(minutes(2)), Some(RuleDimension::Source))
    );
    assert_eq!(
        (errors.severity, &errors.channels[..]),
        (
            RuleSeverity::Critical,
            &["mail".to_owned(), "chat".to_owned()][..]
        )
    );
    assert_eq!(orders.counter, RuleCounter::Named("orders".to_owned()));
    assert_eq!(
        (orders.threshold, orders.by, orders.hold),
        (RuleThreshold::Below(1.0), None, None)
    );
    assert_eq!(
        (orders.severity, &orders.channels[..]),
        (RuleSeverity::Warning, &["mail".to_owned()][..])
    );
    assert_eq!(half.measure.baseline(), Some(Duration::from_hours(24)));
    assert_eq!(half.threshold, RuleThreshold::Below(0.5));
    assert_eq!(monitor.store_dir, Path::new("/var/lib/logferry/index"));
    assert_eq!(config(RULES).warnings, Vec::<String>::new());
}

#[test]
fn wrong_rule_is_told_with_its_key_and_what_would_be_right() {
    for (settings, expected) in [
        (
            "counter: status_5x, above: 1",
            ".counter: there is no counter `status_5x`; did you mean `status_5xx`?",
        ),
        (
            "counter: order, above: 1",
            ".counter: there is no counter `order`, neither built in nor in indexer.counters; did you mean `orders`?",
        ),
        ("above: 1", ".counter: is missing; write for example `status_5xx`"),
        (
            "counter: lines",
            ": has no limit, so it would never fire; write one of `above: 5%`, `below: 1` or `absent: true`",
        ),
        (
            "counter: lines, above: 1, below: 2",
            ".below: is written beside `above`; a rule has one limit: write two rules",
        ),
        (
            "counter: status_5xx, measure: share, above: 5",
            ".above: `5` has no `%`; shares and ratios are written in percent, such as `5%`",
        ),
        (
            "counter: lines, above: 5%",
            ".above: `5%` is a share, and the measure is not; write a number such as 100, or `measure: share`",
        ),
        (
            "counter: lines, above: many",
            ".above: `many` is not a number; write one such as 100",
        ),
        (
            "counter: lines, measure: rate, above: x/s",
            ".above: `x/s` is not a rate; write how many a second, such as 100 or 0.5",
        ),
        (
            "counter: lines, below: 0",
            ".below: nothing is below zero; write a larger limit, or `absent: true`",
        ),
        (
            "counter: status_5xx, measure: share, above: 100%",
            ".above: a share is never above 100%; write a smaller one, such as 5%",
        ),
        (
            "counter: lines, measure: rate, absent: true",
            ".absent: goes with `measure: count` only: nothing was counted",
        ),
        (
            "counter: lines, above: 1, over: 90s",
            ".over: `1m30s` is not valid; numbers are kept by minute, so write whole minutes from 1m to 24h, such as 5m",
        ),
        (
            "counter: lines, above: 1, measure: rat",
            ".measure: `rat` is not a valid value; write one of count, rate, share, ratio_to_yesterday, ratio_to_last_week",
        ),
        (
            "counter: lines, above: 1, channels: [slack]",
            ".channels[0]: there is no channel `slack` in monitor.channels; there is only `mail`",
        ),
        (
            "counter: lines, above: 1, severity: high",
            ".severity: `high` is not a valid value; write one of warning, critical",
        ),
    ] {
        check_rule(settings, expected);
    }
}

#[test]
fn wrong_rule_is_told_with_file_and_line() {
    let taken = "  rules: [{name: disk full, counter: lines, above: 1}]\n";
    check(
        taken,
        "rules[0].name: is the name of an alert that there is without a rule; choose another name",
    );
    let line = "monitor:\n  smtp: {host: h, from: a@b, to: [a@b]}\n  rules:\n    - name: r\n      counter: line\n      above: 1\nindexer: {}\n";
    let error = parse(line, Path::new("c.yaml"), &|_| None)
        .expect_err("wrong")
        .to_string();
    assert!(
        error.starts_with("c.yaml:5: monitor.rules[0].counter: there is no counter `line`"),
        "{error}"
    );
}

#[test]
fn rule_needs_minutes_that_are_kept_for_long_enough() {
    let short = format!(
        "monitor:\n{SMTP}  rules: [{{name: r, counter: lines, measure: ratio_to_last_week, below: 50%, over: 30m}}]\n\
         indexer: {{keep: {{minutes: 2d}}}}\n"
    );
    assert_eq!(
        said(&short),
        [
            "monitor.rules[0].measure: looks back further than indexer.keep.minutes (48h); keep at least 169h30m"
        ]
    );
}

#[test]
fn without_an_indexer_the_rules_are_valid_and_a_warning_says_that_they_wait() {
    let text = format!("monitor:\n{SMTP}  rules: [{{name: r, counter: orders, below: 1}}]\n");
    let config = parse(&text, Path::new("c.yaml"), &|_| None).expect("valid");
    assert_eq!(config.warnings.len(), 1);
    assert!(
        config.warnings[0].contains("no rule is evaluated"),
        "{:?}",
        config.warnings
    );
}

#[test]
fn each_kind_of_channel_is_read_and_its_secret_is_never_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("teams");
    #[expect(clippy::disallowed_methods, reason = "tests lay out files")]
    std::fs::write(&file, "https://teams.example.com:8443/hook?sig=s3cr3ts3cr3t\n").expect("written");
    let settings = format!(
        "  channels:\n    chat: {{slack_url: \"http://127.0.0.1:8000/services/s3cr3ts3cr3t\", all_alerts: true}}\n    team: {{teams_url_file: {}}}\n    \
         hook: {{webhook_url: \"http://[::1]\", time_limit: 5s}}\n    page: {{command: [/usr/local/bin/page, --team, ops]}}\n  \
         heartbeat: {{url: \"https://hc.example.com/ping/s3cr3ts3cr3t\", every: 1m}}\n",
        file.display()
    );
    let monitor = monitor(&settings);
    let shown = format!("{monitor:?}");
    assert!(!shown.contains("s3cr3t"), "{shown}");
    let names: Vec<_> = monitor.channels.iter().map(|channel| &*channel.name).collect();
    assert_eq!(names, ["chat", "hook", "page", "team"]);
    let [chat, hook, page, team] = &monitor.channels[..] else {
        panic!("four channels")
    };
    assert!(chat.all_alerts && !hook.all_alerts);
    assert!(
        matches!(&chat.kind, ChannelKind::Slack(to) if to.address.to_string() == "http://127.0.0.1:8000/…")
    );
    assert!(matches!(&team.kind, ChannelKind::Teams(to) if to.address.port == 8443));
    assert!(matches!(&hook.kind, ChannelKind::Webhook(to) if to.address.authority() == "[::1]"));
    assert_eq!(
        (hook.time_limit, chat.time_limit),
        (Duration::from_secs(5), Duration::from_secs(30))
    );
    assert!(matches!(&page.kind, ChannelKind::Command(argv) if argv.len() == 3));
    let heartbeat = monitor.heartbeat.expect("one");
    assert_eq!(heartbeat.every, Duration::from_mins(1));
    assert!(matches!(heartbeat.to, HeartbeatTarget::Url(_)));
}

#[test]
fn wrong_channel_or_heartbeat_is_told_without_its_secret() {
    let one = "must have one of slack_url_file, teams_url_file, webhook_url_file or command (or a …_url), and only one";
    check("  channels: {chat: {}}\n", &format!("channels.chat: {one}"));
    check(
        "  channels: {chat: {slack_url: 'http://a', command: [/b]}}\n",
        &format!("channels.chat: {one}"),
    );
    check(
        "  channels: {chat: {slack_url: 'hooks.example.com/s3cr3t'}}\n",
        "channels.chat.slack_url: is not a web address; write it like https://hooks.example.com/path, without a user, a space or a `#`",
    );
    check(
        "  channels: {mail: {command: [/b]}}\n",
        "channels.mail: is always there: it is the smtp section; give this channel another name",
    );
    check(
        "  channels: {page: {command: [page]}}\n",
        "channels.page.command: must begin with the whole path of a program; no shell reads it: write for example \
         [/usr/local/bin/page, --team, ops]",
    );
    check(
        "  heartbeat: {every: 5m}\n",
        "heartbeat: must have one of url, url_file, file or mail, and only one",
    );
    check(
        "  heartbeat: {file: /a, every: 1s}\n",
        "heartbeat.every: is below 10s; write for example 5m",
    );
}

#[test]
fn web_addresses_are_taken_apart() {
    let of = |text: &str| {
        text.parse::<WebAddress>().map(|address| {
            (
                address.authority(),
                address.port,
                address.target.expose().to_owned(),
            )
        })
    };
    assert_eq!(
        of("https://a.example/x/y?z=1"),
        Ok(("a.example".to_owned(), 443, "/x/y?z=1".to_owned()))
    );
    assert_eq!(
        of("http://a.example:8080?z"),
        Ok(("a.example:8080".to_owned(), 8080, "/?z".to_owned()))
    );
    assert_eq!(
        of("http://[2001:db8::1]:80/"),
        Ok(("[2001:db8::1]".to_owned(), 80, "/".to_owned()))
    );
    for wrong in [
        "a.example",
        "ftp://a",
        "http://",
        "http://u:p@a/",
        "http://a:0/",
        "http://a/ b",
        "http://a/#x",
        "http://[::1/",
        "http://a/\r\nX: y",
    ] {
        assert!(of(wrong).is_err(), "{wrong}");
    }
}
