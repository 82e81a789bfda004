//! The indexer is killed again and again while lines come: numbers and search have each line once.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::process::Process;
use crate::support::servers::relay::RelayProcess;
use crate::support::{WAIT_LIMIT, logferry, wait_for};

/// Every third line is of the same minute, every tenth a server error.
fn line(number: u32) -> String {
    let (minute, status) = (20 + number % 3, if number.is_multiple_of(10) { 500 } else { 200 });
    format!(
        "203.0.113.9 - - [21/Nov/2025:08:{minute}:03 +0600] \"GET /page?id={number:06} HTTP/1.1\" {status} 5 \"-\" \"x\"\n"
    )
}

fn start(relay: &RelayProcess, config: &Path) -> Process {
    let mut command = logferry();
    command.arg("indexer").arg("-c").arg(config);
    Process::start(&relay.test_folder, "indexer", &mut command)
}

/// A command's output as JSON, one value a line; `None` if it failed, since there is no index yet.
fn json(config: &Path, arguments: &[&str]) -> Option<Vec<Value>> {
    let output = logferry()
        .args(arguments)
        .arg("--json")
        .arg("-c")
        .arg(config)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    output.status.success().then(|| {
        let lines = text.lines();
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    })
}

/// Lines and server errors by minute.
fn numbers(config: &Path) -> BTreeMap<String, (u64, u64)> {
    let rows = json(config, &["numbers", "--since", "2025-01-01"]).and_then(|mut lines| lines.pop());
    let rows = rows.and_then(|rows| rows.as_array().cloned()).unwrap_or_default();
    let count = |row: &Value, key: &str| row[key].as_u64().unwrap();
    let of = |row: &Value| {
        let time = row["time"].as_str().unwrap().to_owned();
        (time, (count(row, "lines"), count(row, "status_5xx")))
    };
    rows.iter().map(of).collect()
}

#[test]
fn killed_indexer_counts_and_stores_each_line_once() {
    let relay = RelayProcess::start("killed-indexer", "sources: [\"127.0.0.1\"]");
    let (data, store) = (relay.test_folder.path("relay"), relay.test_folder.path("index"));
    let written = format!(
        "indexer:\n  data_dir: {data:?}\n  store_dir: {store:?}\n  keep: {{minutes: 3600d, hours: 3600d}}\n"
    );
    let config = relay.test_folder.write("indexer.yaml", &written);
    let mut number = 0;
    for round in 0..12_u32 {
        let mut indexer = start(&relay, &config);
        // Of a few rounds the indexer sees nothing, of others some lines more or less.
        for _ in 0..=(round * 2 % 7) {
            let lines: String = (number..number + 40).map(line).collect();
            number += 40;
            relay.post(&lines);
        }
        indexer.kill();
    }
    let mut expected: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for number in 0..number {
        let minute = expected
            .entry(format!("2025-11-21T02:{}:00Z", 20 + number % 3))
            .or_default();
        minute.0 += 1;
        minute.1 += u64::from(number.is_multiple_of(10));
    }
    let mut indexer = start(&relay, &config);
    let mut last = BTreeMap::new();
    wait_for("the numbers of all lines", WAIT_LIMIT, || {
        last = numbers(&config);
        let lines: u64 = last.values().map(|(lines, _)| lines).sum();
        lines >= u64::from(number)
    });
    assert_eq!(last, expected);

    let mut hits = json(&config, &["search", "--limit", "100000", "page"]).expect("a result");
    let end = hits.pop().expect("the end");
    assert_eq!(
        (&end["complete"], end["hits"].as_u64()),
        (&Value::Bool(true), Some(u64::from(number)))
    );
    let mut found: Vec<_> = hits
        .iter()
        .map(|hit| hit["line"].as_str().unwrap().to_owned() + "\n")
        .collect();
    found.sort();
    let mut all: Vec<_> = (0..number).map(line).collect();
    all.sort();
    assert_eq!(found, all);
    assert_eq!(
        indexer.stop(nix::sys::signal::Signal::SIGTERM, WAIT_LIMIT).code(),
        Some(0)
    );
}
