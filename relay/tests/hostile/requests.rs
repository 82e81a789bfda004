//! Requests that are truncated, arrive byte by byte, or are invalid.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::io::AsyncWriteExt;

use crate::test_relay::{HttpResponse, TestRelay, assert_unharmed, chunk, read_to_end};

const LINES: &[u8] = b"one\ntwo\n";

/// Sends bytes and the client's end of the stream. Returns the response.
async fn send_and_end(site: &TestRelay, bytes: &[u8]) -> Vec<u8> {
    let mut stream = site.connect().await;
    // The relay may close the connection before all bytes are sent.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    read_to_end(stream).await
}

#[tokio::test]
async fn a_chunk_cut_at_any_byte_is_not_stored() {
    let site = TestRelay::open().await;
    let whole = chunk(1, LINES, "");
    for length in 0..whole.len() {
        let answer = send_and_end(&site, &whole[..length]).await;
        assert!(
            answer.is_empty() || HttpResponse::only(&answer).status == 400,
            "cut at {length}: {answer:?}"
        );
    }
    assert_unharmed(&site).await;
    let stored = site.answer(&whole).await;
    assert!(
        stored.status == 200 && stored.body.contains("stored"),
        "{stored:?}"
    );
}

#[tokio::test]
async fn a_chunk_that_comes_byte_by_byte_is_stored() {
    let site = TestRelay::open().await;
    let mut stream = site.connect().await;
    stream.set_nodelay(true).expect("a socket");
    for byte in chunk(1, LINES, "") {
        stream.write_all(&[byte]).await.expect("a relay");
        tokio::task::yield_now().await;
    }
    let stored = HttpResponse::only(&read_to_end(stream).await);
    assert!(
        stored.status == 200 && stored.body.contains("stored"),
        "{stored:?}"
    );
    assert_eq!(site.stored(), [("127.0.0.1".to_owned(), "one\ntwo\n".to_owned())]);
}

#[test]
fn invalid_bytes_are_refused_and_later_requests_succeed() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let site = runtime.block_on(TestRelay::open());
    let whole = chunk(1, LINES, "");
    let garbage = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..600),
        // A chunk with one byte changed.
        (0..whole.len(), any::<u8>()).prop_map(move |(at, byte)| {
            let mut spoiled = whole.clone();
            spoiled[at] = byte;
            spoiled
        }),
        "(GET|POST|PUT) (/upload|/v1/chunks|[/ -~]{0,9}) HTTP/1\\.[01]\r\n([a-z]{0,9}:[ -~]{0,9}\r\n){0,5}\r\n[ -~]{0,50}"
            .prop_map(String::into_bytes),
    ];
    let mut runner = TestRunner::new(ProptestConfig::with_cases(300));
    let result = runner.run(&garbage, |bytes| {
        let answer = runtime.block_on(send_and_end(&site, &bytes));
        if !answer.is_empty() {
            let (answer, _) = HttpResponse::first(&answer);
            // 200 and 409: the changed byte is the same, is equivalent, or belongs to the name of another stream.
            prop_assert!(
                (400..500).contains(&answer.status) || [200, 409].contains(&answer.status),
                "{answer:?}"
            );
        }
        Ok(())
    });
    result.expect("each is refused");
    let right = runtime.block_on(site.answer(&chunk(2, LINES, "")));
    assert_eq!(right.status, 200, "{right:?}");
    for (source, lines) in site.stored() {
        assert_eq!(source, "127.0.0.1");
        assert_eq!(
            lines.replace("one\ntwo\n", ""),
            "",
            "only the lines that were sent"
        );
    }
}
