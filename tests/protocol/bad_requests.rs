//! Invalid requests: the client gets the reason, and other clients are not affected.

use logferry_protocol::{CHUNKS_PATH, HEARTBEAT_PATH, STREAMS_PATH};

use crate::support::network::http_client::{
    ChunkRequest, HttpResponse, request, request_without_length, send, send_and_hang_up,
};
use crate::support::servers::relay::{MAX_CHUNK, RelayProcess};

const LINES: &[u8] = b"one\ntwo\nthree\n";

fn start(test: &str, source: &str) -> RelayProcess {
    RelayProcess::start(test, &format!("sources: [{source:?}]"))
}

/// The relay accepts a valid chunk after the invalid request.
fn assert_unharmed(relay: &mut RelayProcess) {
    relay.process.assert_running();
    let stored = ChunkRequest::whole(LINES).send(relay.port);
    assert_eq!(stored.status, 200, "{stored:?}");
    assert!(stored.body.contains("stored"), "{stored:?}");
}

#[track_caller]
fn assert_refused(response: &HttpResponse, status: u16, reason: &str) {
    assert_eq!(response.status, status, "{response:?}");
    assert!(response.body.contains(reason), "no {reason:?} in {response:?}");
    assert_eq!(response.body.trim_end().lines().count(), 1, "{response:?}");
}

#[test]
fn chunk_that_contradicts_its_headers_is_refused_with_the_reason() {
    let mut relay = start("bad-chunks", "127.0.0.1");
    let good = || ChunkRequest::whole(LINES);
    for (name, _) in good().headers {
        let reason = format!("header {name} is missing");
        assert_refused(&good().without(name).send(relay.port), 400, &reason);
        for garbage in ["", "?", "-1", "1 2", "\u{e9}"] {
            assert_refused(&good().with(name, garbage).send(relay.port), 400, name);
        }
    }
    for (name, value) in [
        ("ferry-crc32c", "00000000"),
        ("ferry-lines", "2/0"),
        ("ferry-lines", "4/0"),
        ("ferry-end", "open/live"),
        ("ferry-range", "0-13"),
        ("ferry-range", "9-3"),
        ("ferry-range", "0-18446744073709551616"),
        ("ferry-lines", "18446744073709551616/0"),
    ] {
        assert_refused(&good().with(name, value).send(relay.port), 400, name);
    }
    assert_unharmed(&mut relay);
}

#[test]
fn unknown_request_is_refused_with_the_reason() {
    let mut relay = start("bad-requests", "127.0.0.1");
    for (method, path, status) in [
        ("POST", "/", 404),
        ("GET", "/v1/chunks/../../etc/passwd", 404),
        ("GET", CHUNKS_PATH, 405),
        ("DELETE", STREAMS_PATH, 405),
    ] {
        assert_refused(&send(relay.port, &request(method, path, &[], b"")), status, "");
    }
    for path in [STREAMS_PATH, HEARTBEAT_PATH] {
        for body in [&b""[..], b"{", b"[]", b"\xff", b"{\"files\": 7, \"streams\": 7}"] {
            assert_refused(&send(relay.port, &request("POST", path, &[], body)), 400, "body");
        }
    }
    for bytes in [
        &b"\x16\x03\x01\x02\0\x01\0"[..],
        b"\r\n\r\n\0\0\0\0",
        b"GET\r\n\r\n",
    ] {
        assert_eq!(send(relay.port, bytes).status, 400, "{bytes:?}");
    }
    assert_unharmed(&mut relay);
}

#[test]
fn body_that_is_too_large_or_breaks_off_is_not_stored() {
    let mut relay = start("bad-bodies", "127.0.0.1");
    let large = ChunkRequest::whole(&vec![b'x'; MAX_CHUNK + 1]);
    assert_refused(&large.send(relay.port), 413, "65536");
    // Without a length, the relay must check the size while it reads the body.
    let headers = ChunkRequest::whole(LINES).headers;
    let endless = request_without_length(CHUNKS_PATH, &headers, &[b'x'; 1024], MAX_CHUNK / 1024 + 1);
    assert_refused(&send(relay.port, &endless), 413, "65536");

    let chunk = ChunkRequest::whole(LINES);
    let whole = request("POST", CHUNKS_PATH, &chunk.headers, &chunk.body);
    for missing in 1..=LINES.len() {
        send_and_hang_up(relay.port, &whole[..whole.len() - missing]);
    }
    assert_unharmed(&mut relay);
}

#[test]
fn chunk_is_accepted_only_at_the_end_of_its_stream() {
    let mut relay = start("order", "127.0.0.1");
    assert_unharmed(&mut relay);
    let again = ChunkRequest::whole(LINES).send(relay.port);
    assert_eq!(again.status, 200, "{again:?}");
    assert!(
        again.body.contains("duplicate") && again.body.contains("14"),
        "{again:?}"
    );
    for range in ["7-21", "20-34"] {
        let elsewhere = ChunkRequest::whole(LINES)
            .with("ferry-range", range)
            .send(relay.port);
        assert_eq!(elsewhere.status, 409, "{elsewhere:?}");
        assert!(
            elsewhere.body.contains("elsewhere") && elsewhere.body.contains("14"),
            "{elsewhere:?}"
        );
    }
}

#[test]
fn source_that_is_not_listed_is_refused() {
    let relay = start("stranger", "198.51.100.1");
    let reason = "127.0.0.1 is not among the sources of group web-1";
    assert_refused(&ChunkRequest::whole(LINES).send(relay.port), 403, reason);
    assert_refused(
        &send(relay.port, &request("POST", STREAMS_PATH, &[], b"{}")),
        403,
        reason,
    );
}
