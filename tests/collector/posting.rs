//! Clients that post records with distinct ids until each is acknowledged, as well-written programs do; and the count of these ids
//! at the drop.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::support::network::http_client::HttpResponse;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::test_folder::free_port;

/// A client gives up on an answer after so long, and posts again.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Pause before the next try.
const PAUSE: Duration = Duration::from_millis(50);

/// A pipeline with a collector whose source `api` listens on the returned port. `more`: settings of the collector.
pub(super) fn pipeline(test: &str, more: &str) -> (Pipeline, u16) {
    let mut pipeline = Pipeline::new(test, "2s");
    let port = free_port();
    let folder = pipeline.test_folder.path("collector");
    let source =
        format!("    - {{type: http, name: api, listen: \"127.0.0.1:{port}\", max_connections: 2048}}\n");
    pipeline.config.collector = Some((folder, format!("{more}  min_free_disk: 0\n  sources:\n{source}")));
    (pipeline, port)
}

/// Clients that post.
pub(super) struct PostingClients {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl PostingClients {
    /// Starts so many clients, each with batches of so many records.
    pub(super) fn start(port: u16, clients: usize, records: usize) -> Self {
        let (stop, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let client = |client| {
            let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
            std::thread::spawn(move || post_until(port, (client, records), &stop, &acknowledged))
        };
        let threads = (0..clients).map(client).collect();
        Self {
            stop,
            acknowledged,
            threads,
        }
    }

    /// Records that were acknowledged so far.
    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Stops when each client's last request is acknowledged; the ids of all records.
    pub(super) fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("no panic"))
            .collect()
    }
}

fn post_until(
    port: u16,
    (client, records): (usize, usize),
    stop: &AtomicBool,
    acknowledged: &AtomicUsize,
) -> Vec<String> {
    let mut ids = Vec::new();
    for request in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let batch: Vec<String> = (0..records)
            .map(|record| format!("c{client}-r{request}-{record}"))
            .collect();
        let lines = batch.iter().map(|id| {
            serde_json::json!({"id": id, "message": format!("record {id} of client {client}"), "level": "INFO"}).to_string()
        });
        let body = lines.collect::<Vec<_>>().join("\n") + "\n";
        // Every client of every kind tries again until it is told that its records are stored.
        while post(
            port,
            "/lines",
            "content-type: application/x-ndjson\r\n",
            body.as_bytes(),
        )
        .is_none_or(|answer| answer.status != 201)
        {
            std::thread::sleep(PAUSE);
        }
        acknowledged.fetch_add(records, Ordering::Relaxed);
        ids.extend(batch);
    }
    ids
}

/// Posts once; `None` if no whole answer came.
pub(super) fn post(port: u16, path: &str, headers: &str, body: &[u8]) -> Option<HttpResponse> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(ANSWER_LIMIT)).ok()?;
    let len = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: collector\r\nconnection: close\r\n{headers}content-length: {len}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = Vec::new();
    // A reset after the answer would take it away from a client too.
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some(HttpResponse {
        status: head.split(' ').nth(1)?.parse().ok()?,
        body: body.to_owned(),
    })
}

/// Waits until all ids are at the drop, and checks that each is there once and nothing else is.
pub(super) fn assert_delivered_once(pipeline: &mut Pipeline, ids: &[String]) {
    let is_delivered = pipeline.becomes_true(|pipeline| pipeline.delivered_lines() >= ids.len());
    let delivered = delivered_ids(pipeline);
    let missing: Vec<_> = ids.iter().filter(|id| !delivered.contains_key(*id)).collect();
    assert!(
        missing.is_empty() && is_delivered,
        "{} of {} acknowledged records are not at the drop, such as {:?}",
        missing.len(),
        ids.len(),
        missing.first()
    );
    let doubled: Vec<_> = delivered.iter().filter(|(_, times)| **times > 1).collect();
    assert!(
        doubled.is_empty(),
        "{} records are doubled, such as {:?}",
        doubled.len(),
        doubled.first()
    );
    assert_eq!(delivered.len(), ids.len(), "records that nobody was told of");
    // A late one would be seen by the proof of the pipeline.
    let is_complete = pipeline.becomes_true(|pipeline| pipeline.json("audit").1["complete"] == true);
    assert!(is_complete, "{}", pipeline.json("audit").1);
}

/// The ids at the drop, and how often each is there.
fn delivered_ids(pipeline: &Pipeline) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for record in delivered_records(pipeline) {
        *ids.entry(record["id"].as_str().expect("an id").to_owned())
            .or_default() += 1;
    }
    ids
}

/// The records at the drop.
pub(super) fn delivered_records(pipeline: &Pipeline) -> Vec<Value> {
    let mut records = Vec::new();
    for entry in std::fs::read_dir(&pipeline.config.destination.directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        for line in std::fs::read_to_string(path).unwrap().lines() {
            records.push(serde_json::from_str(line).expect("a record"));
        }
    }
    records
}

/// Starts everything.
pub(super) fn start_all(pipeline: &mut Pipeline) {
    pipeline.start_all();
    pipeline.start(Role::Collector);
}
