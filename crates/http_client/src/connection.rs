//! A connection to a server, opened when it is needed and used again while the server keeps it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use logferry_config::{Scheme, WebEndpoint};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use crate::error::HttpError;
use crate::tls;

/// For the look-up of a name, and for each of its addresses.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Large, so that a request is sent in few writes.
const WRITE_BUFFER: usize = 1 << 20;

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpServer {
    /// Plain HTTP or TLS.
    pub scheme: Scheme,
    /// A host name or an IP address, an IPv6 one without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The `Host` header; people are told the server by it.
    pub authority: String,
    /// Its authorities; `None`: those of the system. The file is read for each connection, so a renewed one needs no restart.
    pub ca_file: Option<PathBuf>,
}

impl From<&WebEndpoint> for HttpServer {
    fn from(endpoint: &WebEndpoint) -> Self {
        let address = &endpoint.address;
        Self {
            scheme: address.scheme,
            host: address.host.clone(),
            port: address.port,
            authority: address.authority(),
            ca_file: endpoint.ca_file.clone(),
        }
    }
}

/// What is sent. It has no `Debug`: path and headers may be secret.
#[expect(missing_debug_implementations, reason = "path and headers may be secret")]
pub struct HttpMessage<'a> {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: &'a str,
    /// More headers than those that every request has.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What came back.
#[derive(Debug)]
pub struct HttpReply {
    /// The status code.
    pub status: u16,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
    /// The body, whole.
    pub body: Result<Bytes, HttpError>,
}

trait ByteTransport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteTransport for T {}

struct KeptConnection {
    requests: http1::SendRequest<Full<Bytes>>,
    /// Moves the bytes. It ends with the connection, and is aborted when this is dropped.
    _driver: JoinSet<()>,
}

/// The connection to one server.
#[expect(missing_debug_implementations, reason = "a connection has nothing to show")]
pub struct HttpConnection {
    server: HttpServer,
    answer_max: usize,
    open: Option<KeptConnection>,
}

impl HttpConnection {
    /// It connects with the first request. A body of more than `answer_max` bytes is [`HttpError::AnswerTooLong`].
    pub fn new(server: HttpServer, answer_max: usize) -> Self {
        Self {
            server,
            answer_max,
            open: None,
        }
    }

    /// Sends a message and waits for the answer, at most `limit` for all of it.
    ///
    /// A second message of a connection must be one that may be repeated: if the server closed the connection while it was idle,
    /// it is sent once more on a new one.
    ///
    /// Safe to cancel: the connection is dropped with the request. Then it is not known whether the server got it.
    pub async fn exchange(
        &mut self,
        message: &HttpMessage<'_>,
        limit: Duration,
    ) -> Result<HttpReply, HttpError> {
        let was_sent = AtomicBool::new(false);
        let exchanged = tokio::time::timeout(limit, self.exchange_unlimited(message, &was_sent)).await;
        exchanged.unwrap_or_else(|_| {
            Err(HttpError::TimedOut {
                host: self.server.authority.clone(),
                limit,
                was_sent: was_sent.load(Ordering::Relaxed),
            })
        })
    }

    async fn exchange_unlimited(
        &mut self,
        message: &HttpMessage<'_>,
        was_sent: &AtomicBool,
    ) -> Result<HttpReply, HttpError> {
        if let Some(open) = self.open.take() {
            was_sent.store(true, Ordering::Relaxed);
            match self.exchange_on(open, message).await {
                Err(HttpError::Broken { .. }) => {}
                result => return result,
            }
        }
        let open = self.connect().await?;
        was_sent.store(true, Ordering::Relaxed);
        self.exchange_on(open, message).await
    }

    async fn exchange_on(
        &mut self,
        mut open: KeptConnection,
        message: &HttpMessage<'_>,
    ) -> Result<HttpReply, HttpError> {
        let request = self.request(message)?;
        open.requests.ready().await.map_err(|error| self.broken(&error))?;
        let response = open.requests.send_request(request).await;
        let response = response.map_err(|error| self.broken(&error))?;
        let reply = self.reply(response).await;
        if reply.body.is_ok() {
            self.open = Some(open);
        }
        Ok(reply)
    }

    async fn reply(&self, response: Response<Incoming>) -> HttpReply {
        let (head, body) = response.into_parts();
        let seconds = head
            .headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        let seconds = seconds.and_then(|seconds| seconds.trim().parse().ok());
        let body = Limited::new(body, self.answer_max).collect().await;
        HttpReply {
            status: head.status.as_u16(),
            retry_after: seconds.map(Duration::from_secs),
            body: body.map(http_body_util::Collected::to_bytes).map_err(|error| {
                if error.is::<LengthLimitError>() {
                    let host = self.server.authority.clone();
                    return HttpError::AnswerTooLong { host };
                }
                self.broken(&*error)
            }),
        }
    }

    /// An error if the target has characters that no request can have.
    fn request(&self, message: &HttpMessage<'_>) -> Result<Request<Full<Bytes>>, HttpError> {
        let mut builder = Request::builder()
            .method(message.method.clone())
            .uri(message.target)
            .header(HOST, &self.server.authority)
            .header(USER_AGENT, concat!("logferry/", env!("CARGO_PKG_VERSION")));
        if let Some(headers) = builder.headers_mut() {
            headers.extend(message.headers.clone());
        }
        let request = builder.body(Full::new(message.body.clone()));
        request.map_err(|_| HttpError::Address {
            host: self.server.authority.clone(),
        })
    }

    /// Connects to the first address that answers. The name is looked up each time.
    async fn connect(&self) -> Result<KeptConnection, HttpError> {
        let HttpServer { host, port, .. } = &self.server;
        let found = logferry_connect::look_up(host, *port, CONNECT_DEADLINE).await;
        let found = found.map_err(|source| HttpError::Lookup {
            host: host.clone(),
            source,
        })?;
        let connected = logferry_connect::connect(&found, CONNECT_DEADLINE).await;
        let stream = connected.map_err(|source| HttpError::Connect {
            host: self.server.authority.clone(),
            source,
        })?;
        let stream: Box<dyn ByteTransport> = match self.server.scheme {
            Scheme::Http => Box::new(stream),
            Scheme::Https => {
                let secured = tls::connect(self.server.ca_file.clone(), host, stream).await;
                Box::new(secured.map_err(|reason| HttpError::Tls {
                    host: self.server.authority.clone(),
                    reason,
                })?)
            }
        };
        let mut builder = http1::Builder::new();
        let handshake = builder.max_buf_size(WRITE_BUFFER).handshake(TokioIo::new(stream));
        let (requests, driver) = handshake.await.map_err(|error| self.broken(&error))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // An open exchange gets the error itself.
            let _ = driver.await;
        });
        Ok(KeptConnection {
            requests,
            _driver: tasks,
        })
    }

    fn broken(&self, error: &dyn std::error::Error) -> HttpError {
        HttpError::Broken {
            host: self.server.authority.clone(),
            reason: error.to_string(),
        }
    }
}
