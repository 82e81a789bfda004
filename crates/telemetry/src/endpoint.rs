//! The HTTP port for people and probes: `/healthz` and `/metrics`.
//!
//! It carries no data. A probe that hangs is cut off, and more of them than [`CONNECTIONS_MAX`] wait their turn.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Metrics;

/// Probes served at the same time: a scraper, a balancer and a person each take one for a moment.
const CONNECTIONS_MAX: usize = 32;

/// A probe gets its answer within this or is cut off.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(5);

/// Wait after an accept that failed (most likely for want of file descriptors), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a client names that reads `OpenMetrics`.
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text";

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const PROMETHEUS_TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Why the endpoint could not start.
#[derive(Debug, thiserror::Error)]
pub enum HealthEndpointError {
    /// The address cannot be had.
    #[error("cannot listen on {addr} for metrics; is another logferry using it? `metrics` sets the address")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Whether a role serves: said once by the role, shown by `/healthz`.
#[derive(Clone, Default)]
pub struct Readiness(Arc<OnceLock<Trouble>>);

/// What keeps a role from doing its work now, in one line each; `None` if nothing does.
type Trouble = Box<dyn Fn() -> Option<String> + Send + Sync>;

impl Readiness {
    /// From now on the role serves.
    pub fn set(&self) {
        self.set_unless(|| None);
    }

    /// From now on the role serves, but for when `trouble`, which is asked at each probe, says why not.
    pub fn set_unless(&self, trouble: impl Fn() -> Option<String> + Send + Sync + 'static) {
        // A role that says so twice serves as it said first.
        let _ = self.0.set(Box::new(trouble));
    }

    /// Why the role does not serve now.
    fn trouble(&self) -> Option<String> {
        let trouble = self.0.get();
        trouble.map_or_else(|| Some("starting".to_owned()), |trouble| trouble())
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Readiness").field(&self.trouble()).finish()
    }
}

/// A bound port that answers `/healthz` and `/metrics` once [`HealthEndpoint::serve`] runs.
#[derive(Debug)]
pub struct HealthEndpoint {
    listener: TcpListener,
    addr: SocketAddr,
}

impl HealthEndpoint {
    /// Binds `addr`; port 0 takes a free one.
    pub async fn bind(addr: SocketAddr) -> Result<Self, HealthEndpointError> {
        let failed = |source| HealthEndpointError::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, addr })
    }

    /// The address really bound.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown`. Cancel safe: it holds nothing that could be lost.
    pub async fn serve(self, metrics: Metrics, ready: Readiness, shutdown: CancellationToken) {
        let mut probes = JoinSet::new();
        let stopped = shutdown.cancelled();
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                () = &mut stopped => break,
                Some(_) = probes.join_next() => {}
                accepted = self.listener.accept(), if probes.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, _)) => {
                        probes.spawn(probe(stream, metrics.clone(), ready.clone(), shutdown.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(addr = %self.addr, %error, "cannot accept a probe of /healthz or /metrics");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        while probes.join_next().await.is_some() {}
    }
}

/// Serves one connection. Its outcome is of no interest: the peer has either its answer or gone away.
async fn probe(stream: TcpStream, metrics: Metrics, ready: Readiness, shutdown: CancellationToken) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(&request, &metrics, &ready);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        () = shutdown.cancelled() => {}
        _ = tokio::time::timeout(CONNECTION_TIME_MAX, connection) => {}
    }
}

fn answer<B>(request: &Request<B>, metrics: &Metrics, ready: &Readiness) -> Response<Full<Bytes>> {
    let (method, path) = (request.method(), request.uri().path());
    if !matches!(path, "/healthz" | "/metrics") {
        return plain(StatusCode::NOT_FOUND, "here are /healthz and /metrics\n");
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
        let methods = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, methods);
        return response;
    }
    if path == "/metrics" {
        return if reads_open_metrics(request.headers()) {
            response(StatusCode::OK, OPEN_METRICS, metrics.text())
        } else {
            response(StatusCode::OK, PROMETHEUS_TEXT, metrics.plain_text())
        };
    }
    match ready.trouble() {
        None => plain(StatusCode::OK, "ok\n"),
        Some(trouble) => plain(StatusCode::SERVICE_UNAVAILABLE, trouble + "\n"),
    }
}

/// Whether the client says that it reads `OpenMetrics`, as Prometheus does. `curl` says that it takes anything, and so do tools that
/// know only the older text.
fn reads_open_metrics(headers: &HeaderMap) -> bool {
    let mut accepted = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.to_ascii_lowercase().contains(OPEN_METRICS_TYPE))
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(status, PLAIN, body)
}

fn response(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
