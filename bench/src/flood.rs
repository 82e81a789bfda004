//! A flood on one port of a relay: connections that store valid chunks as fast as they are answered, and connections
//! that send garbage. Runs until it is killed, as a process of its own so that it can be given the lowest priority: in
//! the field it comes from other machines.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_protocol::CHUNKS_PATH;
use logferry_protocol::chunk::{ChunkHeader, LineCounts, LineEnd, StreamEnd};
use logferry_protocol::stream::{ByteRange, FileKey, Head, Offset, StreamId, Tail};
use logferry_traffic::{Traffic, TrafficOptions};

/// Bytes of a chunk's body, or a little more.
const BODY_BYTES: usize = 64 << 10;

/// What is no request, in several ways.
const GARBAGE: [&[u8]; 4] = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is not TLS here\r\n\r\n",
    b"POST /v1/chunks HTTP/1.1\r\nhost: a\r\nferry-stream: nonsense\r\ncontent-length: 3\r\n\r\nabc",
    b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    b"POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{\"log\": 1",
];

/// Floods `target` from so many connections, half of them with garbage, until the process ends.
pub(crate) fn flood(target: SocketAddr, connections: u16) {
    let (body, lines) = body();
    thread::scope(|scope| {
        for number in 0..u64::from(connections) {
            let body = &body;
            scope.spawn(move || {
                loop {
                    // Whatever breaks is begun again: a flood does not mind.
                    let _ = if number % 2 == 0 {
                        chunks(target, number, body, lines)
                    } else {
                        garbage(target)
                    };
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
    });
}

/// Lines, and how many.
fn body() -> (Vec<u8>, u64) {
    let mut traffic = Traffic::new(TrafficOptions {
        seed: 2,
        ids: None,
        health_every: None,
        zone: TimeZone::UTC,
    });
    let (mut body, mut lines) = (Vec::new(), 0);
    while body.len() < BODY_BYTES {
        traffic.line(Timestamp::now(), &mut body);
        lines += 1;
    }
    (body, lines)
}

/// Stores a stream of its own, chunk after chunk.
fn chunks(target: SocketAddr, number: u64, body: &[u8], lines: u64) -> io::Result<()> {
    let file = FileKey {
        dev: u64::from(std::process::id()),
        inode: number,
    };
    let head = Head::of(body).ok_or(io::ErrorKind::InvalidData)?;
    let mut start = Offset::ZERO;
    let mut stream = TcpStream::connect(target)?;
    let mut request = Vec::new();
    loop {
        let end = start.plus(body.len() as u64);
        let header = ChunkHeader {
            stream: StreamId::derive(file, head, 0),
            log: "flood".parse().map_err(|_| io::ErrorKind::InvalidInput)?,
            file,
            head,
            range: ByteRange::new(start, end).ok_or(io::ErrorKind::InvalidData)?,
            tail: Tail::of(body),
            lines: LineCounts {
                excluded: 0,
                sent: lines,
            },
            line_end: LineEnd::Whole,
            stream_end: StreamEnd::Live,
            crc32c: crc32c::crc32c(body),
        };
        request.clear();
        write!(
            request,
            "POST {CHUNKS_PATH} HTTP/1.1\r\nhost: {target}\r\ncontent-length: {}\r\n",
            body.len()
        )?;
        for (name, value) in header.to_pairs() {
            write!(request, "{name}: {value}\r\n")?;
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        stream.write_all(&request)?;
        if answer(&mut stream)? == Status::Stored {
            start = end;
        }
    }
}

/// Sends what is no request, and reads what comes back.
fn garbage(target: SocketAddr) -> io::Result<()> {
    for garbage in GARBAGE {
        let mut stream = TcpStream::connect(target)?;
        stream.write_all(garbage)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let _ = stream.read(&mut [0; 512])?;
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Status {
    Stored,
    Other,
}

/// Reads one answer: its head is short, and so is its body.
fn answer(stream: &mut TcpStream) -> io::Result<Status> {
    let mut bytes = Vec::new();
    let mut block = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if let Some((head, rest)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|text| text.lines().next()?.parse().ok());
            if rest.len() >= length.unwrap_or(0) {
                let stored = text.starts_with("http/1.1 200");
                return Ok(if stored { Status::Stored } else { Status::Other });
            }
        }
        let count = stream.read(&mut block)?;
        let read = block.get(..count).unwrap_or_default();
        if read.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(read);
    }
}
