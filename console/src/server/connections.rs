//! Accepts connections and serves them.
//!
//! Bounds: [`CONNECTIONS_MAX`] connections, [`HEAD_TIME_MAX`] for the head of a request. A peer that vanished is noticed by
//! `TCP_USER_TIMEOUT` (tcp(7)), since a stream to it would stay for ever.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::tls::ConsoleCertificate;
use crate::answer::peer::RequestPeer;
use crate::app::state::AppState;

/// Open connections: a browser has six, a stream takes one.
const CONNECTIONS_MAX: usize = 2048;
/// A request's head comes within this.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// A handshake ends within this.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes that were sent are acknowledged within this, or the peer is gone.
const PEER_TIMEOUT: Duration = Duration::from_mins(1);
/// How long running requests may take to finish at the stop.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);
/// Largest head of a request, and the bytes that wait for a slow reader.
const BUFFER_MAX: usize = 64 << 10;
/// Wait after an accept that failed, so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`; then running requests end.
pub(super) async fn serve(
    listener: TcpListener,
    certificate: Option<ConsoleCertificate>,
    router: Router,
    state: &AppState,
    stop: &CancellationToken,
) {
    let certificate = certificate.map(Arc::new);
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accept = async {
            let slot = Arc::clone(&slots).acquire_owned().await.ok();
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "cannot accept a connection; the console tries again"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        set_options(&stream);
        let (router, state) = (router.clone(), state.clone());
        let (watcher, certificate) = (graceful.watcher(), certificate.clone());
        connections.spawn(async move {
            let ended = match certificate {
                None => serve_one(stream, (peer, false), router, state, watcher).await,
                Some(certificate) => {
                    let handshake = certificate.acceptor().accept(stream);
                    match tokio::time::timeout(HANDSHAKE_TIME_MAX, handshake).await {
                        Ok(Ok(stream)) => serve_one(stream, (peer, true), router, state, watcher).await,
                        Ok(Err(error)) => Err(error.into()),
                        Err(error) => Err(error.into()),
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, error = error.as_ref() as &dyn Error, "connection ended");
            }
            drop(slot);
        });
    }
    drop(listener);
    // Connections without a request end at once, the others with their answers.
    drop(graceful);
    let _ = tokio::time::timeout(STOP_TIME_MAX, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
    connections.shutdown().await;
}

fn set_options(stream: &TcpStream) {
    // If they fail, streams are slower, and dead peers are noticed later.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(PEER_TIMEOUT));
}

async fn serve_one(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    (peer, has_tls): (SocketAddr, bool),
    router: Router,
    state: AppState,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let app = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let origin = RequestPeer::of(peer, has_tls, state.settings.proxy, request.headers());
        request.extensions_mut().insert(origin);
        app.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(BUFFER_MAX);
    Ok(watcher
        .watch(http.serve_connection(TokioIo::new(stream), service))
        .await?)
}
