//! What clients can say about who they are.

use logferry_protocol::{CHUNKS_PATH, ID_TAKEN_HEADER};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::test_relay::{TestRelay, chunk, chunk_headers, request};

const LINES: &[u8] = b"one\ntwo\n";
const ID: &str = "00112233445566778899aabbccddeeff";

fn sender(id: &str, run: u64) -> String {
    format!("ferry-sender: {id}/{run:016x}\r\n")
}

/// Sends a chunk on a connection that stays open, and reads the answer.
async fn store(stream: &mut TcpStream, inode: u64, sender: &str) -> String {
    let bytes = request(CHUNKS_PATH, &chunk_headers(inode, LINES), sender, LINES);
    stream.write_all(&bytes).await.expect("a relay");
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert!(
            stream.read_buf(&mut answer).await.expect("a relay") > 0,
            "an answer"
        );
    }
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn an_id_that_is_none_is_refused_and_not_repeated() {
    let site = TestRelay::open().await;
    for id in [
        "",
        "x",
        &ID[..31],
        &format!("{ID}/"),
        &format!("{ID}/1"),
        &format!("{ID}/{ID}"),
    ] {
        let answer = site
            .answer(&chunk(1, LINES, &format!("ferry-sender: {id}\r\n")))
            .await;
        answer.assert_refused(400, "ferry-sender");
        assert!(!answer.body.contains(&ID[..16]), "{}", answer.body);
    }
    assert_eq!(site.stored(), []);
}

#[tokio::test]
async fn a_copied_id_is_refused_while_its_owner_is_connected() {
    let site = TestRelay::open().await;
    let mut owner = site.connect().await;
    assert!(store(&mut owner, 1, &sender(ID, 1)).await.contains("stored"));
    let copy = chunk(2, LINES, &sender(ID, 2));
    let waits = site.answer(&copy).await;
    waits.assert_refused(503, "another process with this sender's id is connected");
    assert!(store(&mut owner, 3, &sender(ID, 1)).await.contains("stored"));
    let refused = site.answer(&copy).await;
    refused.assert_refused(409, "makes a new id");
    assert!(
        refused
            .head
            .to_lowercase()
            .contains(&format!("{ID_TAKEN_HEADER}: 1")),
        "{}",
        refused.head
    );
    let renewed = site
        .answer(&chunk(2, LINES, &sender(&ID.replace("00", "ff"), 2)))
        .await;
    assert_eq!(renewed.status, 200, "{renewed:?}");
}

#[tokio::test]
async fn a_restarted_sender_is_served_once_its_old_connections_are_closed() {
    let site = TestRelay::open().await;
    let mut old = site.connect().await;
    store(&mut old, 1, &sender(ID, 1)).await;
    drop(old);
    let restarted = chunk(2, LINES, &sender(ID, 2));
    let mut answer = site.answer(&restarted).await;
    // The relay notices the end of the old connection in its own time.
    while answer.status == 503 {
        tokio::task::yield_now().await;
        answer = site.answer(&restarted).await;
    }
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_range_that_another_sender_stored_is_not_acknowledged() {
    let site = TestRelay::open().await;
    let first = site.answer(&chunk(1, LINES, &sender(ID, 1))).await;
    assert_eq!(first.status, 200, "{first:?}");
    let repeat = site.answer(&chunk(1, LINES, &sender(ID, 1))).await;
    assert!(repeat.body.contains("duplicate"), "{repeat:?}");
    for other in ["", &sender(&ID.replace("00", "ff"), 2)] {
        let other = site.answer(&chunk(1, LINES, other)).await;
        assert_eq!(other.status, 409, "{other:?}");
        assert!(other.body.contains("elsewhere"), "{other:?}");
    }
}
