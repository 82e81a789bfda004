//! Clients that post records: `/log`, `/api/logs`, `/lines`.
//!
//! What a body says is decided in `parse`; whether it came before in `claims` and by the capture's receipts. Every answer of 2xx
//! means that the records are on stable storage, once.
//!
//! Everything that a client sends has a bound: connections, head, body before and after decompression, the memory of all bodies
//! together, the time between two pieces, and, if wanted, requests a second.

mod body;
mod claims;
mod keys;
pub mod parse;
mod rate_limit;
mod rejection;
mod requests;
mod socket_table;

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use jiff::tz::TimeZone;
use logferry_config::HttpSourceSettings;
use logferry_http_server::ClientConnection;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

use self::body::BodyMemory;
use self::claims::{Claims, UnconfirmedAnswer};
use self::keys::ClientKeys;
use self::rate_limit::RateLimit;
use self::requests::{ConnectedClient, PostContext};
use self::socket_table::ConnectionAddresses;
use crate::source::listener::{
    ConnectionSlots, ListenerSlot, SHUTDOWN_TIMEOUT, ServerCertificates, SlottedStream,
    accept_until_shutdown, handshake, listen, renew,
};
use crate::source::read_problem::ReadProblem;
use crate::source::{SourceContext, SourceError};

/// How long the head of a request may take, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest head of a request in bytes: first line and headers.
const HEAD_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// Read buffer of a connection.
const READ_BUFFER: usize = 32 << 10;
/// How often keys and certificates are looked at.
const RENEWAL_INTERVAL: Duration = if cfg!(test) {
    Duration::from_millis(50)
} else {
    Duration::from_secs(5)
};

/// Listens and serves clients until the shutdown.
pub async fn run(settings: &HttpSourceSettings, context: &SourceContext) -> Result<(), SourceError> {
    let listener = listen(settings.listen).await?;
    serve(listener, settings, context.clone()).await
}

async fn serve(
    listener: TcpListener,
    settings: &HttpSourceSettings,
    source: SourceContext,
) -> Result<(), SourceError> {
    let tls = settings.tls.as_ref();
    let tls = tls
        .map(|tls| ServerCertificates::load(tls, &[b"http/1.1"]))
        .transpose()?;
    let keys = settings.keys_file.as_deref().map(ClientKeys::load).transpose()?;
    let context = Arc::new(PostContext {
        claims: Claims::new(source.capture.clone()),
        keys,
        max_body: settings.max_body,
        rate: settings.rate.map(|rate| Mutex::new(RateLimit::new(rate))),
        memory: BodyMemory::new(settings.max_body, source.memory.bodies.clone()),
        zone: TimeZone::system(),
        source,
    });
    let graceful = GracefulShutdown::new();
    let (mut tls_problem, mut keys_problem) = (ReadProblem::default(), ReadProblem::default());
    let renew_files = || {
        renew(tls.as_ref(), &context.source, &mut tls_problem);
        renew_keys(&context, &mut keys_problem);
    };
    let serve = |stream, _, slot| {
        let acceptor = tls.as_ref().map(ServerCertificates::acceptor);
        serve_connection(Arc::clone(&context), stream, acceptor, slot, graceful.watcher())
    };
    let slots = ConnectionSlots::new(settings.max_connections);
    let renewal = (RENEWAL_INTERVAL, renew_files);
    let mut connections = accept_until_shutdown(listener, slots, &context.source, renewal, serve).await;
    // Running requests end; what does not end in time was not answered, and comes again.
    let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, graceful.shutdown()).await;
    connections.shutdown().await;
    Ok(())
}

/// Why the source could not use this file.
pub(crate) fn wrong_keys(path: &Path) -> Option<String> {
    ClientKeys::load(path).err().map(|error| error.to_string())
}

fn renew_keys(context: &PostContext, problem: &mut ReadProblem) {
    let renewed = context.keys.as_ref().map_or(Ok(false), ClientKeys::renew);
    if matches!(renewed, Ok(true)) {
        tracing::info!(source = %context.source.name, "the changed keys are in use");
    }
    let error = renewed.err();
    let text = error.map(|error| format!("{error}; the keys that were read before stay in use"));
    problem.note(text, &context.source);
}

/// Serves one connection until it ends, another client needs its slot, or the source stops and the running request is answered.
async fn serve_connection(
    context: Arc<PostContext>,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    slot: ListenerSlot,
    watcher: Watcher,
) {
    // Without TCP_NODELAY small answers are delayed (RFC 896). If it fails they are only slower.
    let _ = stream.set_nodelay(true);
    let (Ok(peer), local) = (stream.peer_addr(), stream.local_addr()) else {
        return;
    };
    let addresses = local.ok().map(|local| ConnectionAddresses { local, peer });
    let transport = match tls {
        None => Either::Left(stream),
        Some(tls) => match handshake(&tls, stream, peer, &context.source).await {
            Some(stream) => Either::Right(Box::new(stream)),
            None => return,
        },
    };
    let unconfirmed = Arc::new(UnconfirmedAnswer::on(addresses));
    let slot = Arc::new(slot);
    let connection = ClientConnection::new(transport, Arc::clone(&unconfirmed));
    let connection = SlottedStream::new(connection, Arc::clone(&slot));
    let client = Arc::new(ConnectedClient {
        address: peer.ip(),
        unconfirmed,
    });
    let service = service_fn(move |request| {
        let (context, client) = (Arc::clone(&context), Arc::clone(&client));
        async move { Ok::<_, Infallible>(context.respond(&client, request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(READ_BUFFER);
    let connection = watcher.watch(http.serve_connection(TokioIo::new(connection), service));
    tokio::select! {
        () = slot.closed() => {}
        // A broken connection needs no action: the client posts again.
        ended = connection => if let Err(error) = ended {
            tracing::debug!(client = %peer, error = &error as &dyn std::error::Error, "a connection ended");
        },
    }
}

#[cfg(test)]
mod tests;
