//! The request, the connection for it, and the answer.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use logferry_config::{Scheme, WebAddress, WebEndpoint};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::tls;

/// For the look-up of a name, and for each of its addresses.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Most bytes of an answer; more are an error of the server.
const ANSWER_MAX: usize = 1024 * 1024;
/// Most characters of an answer that are kept, for people.
const REASON_MAX: usize = 200;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// GET, without a body.
    Get,
    /// POST of JSON.
    PostJson,
    /// OPTIONS, which changes nothing at the server.
    Options,
}

/// A request.
#[derive(Debug, Clone)]
pub struct HttpRequest<'a> {
    /// Where it goes.
    pub endpoint: &'a WebEndpoint,
    /// What is asked.
    pub method: HttpMethod,
    /// Sent as `Idempotency-Key`: the server can tell a repeat by it.
    pub key: Option<&'a str>,
    /// The body of a POST.
    pub body: Bytes,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
    /// The beginning of its text, one line.
    pub text: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The host name leads nowhere.
    #[error("cannot find the address of {host}: {source}; check the address and this host's DNS")]
    Lookup {
        /// The host.
        host: String,
        /// The cause.
        source: io::Error,
    },
    /// Nothing answers.
    #[error("cannot connect to {host}: {source}; check the address and the firewalls between")]
    Connect {
        /// Host and port.
        host: String,
        /// The cause.
        source: io::Error,
    },
    /// No TLS session.
    #[error("no safe connection to {host}: {reason}")]
    Tls {
        /// Host and port.
        host: String,
        /// The cause, and what to do.
        reason: String,
    },
    /// The address cannot be asked for.
    #[error("the address at {host} cannot be used in a request; check it")]
    Address {
        /// Host and port.
        host: String,
    },
    /// It took too long.
    #[error("{host} did not answer within {} s", .limit.as_secs())]
    TimedOut {
        /// Host and port.
        host: String,
        /// The time limit.
        limit: Duration,
        /// Whether the request was on its way.
        was_sent: bool,
    },
    /// The connection broke off after the request was on its way.
    #[error("the connection to {host} broke off before the answer: {reason}")]
    Broken {
        /// Host and port.
        host: String,
        /// The cause.
        reason: String,
    },
}

impl HttpError {
    /// Whether the server may have got the request.
    pub fn may_be_taken(&self) -> bool {
        match self {
            Self::TimedOut { was_sent, .. } => *was_sent,
            Self::Broken { .. } => true,
            Self::Lookup { .. } | Self::Connect { .. } | Self::Tls { .. } | Self::Address { .. } => false,
        }
    }
}

trait ByteTransport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteTransport for T {}

/// Sends a request and waits for its answer.
///
/// Not cancel safe: the server may have got the request.
pub async fn send(request: &HttpRequest<'_>, limit: Duration) -> Result<HttpAnswer, HttpError> {
    let was_sent = AtomicBool::new(false);
    let exchanged = tokio::time::timeout(limit, exchange(request, &was_sent)).await;
    exchanged.unwrap_or_else(|_| {
        Err(HttpError::TimedOut {
            host: request.endpoint.address.authority(),
            limit,
            was_sent: was_sent.load(Ordering::Relaxed),
        })
    })
}

async fn exchange(request: &HttpRequest<'_>, was_sent: &AtomicBool) -> Result<HttpAnswer, HttpError> {
    let address = &request.endpoint.address;
    let host = address.authority();
    let message = message(request).ok_or_else(|| HttpError::Address { host: host.clone() })?;
    let stream = connect(request.endpoint, &host).await?;
    let broken = |error: &dyn std::error::Error| HttpError::Broken {
        host: host.clone(),
        reason: without_secret(&error.to_string(), address),
    };
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut requests, driver) = handshake.map_err(|error| broken(&error))?;
    was_sent.store(true, Ordering::Relaxed);
    let mut exchange = pin!(async {
        let response = requests
            .send_request(message)
            .await
            .map_err(|error| broken(&error))?;
        let (head, body) = response.into_parts();
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let retry_after = header(RETRY_AFTER).and_then(|seconds| seconds.trim().parse().ok());
        // The status says it all: an answer that is too long or breaks off has no text.
        let body = Limited::new(body, ANSWER_MAX).collect().await;
        let body = body.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
        Ok(HttpAnswer {
            status: head.status.as_u16(),
            retry_after: retry_after.map(Duration::from_secs),
            text: one_line(&without_secret(&String::from_utf8_lossy(&body), address)),
        })
    });
    let mut driver = pin!(driver);
    // If the driver ends first, the exchange already has its answer or its error.
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        _ = &mut driver => exchange.await,
    }
}

/// The message; `None` if the address has characters that no message can have.
fn message(request: &HttpRequest<'_>) -> Option<Request<Full<Bytes>>> {
    let address = &request.endpoint.address;
    let mut builder = Request::builder()
        .method(match request.method {
            HttpMethod::Get => Method::GET,
            HttpMethod::PostJson => Method::POST,
            HttpMethod::Options => Method::OPTIONS,
        })
        .uri(address.target.expose())
        .header(HOST, address.authority())
        .header(CONNECTION, "close")
        .header(USER_AGENT, concat!("logferry/", env!("CARGO_PKG_VERSION")));
    if request.method == HttpMethod::PostJson {
        builder = builder.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(key) = request.key {
        builder = builder.header(HeaderName::from_static("idempotency-key"), key);
    }
    builder.body(Full::new(request.body.clone())).ok()
}

async fn connect(endpoint: &WebEndpoint, host: &str) -> Result<Box<dyn ByteTransport>, HttpError> {
    let address = &endpoint.address;
    let found = logferry_connect::look_up(&address.host, address.port, CONNECT_DEADLINE).await;
    let found = found.map_err(|source| HttpError::Lookup {
        host: address.host.clone(),
        source,
    })?;
    let connected = logferry_connect::connect(&found, CONNECT_DEADLINE).await;
    let stream = connected.map_err(|source| HttpError::Connect {
        host: host.to_owned(),
        source,
    })?;
    Ok(match address.scheme {
        Scheme::Http => Box::new(stream),
        Scheme::Https => {
            let secured = tls::connect(endpoint.ca_file.clone(), &address.host, stream).await;
            Box::new(secured.map_err(|reason| HttpError::Tls {
                host: host.to_owned(),
                reason,
            })?)
        }
    })
}

/// A text in which path and query of the address, and each long part of the path, are cut out.
fn without_secret(text: &str, address: &WebAddress) -> String {
    const SHORTEST: usize = 8;
    let target = address.target.expose();
    let parts = target.split(['/', '?', '&', '=']);
    let parts = parts.filter(|part| part.len() >= SHORTEST);
    let whole = [target].into_iter().filter(|target| target.len() > 1);
    whole
        .chain(parts)
        .fold(text.to_owned(), |text, secret| text.replace(secret, "…"))
}

fn one_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars()
        .filter(|c| !c.is_control())
        .take(REASON_MAX)
        .collect()
}
