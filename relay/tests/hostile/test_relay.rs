//! A relay in the test's process, and clients that send arbitrary bytes.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use logferry_protocol::CHUNKS_PATH;
use logferry_protocol::chunk::{ChunkHeader, LineCounts, LineEnd, StreamEnd};
use logferry_protocol::stream::{ByteRange, FileKey, Head, Offset, StreamId, Tail};
use logferry_relay::RelayServer;
use logferry_telemetry::Metrics;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Much longer than any step takes on a busy machine.
const TIMEOUT: Duration = Duration::from_mins(1);
/// How often a condition is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A relay under test.
pub(crate) struct TestRelay {
    pub(crate) dir: TempDir,
    pub(crate) ports: Vec<SocketAddr>,
    pub(crate) metrics: Metrics,
    stop: Option<DropGuard>,
}

/// A response of the relay.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    /// The header lines, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl TestRelay {
    /// A folder for a relay that is not started yet.
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a folder"),
            ports: Vec::new(),
            metrics: Metrics::new(),
            stop: None,
        }
    }

    /// A relay for any client, without TLS.
    pub(crate) async fn open() -> Self {
        let mut site = Self::new();
        site.start("", "").await;
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The relay's configuration with two equal groups. `group` is added to their names and ports.
    pub(crate) fn config(&self, group: &str, settings: &str) -> logferry_config::RelaySettings {
        let limits = if settings.contains("limits:") {
            ""
        } else {
            "  limits: {max_chunk: 64KiB, max_in_flight: 1MiB, min_free_disk: 0}\n"
        };
        let text = format!(
            "relay:\n  data_dir: {}\n  metrics: null\n{limits}{settings}  groups:\n    - {{name: a, listen: '127.0.0.1:0', \
             {group}}}\n    - {{name: b, listen: '127.0.0.1:0', {group}}}\n",
            self.path("relay").display()
        );
        let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None);
        config
            .unwrap_or_else(|error| panic!("{error}\n{text}"))
            .relay
            .expect("a relay")
    }

    /// Starts the relay with these settings.
    pub(crate) async fn start(&mut self, group: &str, settings: &str) {
        let relay = RelayServer::bind(&self.config(group, settings), &self.metrics)
            .await
            .expect("a relay");
        let stop = CancellationToken::new();
        self.ports = relay.addresses();
        tokio::spawn(relay.serve(stop.clone()));
        self.stop = Some(stop.drop_guard());
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.ports[0]).await.expect("a relay")
    }

    /// Sends bytes without TLS, and reads until the relay closes the connection.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Vec<u8> {
        exchange(self.connect().await, bytes).await
    }

    /// The only response to these bytes.
    pub(crate) async fn answer(&self, bytes: &[u8]) -> HttpResponse {
        HttpResponse::only(&self.send(bytes).await)
    }

    /// Makes a TLS connection to `localhost`.
    pub(crate) async fn connect_tls(
        &self,
        client: ClientConfig,
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(client))
            .connect(name, self.connect().await)
            .await
    }

    /// The response to these bytes over TLS, or the error.
    pub(crate) async fn answer_tls(&self, client: ClientConfig, bytes: &[u8]) -> io::Result<HttpResponse> {
        let mut stream = self.connect_tls(client).await?;
        stream.write_all(bytes).await?;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(TIMEOUT, stream.read_to_end(&mut answer)).await;
        read.expect("the relay closes the connection")?;
        Ok(HttpResponse::only(&answer))
    }

    /// The sources with stored lines, and their lines, sorted.
    pub(crate) fn stored(&self) -> Vec<(String, String)> {
        let mut stored = Vec::new();
        for state in ["open", "ready"] {
            let Ok(sources) = std::fs::read_dir(self.path("relay").join(state)) else {
                continue;
            };
            for source in sources.map(|source| source.expect("an entry")) {
                let files = std::fs::read_dir(source.path()).expect("a folder");
                let files = files.map(|file| std::fs::read_to_string(file.expect("an entry").path()));
                let text: String = files.map(|text| text.expect("lines")).collect();
                if !text.is_empty() {
                    stored.push((source.file_name().to_string_lossy().into_owned(), text));
                }
            }
        }
        stored.sort();
        stored
    }

    /// The number of requests that group a has refused.
    pub(crate) fn rejected(&self) -> u64 {
        let text = self.metrics.text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("logferry_relay_rejected_requests_total{group=\"a\"} "));
        line.map_or(0, |number| number.parse().expect("a number"))
    }
}

/// Fails the test unless a valid chunk is stored, and nothing else.
pub(crate) async fn assert_unharmed(site: &TestRelay) {
    const LINES: &str = "still\nhere\n";
    assert_eq!(site.stored(), []);
    let stored = site.answer(&chunk(u64::MAX, LINES.as_bytes(), "")).await;
    assert_eq!(stored.status, 200, "{stored:?}");
    assert_eq!(site.stored(), [("127.0.0.1".to_owned(), LINES.to_owned())]);
}

/// Sends bytes, and reads until the connection ends, in any way.
pub(crate) async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Vec<u8> {
    // The relay may respond and close the connection before it has read everything.
    let _ = stream.write_all(bytes).await;
    read_to_end(stream).await
}

/// The bytes until the connection ends, in any way.
pub(crate) async fn read_to_end(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(TIMEOUT, stream.read_to_end(&mut answer)).await;
    assert!(
        read.is_ok(),
        "the relay does not close the connection after {:?}",
        String::from_utf8_lossy(&answer)
    );
    answer
}

/// Waits until `is_so`.
pub(crate) async fn wait_for<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waited = tokio::time::timeout(TIMEOUT, async {
        while !is_so().await {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    });
    assert!(waited.await.is_ok(), "waited for {what}");
}

impl HttpResponse {
    /// The response in these bytes, with nothing after it.
    pub(crate) fn only(bytes: &[u8]) -> Self {
        let (answer, rest) = Self::first(bytes);
        assert_eq!(rest, "", "after {answer:?}");
        answer
    }

    /// The first response in these bytes, and the rest.
    pub(crate) fn first(bytes: &[u8]) -> (Self, String) {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().expect("a length"));
        let (body, rest) = body.split_at(length);
        let answer = Self {
            status: status.unwrap_or_else(|| panic!("no status: {text:?}")),
            body: body.to_owned(),
            head,
        };
        (answer, rest.to_owned())
    }

    /// Fails the test unless this is a refusal with the status and reason, one line, that closes the connection.
    #[track_caller]
    pub(crate) fn assert_refused(&self, status: u16, reason: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.body.contains(reason), "no {reason:?} in {self:?}");
        assert!(
            self.body.is_empty() || self.body.matches('\n').count() == 1,
            "{self:?}"
        );
        assert!(self.head.contains("connection: close"), "{self:?}");
    }
}

/// The headers of the chunk that holds these lines as file `inode` from its start.
pub(crate) fn chunk_headers(inode: u64, lines: &[u8]) -> Vec<(&'static str, String)> {
    let file = FileKey { dev: 1, inode };
    let head = Head::of(lines).expect("a line");
    let len = u64::try_from(lines.len()).expect("few");
    let header = ChunkHeader {
        stream: StreamId::derive(file, head, 0),
        log: "access".parse().expect("a name"),
        file,
        head,
        range: ByteRange::new(Offset::ZERO, Offset::new(len)).expect("forwards"),
        tail: Tail::of(lines),
        lines: LineCounts {
            sent: lines.split_inclusive(|&byte| byte == b'\n').count() as u64,
            excluded: 0,
        },
        line_end: LineEnd::Whole,
        stream_end: StreamEnd::Live,
        crc32c: crc32c::crc32c(lines),
    };
    header.to_pairs().to_vec()
}

/// The bytes of a request. `more` are further header lines, each with its line end.
pub(crate) fn request(path: &str, headers: &[(&str, String)], more: &str, body: &[u8]) -> Vec<u8> {
    let mut text = format!(
        "POST {path} HTTP/1.1\r\nhost: relay\r\ncontent-length: {}\r\n{more}",
        body.len()
    );
    for (name, value) in headers {
        text.extend([*name, ": ", value, "\r\n"]);
    }
    text += "\r\n";
    [text.as_bytes(), body].concat()
}

/// The chunk as a request, after which the relay closes the connection.
pub(crate) fn chunk(inode: u64, lines: &[u8], more: &str) -> Vec<u8> {
    let more = format!("connection: close\r\n{more}");
    request(CHUNKS_PATH, &chunk_headers(inode, lines), &more, lines)
}
