//! An HTTP client that sends arbitrary bytes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};

use logferry_protocol::CHUNKS_PATH;
use logferry_protocol::chunk::{ChunkHeader, LineCounts, LineEnd, StreamEnd};
use logferry_protocol::stream::{ByteRange, FileKey, Head, Offset, StreamId, Tail};

use crate::support::WAIT_LIMIT;

/// A server's response.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Sends `bytes`; returns the response, after which the server must close the connection.
pub(crate) fn send(port: u16, bytes: &[u8]) -> HttpResponse {
    let text = read_response(connect_and_write(port, bytes));
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    HttpResponse {
        status: status.unwrap_or_else(|| panic!("no response but {text:?}")),
        body: body.to_owned(),
    }
}

/// Sends `bytes` and closes its side; returns when the server has closed the connection too.
pub(crate) fn send_and_hang_up(port: u16, bytes: &[u8]) {
    let connection = connect_and_write(port, bytes);
    connection.shutdown(Shutdown::Write).unwrap();
    read_response(connection);
}

fn connect_and_write(port: u16, bytes: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    connection.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
    // A server may respond and close before it has read everything.
    let _ = connection.write_all(bytes);
    connection
}

/// All bytes until the connection ends.
fn read_response(mut connection: TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request with this body and its `content-length`.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, String)], body: &[u8]) -> Vec<u8> {
    let length = ("content-length", body.len().to_string());
    let mut request = start(method, path, headers.iter().chain([&length]));
    request.extend_from_slice(body);
    request
}

/// A request in chunked transfer encoding, with a body of `pieces` times `piece`.
pub(crate) fn request_without_length(
    path: &str,
    headers: &[(&str, String)],
    piece: &[u8],
    pieces: usize,
) -> Vec<u8> {
    let chunked = ("transfer-encoding", "chunked".to_owned());
    let mut request = start("POST", path, headers.iter().chain([&chunked]));
    for _ in 0..pieces {
        write!(request, "{:x}\r\n", piece.len()).unwrap();
        request.extend_from_slice(piece);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

/// A request up to its body.
fn start<'a>(method: &str, path: &str, headers: impl Iterator<Item = &'a (&'a str, String)>) -> Vec<u8> {
    let mut start = format!("{method} {path} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n").into_bytes();
    for (name, value) in headers {
        write!(start, "{name}: {value}\r\n").unwrap();
    }
    start.extend_from_slice(b"\r\n");
    start
}

/// A chunk request, which tests can make invalid.
#[derive(Debug, Clone)]
pub(crate) struct ChunkRequest {
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl ChunkRequest {
    /// A valid chunk of whole lines from the start of a stream.
    pub(crate) fn whole(lines: &[u8]) -> Self {
        let file = FileKey { dev: 1, inode: 1 };
        let head = Head::of(lines).unwrap();
        let sent = u64::try_from(crate::support::logs::comparison::count_lines(lines)).unwrap();
        let end = Offset::new(u64::try_from(lines.len()).unwrap());
        let header = ChunkHeader {
            stream: StreamId::derive(file, head, 0),
            log: "access".parse().unwrap(),
            file,
            head,
            range: ByteRange::new(Offset::ZERO, end).unwrap(),
            tail: Tail::of(lines),
            lines: LineCounts { excluded: 0, sent },
            line_end: LineEnd::Whole,
            stream_end: StreamEnd::Live,
            crc32c: crc32c::crc32c(lines),
        };
        Self {
            headers: header.to_pairs().to_vec(),
            body: lines.to_vec(),
        }
    }

    /// The same with another value of one header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        let found = self.headers.iter_mut().find(|(known, _)| *known == name);
        value.clone_into(&mut found.unwrap().1);
        self
    }

    /// The same without one header.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    /// Sends it to a relay.
    pub(crate) fn send(&self, port: u16) -> HttpResponse {
        send(port, &request("POST", CHUNKS_PATH, &self.headers, &self.body))
    }
}
