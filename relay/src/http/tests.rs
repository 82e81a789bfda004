//! Clients that take their time, with times that are short.
#![expect(clippy::disallowed_methods, reason = "tests lay out files")]

use std::path::Path;

use logferry_telemetry::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::DropGuard;

use super::*;
use crate::access::Keeper;

/// Short for a client that takes its time.
const SHORT: Duration = Duration::from_millis(200);
/// Long for one that does not.
const LONG: Duration = Duration::from_mins(1);
const PATIENT: Times = Times {
    handshake: LONG,
    head: LONG,
    body: LONG,
};

/// A listener with nothing behind it: jobs wait for ever.
struct Door {
    address: SocketAddr,
    _jobs: std::sync::mpsc::Receiver<Job>,
    _stop: DropGuard,
}

impl Door {
    async fn open(times: Times, settings: &str) -> Self {
        let text =
            format!("relay:\n  data_dir: /d\n{settings}  groups: [{{name: a, listen: '127.0.0.1:0'}}]\n");
        let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None).expect("valid");
        let config = config.relay.expect("a relay");
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (jobs, queue) = std::sync::mpsc::channel();
        let access = Keeper::load(&config).expect("files").access();
        let mut listener = Listener::new(
            socket,
            Arc::new(config.groups[0].clone()),
            &config,
            access,
            LedgerId::new(1),
            Pipeline::to(jobs),
            Metrics::new().relay("a"),
        );
        Arc::get_mut(&mut listener.context).expect("not shared yet").times = times;
        let (address, stop) = (listener.address().expect("its address"), CancellationToken::new());
        tokio::spawn(listener.serve(stop.clone()));
        Self {
            address,
            _jobs: queue,
            _stop: stop.drop_guard(),
        }
    }

    /// What comes after these bytes, until the relay hangs up.
    async fn send(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("a listener");
        stream.write_all(bytes).await.expect("a listener");
        let mut answer = String::new();
        let read = tokio::time::timeout(LONG, stream.read_to_string(&mut answer)).await;
        read.expect("the relay hangs up").expect("an end");
        answer
    }
}

#[tokio::test]
async fn an_idle_client_and_a_slow_head_are_cut_off() {
    let door = Door::open(
        Times {
            head: SHORT,
            ..PATIENT
        },
        "",
    )
    .await;
    assert_eq!(door.send(b"").await, "");
    for head in [
        "P",
        "POST /upload HTTP/1.1\r\n",
        "POST /upload HTTP/1.1\r\nhost: r\r\ncontent-length: 5\r\n",
    ] {
        let answer = door.send(head.as_bytes()).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{answer}"
        );
    }
    // Idle after a request that was answered.
    let answer = door
        .send(b"POST /upload HTTP/1.1\r\nhost: r\r\ncontent-length: 11\r\n\r\n{\"log\": \"\"}")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_slow_body_is_refused() {
    let door = Door::open(
        Times {
            body: SHORT,
            ..PATIENT
        },
        "",
    )
    .await;
    for body in ["", "{\"log\""] {
        let request = format!("POST /upload HTTP/1.1\r\nhost: r\r\ncontent-length: 11\r\n\r\n{body}");
        let answer = door.send(request.as_bytes()).await;
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
    let door = Door::open(
        Times {
            handshake: SHORT,
            ..PATIENT
        },
        &settings,
    )
    .await;
    for bytes in [&b""[..], b"\x16\x03\x01"] {
        assert_eq!(door.send(bytes).await, "");
    }
}
