//! A group's HTTP listener: takes requests in, checks them, and answers.
//!
//! Everything that a client sends is bounded: connections, header size and time, body size, time between two pieces
//! of a body, and the memory of all bodies together. What is malformed gets a 4xx with one line saying why.

mod upload;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use logferry_config::{Batch, Group, Limits};
use logferry_protocol::chunk::{ChunkHeader, LineEnd, Outcome};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::names::SourceId;
use logferry_protocol::resolve::{LedgerId, MAX_QUERIES, ResolveRequest, ResolveResponse};
use logferry_protocol::{
    CHUNKS_PATH, HEARTBEAT_PATH, LEDGER_HEADER, PLAIN_LENGTH_HEADER, SOURCE_HEADER, STREAMS_PATH, UPLOAD_PATH,
};
use logferry_telemetry::RelayMetrics;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admission;
use crate::answered::{Claims, LastAnswer};
use crate::body::{Body, BodyMemory};
use crate::committer::{Answer, Chunk};
use crate::connection::Connection;
use crate::encoding::{DecodeError, Decoder, Encoding};
use crate::pipeline::{Job, Pipeline};
use crate::rejection::Rejection;
use crate::split::split;

/// A client that sends nothing for so long in the middle of a request is cut off.
const STALL: Duration = Duration::from_secs(30);
/// How long a request waits for memory before it is told to come again.
const MEMORY_PATIENCE: Duration = Duration::from_secs(5);
/// How long requests under way may take to finish when the relay stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Bytes of the largest resolve request or heartbeat.
const MAX_JSON: usize = 1 << 20;
/// What hyper reads from a socket at once.
const READ_BUFFER: usize = 256 << 10;

/// What every request of a group needs.
#[derive(Debug)]
struct Context {
    group: Arc<Group>,
    batch: Batch,
    limits: Limits,
    ledger: LedgerId,
    memory: BodyMemory,
    claims: Claims,
    pipeline: Pipeline,
    metrics: RelayMetrics,
}

/// A group's port.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    context: Arc<Context>,
}

impl Listener {
    /// Serves `group` on `listener`.
    pub(crate) fn new(
        listener: TcpListener,
        group: Arc<Group>,
        config: &logferry_config::Relay,
        ledger: LedgerId,
        pipeline: Pipeline,
        metrics: RelayMetrics,
    ) -> Self {
        let context = Context {
            group,
            batch: config.batch.clone(),
            limits: config.limits,
            ledger,
            memory: BodyMemory::new(config.limits.max_in_flight),
            claims: Claims::new(pipeline.clone()),
            pipeline,
            metrics,
        };
        Self {
            listener,
            context: Arc::new(context),
        }
    }

    /// The address it is bound to.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Accepts connections until `shutdown`, then lets requests under way finish.
    pub(crate) async fn serve(self, shutdown: CancellationToken) {
        let Self { listener, context } = self;
        let graceful = GracefulShutdown::new();
        let slots = Arc::new(Semaphore::new(context.limits.max_connections));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = accept(&listener, &slots) => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Some((stream, peer, slot)) = accepted else {
                continue;
            };
            let context = Arc::clone(&context);
            let last_answer = Arc::new(LastAnswer::default());
            let stream = Connection::new(stream, Arc::clone(&last_answer));
            let service = service_fn(move |request| {
                answer(Arc::clone(&context), peer.ip(), Arc::clone(&last_answer), request)
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(STALL)
                .max_buf_size(READ_BUFFER);
            let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
            connections.spawn(async move {
                // A connection that breaks is its client's business: it asks again.
                if let Err(error) = connection.await {
                    tracing::debug!(%peer, error = &error as &dyn std::error::Error, "connection ended");
                }
                drop(slot);
            });
        }
        drop(listener);
        if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
            tracing::warn!(group = %context.group.name, "connections were cut after the time given to finish");
        }
        connections.shutdown().await;
    }
}

/// Cancel safe: a dropped wait has taken neither a slot nor a connection.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    // The slot first: connections over the limit wait in the kernel's backlog.
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Small answers must not wait for more (RFC 896's algorithm); without it they are only slower.
            let _ = stream.set_nodelay(true);
            Some((stream, peer, slot))
        }
        Err(error) => {
            // Out of file descriptors, or the client has gone already; a pause keeps the former from spinning.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot accept a connection"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn answer(
    context: Arc<Context>,
    peer: IpAddr,
    last_answer: Arc<LastAnswer>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let answered = handle(&context, peer, &last_answer, request).await;
    Ok(answered.unwrap_or_else(|rejection| {
        context.metrics.rejected();
        tracing::debug!(
            group = %context.group.name, %peer, status = rejection.status.as_u16(), reason = ?rejection.reason, "refused"
        );
        rejection.into_response()
    }))
}

async fn handle(
    context: &Context,
    peer: IpAddr,
    last_answer: &LastAnswer,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Rejection> {
    let path = request.uri().path();
    if ![CHUNKS_PATH, STREAMS_PATH, HEARTBEAT_PATH, UPLOAD_PATH].contains(&path) {
        return Err(Rejection::new(
            StatusCode::NOT_FOUND,
            "there is nothing at this path",
        ));
    }
    if request.method() != Method::POST {
        return Err(Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "use POST"));
    }
    if path == UPLOAD_PATH {
        return upload::upload(context, peer, last_answer, request).await;
    }
    if let Some(meant) = text_header(request.headers(), LEDGER_HEADER)
        && meant != context.ledger.to_string()
    {
        return Err(Rejection::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!(
                "this relay's ledger is {}, not the one in {LEDGER_HEADER}",
                context.ledger
            ),
        ));
    }
    let source = admission::admit(
        &context.group,
        peer,
        text_header(request.headers(), SOURCE_HEADER),
    )?;
    match path {
        CHUNKS_PATH => store(context, source, request).await,
        STREAMS_PATH => resolve(context, source, request).await,
        _ => heartbeat(context, source, request).await,
    }
}

async fn store(
    context: &Context,
    source: SourceId,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Rejection> {
    let header = ChunkHeader::from_pairs(|name| text_header(request.headers(), name))
        .map_err(|error| Rejection::bad_request(error.to_string()))?;
    let body = read_chunk(context, request).await?;
    let split = split(&body, context.batch.timestamp, context.batch.window);
    check(&header, &body, split.lines())?;
    let (reply, answered) = oneshot::channel();
    let chunk = Chunk {
        source,
        header,
        upload: None,
        body,
        split,
    };
    submit(context, Job::Store(Box::new(chunk), reply))?;
    match answered.await {
        Ok(Answer::Receipt(receipt)) => {
            let status = match receipt.outcome {
                Outcome::Stored | Outcome::Duplicate => StatusCode::OK,
                Outcome::Elsewhere => StatusCode::CONFLICT,
            };
            Ok(json(status, &receipt))
        }
        Ok(Answer::Wait(reason)) => Err(Rejection::wait(reason)),
        Err(_) => Err(stopping()),
    }
}

/// Whether a body is what its header says.
pub(crate) fn check(header: &ChunkHeader, body: &[u8], lines: u64) -> Result<(), Rejection> {
    if crc32c::crc32c(body) != header.crc32c {
        return Err(Rejection::bad_request(
            "the body's CRC-32C is not the one in ferry-crc32c",
        ));
    }
    if lines != header.lines.sent {
        let reason = format!(
            "ferry-lines says {} lines, the body has {lines}",
            header.lines.sent
        );
        return Err(Rejection::bad_request(reason));
    }
    let ends_whole = body.last().is_none_or(|&last| last == b'\n');
    if ends_whole == (header.line_end == LineEnd::Open) && !body.is_empty() {
        return Err(Rejection::bad_request(
            "ferry-end does not say how the body's last line ends",
        ));
    }
    // The newline that a sender adds is the only byte that is not in its file.
    let added = u64::from(header.line_end == LineEnd::Added);
    if u64::try_from(body.len()).unwrap_or(u64::MAX) > header.range.len().saturating_add(added) {
        return Err(Rejection::bad_request("the body is longer than ferry-range"));
    }
    Ok(())
}

async fn resolve(
    context: &Context,
    source: SourceId,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Rejection> {
    let asked: ResolveRequest = read_json(context, request.into_body()).await?;
    if asked.files.len() > MAX_QUERIES {
        return Err(Rejection::bad_request(format!(
            "at most {MAX_QUERIES} files at a time"
        )));
    }
    let (reply, answered) = oneshot::channel();
    submit(context, Job::Resolve(source.clone(), asked, reply))?;
    let candidates = answered
        .await
        .map_err(|_| stopping())?
        .ok_or_else(|| Rejection::wait("the ledger cannot be read now"))?;
    let max_chunk = u64::try_from(context.limits.max_chunk).unwrap_or(u64::MAX);
    Ok(json(
        StatusCode::OK,
        &ResolveResponse {
            source,
            max_chunk,
            ledger: Some(context.ledger),
            candidates,
        },
    ))
}

async fn heartbeat(
    context: &Context,
    source: SourceId,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Rejection> {
    let report: Heartbeat = read_json(context, request.into_body()).await?;
    let (reply, answered) = oneshot::channel();
    submit(context, Job::Heartbeat(source, report, reply))?;
    if !answered.await.map_err(|_| stopping())? {
        return Err(Rejection::wait("the ledger cannot be written now"));
    }
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

fn submit(context: &Context, job: Job) -> Result<(), Rejection> {
    context.pipeline.submit(job).map_err(|_| stopping())
}

fn stopping() -> Rejection {
    Rejection::wait("the relay is stopping")
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let text = serde_json::to_vec(value).expect("our own types have string keys only");
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

async fn read_json<T: DeserializeOwned>(context: &Context, body: Incoming) -> Result<T, Rejection> {
    let limit = MAX_JSON.min(context.limits.max_in_flight);
    let body = read_body(context, body, Encoding::Plain, None, limit).await?;
    serde_json::from_slice(&body)
        .map_err(|error| Rejection::bad_request(format!("the body is not what it should be: {error}")))
}

/// Reads a chunk's body, and decodes it.
async fn read_chunk(context: &Context, request: Request<Incoming>) -> Result<Body, Rejection> {
    let header = |name: &str| text_header(request.headers(), name);
    let encoding = Encoding::named(header(CONTENT_ENCODING.as_str())).ok_or_else(|| {
        Rejection::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body's encoding is not known here; use zstd, gzip or none",
        )
    })?;
    let plain_len = match header(PLAIN_LENGTH_HEADER).filter(|_| encoding != Encoding::Plain) {
        Some(text) => Some(text.parse::<u64>().map_err(|_| {
            Rejection::bad_request(format!("header {PLAIN_LENGTH_HEADER}: it is no number of bytes"))
        })?),
        None => None,
    };
    // What does not fit is above every limit.
    let plain_len = plain_len.map(|len| usize::try_from(len).unwrap_or(usize::MAX));
    read_body(
        context,
        request.into_body(),
        encoding,
        plain_len,
        context.limits.max_chunk,
    )
    .await
}

/// Reads a body of at most `limit` bytes, as it comes and decoded, into the group's memory. `plain_len` is how long a
/// compressed one is said to become.
async fn read_body(
    context: &Context,
    mut incoming: Incoming,
    encoding: Encoding,
    plain_len: Option<usize>,
    limit: usize,
) -> Result<Body, Rejection> {
    let too_large = || {
        Rejection::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("at most {limit} bytes are taken here"),
        )
    };
    // Without a length the largest body is reserved: memory is bounded by promise, not by hope.
    let announced = incoming
        .size_hint()
        .exact()
        .map_or(Ok(limit), usize::try_from)
        .map_err(|_| too_large())?;
    let len = match encoding {
        Encoding::Plain => announced,
        Encoding::Zstd | Encoding::Gzip => plain_len.unwrap_or(limit),
    };
    if announced.max(len) > limit {
        return Err(too_large());
    }
    let refused = |error: DecodeError| match error {
        DecodeError::TooLong if len == limit || plain_len.is_none() => too_large(),
        DecodeError::TooLong => wrong_length(),
        DecodeError::Damaged(reason) => {
            Rejection::bad_request(format!("the body cannot be decompressed: {reason}"))
        }
    };
    let reserve = context.memory.reserve(len, encoding.memory(len));
    let body = tokio::time::timeout(MEMORY_PATIENCE, reserve)
        .await
        .map_err(|_| Rejection::wait("the group's memory is full"))?;
    let mut decoder = Decoder::new(encoding, body, len).map_err(refused)?;
    let mut taken = 0;
    loop {
        let frame = tokio::time::timeout(STALL, incoming.frame()).await;
        let frame =
            frame.map_err(|_| Rejection::new(StatusCode::REQUEST_TIMEOUT, "the body stopped coming"))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| Rejection::bad_request(format!("the body broke off: {error}")))?;
        if let Some(data) = frame.data_ref() {
            taken += data.len();
            if taken > announced {
                return Err(too_large());
            }
            decoder.write(data).map_err(refused)?;
        }
    }
    let body = decoder.finish().map_err(refused)?.complete();
    if plain_len.is_some_and(|said| said != body.len()) {
        return Err(wrong_length());
    }
    Ok(body)
}

fn wrong_length() -> Rejection {
    Rejection::bad_request(format!("the body is not as long as {PLAIN_LENGTH_HEADER} says"))
}
