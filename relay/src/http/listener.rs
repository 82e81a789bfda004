//! A group's port and its connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use logferry_config::{GroupSettings, SourceList};
use logferry_http_server::ClientConnection;
use logferry_protocol::names::GroupName;
use logferry_telemetry::RelayMetrics;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::requests::{ConnectedPeer, handle_request};
use super::{HttpContext, RejectionLog, ServedLedger, TIMEOUTS};
use crate::auth::{Credentials, FailedHandshake, TlsFailure};
use crate::chunk::RelayBodies;
use crate::commit::CommitQueue;
use crate::health::SharedGroupStatus;
use crate::http::peer_slots::{PeerKind, PeerSlot, PeerSlots};
use crate::legacy_upload::{AckTracker, UnconfirmedResponse};
use crate::senders::SharedSenders;

/// How often the log of rejections is checked for messages that are due.
const REJECTION_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// How long running requests may take to finish when the relay stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a connection that waits for a place looks for one that has become idle.
const PLACE_LOOK: Duration = Duration::from_millis(250);
/// Largest head of a request in bytes: first line and headers. A sender's head takes one KiB.
const HEAD_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// Read buffer of a connection. It is not part of the body memory: 300 senders with four connections each use 40 MB.
const READ_BUFFER: usize = 32 << 10;

/// The answer to a connection above the bound of its client. It comes before the request, and with TLS not at all.
const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 39\r\n\r\ntoo many connections from this address\n";

/// The response to HTTP on a port that requires TLS.
const PLAIN_HTTP_RESPONSE: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 48\r\nconnection: close\r\n\r\nthis port speaks TLS: write https:// in its URL\n";

#[derive(Debug)]
pub(crate) struct GroupListener {
    listener: TcpListener,
    /// Whether the address of a client decides whether it may send, and there is a list of them.
    is_by_address: bool,
    pub(super) context: Arc<HttpContext>,
}

impl GroupListener {
    /// Serves `group` on `listener`.
    pub(crate) fn new(
        listener: TcpListener,
        group: Arc<GroupSettings>,
        config: &logferry_config::RelaySettings,
        (credentials, senders, bodies): (Credentials, SharedSenders, &RelayBodies),
        ledger: ServedLedger,
        commits: CommitQueue,
        metrics: RelayMetrics,
    ) -> Self {
        let has_client_ca = config
            .tls
            .as_ref()
            .is_some_and(|tls| tls.client_ca_file.is_some());
        let is_open = group.sources == SourceList::Any;
        let is_by_address = !group.trust_source && config.tokens_file.is_none() && !has_client_ca && !is_open;
        let context = HttpContext {
            group,
            batch: config.batch.clone(),
            limits: config.limits,
            timeouts: TIMEOUTS,
            credentials,
            senders,
            ledger,
            bodies: bodies.of_group(config.limits.max_in_flight),
            acks: AckTracker::new(commits.clone()),
            status: commits.status().clone(),
            commits,
            metrics,
            rejections: RejectionLog::default(),
        };
        Self {
            listener,
            is_by_address,
            context: Arc::new(context),
        }
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    pub(crate) fn status(&self) -> (GroupName, SharedGroupStatus) {
        (self.context.group.name.clone(), self.context.status.clone())
    }

    /// Accepts connections until `shutdown`, then lets running requests finish.
    pub(crate) async fn serve(self, shutdown: CancellationToken) {
        let Self {
            listener,
            is_by_address,
            context,
        } = self;
        let slots = Arc::new(Semaphore::new(context.limits.max_connections));
        // One more is accepted, so that an idle connection of a stranger can be closed for it.
        let seats = Arc::new(Semaphore::new(context.limits.max_connections + 1));
        let peer_slots = PeerSlots::new(context.limits.max_connections);
        let mut connections = JoinSet::new();
        let mut ticks = tokio::time::interval(REJECTION_LOG_INTERVAL);
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = accept(&listener, &seats) => accepted,
                Some(_) = connections.join_next() => continue,
                _ = ticks.tick() => {
                    context.log_overdue_rejections();
                    continue;
                }
            };
            let Some((stream, peer, seat)) = accepted else {
                continue;
            };
            let kind = match (is_by_address, context.group.sources.allows_ip(peer.ip())) {
                (false, _) => PeerKind::Unknown,
                (true, true) => PeerKind::Listed,
                (true, false) => PeerKind::Stranger,
            };
            let is_full = slots.available_permits() == 0;
            let Some(peer_slot) = peer_slots.take(peer.ip(), kind, is_full) else {
                context.turn_down(&stream, peer);
                continue;
            };
            let (context, shutdown) = (Arc::clone(&context), shutdown.clone());
            let (slots, peer_slots) = (Arc::clone(&slots), Arc::clone(&peer_slots));
            connections.spawn(async move {
                let closed = peer_slot.closed();
                let serve = async {
                    let place = shutdown.run_until_cancelled(place(&slots, &peer_slots)).await;
                    if place.is_some() {
                        serve_connection(Arc::clone(&context), stream, (peer, peer_slot), &shutdown).await;
                    }
                };
                // A request that is not authorized yet has no effect.
                if closed.run_until_cancelled(serve).await.is_none() {
                    context.log_too_many_connections(peer.ip());
                }
                drop(seat);
            });
        }
        drop(listener);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, all_ended).await.is_err() {
            tracing::warn!(
                group = %context.group.name,
                "requests did not finish within {} s of the stop; their connections are closed, senders send the \
                 chunks again",
                SHUTDOWN_TIMEOUT.as_secs()
            );
        }
        connections.shutdown().await;
    }
}

impl HttpContext {
    /// Tells a client with too many connections to come later. Its answer may be lost: the connection is closed at once.
    fn turn_down(&self, stream: &TcpStream, peer: SocketAddr) {
        self.log_too_many_connections(peer.ip());
        if self.credentials.tls().is_none() {
            let _ = stream.try_write(TOO_MANY_CONNECTIONS);
        }
    }
}

/// Waits for one of the group's places. Meanwhile idle connections end, one after the other.
async fn place<'a>(places: &'a Semaphore, peer_slots: &PeerSlots) -> Option<SemaphorePermit<'a>> {
    loop {
        peer_slots.end_idle(Instant::now());
        if let Ok(place) = tokio::time::timeout(PLACE_LOOK, places.acquire()).await {
            // It is never closed.
            return place.ok();
        }
    }
}

/// Cancel safe: a dropped wait has taken neither a seat nor a connection.
async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    // The seat first: further connections wait in the kernel's backlog.
    let seat = Arc::clone(seats).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Without TCP_NODELAY small responses are delayed (RFC 896). If it fails they are only slower.
            let _ = stream.set_nodelay(true);
            Some((stream, peer, seat))
        }
        Err(error) => {
            // No file descriptors left, or the client has disconnected. The pause prevents a busy loop.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot accept a connection; the relay tries again"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

/// Serves one connection until it ends, or until `shutdown` or the need of its place, and the end of the running request.
async fn serve_connection(
    context: Arc<HttpContext>,
    stream: TcpStream,
    (peer, slot): (SocketAddr, PeerSlot),
    shutdown: &CancellationToken,
) {
    let (transport, certificate) = match context.credentials.tls() {
        None => (Either::Left(stream), None),
        Some(tls) => match shutdown
            .run_until_cancelled(tls.accept(stream, context.timeouts.handshake))
            .await
        {
            Some(Ok(encrypted)) => (Either::Right(encrypted.stream), encrypted.client_names),
            Some(Err(failed)) => {
                context.log_failed_handshake(peer.ip(), &failed.reason);
                return close_after_failed_handshake(failed).await;
            }
            None => return,
        },
    };
    let ends = slot.ends();
    slot.note_idle(Instant::now());
    let unconfirmed = Arc::new(UnconfirmedResponse::default());
    let connection = ClientConnection::new(transport, Arc::clone(&unconfirmed));
    let peer = Arc::new(ConnectedPeer {
        address: peer.ip(),
        certificate,
        unconfirmed,
        run: Mutex::default(),
        slot,
    });
    let service = service_fn(|request| respond(Arc::clone(&context), Arc::clone(&peer), request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(context.timeouts.head)
        .max_header_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(READ_BUFFER);
    let mut connection = pin!(http.serve_connection(TokioIo::new(connection), service));
    let served = tokio::select! {
        served = connection.as_mut() => Some(served),
        () = shutdown.cancelled() => None,
        () = ends.cancelled() => None,
    };
    let served = if let Some(served) = served {
        served
    } else {
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    // A broken connection needs no action: the client sends its request again.
    if let Err(error) = served {
        if error.is_parse() {
            context.metrics.rejected();
        }
        tracing::debug!(peer = %peer.address, error = &error as &dyn std::error::Error, "connection ended");
    }
}

/// Closes a connection without TLS session so that the client can read why.
async fn close_after_failed_handshake(failed: FailedHandshake) {
    let Some(stream) = failed.stream else { return };
    let mut connection = ClientConnection::new(Either::Left(stream), Arc::<UnconfirmedResponse>::default());
    // The client may have disconnected already. On any other failure TLS has sent its alert.
    if let TlsFailure::PlainHttp = failed.reason {
        let _ = connection.write_all(PLAIN_HTTP_RESPONSE).await;
    }
    let _ = connection.shutdown().await;
}

async fn respond(
    context: Arc<HttpContext>,
    peer: Arc<ConnectedPeer>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let _in_flight = context.status.begin_request();
    peer.slot.note_busy();
    let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let result = handle_request(&context, &peer, request).await;
    let mut response = result.unwrap_or_else(|rejected| {
        context.log_rejection(peer.address, &rejected);
        rejected.into_response()
    });
    peer.slot.note_idle(Instant::now());
    if is_chunked || peer.slot.is_wanted() {
        // Another connection waits for its place. Or the body came in a transfer coding: senders never use one, and
        // implementations disagree about where such a body ends.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response)
}
