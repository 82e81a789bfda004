//! Chunks sent over HTTP to a relay on loopback ports.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use logferry_ledger::{Ledger, NewBatch, Window};
use logferry_protocol::chunk::{ChunkHeader, ChunkOutcome, LineCounts, LineEnd, Receipt, StreamEnd};
use logferry_protocol::resolve::{FileQuery, ResolveRequest, ResolveResponse};
use logferry_protocol::stream::{ByteRange, FileKey, Head, Offset, StreamId, Tail};
use logferry_protocol::{CHUNKS_PATH, LEDGER_HEADER, PLAIN_LENGTH_HEADER, STREAMS_PATH};
use logferry_relay::RelayServer;
use logferry_telemetry::Metrics;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// A relay with two groups, so with two ports.
struct TestRelay {
    dir: TempDir,
    ports: Vec<SocketAddr>,
    _stop: tokio_util::sync::DropGuard,
}

impl TestRelay {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let text = format!(
            "relay:\n  data_dir: {}\n  metrics: null\n  limits: {{max_chunk: 1MiB, max_in_flight: 2MiB, min_free_disk: 0}}\n  \
             groups: [{{name: a, listen: '127.0.0.1:0'}}, {{name: b, listen: '127.0.0.1:0'}}]\n",
            dir.path().display()
        );
        let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None).expect("valid");
        let config = config.relay.expect("a relay");
        let relay = RelayServer::bind(&config, Metrics::process())
            .await
            .expect("a relay");
        let (ports, stop) = (relay.addresses(), CancellationToken::new());
        tokio::spawn(relay.serve(stop.clone()));
        Self {
            dir,
            ports,
            _stop: stop.drop_guard(),
        }
    }

    /// The contents of the open batches' files, in the order of their parts.
    fn stored(&self) -> Vec<u8> {
        let folder = self.dir.path().join("open/127.0.0.1");
        let mut files: Vec<PathBuf> = fs::read_dir(folder).map_or(Vec::new(), |entries| {
            entries.map(|entry| entry.expect("an entry").path()).collect()
        });
        files.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
        files
            .iter()
            .flat_map(|path| fs::read(path).expect("a batch"))
            .collect()
    }

    async fn post(&self, port: usize, path: &str, headers: &[(&str, String)], body: Vec<u8>) -> (u16, Bytes) {
        let stream = TcpStream::connect(self.ports[port]).await.expect("a relay");
        let (mut requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .expect("HTTP");
        tokio::spawn(connection);
        let mut request = Request::post(path).header("host", "relay");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::from(body))).expect("a request");
        let answer = requests.send_request(request).await.expect("an answer");
        let status = answer.status().as_u16();
        (
            status,
            answer.into_body().collect().await.expect("all of it").to_bytes(),
        )
    }

    /// Posts a chunk as `body`, with further headers.
    async fn chunk(
        &self,
        port: usize,
        chunk: &TestChunk,
        more: &[(&str, String)],
        body: Vec<u8>,
    ) -> (u16, Bytes) {
        let mut headers = chunk.header().to_pairs().to_vec();
        headers.extend(more.iter().map(|(name, value)| match *name {
            "content-encoding" => ("content-encoding", value.clone()),
            LEDGER_HEADER => (LEDGER_HEADER, value.clone()),
            _ => (PLAIN_LENGTH_HEADER, value.clone()),
        }));
        self.post(port, CHUNKS_PATH, &headers, body).await
    }
}

/// Lines of one stream, from an offset on.
struct TestChunk {
    inode: u64,
    start: usize,
    lines: Vec<u8>,
}

impl TestChunk {
    fn header(&self) -> ChunkHeader {
        let (file, head) = (
            FileKey {
                dev: 1,
                inode: self.inode,
            },
            head(),
        );
        let offset = |bytes| Offset::new(bytes as u64);
        let lines = self.lines.split_inclusive(|&byte| byte == b'\n').count() as u64;
        ChunkHeader {
            stream: StreamId::derive(file, head, 0),
            log: "access".parse().expect("a name"),
            file,
            head,
            range: ByteRange::new(offset(self.start), offset(self.start + self.lines.len()))
                .expect("forwards"),
            tail: Tail::of(&self.lines),
            lines: LineCounts {
                sent: lines,
                excluded: 0,
            },
            line_end: LineEnd::Whole,
            stream_end: StreamEnd::Live,
            crc32c: crc32c::crc32c(&self.lines),
        }
    }
}

fn head() -> Head {
    Head::of(b"first line\n").expect("a line")
}

fn compressed(encoding: &str, plain: &[u8]) -> Vec<u8> {
    if encoding == "zstd" {
        return zstd::bulk::compress(plain, 1).expect("memory");
    }
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

fn encoded(encoding: &str, plain_len: Option<usize>) -> Vec<(&'static str, String)> {
    let mut headers = vec![("content-encoding", encoding.to_owned())];
    headers.extend(plain_len.map(|len| (PLAIN_LENGTH_HEADER, len.to_string())));
    headers
}

fn outcome((status, body): &(u16, Bytes)) -> ChunkOutcome {
    assert!(matches!(status, 200 | 409), "{status} {body:?}");
    let receipt: Receipt = serde_json::from_slice(body).expect("a receipt");
    receipt.outcome
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

#[test]
fn compressed_chunks_are_stored_as_they_were_before() {
    let runtime = runtime();
    let relay = runtime.block_on(TestRelay::new());
    // Each is synced to disk.
    let mut runner = TestRunner::new(ProptestConfig::with_cases(64));
    let (inode, expected) = (Cell::new(0), Cell::new(0));
    let lines = prop::collection::vec("[ -~]{0,200}\n", 1..300);
    let encoding = prop::sample::select(vec!["zstd", "gzip", "identity"]);
    let result = runner.run(
        &(lines, encoding, any::<bool>()),
        |(lines, encoding, says_length)| {
            inode.set(inode.get() + 1);
            let chunk = TestChunk {
                inode: inode.get(),
                start: 0,
                lines: lines.concat().into_bytes(),
            };
            let body = match encoding {
                "identity" => chunk.lines.clone(),
                _ => compressed(encoding, &chunk.lines),
            };
            let headers = encoded(encoding, says_length.then_some(chunk.lines.len()));
            let answer = runtime.block_on(relay.chunk(0, &chunk, &headers, body));
            prop_assert_eq!(outcome(&answer), ChunkOutcome::Stored);
            expected.set(expected.get() + chunk.lines.len());
            let stored = relay.stored();
            prop_assert_eq!(stored.len(), expected.get());
            prop_assert!(stored.ends_with(&chunk.lines));
            Ok(())
        },
    );
    result.expect("every body");
}

#[tokio::test]
async fn invalid_encodings_are_refused_with_a_reason_and_not_stored() {
    let relay = TestRelay::new().await;
    let chunk = TestChunk {
        inode: 1,
        start: 0,
        lines: b"one line\n".repeat(100),
    };
    let whole = compressed("zstd", &chunk.lines);
    let half = whole[..whole.len() / 2].to_vec();
    let bomb = compressed("zstd", &vec![b'\n'; 100 << 20]);
    for (headers, body, status, reason) in [
        (encoded("br", None), whole.clone(), 415, "use zstd, gzip or none"),
        (encoded("zstd", None), half, 400, "it ends in the middle"),
        (
            encoded("gzip", None),
            whole.clone(),
            400,
            "cannot be decompressed",
        ),
        (encoded("zstd", Some(899)), whole.clone(), 400, "not as long as"),
        (encoded("zstd", Some(901)), whole.clone(), 400, "not as long as"),
        (encoded("zstd", Some(1 << 40)), whole.clone(), 413, "1048576"),
        (encoded("zstd", None), bomb.clone(), 413, "1048576"),
        (encoded("zstd", Some(900)), bomb, 400, "too much memory"),
        (
            vec![(PLAIN_LENGTH_HEADER, "7".to_owned())],
            whole.clone(),
            400,
            "CRC-32C",
        ),
    ] {
        let (answered, said) = relay.chunk(0, &chunk, &headers, body).await;
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(answered, status, "{headers:?}: {said}");
        assert!(said.contains(reason) && said.lines().count() == 1, "{said}");
    }
    assert!(relay.stored().is_empty());
    let headers = encoded("zstd", Some(900));
    assert_eq!(
        outcome(&relay.chunk(0, &chunk, &headers, whole).await),
        ChunkOutcome::Stored
    );
}

#[tokio::test]
async fn decompression_bombs_use_no_memory() {
    let relay = TestRelay::new().await;
    let chunk = TestChunk {
        inode: 1,
        start: 0,
        lines: b"x\n".to_vec(),
    };
    let bombs = [
        ("zstd", compressed("zstd", &vec![b'\n'; 200 << 20])),
        ("gzip", compressed("gzip", &vec![b'\n'; 200 << 20])),
    ];
    let memory = || {
        let mut status = String::new();
        let mut file = fs::File::open("/proc/self/status").expect("Linux");
        file.read_to_string(&mut status).expect("text");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("a size");
        let kib = line.split_whitespace().nth(1).expect("a number");
        kib.parse::<u64>().expect("a number")
    };
    let (status, _) = relay
        .chunk(0, &chunk, &encoded("zstd", None), bombs[0].1.clone())
        .await;
    assert_eq!(status, 413);
    let before = memory();
    for _ in 0..20 {
        for (encoding, bomb) in &bombs {
            let (status, _) = relay
                .chunk(0, &chunk, &encoded(encoding, None), bomb.clone())
                .await;
            assert_eq!(status, 413);
        }
    }
    let grown = memory().saturating_sub(before);
    assert!(grown < 64 << 10, "grown by {grown} KiB, each bomb is 200 MiB");
}

#[tokio::test]
async fn a_chunk_for_another_ledger_is_refused() {
    let relay = TestRelay::new().await;
    let query = serde_json::to_vec(&ResolveRequest { files: Vec::new() }).expect("JSON");
    let (status, answer) = relay.post(1, STREAMS_PATH, &[], query).await;
    assert_eq!(status, 200);
    let answer: ResolveResponse = serde_json::from_slice(&answer).expect("an answer");
    let ledger = answer.ledger.expect("an id").to_string();
    let chunk = TestChunk {
        inode: 1,
        start: 0,
        lines: b"first line\n".to_vec(),
    };
    let other = [(LEDGER_HEADER, "0".repeat(32))];
    let (status, said) = relay.chunk(0, &chunk, &other, chunk.lines.clone()).await;
    assert_eq!(status, 421, "{said:?}");
    assert!(relay.stored().is_empty());
    let same = [(LEDGER_HEADER, ledger)];
    let stored = relay.chunk(0, &chunk, &same, chunk.lines.clone()).await;
    assert_eq!(outcome(&stored), ChunkOutcome::Stored);
}

#[tokio::test]
async fn a_stream_continues_at_any_port_and_nothing_is_stored_twice() {
    let relay = TestRelay::new().await;
    let mut expected: Vec<u8> = Vec::new();
    for (number, port) in [0, 0, 1, 1, 0, 1, 0].into_iter().enumerate() {
        let chunk = TestChunk {
            inode: 1,
            start: expected.len(),
            lines: format!("line {number}\n").into_bytes(),
        };
        let answer = relay.chunk(port, &chunk, &[], chunk.lines.clone()).await;
        assert_eq!(
            outcome(&answer),
            ChunkOutcome::Stored,
            "chunk {number} at port {port}"
        );
        // Its response was lost, and it is sent again, to the other port.
        let again = relay.chunk(1 - port, &chunk, &[], chunk.lines.clone()).await;
        let must_wait = again.0 == 503;
        assert!(
            must_wait || outcome(&again) != ChunkOutcome::Stored,
            "chunk {number} again: {again:?}"
        );
        expected.extend(&chunk.lines);
    }
    let file = FileQuery {
        is_continued: false,
        log: "access".parse().expect("a name"),
        head: head(),
        acknowledged: None,
        files: Vec::new(),
    };
    let query = serde_json::to_vec(&ResolveRequest { files: vec![file] }).expect("JSON");
    let (_, answer) = relay.post(1, STREAMS_PATH, &[], query).await;
    let answer: ResolveResponse = serde_json::from_slice(&answer).expect("an answer");
    assert_eq!(
        answer.candidates[0][0].committed,
        Offset::new(expected.len() as u64)
    );
    // Bytes that a group wrote before it learned that the other group was faster are cut off again.
    let deadline = Instant::now() + Duration::from_mins(1);
    while relay.stored().len() != expected.len() {
        assert!(Instant::now() < deadline, "stored: {:?}", relay.stored());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_start_changes_no_file_before_the_ledger_is_durable() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = format!(
        "relay:\n  data_dir: {}\n  metrics: null\n  groups: [{{name: a, listen: '127.0.0.1:0'}}]\n",
        dir.path().display()
    );
    let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None).expect("valid");
    let config = config.relay.expect("a relay");
    // A batch that is sealed, and whose file is not moved yet.
    let mut ledger = Ledger::open_or_create(dir.path()).expect("a ledger");
    let batch = NewBatch {
        source: "198.51.100.1".parse().expect("valid"),
        group: "a".parse().expect("valid"),
        log: None,
        window: Window {
            start: 1_790_000_400,
            seconds: 1200,
            utc_offset: 0,
        },
        base_name: "access_198-51-100-1".to_owned(),
    };
    let at = jiff::Timestamp::from_second(1_790_000_000).expect("in range");
    let batch = ledger.open_batch(&batch, at).expect("opened");
    ledger.seal(batch.id, at).expect("sealed");
    let file = |state: &str| {
        dir.path()
            .join(state)
            .join("198.51.100.1")
            .join(batch.file_name())
    };
    fs::create_dir_all(file("open").parent().expect("a folder")).expect("made");
    fs::write(file("open"), "").expect("a file");
    let sql = rusqlite::Connection::open(ledger.path()).expect("a ledger");
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON identity BEGIN SELECT RAISE(ABORT, 'refused'); END";
    sql.execute_batch(refuse).expect("a trigger");
    let refused = RelayServer::bind(&config, &Metrics::new()).await;
    assert!(refused.is_err());
    assert!(file("open").exists());
    sql.execute_batch("DROP TRIGGER refuse").expect("gone");
    RelayServer::bind(&config, &Metrics::new())
        .await
        .expect("a relay");
    assert!(file("ready").exists() && !file("open").exists());
}
