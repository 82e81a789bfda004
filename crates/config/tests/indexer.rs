//! The `indexer` section: the documented one, its defaults, and what is told about a wrong one.

use std::path::Path;
use std::time::Duration;

use logferry_config::{CounterRule, IndexerSettings, OpenSearchLogin, TextPattern, parse};
use logferry_fields::Level;

const FULL: &str = r"
indexer:
  data_dir: /var/lib/logferry/relay
  store_dir: /var/lib/logferry/index
  keep: {age: 7d, max_bytes: 50GiB, minutes: 8d, hours: 400d}
  counters: []
  opensearch: null
  metrics: null
";

fn read(text: &str) -> IndexerSettings {
    let config = parse(text, Path::new("logferry.yaml"), &|_| None).expect("valid");
    config.indexer.expect("a section")
}

fn check(settings: &str, expected: &[&str]) {
    let text = format!("indexer:\n{settings}");
    let error = parse(&text, Path::new("c.yaml"), &|_| None).expect_err("wrong");
    let told = error.to_string().replace("c.yaml:", "");
    for line in expected {
        assert!(told.contains(line), "{line}\nis not in\n{told}");
    }
    assert_eq!(
        told.lines().filter(|line| line.contains("indexer.")).count(),
        expected.len(),
        "{told}"
    );
}

#[test]
fn documented_values_are_the_defaults() {
    let full = read(FULL);
    assert_eq!(full, read("indexer: {}"));
    assert_eq!(full.data_dir, Path::new("/var/lib/logferry/relay"));
    assert_eq!(full.store_dir, Path::new("/var/lib/logferry/index"));
    let day = |days: u64| Duration::from_hours(24 * days);
    let keep = full.keep;
    assert_eq!((keep.age, keep.minutes, keep.hours), (day(7), day(8), day(400)));
    assert_eq!((keep.max_bytes, full.metrics), (50 << 30, None));
    assert_eq!(full.opensearch, None);
}

#[test]
fn opensearch_needs_an_address_and_has_documented_defaults() {
    let sink = |settings: &str| {
        let indexer = read(&format!("indexer:\n  opensearch: {{{settings}}}\n"));
        indexer.opensearch.expect("a sink")
    };
    let plain = sink("url: \"http://192.0.2.1:9200\"");
    assert_eq!(
        plain,
        sink("url: \"http://192.0.2.1:9200/\", index: \"logferry-{yyyy}.{mm}.{dd}\", batch_bytes: 5MiB")
    );
    assert_eq!(
        (plain.url.to_string(), plain.batch_bytes),
        ("http://192.0.2.1:9200".to_owned(), 5 << 20)
    );
    assert_eq!(
        (plain.index.pattern(), plain.index.prefix()),
        ("logferry-*.*.*".to_owned(), "logferry")
    );
    let basic = sink("url: \"https://search:443\", user: ferry, password: x");
    let OpenSearchLogin::Basic { user, .. } = basic.login else {
        panic!("a user")
    };
    assert!(basic.url.is_https() && user == "ferry");
    let key = sink(
        "url: \"https://search:443\", api_key: VnVhQ2ZHY0JDZGJrUW0tZTVhT3g6dWkybHAyYXhUTm1zeWFrdzl0dk5udw==",
    );
    assert!(matches!(key.login, OpenSearchLogin::ApiKey(_)));
}

#[test]
fn each_wrong_setting_of_opensearch_is_told_with_a_right_one() {
    check(
        "  opensearch: {url: \"http://u:p@search:9200\", index: \"Logs-{yyyy}\", user: ferry, batch_bytes: 1KiB, paswort: x}\n",
        &[
            "2: indexer.opensearch.url: `this` is not the address of a server; write scheme, host and port, such as \
             https://search.example.com:9200, and a user as `user` and `password_file`",
            "2: indexer.opensearch.index: `Logs-{yyyy}` cannot name an index; write small letters, digits, `.`, `-` and `_`, \
             beginning with a letter, such as logferry-{yyyy}.{mm}.{dd}",
            "2: indexer.opensearch.batch_bytes: 1KiB is not valid; write a size from 64KiB to 32MiB",
            "2: indexer.opensearch.paswort: unknown key; did you mean `password`?",
        ],
    );
    check(
        "  opensearch: {index: \"x-{hour}\", user: a, password: b, api_key: c}\n",
        &[
            "2: indexer.opensearch.url: is missing; write for example `https://search.example.com:9200`",
            "2: indexer.opensearch.index: there is no field {hour}",
            "2: indexer.opensearch: has an API key and a user or password; write only one kind of login",
        ],
    );
}

#[test]
fn indexer_shares_the_relays_folder_and_knows_the_formats_of_logs() {
    let relay = "relay:\n  data_dir: /srv\n  groups: [{name: a, listen: '127.0.0.1:0'}]\n";
    let indexer = read(&format!("formats: {{shop: json}}\n{relay}indexer: {{}}\n"));
    assert_eq!(indexer.data_dir, Path::new("/srv"));
    assert_eq!(indexer.min_free_disk, 1 << 30);
    let indexer = read(&format!(
        "{relay}  limits: {{min_free_disk: 5GiB}}\nindexer: {{}}\n"
    ));
    assert_eq!(indexer.min_free_disk, 5 << 30);
    let indexer = read(&format!("formats: {{shop: json}}\n{relay}indexer: {{}}\n"));
    assert_eq!(
        indexer.formats.of(&"shop".parse().expect("a name")).as_text(),
        "json"
    );
}

#[test]
fn counters_say_what_a_line_must_have() {
    let counters = read(
        r#"
indexer:
  counters:
    - {name: orders, where: {path: "/order*", method: POST, status: "2xx"}}
    - {name: gone, where: {status: 410, source: 198.51.100.*, group: web-1, log: access, level: warning, text: x, field: {host: "*.com"}}}
"#,
    )
    .counters;
    assert_eq!((&*counters[0].name, &*counters[1].name), ("orders", "gone"));
    let pattern = |text| Some(TextPattern::of(text));
    let orders = CounterRule {
        path: pattern("/order*"),
        method: Some("POST".to_owned()),
        status: Some(200..=299),
        ..CounterRule::default()
    };
    assert_eq!(counters[0].rule, orders);
    let gone = CounterRule {
        status: Some(410..=410),
        source: pattern("198.51.100.*"),
        group: pattern("web-1"),
        log: pattern("access"),
        level: Some(Level::Warn),
        text: Some("x".to_owned()),
        fields: vec![("host".to_owned(), TextPattern::of("*.com"))],
        ..CounterRule::default()
    };
    assert_eq!(counters[1].rule, gone);
}

#[test]
fn each_wrong_setting_is_told_with_a_right_one() {
    check(
        "  store_dr: x\n  keep: {ages: 1d, max_bytes: 1MiB, minutes: 9d, hours: 1d}\n  opensearch: {url: x}\n",
        &[
            "2: indexer.store_dr: unknown key; did you mean `store_dir`?",
            "3: indexer.keep.ages: unknown key; did you mean `age`?",
            "3: indexer.keep.max_bytes: 1MiB is too small; write at least 64MiB",
            "3: indexer.keep.hours: is below `minutes`; numbers by hour are much smaller, so write a time that is not",
            "4: indexer.opensearch.url: `x` is not the address of a server; write scheme, host and port, such as \
             https://search.example.com:9200, and a user as `user` and `password_file`",
        ],
    );
    check(
        "  data_dir: /a\n  store_dir: /a/b\n",
        &[
            "3: indexer.store_dir: /a/b and data_dir (/a) are one in the other; the index needs a folder of its own, such as \
           /var/lib/logferry/index",
        ],
    );
    check(
        r"  counters:
    - {name: Orders, where: {path: /x}}
    - {name: lines, where: {pth: /x, path: /y}}
    - {name: a, where: {}}
    - {where: {status: 6xx, level: loud}}
",
        &[
            "3: indexer.counters[0].name: `Orders` is no name of a counter; write small letters, digits and `_`, at most 40, \
             such as `orders`",
            "4: indexer.counters[1].name: `lines` is a number that there is without a counter; choose another name",
            "4: indexer.counters[1].where.pth: unknown key; did you mean `path`?",
            "5: indexer.counters[2].where: asks for nothing; write at least one of source, group, log, level, status, \
             method, path, text, field",
            "6: indexer.counters[3].name: is missing; write for example `orders`",
            "6: indexer.counters[3].where.level: `loud` is no level; write debug, info, warn or error",
            "6: indexer.counters[3].where.status: `6xx` is no HTTP status; write one such as 404, or a class such as 5xx",
        ],
    );
    check(
        "  counters: [{name: a, where: {path: x}}, {name: a, where: {path: y}}]\n",
        &[
            "2: indexer.counters[1].name: `a` is also indexer.counters[0].name; each counter needs a name of its own",
        ],
    );
}
