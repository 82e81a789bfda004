//! An overload of one port of a relay: half the connections store valid chunks as fast as they are answered, half send
//! garbage. It runs until it is killed, as a separate process with the lowest priority: in production the load comes
//! from other machines.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use logferry_protocol::CHUNKS_PATH;
use logferry_protocol::chunk::{ChunkHeader, LineCounts, LineEnd, StreamEnd};
use logferry_protocol::stream::{ByteRange, FileKey, Head, Offset, StreamId, Tail};
use logferry_traffic::{Traffic, TrafficOptions};

/// Bytes of a chunk's body, at least.
const BODY_BYTES: usize = 64 << 10;

/// Invalid requests of several kinds.
const GARBAGE: [&[u8]; 4] = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is not TLS here\r\n\r\n",
    b"POST /v1/chunks HTTP/1.1\r\nhost: a\r\nferry-stream: nonsense\r\ncontent-length: 3\r\n\r\nabc",
    b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    b"POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{\"log\": 1",
];

/// Sends from `connections` connections to `target` until the process ends.
pub(crate) fn overload(target: SocketAddr, connections: u16) {
    let (body, lines) = body();
    thread::scope(|scope| {
        for number in 0..u64::from(connections) {
            let body = &body;
            scope.spawn(move || {
                loop {
                    // A connection that fails is opened again.
                    let _ = if number % 2 == 0 {
                        store_chunks(target, number, body, lines)
                    } else {
                        send_garbage(target)
                    };
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
    });
}

/// The body of every chunk, and the number of its lines.
fn body() -> (Vec<u8>, u64) {
    let mut traffic = Traffic::new(TrafficOptions {
        seed: 2,
        ..TrafficOptions::default()
    });
    let (mut body, mut lines) = (Vec::new(), 0);
    while body.len() < BODY_BYTES {
        traffic.line(Timestamp::now(), &mut body);
        lines += 1;
    }
    (body, lines)
}

/// Stores one stream, chunk after chunk.
fn store_chunks(target: SocketAddr, number: u64, body: &[u8], lines: u64) -> io::Result<()> {
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
            log: "overload".parse().map_err(|_| io::ErrorKind::InvalidInput)?,
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
        let length = body.len();
        write!(request, "POST {CHUNKS_PATH} HTTP/1.1\r\nhost: {target}\r\n")?;
        write!(request, "content-length: {length}\r\n")?;
        for (name, value) in header.to_pairs() {
            write!(request, "{name}: {value}\r\n")?;
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        stream.write_all(&request)?;
        if read_status(&mut stream)?.starts_with("http/1.1 200") {
            start = end;
        }
    }
}

/// Sends every kind of garbage and reads the start of the response.
fn send_garbage(target: SocketAddr) -> io::Result<()> {
    for garbage in GARBAGE {
        let mut stream = TcpStream::connect(target)?;
        stream.write_all(garbage)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let _ = stream.read(&mut [0; 512])?;
    }
    Ok(())
}

/// Reads one short response; returns its head in lower case.
fn read_status(stream: &mut TcpStream) -> io::Result<String> {
    let (mut bytes, mut block) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|text| text.lines().next()?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Ok(head.to_owned());
            }
        }
        let count = stream.read(&mut block)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(block.get(..count).unwrap_or_default());
    }
}
