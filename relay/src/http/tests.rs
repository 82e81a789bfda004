//! Slow clients, with short timeouts.
#![expect(clippy::disallowed_methods, reason = "tests lay out files")]

use std::net::SocketAddr;
use std::path::Path;

use logferry_protocol::chunk::{ChunkHeader, LineCounts, LineEnd, StreamEnd};
use logferry_protocol::stream::{ByteRange, FileKey, Head, Offset, StreamId, Tail};
use logferry_telemetry::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::auth::CredentialsReloader;
use crate::chunk::RelayBodies;

/// Too short for a slow client.
const SHORT: Duration = Duration::from_millis(200);
/// Long enough for any other.
const LONG: Duration = Duration::from_mins(1);
const LONG_TIMEOUTS: ClientTimeouts = ClientTimeouts {
    handshake: LONG,
    head: LONG,
    body: LONG,
};

/// A listener without commit thread: its jobs wait forever.
struct IsolatedListener {
    address: SocketAddr,
    _jobs: std::sync::mpsc::Receiver<CommitJob>,
    _stop: DropGuard,
}

impl IsolatedListener {
    async fn open(shorten: impl FnOnce(&mut ClientTimeouts), settings: &str) -> Self {
        let text = format!(
            "relay:\n  data_dir: /d\n{settings}  groups: [{{name: a, listen: '127.0.0.1:0', trust_source: true}}]\n"
        );
        let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None).expect("valid");
        let config = config.relay.expect("a relay");
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (jobs, queue) = std::sync::mpsc::channel();
        let credentials = CredentialsReloader::load(&config).expect("files").credentials();
        let mut listener = GroupListener::new(
            socket,
            Arc::new(config.groups[0].clone()),
            &config,
            (
                credentials,
                SharedSenders::default(),
                &RelayBodies::new(1 << 20, 1 << 20, 1),
            ),
            ServedLedger {
                id: LedgerId::new(1),
                is_rebuilt: false,
                restored: 0,
            },
            CommitQueue::to(jobs),
            Metrics::new().relay("a"),
        );
        let context = Arc::get_mut(&mut listener.context).expect("not shared yet");
        context.timeouts = LONG_TIMEOUTS;
        shorten(&mut context.timeouts);
        let (address, stop) = (listener.address().expect("its address"), CancellationToken::new());
        tokio::spawn(listener.serve(stop.clone()));
        Self {
            address,
            _jobs: queue,
            _stop: stop.drop_guard(),
        }
    }

    async fn send(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("a listener");
        stream.write_all(bytes).await.expect("a listener");
        let mut response = String::new();
        let read = tokio::time::timeout(LONG, stream.read_to_string(&mut response)).await;
        read.expect("the relay closes the connection").expect("an end");
        response
    }
}

#[tokio::test]
async fn an_idle_client_and_a_slow_head_are_cut_off() {
    let listener = IsolatedListener::open(|timeouts| timeouts.head = SHORT, "").await;
    assert_eq!(listener.send(b"").await, "");
    for head in [
        "P",
        "POST /upload HTTP/1.1\r\n",
        "POST /upload HTTP/1.1\r\nhost: r\r\ncontent-length: 5\r\n",
    ] {
        let answer = listener.send(head.as_bytes()).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{answer}"
        );
    }
    // Idle after a completed request.
    let answer = listener
        .send(b"POST /upload HTTP/1.1\r\nhost: r\r\ncontent-length: 11\r\n\r\n{\"log\": \"\"}")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_slow_body_is_refused() {
    let listener = IsolatedListener::open(|timeouts| timeouts.body = SHORT, "").await;
    for body in ["", "{\"log\""] {
        let request = format!("POST /upload HTTP/1.1\r\nhost: r\r\ncontent-length: 11\r\n\r\n{body}");
        let answer = listener.send(request.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 408") && answer.contains("too slowly"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_slow_handshake_is_cut_off() {
    let dir = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
    std::fs::write(&cert, made.cert.pem()).expect("room");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("room");
    let settings = format!(
        "  tls: {{cert_file: {}, key_file: {}}}\n",
        cert.display(),
        key.display()
    );
    let listener = IsolatedListener::open(|timeouts| timeouts.handshake = SHORT, &settings).await;
    for bytes in [&b""[..], b"\x16\x03\x01"] {
        assert_eq!(listener.send(bytes).await, "");
    }
}

#[tokio::test]
async fn lines_of_a_source_whose_name_is_too_long_for_a_file_are_refused() {
    let listener = IsolatedListener::open(|_| {}, "").await;
    let body = format!("{{\"log\": \"a line\", \"host\": \"{}\"}}", "x".repeat(240));
    let head = format!(
        "POST /upload HTTP/1.1\r\nhost: r\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let answer = listener.send((head + &body).as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("shorter name"),
        "{answer}"
    );
}

#[test]
fn a_range_holds_no_more_lines_than_bytes() {
    let (file, head) = (FileKey { dev: 1, inode: 1 }, Head::of(b"line\n").expect("a line"));
    let mut header = ChunkHeader {
        stream: StreamId::derive(file, head, 0),
        log: "access".parse().expect("a name"),
        file,
        head,
        range: ByteRange::new(Offset::ZERO, Offset::ZERO).expect("forwards"),
        tail: Tail::of(b""),
        lines: LineCounts::default(),
        line_end: LineEnd::Whole,
        stream_end: StreamEnd::Live,
        crc32c: 0,
    };
    let mut check = |end, excluded, line_end, body: &[u8]| {
        header.range = ByteRange::new(Offset::ZERO, Offset::new(end)).expect("forwards");
        header.line_end = line_end;
        header.crc32c = crc32c::crc32c(body);
        let sent = u64::from(!body.is_empty());
        header.lines = LineCounts { excluded, sent };
        check_body(&header, body, header.crc32c, sent).map_err(|error| error.reason)
    };
    assert_eq!(check(9, 9, LineEnd::Whole, b""), Ok(()));
    assert_eq!(check(2, 1, LineEnd::Added, b"\n"), Ok(()));
    let refused = Err("ferry-lines counts more lines than ferry-range has bytes".to_owned());
    assert_eq!(check(0, 1 << 60, LineEnd::Whole, b""), refused);
    assert_eq!(check(2, 2, LineEnd::Whole, b"\n"), refused);
}
