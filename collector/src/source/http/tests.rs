//! Requests as clients send them, byte for byte, to a source with a capture on disk.
#![expect(clippy::disallowed_methods, reason = "tests lay out files")]

mod bounds;
mod equal;
mod predecessors;
mod secured;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use logferry_captures::live_path;
use logferry_config::{CollectorSourceKind, HttpSourceSettings};
use logferry_durable::RealDisk;
use logferry_protocol::names::LogName;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::serve;
use crate::capture::{CaptureHandle, CaptureSettings, CaptureWriter};
use crate::source::{ClientMemory, SourceAccount, SourceContext};

/// A source that listens, with its capture.
struct RunningSource {
    dir: TempDir,
    address: SocketAddr,
    stop: CancellationToken,
    runtime: Option<tokio::runtime::Runtime>,
    /// Stores nothing before it runs.
    held: Option<CaptureWriter<RealDisk>>,
    writer: Option<JoinHandle<()>>,
    handle: Option<CaptureHandle>,
    status: SourceAccount,
}

fn name() -> LogName {
    "api".parse().expect("a name")
}

fn settings(more: &str) -> HttpSourceSettings {
    let text = format!("collector:\n  sources: [{{type: http, name: api, listen: \"127.0.0.1:0\"{more}}}]\n");
    let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None).expect("valid");
    let source = config.collector.expect("a section").sources.remove(0);
    match source.kind {
        CollectorSourceKind::Http(settings) => settings,
        other => panic!("{other:?}"),
    }
}

impl RunningSource {
    fn start(more: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), more, 0)
    }

    fn start_in(dir: TempDir, more: &str, min_free_disk: u64) -> Self {
        let mut source = Self::start_held(dir, more, min_free_disk);
        source.store();
        source
    }

    /// What is posted waits until [`Self::store`].
    fn start_held(dir: TempDir, more: &str, min_free_disk: u64) -> Self {
        let captures = CaptureSettings {
            state_dir: dir.path().join("collector"),
            sender_state_dir: dir.path().join("sender"),
            rotate_max_bytes: 1 << 30,
            min_free_disk,
        };
        let (handle, writer) = CaptureWriter::open(RealDisk, &captures, &name()).expect("opened");
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let address = listener.local_addr().expect("bound");
        let (stop, status) = (CancellationToken::new(), SourceAccount::default());
        let context = SourceContext {
            name: name(),
            capture: handle.clone(),
            status: status.clone(),
            memory: ClientMemory::new(8 << 20),
            max_record: 64 << 10,
            shutdown: stop.clone(),
        };
        let settings = settings(more);
        runtime.spawn(async move {
            serve(listener, &settings, context)
                .await
                .map_err(|error| error.to_string())
        });
        Self {
            dir,
            address,
            stop,
            runtime: Some(runtime),
            held: Some(writer),
            writer: None,
            handle: Some(handle),
            status,
        }
    }

    fn store(&mut self) {
        let writer = self.held.take().expect("held");
        self.writer = Some(std::thread::spawn(|| writer.run()));
    }

    /// Ends it at once, as a kill does: nothing is said to clients, and nothing is done later.
    fn kill(mut self) -> TempDir {
        self.end();
        std::mem::replace(&mut self.dir, tempfile::tempdir().expect("a folder"))
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.handle = None;
        if let Some(writer) = self.writer.take() {
            // The runtime drops its handles in the background.
            writer.join().expect("no panic");
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a listener");
        let limit = std::time::Duration::from_secs(30);
        stream.set_read_timeout(Some(limit)).expect("settable");
        stream
    }

    /// A request on a connection of its own, which is closed when the answer is read.
    fn post(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect();
        send(&mut stream, path, headers, body);
        Answer::read(&mut stream)
    }

    /// The records in the capture.
    fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(live_path(&self.dir.path().join("collector"), &name()));
        let text = text.unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    fn messages(&self) -> Vec<String> {
        let records = self.records().into_iter();
        records
            .map(|record| record["message"].as_str().expect("a text").to_owned())
            .collect()
    }
}

impl Drop for RunningSource {
    fn drop(&mut self) {
        self.stop.cancel();
        self.end();
    }
}

/// Sends head and body as two writes, as `http.client` of Python does.
fn send(stream: &mut impl Write, path: &str, headers: &str, body: &[u8]) {
    let len = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1:5000\r\n{headers}Content-Length: {len}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("connected");
    // A server that refuses by the head may have closed.
    let _ = stream.write_all(body);
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// Reads one answer with a length.
    fn read(stream: &mut impl Read) -> Self {
        let mut bytes = Vec::new();
        let mut next = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut next).expect("a head");
            bytes.extend_from_slice(&next);
        }
        let head = String::from_utf8(bytes).expect("text").to_ascii_lowercase();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        let len = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let len: usize = len.expect("a length").parse().expect("a number");
        let mut body = vec![0; len];
        stream.read_exact(&mut body).expect("a body");
        Self {
            status,
            head,
            body: String::from_utf8(body).expect("text"),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

#[test]
fn answers_are_those_of_the_contract_and_the_records_are_in_the_capture() {
    let source = RunningSource::start("");
    let answer = source.post(
        "/log",
        "",
        br#"{"level":"INFO","message":"one","client_id":"app-1"}"#,
    );
    assert_eq!((answer.status, &answer.json()["status"]), (201, &"logged".into()));
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    let row = br#"{"id":5,"message":"two","level":"WARN","created_at":"2026-11-29T10:00:00Z"}"#;
    let answer = source.post("/api/logs", "", row);
    assert_eq!(
        (answer.status, answer.json()),
        (201, serde_json::json!({"status": "success", "stored": 1}))
    );
    let answer = source.post("/lines", "Content-Type: text/plain\r\n", b"three\nfour\n");
    assert_eq!((answer.status, &answer.json()["stored"]), (201, &2.into()));
    assert_eq!(source.messages(), ["one", "two", "three", "four"]);
    let records = source.records();
    assert_eq!(
        (&records[0]["id"], &records[0]["source"]),
        (&id.into(), &"app-1".into())
    );
    assert_eq!(
        (&records[1]["id"], &records[1]["time"]),
        (&5.into(), &"2026-11-29T10:00:00.000Z".into())
    );
}

#[test]
fn what_is_wrong_is_said_in_one_line_with_its_status() {
    let source = RunningSource::start("");
    for (path, headers, body, status) in [
        ("/nothing", "", &b"x"[..], 404),
        ("/log", "", b"{", 400),
        ("/log", "", b"{}", 400),
        ("/api/logs", "", b"[1]", 400),
        (
            "/lines",
            "Content-Type: application/x-ndjson\r\n",
            b"{}\nx\n",
            400,
        ),
        ("/lines", "Content-Encoding: br\r\n", b"x", 415),
        ("/lines", "Content-Encoding: gzip\r\n", b"x", 400),
        ("/lines", "Idempotency-Key: \r\n", b"x", 400),
    ] {
        let answer = source.post(path, headers, body);
        assert_eq!(answer.status, status, "{path} {headers} {answer:?}");
        assert_eq!(answer.body.matches('\n').count(), 1, "{answer:?}");
    }
    let mut stream = source.connect();
    stream
        .write_all(b"GET /log HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("connected");
    let answer = Answer::read(&mut stream);
    assert!(
        answer.status == 405 && answer.head.contains("allow: post"),
        "{answer:?}"
    );
    assert_eq!(source.records(), Vec::<Value>::new());
}

#[test]
fn compressed_bodies_are_read() {
    let source = RunningSource::start("");
    let plain = b"one\ntwo\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(plain).expect("memory");
    let gzip = gzip.finish().expect("memory");
    assert_eq!(
        source.post("/lines", "Content-Encoding: gzip\r\n", &gzip).status,
        201
    );
    let zstd = zstd::encode_all(&b"three\n"[..], 3).expect("memory");
    assert_eq!(
        source.post("/lines", "Content-Encoding: zstd\r\n", &zstd).status,
        201
    );
    assert_eq!(source.messages(), ["one", "two", "three"]);
}

#[test]
fn key_of_a_client_makes_a_repeat_harmless_also_after_its_answer_and_a_restart() {
    let source = RunningSource::start("");
    let key = "Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324\r\n";
    let first = source.post("/lines", key, b"one\n");
    let again = source.post("/lines", key, b"one\n");
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    let other = source.post("/lines", key, b"two\n");
    assert_eq!(other.status, 400, "{other:?}");
    let source = RunningSource::start_in(source.kill(), "", 0);
    assert_eq!(source.post("/lines", key, b"one\n").status, 201);
    assert_eq!(source.messages(), ["one"]);
}

#[test]
fn equal_records_whose_answers_were_read_are_all_kept() {
    let source = RunningSource::start("");
    let body = br#"{"level":"INFO","message":"alive","client_id":"app"}"#;
    let ids: Vec<_> = (0..3).map(|_| source.post("/log", "", body).body).collect();
    // On one connection the next request confirms the answer before it.
    let mut stream = source.connect();
    let on_one: Vec<_> = (0..3)
        .map(|_| {
            send(&mut stream, "/log", "", body);
            Answer::read(&mut stream).body
        })
        .collect();
    // Another client says the same while the first one's connection is open.
    let other = source.post("/log", "", body).body;
    let all: std::collections::BTreeSet<_> = ids.into_iter().chain(on_one).chain([other]).collect();
    assert_eq!((all.len(), source.records().len()), (7, 7));
}

#[test]
fn keys_are_needed_when_there_is_a_file_of_them() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("keys");
    std::fs::write(&file, "secret-key shop\n").expect("a file");
    let source = RunningSource::start(&format!(", keys_file: '{}'", file.display()));
    let answer = source.post("/api/logs", "", br#"{"message":"x"}"#);
    assert!(
        answer.status == 401 && answer.head.contains("www-authenticate: bearer"),
        "{answer:?}"
    );
    assert_eq!(
        source
            .post("/api/logs", "X-API-Key: wrong-key\r\n", br#"{"message":"x"}"#)
            .status,
        401
    );
    assert_eq!(
        source
            .post("/api/logs", "X-API-Key: secret-key\r\n", br#"{"message":"x"}"#)
            .status,
        201
    );
    let bearer = "Authorization: Bearer secret-key\r\n";
    assert_eq!(source.post("/lines", bearer, b"y\n").status, 201);
    assert_eq!(source.records()[0]["source"], "shop");
}

#[test]
fn disk_without_room_is_told_as_wait_and_the_client_may_come_again() {
    let source = RunningSource::start_in(tempfile::tempdir().expect("a folder"), "", u64::MAX);
    let answer = source.post("/lines", "", b"one\n");
    assert!(
        answer.status == 503 && answer.head.contains("retry-after: 5"),
        "{answer:?}"
    );
    assert!(answer.body.contains("min_free_disk"), "{answer:?}");
    let source = RunningSource::start_in(source.kill(), "", 0);
    assert_eq!(source.post("/lines", "", b"one\n").status, 201);
    assert_eq!(source.messages(), ["one"]);
}

/// Waits until a condition holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("in vain: {what}");
}

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// A text that no other request of these tests has.
fn distinct(text: &str) -> String {
    format!("{text} {}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Closes a connection as a client does whose time limit is over: an answer that waits unread, or comes later, meets a reset.
/// No `shutdown` before: its end of the stream could complete an orderly close while the answer is unread.
fn give_up(stream: TcpStream) {
    drop(stream);
}
