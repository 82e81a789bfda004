//! A relay in this process: real HTTP on a loopback port, streams in memory, and failures on demand.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use logferry_protocol::chunk::{ChunkHeader, ChunkOutcome, LineEnd, Receipt};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::resolve::{KnownStream, LedgerId, ResolveRequest, ResolveResponse};
use logferry_protocol::stream::Offset;
use logferry_protocol::{CHUNKS_PATH, HEARTBEAT_PATH, LEDGER_HEADER, SOURCE_HEADER, STREAMS_PATH};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a chunk that comes early waits for the one before it.
const PARK: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(crate) struct FakeRelay {
    state: Mutex<FakeRelayState>,
    committed: Notify,
    /// Every n-th answer to a chunk is lost after the chunk was stored; 0: none.
    pub(crate) lose_every: AtomicU32,
    /// Whether all chunks are answered with 503.
    pub(crate) busy: AtomicBool,
    /// Whether all chunks are answered with 400.
    pub(crate) refuses: AtomicBool,
    answers: AtomicU32,
    /// Which ledger it is; it does not tell as long as there is none.
    pub(crate) ledger: OnceLock<LedgerId>,
    /// Without this token nothing is answered.
    pub(crate) token: Mutex<Option<String>>,
    /// How the bodies of chunks came.
    pub(crate) encodings: Mutex<BTreeSet<String>>,
}

#[derive(Default)]
struct FakeRelayState {
    streams: Vec<KnownStream>,
    /// What arrived of each log, in order.
    logs: HashMap<String, Vec<u8>>,
    heartbeats: Vec<Heartbeat>,
    sources: Vec<Option<String>>,
}

impl FakeRelay {
    /// Serves on a free port until `stop`.
    pub(crate) async fn start(stop: CancellationToken) -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let relay = Arc::new(Self::default());
        let serving = relay.clone();
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
                let (relay, stop) = (serving.clone(), stop.clone());
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(|request| relay.answer(request));
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    // An answer that is lost on purpose ends the connection with an error.
                    let _ = stop.run_until_cancelled(connection).await;
                });
            }
        });
        (relay, address)
    }

    /// What arrived of a log.
    pub(crate) fn arrived(&self, log: &str) -> Vec<u8> {
        self.state
            .lock()
            .expect("no panic")
            .logs
            .get(log)
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn heartbeats(&self) -> Vec<Heartbeat> {
        self.state.lock().expect("no panic").heartbeats.clone()
    }

    pub(crate) fn sources(&self) -> Vec<Option<String>> {
        self.state.lock().expect("no panic").sources.clone()
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, LostAnswer> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| LostAnswer)?.to_bytes();
        let answer = |status: StatusCode, body: Vec<u8>| {
            let mut response = Response::new(Full::new(Bytes::from(body)));
            *response.status_mut() = status;
            response
        };
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(token) = &*self.token.lock().expect("no panic")
            && text("authorization") != Some(&format!("Bearer {token}"))
        {
            return Ok(answer(StatusCode::UNAUTHORIZED, b"no such token\n".to_vec()));
        }
        if text(LEDGER_HEADER).is_some_and(|id| self.ledger.get().is_some_and(|own| own.to_string() != id)) {
            let said = b"another relay\n".to_vec();
            return Ok(answer(StatusCode::MISDIRECTED_REQUEST, said));
        }
        match head.uri.path() {
            STREAMS_PATH => {
                let request: ResolveRequest = serde_json::from_slice(&body).expect("a question");
                Ok(answer(
                    StatusCode::OK,
                    serde_json::to_vec(&self.resolve(&request)).expect("JSON"),
                ))
            }
            HEARTBEAT_PATH => {
                let beat = serde_json::from_slice(&body).expect("a heartbeat");
                let source = head
                    .headers
                    .get(SOURCE_HEADER)
                    .map(|value| value.to_str().expect("text").to_owned());
                let mut state = self.state.lock().expect("no panic");
                state.heartbeats.push(beat);
                state.sources.push(source);
                Ok(answer(StatusCode::NO_CONTENT, Vec::new()))
            }
            CHUNKS_PATH if self.busy.load(Ordering::Relaxed) => {
                let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, b"too busy\n".to_vec());
                response
                    .headers_mut()
                    .insert("retry-after", "0".parse().expect("a value"));
                Ok(response)
            }
            CHUNKS_PATH if self.refuses.load(Ordering::Relaxed) => {
                Ok(answer(StatusCode::BAD_REQUEST, b"not so\n".to_vec()))
            }
            CHUNKS_PATH => {
                let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
                let header = ChunkHeader::from_pairs(header).expect("the headers of a chunk");
                let body = self.decoded(text("content-encoding"), body);
                let receipt = self.take(&header, &body).await;
                let nth = self.answers.fetch_add(1, Ordering::Relaxed) + 1;
                let lose = self.lose_every.load(Ordering::Relaxed);
                if lose > 0 && nth.is_multiple_of(lose) {
                    return Err(LostAnswer);
                }
                let status = match receipt.outcome {
                    ChunkOutcome::OffsetMismatch => StatusCode::CONFLICT,
                    ChunkOutcome::Stored | ChunkOutcome::Duplicate => StatusCode::OK,
                };
                Ok(answer(status, serde_json::to_vec(&receipt).expect("JSON")))
            }
            _ => Ok(answer(StatusCode::NOT_FOUND, b"nothing is here\n".to_vec())),
        }
    }

    fn resolve(&self, request: &ResolveRequest) -> ResolveResponse {
        let state = self.state.lock().expect("no panic");
        let alike = |head| {
            state
                .streams
                .iter()
                .filter(|known| known.head == head)
                .cloned()
                .collect()
        };
        ResolveResponse {
            source: "127.0.0.1".parse().expect("an address"),
            group: None,
            max_chunk: 16 << 20,
            ledger: self.ledger.get().copied(),
            rebuilt: None,
            restored: None,
            candidates: request.files.iter().map(|query| alike(query.head)).collect(),
            of_other_logs: Vec::new(),
        }
    }

    fn decoded(&self, encoding: Option<&str>, body: Bytes) -> Bytes {
        let Some(encoding) = encoding else { return body };
        self.encodings
            .lock()
            .expect("no panic")
            .insert(encoding.to_owned());
        let mut plain = Vec::new();
        if encoding == "zstd" {
            zstd::stream::copy_decode(&*body, &mut plain).expect("zstd");
        } else {
            GzDecoder::new(&*body).read_to_end(&mut plain).expect("gzip");
        }
        plain.into()
    }

    /// Takes a chunk when its turn has come.
    async fn take(&self, header: &ChunkHeader, body: &Bytes) -> Receipt {
        let parked = tokio::time::timeout(PARK, async {
            loop {
                let mut committed = std::pin::pin!(self.committed.notified());
                committed.as_mut().enable();
                if let Some(receipt) = self.try_take(header, body) {
                    return receipt;
                }
                committed.await;
            }
        });
        let elsewhere = |_| Receipt::new(self.committed_of(header), ChunkOutcome::OffsetMismatch);
        parked.await.unwrap_or_else(elsewhere)
    }

    fn committed_of(&self, header: &ChunkHeader) -> Offset {
        let state = self.state.lock().expect("no panic");
        let known = state.streams.iter().find(|known| known.stream == header.stream);
        known.map_or(Offset::ZERO, |known| known.committed)
    }

    /// `None` if the chunk has come early.
    fn try_take(&self, header: &ChunkHeader, body: &Bytes) -> Option<Receipt> {
        assert_eq!(crc32c::crc32c(body), header.crc32c);
        let committed = self.committed_of(header);
        let (start, end) = (header.range.start(), header.range.end());
        if start > committed {
            return None;
        }
        if start < committed {
            let outcome = if end <= committed {
                ChunkOutcome::Duplicate
            } else {
                ChunkOutcome::OffsetMismatch
            };
            return Some(Receipt::new(committed, outcome));
        }
        assert_eq!(
            header.line_end == LineEnd::Open,
            body.last().is_some_and(|&last| last != b'\n')
        );
        let known = KnownStream {
            stream: header.stream,
            file: header.file,
            head: header.head,
            committed: end,
            tail: header.tail,
            by_other: false,
        };
        let mut state = self.state.lock().expect("no panic");
        state.streams.retain(|other| other.stream != header.stream);
        state.streams.push(known);
        state
            .logs
            .entry(header.log.to_string())
            .or_default()
            .extend_from_slice(body);
        drop(state);
        self.committed.notify_waiters();
        Some(Receipt::new(end, ChunkOutcome::Stored))
    }
}

/// Ends the connection instead of answering.
#[derive(Debug)]
struct LostAnswer;

impl std::fmt::Display for LostAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer is lost on purpose")
    }
}

impl std::error::Error for LostAnswer {}

impl From<Infallible> for LostAnswer {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
