//! Requests over TCP, and their answers.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// No answer takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// A request to be sent.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    head: String,
    body: String,
}

pub(super) fn get(path: &str) -> Ask {
    ask("GET", path)
}

pub(super) fn post(path: &str) -> Ask {
    ask("POST", path)
}

pub(super) fn ask(method: &str, path: &str) -> Ask {
    Ask {
        head: format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n"),
        body: String::new(),
    }
}

impl Ask {
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        let _ = write!(self.head, "{name}: {value}\r\n");
        self
    }

    pub(super) fn host(mut self, name: &str) -> Self {
        self.head = self.head.replace("host: 127.0.0.1", &format!("host: {name}"));
        self
    }

    pub(super) fn json(self, body: &Value) -> Self {
        self.body("application/json", &body.to_string())
    }

    pub(super) fn form(self, body: &str) -> Self {
        self.body("application/x-www-form-urlencoded", body)
    }

    fn body(self, kind: &str, body: &str) -> Self {
        let mut asked = self.with("content-type", kind);
        body.clone_into(&mut asked.body);
        asked
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { head, body } = self;
        format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    pub(super) async fn send(&self, to: SocketAddr) -> Answer {
        let stream = TcpStream::connect(to).await.expect("connected");
        self.send_over(stream).await
    }

    pub(super) async fn send_over(
        &self,
        mut stream: impl AsyncRead + tokio::io::AsyncWrite + Unpin,
    ) -> Answer {
        stream.write_all(&self.bytes()).await.expect("sent");
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
        // A peer that closes TLS without a word has said all the same.
        let _ = read.expect("an answer");
        answer(&bytes)
    }

    /// Sends it from a reader that has hardly room for the answer, and reads nothing.
    pub(super) async fn send_unread(&self, to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("set");
        let mut stream = socket.connect(to).await.expect("connected");
        stream.write_all(&self.bytes()).await.expect("sent");
        stream
    }

    /// Opens a stream of events.
    pub(super) async fn open(&self, to: SocketAddr) -> EventStream {
        let mut stream = TcpStream::connect(to).await.expect("connected");
        stream.write_all(&self.bytes()).await.expect("sent");
        EventStream {
            stream,
            read: Vec::new(),
        }
    }
}

fn answer(bytes: &[u8]) -> Answer {
    let end = bytes
        .windows(4)
        .position(|part| part == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.lines();
    let status = lines.next().expect("a line").split(' ').nth(1).expect("a status");
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let is_chunked = headers.iter().any(|(name, _)| name == "transfer-encoding");
    let body = &bytes[end + 4..];
    Answer {
        status: status.parse().expect("a number"),
        headers,
        body: if is_chunked {
            unchunked(body)
        } else {
            body.to_vec()
        },
    }
}

/// RFC 9112, section 7.1.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|part| part == b"\r\n") {
        let length = usize::from_str_radix(&String::from_utf8_lossy(&body[..end]), 16).expect("a length");
        let from = end + 2;
        if length == 0 || body.len() < from + length {
            break;
        }
        whole.extend_from_slice(&body[from..from + length]);
        body = &body[(from + length + 2).min(body.len())..];
    }
    whole
}

/// An open stream of events.
pub(super) struct EventStream {
    stream: TcpStream,
    read: Vec<u8>,
}

impl EventStream {
    /// All that came, once it has a text.
    pub(super) async fn until(&mut self, text: &str) -> String {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let shown = self.shown();
            if shown.contains(text) {
                return shown;
            }
            let mut buffer = vec![0; 64 << 10];
            let read = tokio::time::timeout_at(end, self.stream.read(&mut buffer)).await;
            let length = read.unwrap_or_else(|_| panic!("`{text}` did not come; there is: {shown}"));
            let length = length.expect("read");
            assert!(length > 0, "the stream ended: {shown}");
            self.read.extend_from_slice(&buffer[..length]);
        }
    }

    /// Waits until the console ends it.
    pub(super) async fn ended(&mut self) {
        let mut buffer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut buffer)).await;
        read.expect("the stream goes on").expect("read");
    }

    fn shown(&self) -> String {
        let end = self.read.windows(4).position(|part| part == b"\r\n\r\n");
        let body = end.map_or(&[][..], |end| &self.read[end + 4..]);
        let head = String::from_utf8_lossy(&self.read[..end.unwrap_or(0)]).into_owned();
        head + "\r\n\r\n" + &String::from_utf8_lossy(&unchunked(body))
    }
}
