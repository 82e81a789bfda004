//! Request smuggling (RFC 9112, section 11.2): requests whose end is ambiguous. Each is refused, or is read as exactly one
//! request, after which the connection is closed.

use crate::test_relay::{HttpResponse, TestRelay, assert_unharmed, chunk, chunk_headers, request};

const LINES: &[u8] = b"one\ntwo\n";

/// A request head with these lines.
fn head(lines: &[&str]) -> String {
    let headers = chunk_headers(1, LINES);
    let mut head = "POST /v1/chunks HTTP/1.1\r\nhost: relay\r\n".to_owned();
    for (name, value) in &headers {
        head.extend([*name, ": ", value, "\r\n"]);
    }
    for line in lines {
        head.extend([*line, "\r\n"]);
    }
    head + "\r\n"
}

/// Sends an ambiguous request followed by the chunk of another stream. The first is refused, and the second is not read.
async fn assert_refused(site: &TestRelay, ambiguous: &str) {
    let bytes = [ambiguous.as_bytes(), &chunk(2, b"smuggled\n", "")].concat();
    let answer = HttpResponse::only(&site.send(&bytes).await);
    assert!((400..500).contains(&answer.status), "{ambiguous:?}: {answer:?}");
    assert_eq!(site.stored(), [], "{ambiguous:?}");
}

#[tokio::test]
async fn ambiguous_lengths_are_refused_and_nothing_after_them_is_read() {
    let site = TestRelay::open().await;
    let body = "one\ntwo\n";
    for lines in [
        &["content-length: 8", "content-length: 9"][..],
        &["content-length: 9", "content-length: 8"],
        &["content-length: 8, 9"],
        &["content-length: +8"],
        &["content-length: -8"],
        &["content-length: 0x8"],
        &["content-length: 8 8"],
        &["content-length: "],
        &["content-length: 18446744073709551616"],
        &["content-length : 8"],
        &[" content-length: 8"],
        &["content-length: 8\r\n 0"],
        &["x: y", "\tcontent-length: 8"],
        &["content-length: 8", "x\0y: z"],
        &["content-length: 8", "x: a\rb"],
        &["content-length\r: 8"],
        &["content-length: 8", "no colon"],
        &["content-length: 8", ": no name"],
    ] {
        assert_refused(&site, &(head(lines) + body)).await;
    }
    assert_unharmed(&site).await;
}

#[tokio::test]
async fn ambiguous_transfer_codings_are_refused_and_nothing_after_them_is_read() {
    let site = TestRelay::open().await;
    let body = "8\r\none\ntwo\n\r\n0\r\n\r\n";
    for lines in [
        &["transfer-encoding: chunked, identity"][..],
        &["transfer-encoding: identity"],
        &["transfer-encoding: xchunked"],
        &["transfer-encoding: \"chunked\""],
        &["transfer-encoding: chunked;q=1"],
        &["transfer-encoding: gzip, chunked"],
        &["transfer-encoding: chunked, chunked"],
        &["transfer-encoding: chunked", "transfer-encoding: chunked"],
        &["transfer-encoding: chunked", "transfer-encoding: identity"],
        &["transfer-encoding: \u{b}chunked"],
        &["transfer-encoding : chunked"],
        &[" transfer-encoding: chunked", "content-length: 8"],
        &["transfer-encoding:\r\n chunked"],
        &["transfer-encoding\t: chunked"],
    ] {
        assert_refused(&site, &(head(lines) + body)).await;
    }
    // HTTP/1.0 has no transfer codings.
    let old = head(&["transfer-encoding: chunked"]).replace("HTTP/1.1", "HTTP/1.0");
    assert_refused(&site, &(old + body)).await;
    for body in [
        "+8\r\none\ntwo\n\r\n0\r\n\r\n",
        "0x8\r\none\ntwo\n\r\n0\r\n\r\n",
        "-1\r\none\ntwo\n\r\n0\r\n\r\n",
        "10000000000000008\r\none\ntwo\n\r\n0\r\n\r\n",
        "8\r\none\ntwo\nX\r\n0\r\n\r\n",
        "7\r\none\ntwo\n\r\n0\r\n\r\n",
        "\r\n0\r\n\r\n",
    ] {
        assert_refused(&site, &(head(&["transfer-encoding: chunked"]) + body)).await;
    }
    assert_unharmed(&site).await;
}

#[tokio::test]
async fn a_body_in_pieces_is_one_request_and_the_end_of_the_connection() {
    let plain = "8\r\none\ntwo\n\r\n0\r\n\r\n";
    for (lines, body) in [
        (&["transfer-encoding: chunked"][..], plain),
        (&["transfer-encoding: CHUNKED"], plain),
        (&["content-length: 4", "transfer-encoding: chunked"], plain),
        (&["transfer-encoding: chunked", "content-length: 4"], plain),
        (&["content-length: 400", "transfer-encoding: Chunked"], plain),
        (
            &["transfer-encoding: chunked"],
            "8;x=y\r\none\ntwo\n\r\n0\r\n\r\n",
        ),
        (&["transfer-encoding: chunked"], "8;\0\r\none\ntwo\n\r\n0\r\n\r\n"),
        (
            &["transfer-encoding: chunked"],
            "008\r\none\ntwo\n\r\n0\r\nx: y\r\n\r\n",
        ),
    ] {
        let site = TestRelay::open().await;
        let bytes = [
            head(lines).as_bytes(),
            body.as_bytes(),
            &chunk(2, b"smuggled\n", ""),
        ]
        .concat();
        let answer = HttpResponse::only(&site.send(&bytes).await);
        assert_eq!(answer.status, 200, "{lines:?} {body:?}: {answer:?}");
        assert!(answer.head.contains("connection: close"), "{lines:?}: {answer:?}");
        assert_eq!(site.stored(), [("127.0.0.1".to_owned(), "one\ntwo\n".to_owned())]);
    }
}

#[tokio::test]
async fn odd_first_lines_are_refused_or_one_request() {
    let site = TestRelay::open().await;
    let right = String::from_utf8(chunk(1, LINES, "")).expect("ASCII");
    for (first, status) in [
        ("POST  /v1/chunks HTTP/1.1", 400),
        ("POST /v1/chunks  HTTP/1.1", 400),
        ("POST\t/v1/chunks HTTP/1.1", 400),
        ("POST /v1/chunks", 400),
        ("POST /v1/chunks HTTP/1.2", 400),
        ("POST /v1/chunks HTTP/2.0", 400),
        ("POST /v1/chunks http/1.1", 400),
        ("POST /v1/chunks HTTP/1.1\0", 400),
        ("POST /v1/chunks\0 HTTP/1.1", 400),
        ("P\u{1}ST /v1/chunks HTTP/1.1", 400),
        ("PRI * HTTP/2.0", 400),
        ("POST * HTTP/1.1", 404),
        ("POST relay:80 HTTP/1.1", 404),
        ("CONNECT relay:80 HTTP/1.1", 404),
        ("POST /v1/../upload HTTP/1.1", 404),
        ("POST //upload HTTP/1.1", 404),
        ("POST /upload/ HTTP/1.1", 404),
        ("POST /UPLOAD HTTP/1.1", 404),
        ("POST /%75pload HTTP/1.1", 404),
        ("GET /v1/chunks HTTP/1.1", 405),
        ("post /v1/chunks HTTP/1.1", 405),
    ] {
        let odd = right.replace("POST /v1/chunks HTTP/1.1", first);
        let answer = HttpResponse::only(&site.send(odd.as_bytes()).await);
        assert_eq!(answer.status, status, "{first:?}: {answer:?}");
        assert_eq!(site.stored(), [], "{first:?}");
    }
    // The absolute form says the same (RFC 9112, section 3.2.2).
    let absolute = right.replace("POST /v1/chunks", "POST http://relay/v1/chunks");
    assert_eq!(site.answer(absolute.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn what_comes_behind_a_refusal_is_not_read() {
    let site = TestRelay::open().await;
    let behind = chunk(2, b"smuggled\n", "");
    for (refused, status) in [
        (request("/nowhere", &[], "", b""), 404),
        (request("/nowhere", &[], "", b"with a body"), 404),
        (request("/upload", &[], "", b"no JSON"), 400),
        (request("/v1/chunks", &[], "", LINES), 400),
        (request("/v1/heartbeat", &[], "", b"[]"), 400),
    ] {
        site.answer(&[refused, behind.clone()].concat())
            .await
            .assert_refused(status, "");
        assert_eq!(site.stored(), []);
    }
    // What is right may be followed by more.
    let first = request("/v1/chunks", &chunk_headers(1, LINES), "", LINES);
    let (first, rest) = HttpResponse::first(&site.send(&[first, behind].concat()).await);
    let second = HttpResponse::only(rest.as_bytes());
    assert_eq!((first.status, second.status), (200, 200), "{first:?} {second:?}");
}
