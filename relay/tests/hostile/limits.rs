//! Requests above a limit: headers, body size, connections.

use std::fmt::Write;
use std::time::Duration;

use logferry_protocol::CHUNKS_PATH;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::test_relay::{
    HttpResponse, TestRelay, assert_unharmed, chunk, chunk_headers, exchange, read_to_end, request, wait_for,
};

const LINES: &[u8] = b"one\ntwo\n";

/// Half of the time after which an idle connection ends anyway.
const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_head_that_is_too_large_or_has_too_many_headers_is_refused() {
    let site = TestRelay::open().await;
    let filler = "x".repeat(20 << 10);
    let mut many = String::new();
    for number in 0..70 {
        write!(many, "x-{number}: y\r\n").expect("memory");
    }
    for more in [format!("x: {filler}\r\n"), format!("{filler}: x\r\n"), many] {
        site.answer(&chunk(1, LINES, &more)).await.assert_refused(431, "");
    }
    let endless = format!("POST {CHUNKS_PATH} HTTP/1.1\r\nx: {filler}");
    site.answer(endless.as_bytes()).await.assert_refused(431, "");
    let path = format!("/{filler}");
    site.answer(&request(&path, &[], "", b""))
        .await
        .assert_refused(431, "");
    wait_for("the refusals to be counted", async || site.rejected() == 5).await;
    assert_unharmed(&site).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_sent() {
    let site = TestRelay::open().await;
    for length in ["65537", "18446744073709551613"] {
        let head = format!("POST /upload HTTP/1.1\r\nhost: r\r\ncontent-length: {length}\r\n\r\n");
        site.answer(head.as_bytes()).await.assert_refused(413, "65536");
    }
    let endless = format!(
        "POST /upload HTTP/1.1\r\nhost: r\r\ntransfer-encoding: chunked\r\n\r\n20000\r\n{}",
        "x".repeat(0x20000)
    );
    site.answer(endless.as_bytes()).await.assert_refused(413, "65536");
    assert_unharmed(&site).await;
}

#[tokio::test]
async fn connections_above_the_limit_wait_and_other_groups_do_not() {
    let mut site = TestRelay::new();
    let limits = "  limits: {max_chunk: 64KiB, max_in_flight: 1MiB, max_connections: 2, min_free_disk: 0}\n";
    site.start("", limits).await;
    // Both connections are accepted: each has begun a request.
    let mut first = site.connect().await;
    let mut second = site.connect().await;
    let begun = b"POST /upload HTTP/1.1\r\nhost: r\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
    for stream in [&mut first, &mut second] {
        stream.write_all(begun).await.expect("a relay");
        stream.readable().await.expect("100 Continue");
    }
    let mut third = site.connect().await;
    third
        .write_all(&chunk(1, LINES, ""))
        .await
        .expect("the kernel takes it");
    let other = TcpStream::connect(site.ports[1]).await.expect("a relay");
    let other = exchange(other, &chunk(2, LINES, "")).await;
    assert_eq!(HttpResponse::only(&other).status, 200);
    let unanswered = third.try_read(&mut [0]).expect_err("nothing yet");
    assert_eq!(unanswered.kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    assert_eq!(HttpResponse::only(&read_to_end(third).await).status, 200);
}

#[tokio::test]
async fn a_receipt_says_so_while_too_much_is_on_its_way_to_the_relay() {
    let mut site = TestRelay::new();
    let limits = "  limits: {max_chunk: 16MiB, max_in_flight: 64MiB, min_free_disk: 0}\n";
    site.start("", limits).await;
    let begun =
        b"POST /upload HTTP/1.1\r\nhost: r\r\nexpect: 100-continue\r\ncontent-length: 12000000\r\n\r\n";
    let mut begun_bodies = Vec::new();
    for _ in 0..3 {
        let mut stream = site.connect().await;
        stream.write_all(begun).await.expect("a relay");
        stream.readable().await.expect("100 Continue");
        begun_bodies.push(stream);
    }
    let is_congested = async || {
        let response = site.answer(&chunk(1, LINES, "")).await;
        assert_eq!(response.status, 200);
        response.body.contains("\"congested\":true")
    };
    assert!(is_congested().await);
    drop(begun_bodies.pop());
    wait_for("the others to be no congestion", async || !is_congested().await).await;
}

/// Sends a chunk on a connection that stays open, and reads the response.
async fn next_response(stream: &mut TcpStream, inode: u64) -> HttpResponse {
    let chunk = request(CHUNKS_PATH, &chunk_headers(inode, LINES), "", LINES);
    stream.write_all(&chunk).await.expect("a relay");
    let mut received = Vec::new();
    while !received.ends_with(b"}") {
        let read = stream.read_buf(&mut received).await.expect("a relay");
        assert_ne!(
            read,
            0,
            "the relay closes after {:?}",
            String::from_utf8_lossy(&received)
        );
    }
    HttpResponse::only(&received)
}

/// A relay with places for two connections, and those, which have sent a chunk and stay open.
async fn two_places_taken() -> (TestRelay, [TcpStream; 2]) {
    let mut site = TestRelay::new();
    site.start("", &limits(2)).await;
    let mut taken = [site.connect().await, site.connect().await];
    for stream in &mut taken {
        let response = next_response(stream, 1).await;
        assert_eq!(response.status, 200);
        assert!(!response.head.contains("connection: close"));
    }
    (site, taken)
}

#[tokio::test]
async fn while_a_connection_waits_a_busy_one_ends_with_its_response() {
    let (site, mut busy) = two_places_taken().await;
    let waiting = site.connect().await;
    let waiting = tokio::spawn(async move { exchange(waiting, &chunk(3, LINES, "")).await });
    let [first, second] = &mut busy;
    let one_ends = async {
        // Neither is idle, until the relay has seen the third.
        loop {
            let (one, other) = tokio::join!(next_response(first, 1), next_response(second, 2));
            if [one, other]
                .iter()
                .any(|last| last.head.contains("connection: close"))
            {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, one_ends)
        .await
        .expect("a last response");
    let answer = waiting.await.expect("it ends");
    assert_eq!(HttpResponse::only(&answer).status, 200);
}

#[tokio::test]
async fn while_a_connection_waits_an_idle_one_ends() {
    let (site, _idle) = two_places_taken().await;
    let (third, chunk) = (site.connect().await, chunk(3, LINES, ""));
    let answer = tokio::time::timeout(SOON, exchange(third, &chunk))
        .await
        .expect("a place");
    assert_eq!(HttpResponse::only(&answer).status, 200);
}

/// Limits for `connections` of a group.
fn limits(connections: usize) -> String {
    format!(
        "  limits: {{max_chunk: 64KiB, max_in_flight: 1MiB, max_connections: {connections}, min_free_disk: 0}}\n"
    )
}

async fn connect_from(address: &str, site: &TestRelay) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let local = format!("{address}:0").parse().expect("an address");
    socket.bind(local).expect("a loopback address");
    socket.connect(site.ports[0]).await.expect("a relay")
}

#[tokio::test]
async fn idle_connections_of_a_stranger_leave_those_for_the_addresses_on_the_list() {
    let mut site = TestRelay::new();
    site.start("sources: [127.0.0.2]", &limits(32)).await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(site.connect().await);
    }
    wait_for("the strangers to be turned down", async || site.rejected() >= 98).await;
    for _ in 0..3 {
        let listed = connect_from("127.0.0.2", &site).await;
        let answer = exchange(listed, &chunk(1, LINES, "")).await;
        assert_eq!(HttpResponse::only(&answer).status, 200);
    }
    // A stranger whose connection was closed is told why, and one that is let in is refused as before.
    drop(idle);
    wait_for("a place for a stranger", async || {
        // The answer to one that is turned down may be lost.
        let answer = site.send(&chunk(1, LINES, "")).await;
        answer.starts_with(b"HTTP/1.1 403 ")
    })
    .await;
}

#[tokio::test]
async fn idle_connections_of_one_address_leave_some_for_the_others() {
    let mut site = TestRelay::new();
    site.start("", &limits(8)).await;
    let mut idle = Vec::new();
    for _ in 0..6 {
        idle.push(site.connect().await);
    }
    let above = read_to_end(site.connect().await).await;
    HttpResponse::only(&above).assert_refused(503, "too many connections from this address");
    let other = connect_from("127.0.0.2", &site).await;
    let answer = exchange(other, &chunk(1, LINES, "")).await;
    assert_eq!(HttpResponse::only(&answer).status, 200);
    drop(idle);
}

#[tokio::test]
async fn idle_connections_of_strangers_leave_room_where_a_token_decides() {
    const TOKEN: &str = "a-token-of-the-relay-for-all-0123456789";
    let mut site = TestRelay::new();
    let tokens = site.path("tokens");
    std::fs::write(&tokens, format!("{TOKEN} *\n")).expect("room");
    let settings = format!("{}  tokens_file: {}\n", limits(64), tokens.display());
    site.start("", &settings).await;
    let with_token = format!("authorization: Bearer {TOKEN}\r\n");
    // A sender that has sent a chunk keeps its connection, though it is idle and the oldest one.
    let mut sender = connect_from("127.0.0.2", &site).await;
    let kept = request(CHUNKS_PATH, &chunk_headers(1, LINES), &with_token, LINES);
    sender.write_all(&kept).await.expect("a relay");
    sender.readable().await.expect("its answer");

    let mut idle = Vec::new();
    for _ in 0..100 {
        for stranger in ["127.0.0.3", "127.0.0.4"] {
            idle.push(connect_from(stranger, &site).await);
        }
    }
    wait_for("two strangers to be turned down", async || site.rejected() >= 184).await;
    let answer = exchange(
        connect_from("127.0.0.1", &site).await,
        &chunk(2, LINES, &with_token),
    )
    .await;
    assert_eq!(HttpResponse::only(&answer).status, 200);

    // Twenty strangers could take all; their oldest connections are closed for the new ones.
    for number in 5..25 {
        for _ in 0..8 {
            idle.push(connect_from(&format!("127.0.0.{number}"), &site).await);
        }
    }
    for _ in 0..5 {
        let answer = exchange(
            connect_from("127.0.0.1", &site).await,
            &chunk(2, LINES, &with_token),
        )
        .await;
        assert_eq!(HttpResponse::only(&answer).status, 200);
    }
    let answer = exchange(sender, &chunk(3, LINES, &with_token)).await;
    let text = String::from_utf8_lossy(&answer);
    assert_eq!(text.matches("HTTP/1.1 200 ").count(), 2, "{text}");
    drop(idle);
}
