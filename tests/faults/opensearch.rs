//! The indexer and its OpenSearch are both killed again and again while lines come: each line is in the index once.

use std::path::Path;
use std::time::Duration;

use logferry_embedded_servers::{BulkFault, SearchServer};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::process::Process;
use crate::support::servers::relay::RelayProcess;
use crate::support::{WAIT_LIMIT, logferry, wait_for};

const INDEX: &str = "logs-2025.11.21";

fn line(number: u32) -> String {
    let minute = 20 + number % 3;
    format!(
        "203.0.113.9 - - [21/Nov/2025:08:{minute}:03 +0600] \"GET /page?id={number:06} HTTP/1.1\" 200 5 \"-\" \"x\"\n"
    )
}

fn start(relay: &RelayProcess, config: &Path) -> Process {
    let mut command = logferry();
    command.arg("indexer").arg("-c").arg(config);
    Process::start(&relay.test_folder, "indexer", &mut command)
}

/// A command's exit code and its JSON.
fn command(config: &Path, arguments: &[&str]) -> (i32, Value) {
    let mut command = logferry();
    command.args(arguments).arg("--json").arg("-c").arg(config);
    let output = command.output().unwrap();
    let value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap(), value)
}

/// The kinds of what the audit finds in the index.
fn audit(config: &Path) -> (i32, Vec<String>) {
    let (code, audit) = command(config, &["audit", "--index"]);
    let found = audit["discrepancies"].as_array().unwrap().iter();
    let kinds = found.map(|found| found["kind"].as_str().unwrap().to_owned());
    (code, kinds.collect())
}

#[test]
fn each_line_is_in_the_index_once_after_kills_of_indexer_and_server() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(SearchServer::start()).unwrap();
    let relay = RelayProcess::start("killed-sink", "sources: [\"127.0.0.1\"]");
    let (data, store) = (relay.test_folder.path("relay"), relay.test_folder.path("index"));
    let config = relay.test_folder.write(
        "indexer.yaml",
        &format!(
            "indexer:\n  data_dir: {data:?}\n  store_dir: {store:?}\n  opensearch: {{url: \"{}\", index: \"logs-{{yyyy}}.{{mm}}.{{dd}}\"}}\n",
            server.url()
        ),
    );
    let mut number = 0;
    for round in 0..10_u32 {
        let lost = [BulkFault::CloseAfter, BulkFault::Truncate, BulkFault::CloseBefore];
        server.fail_next(
            lost.into_iter()
                .cycle()
                .skip(round as usize % 3)
                .take(round as usize % 4),
        );
        let mut indexer = start(&relay, &config);
        for _ in 0..=(round * 2 % 7) {
            relay.post(&(number..number + 40).map(line).collect::<String>());
            number += 40;
        }
        // Some rounds end before the first request, others after some.
        let before = server.bulk_requests();
        if round % 3 > 0 {
            wait_for("a request", WAIT_LIMIT, || server.bulk_requests() > before);
        }
        std::thread::sleep(Duration::from_millis(u64::from(round) * 7));
        indexer.kill();
    }
    let mut indexer = start(&relay, &config);
    let lines = usize::try_from(number).unwrap();
    wait_for("all lines in the index", WAIT_LIMIT, || server.count() >= lines);
    let sent = || command(&config, &["status"]).1["indexer"]["opensearch"]["documents"].clone();
    wait_for("the record of all lines", WAIT_LIMIT, || sent() == json!(number));
    let indices = server.indices();
    assert_eq!(indices.keys().collect::<Vec<_>>(), [INDEX]);
    let messages = indices[INDEX]
        .values()
        .map(|document| document["message"].as_str().unwrap().to_owned() + "\n");
    let mut found: Vec<_> = messages.collect();
    found.sort();
    let mut all: Vec<_> = (0..number).map(line).collect();
    all.sort();
    assert_eq!(found, all);
    assert_eq!(server.template().unwrap().0, "logferry-logs");

    assert_eq!(audit(&config), (0, vec![]));
    let mut taken = None;
    server.change_indices(|indices| taken = indices.get_mut(INDEX).unwrap().pop_last());
    assert_eq!(audit(&config), (1, vec!["index_missing".to_owned()]));
    server.change_indices(|indices| indices.get_mut(INDEX).unwrap().extend(taken));
    server.set_script(|script| script.is_down = true);
    assert_eq!(audit(&config), (3, vec!["index_unread".to_owned()]));
    assert_eq!(indexer.stop(Signal::SIGTERM, WAIT_LIMIT).code(), Some(0));
}
