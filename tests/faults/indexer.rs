//! The indexer is killed again and again while lines come and the housekeeper deletes: numbers and search have each line once,
//! or a gap that both name. And its manners: metrics, health, `status`, reload.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::logs::comparison::WrittenLog;
use crate::support::logs::writer::LogWriter;
use crate::support::network::http_client::{request, send};
use crate::support::pipeline::{Pipeline, files_below};
use crate::support::process::Process;
use crate::support::servers::relay::RelayProcess;
use crate::support::test_folder::{TestFolder, free_port};
use crate::support::{WAIT_LIMIT, logferry, seed, wait_for};

/// Every third line is of the same minute, every tenth a server error.
fn line(number: u32) -> String {
    let (minute, status) = (20 + number % 3, if number.is_multiple_of(10) { 500 } else { 200 });
    format!(
        "203.0.113.9 - - [21/Nov/2025:08:{minute}:03 +0600] \"GET /page?id={number:06} HTTP/1.1\" {status} 5 \"-\" \"x\"\n"
    )
}

fn start(folder: &TestFolder, config: &Path) -> Process {
    start_role(folder, "indexer", config)
}

fn start_role(folder: &TestFolder, role: &str, config: &Path) -> Process {
    let mut command = logferry();
    command.arg(role).arg("-c").arg(config);
    Process::start(folder, role, &mut command)
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
    let rows = json(config, &["numbers", "--since", "2020-01-01"]).and_then(|mut lines| lines.pop());
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
        let mut indexer = start(&relay.test_folder, &config);
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
    let mut indexer = start(&relay.test_folder, &config);
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
    assert_eq!(indexer.stop(Signal::SIGTERM, WAIT_LIMIT).code(), Some(0));
}

/// Minute and status of a line of the load, counted by nothing that the program has.
fn minute_and_status(line: &[u8]) -> (String, String) {
    let text = std::str::from_utf8(line).unwrap();
    let (_, time) = text.split_once('[').unwrap();
    let time: jiff::Zoned = jiff::Zoned::strptime("%d/%b/%Y:%H:%M:%S %z", &time[..26]).unwrap();
    let status = text.split("\" ").nth(1).unwrap();
    (
        time.timestamp().strftime("%Y-%m-%dT%H:%M:00Z").to_string(),
        status[..3].to_owned(),
    )
}

/// Bytes of the lines in the numbers, and of the gaps; and the lines that a search of everything finds.
fn indexed(config: &Path) -> Option<(u64, u64, Vec<Vec<u8>>)> {
    let rows = json(config, &["numbers", "--since", "2020-01-01"])?.pop()?;
    let bytes = rows
        .as_array()?
        .iter()
        .filter_map(|row| row["bytes"].as_u64())
        .sum();
    let mut hits = json(config, &["search", "--all"])?;
    let end = hits.pop()?;
    let gaps = end["gaps"]
        .as_array()?
        .iter()
        .filter_map(|gap| gap["bytes"].as_u64());
    let line = |hit: &Value| Some((hit["line"].as_str()?.to_owned() + "\n").into_bytes());
    Some((bytes, gaps.sum(), hits.iter().filter_map(line).collect()))
}

#[test]
fn housekeeper_that_deletes_at_once_makes_gaps_and_no_line_is_lost_or_doubled() {
    let seed = seed();
    let mut pipeline = Pipeline::new("indexed-race", "1s");
    let load = LogWriter::start(&pipeline.config.log, 8_000, seed);
    pipeline.start_all();
    let (data, store) = (&pipeline.config.data_dir, pipeline.test_folder.path("index"));
    let written = format!(
        "housekeeper:\n  data_dir: {data:?}\n  compress_after: 0s\n  delete_after: 0s\n  schedule: \"* * * * * *\"\n\
         indexer:\n  data_dir: {data:?}\n  store_dir: {store:?}\n"
    );
    let config = pipeline.test_folder.write("indexer.yaml", &written);
    // What was deleted before the indexer's first look is no gap.
    let mut first = start(&pipeline.test_folder, &config);
    wait_for("the first numbers", WAIT_LIMIT, || !numbers(&config).is_empty());
    first.kill();
    let mut housekeeper = start_role(&pipeline.test_folder, "housekeeper", &config);
    wait_for("lines at the drop", WAIT_LIMIT, || pipeline.delivered_lines() > 0);
    for round in 0..10_u64 {
        let mut indexer = start(&pipeline.test_folder, &config);
        sleep(Duration::from_millis(
            100 + (seed ^ round).wrapping_mul(7919) % 1500,
        ));
        indexer.kill();
        if round % 3 == 2 {
            housekeeper.kill();
            housekeeper = start_role(&pipeline.test_folder, "housekeeper", &config);
        }
    }
    load.stop();
    let log = WrittenLog::read(&pipeline.config.log);
    pipeline.wait_for_delivery(&log);
    // What no indexer has read by now is a gap.
    let sent = pipeline.config.data_dir.join("sent");
    wait_for("the housekeeper to delete all", WAIT_LIMIT, || {
        files_below(&sent).is_ok_and(|files| files.is_empty())
    });
    let expected: u64 = log.kept().map(|(line, _)| line.len() as u64).sum();
    let mut indexer = start(&pipeline.test_folder, &config);
    let (mut counted, mut lost, mut hits) = (0, 0, Vec::new());
    wait_for("all bytes in numbers or gaps", WAIT_LIMIT, || {
        (counted, lost, hits) = indexed(&config).unwrap_or_default();
        counted + lost >= expected
    });
    assert_eq!(counted + lost, expected);
    let found: HashSet<&[u8]> = hits.iter().map(Vec::as_slice).collect();
    assert_eq!(found.len(), hits.len(), "no line twice");
    assert_eq!(hits.iter().map(|line| line.len() as u64).sum::<u64>(), counted);
    let all: HashSet<&[u8]> = log.kept().map(|(line, _)| line).collect();
    assert!(found.is_subset(&all), "only lines that were written");
    let mut expected: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for line in &hits {
        let (minute, status) = minute_and_status(line);
        let counts = expected.entry(minute).or_default();
        counts.0 += 1;
        counts.1 += u64::from(status.starts_with('5'));
    }
    assert_eq!(numbers(&config), expected);
    println!("{counted} bytes in {} lines, {lost} bytes in gaps", hits.len());
    for role in [&mut indexer, &mut housekeeper] {
        assert_eq!(role.stop(Signal::SIGTERM, WAIT_LIMIT).code(), Some(0));
    }
}

/// The status once the indexer runs. The exit code says that other roles do not.
fn status_of_running(config: &Path) -> Value {
    let mut status = Value::Null;
    // The first sign of life comes when the folder is there.
    wait_for("the role to run", WAIT_LIMIT, || {
        let output = logferry().args(["status", "--json", "-c"]).arg(config).output();
        status = serde_json::from_slice(&output.unwrap().stdout).unwrap();
        let mut roles = status["roles"].as_array().unwrap().iter();
        roles.any(|role| role["name"] == "indexer" && role["state"] == "running")
    });
    status
}

#[test]
fn indexer_tells_metrics_health_and_status_and_a_reload_adds_a_counter() {
    let relay = RelayProcess::start("indexer-manners", "sources: [\"127.0.0.1\"]");
    let store = relay.test_folder.path("index");
    let port = free_port();
    let of_relay = fs::read_to_string(relay.test_folder.path("relay.yaml")).unwrap();
    let written = |counters: &str| {
        format!(
            "{of_relay}indexer:\n  store_dir: {store:?}\n  metrics: \"127.0.0.1:{port}\"\n  \
             keep: {{minutes: 3600d, hours: 3600d}}\n{counters}"
        )
    };
    let config = relay.test_folder.write("indexer.yaml", &written(""));
    relay.post(&(0..40).map(line).collect::<String>());
    let mut indexer = start(&relay.test_folder, &config);
    let get = |path: &str| send(port, &request("GET", path, &[], b""));
    wait_for("its port", WAIT_LIMIT, || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let wait_for_metric = |text: &str| {
        let mut page = String::new();
        let has = |page: &String| page.lines().any(|line| line == text);
        let is_there = crate::support::becomes_true(WAIT_LIMIT, || {
            page = get("/metrics").body;
            has(&page)
        });
        assert!(is_there, "{text} is not in\n{page}");
    };
    for text in [
        "logferry_indexer_lines_total 40",
        "logferry_indexer_unparsed_lines_total 0",
        "logferry_indexer_gaps_total 0",
        "logferry_indexer_gap_bytes_total 0",
        "logferry_indexer_lag_seconds 0",
        "logferry_indexer_lag_bytes 0",
        "logferry_indexer_lag_lines 0",
        "logferry_indexer_frames 0",
    ] {
        wait_for_metric(text);
    }
    assert_eq!(get("/healthz").status, 200);
    let status = status_of_running(&config);
    let index = &status["indexer"];
    let lag = ["lag_bytes", "lag_lines", "lag_seconds", "gaps", "gap_bytes"].map(|key| index[key].as_u64());
    assert_eq!(lag, [Some(0); 5], "{status}");

    let counters = "  counters: [{name: failures, where: {status: 5xx}}]\n";
    relay.test_folder.write("indexer.yaml", &written(counters));
    let id = indexer.id();
    indexer.signal(Signal::SIGHUP);
    let log = relay.test_folder.path("output/indexer.log");
    wait_for("the reload", WAIT_LIMIT, || {
        fs::read_to_string(&log)
            .unwrap()
            .matches("indexer started")
            .count()
            == 2
    });
    relay.post(&(40..60).map(line).collect::<String>());
    // The process is the same, so its counters go on.
    wait_for_metric("logferry_indexer_lines_total 60");
    assert_eq!(indexer.id(), id);
    let rows = json(&config, &["numbers", "--since", "2020-01-01"]).and_then(|mut lines| lines.pop());
    let rows = rows.and_then(|rows| rows.as_array().cloned()).unwrap_or_default();
    let failures: u64 = rows.iter().filter_map(|row| row["failures"].as_u64()).sum();
    assert_eq!(failures, 2, "of the lines since the reload: {rows:?}");
    assert_eq!(indexer.stop(Signal::SIGTERM, WAIT_LIMIT).code(), Some(0));
}
