//! `POST /upload` of the old shippers, sent by their own client library.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Output, Stdio};

use crate::support::network::http_client::{HttpResponse, request, send};
use crate::support::servers::relay::{MAX_CHUNK, RelayProcess};
use crate::support::{WAIT_LIMIT, seed, wait_for};

const SHIPPER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/protocol/old_shipper.py");
const LINES_PER_CHUNK: usize = 20;

/// A Python with `requests`: the user's own, or Debian's.
fn python() -> &'static str {
    let has_requests = |python: &&str| {
        let tried = Command::new(python).args(["-c", "import requests"]).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has_requests);
    found.expect("no python3 has requests; install the Debian package python3-requests")
}

/// Ships a log; `faults` is the share of lost responses.
fn ship(relay: &RelayProcess, host: &str, log: &[u8], faults: &str) -> Output {
    let mut shipper = Command::new(python())
        .arg(SHIPPER)
        .arg(format!("http://127.0.0.1:{}/upload", relay.port))
        .args([host, &LINES_PER_CHUNK.to_string(), faults, &seed().to_string()])
        .env_remove("HTTP_PROXY")
        .env_remove("http_proxy")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    shipper.stdin.take().unwrap().write_all(log).unwrap();
    shipper.wait_with_output().unwrap()
}

#[track_caller]
fn assert_shipped(output: &Output, chunks: usize) {
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
    let answers = String::from_utf8_lossy(&output.stdout);
    let expected = format!("OK - {LINES_PER_CHUNK} lines\n").repeat(chunks);
    assert_eq!(answers, expected);
}

/// A log in which each chunk equals the one before or after it.
fn log_of_equal_pairs(chunks: usize) -> Vec<u8> {
    let lines = (0..chunks).flat_map(|chunk| {
        let request = chunk / 2;
        (0..LINES_PER_CHUNK).map(move |line| {
            format!("203.0.113.9 - - [21/Nov/2026:08:20:03 +0600] \"GET /{request}/{line}?\u{e9} HTTP/1.1\" 200 5\n")
        })
    });
    lines.collect::<String>().into_bytes()
}

fn body(log: &str, host: &str) -> Vec<u8> {
    serde_json::json!({"log": log, "host": host})
        .to_string()
        .into_bytes()
}

fn post(relay: &RelayProcess, body: &[u8]) -> HttpResponse {
    send(relay.port, &request("POST", "/upload", &[], body))
}

#[track_caller]
fn assert_refused(response: &HttpResponse, status: u16, reason: &str) {
    assert_eq!(response.status, status, "{response:?}");
    assert!(response.body.contains(reason), "no {reason:?} in {response:?}");
    assert_eq!(response.body.trim_end().lines().count(), 1, "{response:?}");
}

#[test]
fn log_of_an_old_shipper_arrives_unchanged_and_is_counted() {
    const CHUNKS: usize = 30;
    let relay = RelayProcess::start("upload", "sources: [\"127.0.0.1\"]");
    let log = log_of_equal_pairs(CHUNKS);
    assert_shipped(&ship(&relay, "../../198.51.100.1", &log, "0"), CHUNKS);
    assert!(relay.stored() == log);
    let (_, audit) = relay.json(&["audit"]);
    for total in ["lines_read", "lines_received"] {
        assert_eq!(audit["totals"][total], CHUNKS * LINES_PER_CHUNK, "{audit}");
    }
    assert_eq!(audit["batches"][0]["source"], "127.0.0.1");
    assert_eq!(audit["discrepancies"].as_array().unwrap().len(), 0, "{audit}");
}

#[test]
fn chunk_with_a_lost_response_is_stored_once() {
    const CHUNKS: usize = 60;
    let relay = RelayProcess::start("upload-lost", "sources: [\"127.0.0.1\"]");
    let log = log_of_equal_pairs(CHUNKS);
    assert_shipped(&ship(&relay, "127.0.0.1", &log, "0.4"), CHUNKS);
    let stored = relay.stored();
    assert_eq!(stored.len(), log.len());
    assert!(stored == log);
}

#[test]
fn chunk_that_was_stored_before_a_crash_is_not_stored_again() {
    let mut relay = RelayProcess::start("upload-crash", "sources: [\"127.0.0.1\"]");
    let body = body("[21/Nov/2026:08:20:03 +0600] a\nb\n", "");
    for _ in 0..3 {
        // The client never reads the response; then the relay is killed.
        let mut unread = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port)).unwrap();
        unread.write_all(&request("POST", "/upload", &[], &body)).unwrap();
        wait_for("a response", WAIT_LIMIT, || unread.peek(&mut [0]).unwrap() > 0);
        relay.kill_and_restart();
    }
    let response = post(&relay, &body);
    assert_eq!((response.status, response.body.as_str()), (200, "OK - 2 lines"));
    assert_eq!(relay.stored(), b"[21/Nov/2026:08:20:03 +0600] a\nb\n");
    // The client has read that response, so an equal upload is new.
    assert_eq!(post(&relay, &body).status, 200);
    assert_eq!(relay.stored(), b"[21/Nov/2026:08:20:03 +0600] a\nb\n".repeat(2));
}

#[test]
fn invalid_upload_is_refused_with_the_reason() {
    let relay = RelayProcess::start("bad-uploads", "sources: [\"127.0.0.1\"]");
    for bad in [&b""[..], b"log=x", b"{}", b"{\"log\": 7}", b"{\"log\": \"\xff\"}"] {
        assert_refused(&post(&relay, bad), 400, "the body");
    }
    let large = body(&"x".repeat(MAX_CHUNK), "");
    assert_refused(&post(&relay, &large), 413, "65536");
    assert_refused(
        &send(relay.port, &request("GET", "/upload", &[], b"")),
        405,
        "POST",
    );
    // The relay refuses while the library still sends; the library must get the reason.
    let lines = format!("{}\n", "x".repeat(1 << 20)).repeat(LINES_PER_CHUNK);
    let refused = ship(&relay, "127.0.0.1", lines.as_bytes(), "0");
    let printed = String::from_utf8_lossy(&refused.stderr);
    assert!(printed.contains("413") && printed.contains("65536"), "{printed}");
    assert_eq!(relay.stored(), b"");
    let nothing = post(&relay, &body("\n \n\n", ""));
    assert_eq!((nothing.status, nothing.body.as_str()), (200, "OK - 0 lines"));

    let relay = RelayProcess::start("upload-stranger", "sources: [\"198.51.100.1\"]");
    assert_refused(
        &post(&relay, &body("x", "198.51.100.1")),
        403,
        "is not among the sources",
    );
}

#[test]
fn host_field_is_used_only_if_trusted_and_listed() {
    let sources = "sources: [\"127.0.0.1\", \"198.51.100.1\", \"web-7\"], trust_source: true";
    let relay = RelayProcess::start("upload-host", sources);
    let hosts = [
        "198.51.100.1",
        "web-7",
        "198.51.100.2",
        "../../../tmp/x",
        "",
        "a/b",
        "\n",
    ];
    for host in hosts {
        let response = post(&relay, &body(host, host));
        assert_eq!(response.status, 200, "{response:?}");
    }
    let (_, audit) = relay.json(&["audit"]);
    let batches = audit["batches"].as_array().unwrap();
    let lines = |source: &str| {
        let of_source = batches.iter().filter(|batch| batch["source"] == source);
        of_source
            .map(|batch| batch["lines"].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(lines("198.51.100.1"), 1, "{audit}");
    assert_eq!(lines("web-7"), 1, "{audit}");
    // The other uploads count for the peer's address; two of them have only blank lines.
    assert_eq!(lines("127.0.0.1"), 3, "{audit}");
    assert_eq!(batches.len(), 3, "{audit}");
}
