//! A thousand connections, of which most stall.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

use super::posting::{PostingClients, assert_delivered_once, pipeline, start_all};

#[test]
fn nine_hundred_clients_that_stall_keep_a_hundred_from_nothing() {
    let (mut pipeline, port) = pipeline("collector-stalled", "");
    start_all(&mut pipeline);
    let is_listening = pipeline.becomes_true(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    assert!(is_listening);
    let stalled: Vec<_> = (0..900)
        .map(|number| {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            let begun = match number % 3 {
                0 => "",
                1 => "POST /lines HTTP/1.1\r\nhost:",
                _ => "POST /lines HTTP/1.1\r\nhost: x\r\ncontent-length: 8000000\r\n\r\nhalf of a body",
            };
            stream.write_all(begun.as_bytes()).unwrap();
            stream
        })
        .collect();
    let clients = PostingClients::start(port, 100, 2);
    let is_served = pipeline.becomes_true(|_| clients.acknowledged() >= 2_000);
    assert!(is_served, "only {} records were taken", clients.acknowledged());
    let ids = clients.stop();
    drop(stalled);
    assert_delivered_once(&mut pipeline, &ids);
}
