//! A group's HTTP listener: takes requests in, checks them, and answers.
//!
//! Everything that a client sends is bounded: connections, header size and time, body size, time between two pieces
//! of a body, and the memory of all bodies together. What is malformed gets a 4xx with one line saying why.

mod receive;
mod refused;
mod upload;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use logferry_config::{BatchSettings, GroupLimits, GroupSettings};
use logferry_protocol::chunk::{ChunkHeader, ChunkOutcome, LineEnd};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::names::{GroupName, SourceId};
use logferry_protocol::resolve::{LedgerId, MAX_QUERIES, ResolveRequest, ResolveResponse};
use logferry_protocol::{
    CHUNKS_PATH, HEARTBEAT_PATH, LEDGER_HEADER, SOURCE_HEADER, STREAMS_PATH, UPLOAD_PATH,
};
use logferry_telemetry::RelayMetrics;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::receive::{read_body, read_chunk, read_json};
use self::refused::Strangers;
use crate::access::Access;
use crate::admission::{self, Client};
use crate::answered::{Claims, LastAnswer};
use crate::board::Board;
use crate::body::BodyMemory;
use crate::committer::{Answer, Chunk};
use crate::connection::{Connection, Transport};
use crate::pipeline::{Job, Pipeline};
use crate::rejection::Rejection;
use crate::report::shown_safely;
use crate::split::split;
use crate::tokens::{self, Bearer, Tokens};

/// How often it is looked whether a refusal is still to be told.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How long requests under way may take to finish when the relay stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Bytes of the largest head of a request: its first line and its headers. Ours need one KiB.
const HEAD_MAX: usize = 16 << 10;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// What hyper reads from a socket at once. Each connection may hold so much beside the bodies' memory: some 80 MB for
/// 300 senders with four connections each.
const READ_BUFFER: usize = 64 << 10;

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// To agree on TLS.
    handshake: Duration,
    /// To send the head of a request, from the end of the one before on: so long a connection may be idle.
    head: Duration,
    /// To bring the least part of a body, see [`Pace`](crate::pace::Pace).
    body: Duration,
}

const TIMES: Times = Times {
    handshake: Duration::from_secs(10),
    head: Duration::from_secs(30),
    body: Duration::from_secs(30),
};

/// What every request of a group needs.
#[derive(Debug)]
struct Context {
    group: Arc<GroupSettings>,
    batch: BatchSettings,
    limits: GroupLimits,
    times: Times,
    access: Access,
    ledger: LedgerId,
    memory: BodyMemory,
    claims: Claims,
    pipeline: Pipeline,
    metrics: RelayMetrics,
    board: Board,
    strangers: Strangers,
}

/// Who is at the other end of a connection.
#[derive(Debug)]
struct Peer {
    address: IpAddr,
    /// The names in its certificate, where it had to show one.
    certificate: Option<Vec<SourceId>>,
    last_answer: Arc<LastAnswer>,
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
        group: Arc<GroupSettings>,
        config: &logferry_config::RelaySettings,
        access: Access,
        ledger: LedgerId,
        pipeline: Pipeline,
        metrics: RelayMetrics,
    ) -> Self {
        let board = pipeline.board().clone();
        let context = Context {
            group,
            batch: config.batch.clone(),
            limits: config.limits,
            times: TIMES,
            access,
            ledger,
            memory: BodyMemory::new(config.limits.max_in_flight),
            claims: Claims::new(pipeline.clone()),
            pipeline,
            metrics,
            board,
            strangers: Strangers::default(),
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

    /// The group, and its notice board.
    pub(crate) fn board(&self) -> (GroupName, Board) {
        (self.context.group.name.clone(), self.context.board.clone())
    }

    /// Accepts connections until `shutdown`, then lets requests under way finish.
    pub(crate) async fn serve(self, shutdown: CancellationToken) {
        let Self { listener, context } = self;
        let graceful = GracefulShutdown::new();
        let slots = Arc::new(Semaphore::new(context.limits.max_connections));
        let mut connections = JoinSet::new();
        let mut ticks = tokio::time::interval(TELL_EVERY);
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = accept(&listener, &slots) => accepted,
                Some(_) = connections.join_next() => continue,
                _ = ticks.tick() => {
                    context.tell_overdue();
                    continue;
                }
            };
            let Some((stream, peer, slot)) = accepted else {
                continue;
            };
            let (context, shutdown, watcher) = (Arc::clone(&context), shutdown.clone(), graceful.watcher());
            connections.spawn(async move {
                converse(context, stream, peer, watcher, shutdown).await;
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

/// Serves one connection until it ends, or until `shutdown` and the answer under way.
async fn converse(
    context: Arc<Context>,
    stream: TcpStream,
    peer: SocketAddr,
    watcher: Watcher,
    shutdown: CancellationToken,
) {
    let (transport, certificate) = match context.access.tls() {
        None => (Transport::Plain(stream), None),
        Some(tls) => match shutdown
            .run_until_cancelled(tls.accept(stream, context.times.handshake))
            .await
        {
            Some(Ok(private)) => (Transport::Tls(private.stream), private.client),
            Some(Err(refused)) => {
                context.refused_tls(peer.ip(), &refused.why);
                return refused.hang_up().await;
            }
            None => return,
        },
    };
    let last_answer = Arc::new(LastAnswer::default());
    let connection = Connection::new(transport, Arc::clone(&last_answer));
    let peer = Arc::new(Peer {
        address: peer.ip(),
        certificate,
        last_answer,
    });
    let service = service_fn(|request| answer(Arc::clone(&context), Arc::clone(&peer), request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(context.times.head)
        .max_header_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(READ_BUFFER);
    let connection = http.serve_connection(TokioIo::new(connection), service);
    // A connection that breaks is its client's business: it asks again.
    if let Err(error) = watcher.watch(connection).await {
        if error.is_parse() {
            context.metrics.rejected();
        }
        tracing::debug!(peer = %peer.address, error = &error as &dyn std::error::Error, "connection ended");
    }
}

async fn answer(
    context: Arc<Context>,
    peer: Arc<Peer>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let _in_flight = context.board.begin();
    let is_in_pieces = request.headers().contains_key(TRANSFER_ENCODING);
    let answered = handle(&context, &peer, request).await;
    let mut response = answered.unwrap_or_else(|rejection| {
        context.refused(peer.address, &rejection);
        rejection.into_response()
    });
    if is_in_pieces {
        // No sender does that, and of where such a body ends there are many opinions.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response)
}

async fn handle(
    context: &Context,
    peer: &Peer,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Rejection> {
    check_framing(request.headers())?;
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
    let tokens = context.access.tokens();
    let token = tokens
        .as_deref()
        .map(|tokens| bearer(tokens, request.headers()))
        .transpose()?;
    let client = Client {
        peer: peer.address,
        certificate: peer.certificate.as_deref(),
        token,
    };
    if path == UPLOAD_PATH {
        return upload::upload(context, client, &peer.last_answer, request).await;
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
        client,
        text_header(request.headers(), SOURCE_HEADER),
    )?;
    match path {
        CHUNKS_PATH => store(context, source, request).await,
        STREAMS_PATH => resolve(context, source, request).await,
        _ => heartbeat(context, source, request).await,
    }
}

/// Whether the body can only end in one place (RFC 9112, section 6.1). Hyper sees to the rest of it: what it cannot
/// make out it refuses, and of a length beside `chunked` it makes nothing and closes the connection.
fn check_framing(headers: &HeaderMap) -> Result<(), Rejection> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Rejection::bad_request(
            "of transfer codings, only chunked is known here",
        )),
    }
}

/// Whom the token of a request lets in.
fn bearer<'a>(tokens: &'a Tokens, headers: &HeaderMap) -> Result<&'a Bearer, Rejection> {
    let refused = |reason: &str| Rejection::new(StatusCode::UNAUTHORIZED, reason);
    let shown = text_header(headers, AUTHORIZATION.as_str()).and_then(tokens::shown);
    let shown = shown.ok_or_else(|| refused("a token is asked for here; set sender.token_file"))?;
    tokens
        .find(shown)
        .ok_or_else(|| refused("the token is not known here"))
}

async fn store(
    context: &Context,
    source: SourceId,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Rejection> {
    let header = ChunkHeader::from_pairs(|name| text_header(request.headers(), name))
        .map_err(|error| Rejection::bad_request(error.to_string()))?;
    needs_room(context)?;
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
                ChunkOutcome::Stored | ChunkOutcome::Duplicate => StatusCode::OK,
                ChunkOutcome::Elsewhere => StatusCode::CONFLICT,
            };
            Ok(json(status, &receipt))
        }
        Ok(Answer::Wait(reason)) => Err(Rejection::wait(reason)),
        Err(_) => Err(stopping()),
    }
}

/// Refuses lines, before their memory is asked for, while the group takes none.
fn needs_room(context: &Context) -> Result<(), Rejection> {
    context
        .board
        .refusal()
        .map_or(Ok(()), |reason| Err(Rejection::wait(reason)))
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
    let report = shown_safely(report);
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

#[cfg(test)]
mod tests;
