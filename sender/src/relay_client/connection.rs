//! One keep-alive connection to the relay, opened when it is needed.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, DATE, HOST, HeaderValue, RETRY_AFTER, SERVER};
use hyper_util::rt::TokioIo;
use logferry_config::{ClientTls, RelayAddress, Scheme};
use logferry_connect::Failures;
use logferry_protocol::sender::SenderName;
use logferry_protocol::{ID_TAKEN_HEADER, SENDER_HEADER};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

use crate::error::RequestError;
use crate::relay_client::{RelayClient, tls, token};

/// For the look-up of a name, and for each of its addresses.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Most bytes of a response: it lists streams with equal heads, for the most files of one question.
const RESPONSE_MAX: usize = 16 * 1024 * 1024;
/// Most characters of a refusal in the log.
const REASON_MAX: usize = 200;
/// Large, so that a chunk's headers and body are sent in few writes.
const WRITE_BUFFER: usize = 1024 * 1024;

pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

type ConnectionDriver = Pin<Box<http1::Connection<TokioIo<Box<dyn ByteStream>>, Full<Bytes>>>>;

pub(super) struct RelayConnection {
    relay: Arc<RelayClient>,
    open: Option<OpenConnection>,
}

/// An open connection. It has no task of its own: bytes move only while it is polled here.
struct OpenConnection {
    requests: http1::SendRequest<Full<Bytes>>,
    /// `None` once the connection has ended.
    driver: Option<ConnectionDriver>,
    to: ConnectedEndpoint,
    host: HeaderValue,
    token: Option<HeaderValue>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectedEndpoint {
    /// The number of the configured address.
    pub(super) endpoint: usize,
    /// The network address that this led to.
    pub(super) address: SocketAddr,
}

#[derive(Debug)]
pub(super) struct RelayResponse {
    pub(super) status: u16,
    retry_after: Option<Duration>,
    /// Whether the relay closes the connection after it.
    is_last: bool,
    /// Whether another process has this sender's id.
    is_id_taken: bool,
    /// Whether the server names itself, which no relay does.
    pub(super) is_of_web_server: bool,
    pub(super) body: Bytes,
    pub(super) from: ConnectedEndpoint,
    /// What the server's clock said (RFC 9110, section 6.6.1).
    pub(super) date: Option<String>,
}

impl RelayConnection {
    pub(super) fn new(relay: Arc<RelayClient>) -> Self {
        Self { relay, open: None }
    }

    /// Waits for `next`, and notices meanwhile when the relay closes the connection.
    ///
    /// As safe to cancel as `next` is.
    pub(super) async fn idle_until<T>(&mut self, next: impl Future<Output = T>) -> T {
        let mut next = pin!(next);
        if let Some(open) = &mut self.open {
            tokio::select! {
                biased;
                next = &mut next => return next,
                () = drive(&mut open.driver) => self.open = None,
            }
        }
        next.await
    }

    /// The number of the address that the open connection is to.
    pub(super) fn endpoint(&self) -> Option<usize> {
        self.open.as_ref().map(|open| open.to.endpoint)
    }

    /// The next request opens a new connection.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// One request and its response. The connection stays open only if both went well. An endpoint that fails is left.
    ///
    /// Safe to cancel: the connection is dropped with the request, and the relay takes a chunk whole or not at all.
    pub(super) async fn exchange(
        &mut self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<RelayResponse, RequestError> {
        let endpoint = self.relay.endpoint();
        let sender = request
            .headers_ref()
            .and_then(|headers| headers.get(SENDER_HEADER));
        let sender = sender.and_then(|name| name.to_str().ok()?.parse::<SenderName>().ok());
        let result = self.exchange_at(endpoint, request, body).await;
        if let (
            Ok(RelayResponse {
                is_id_taken: true, ..
            }),
            Some(sender),
        ) = (&result, sender)
        {
            self.close();
            self.relay.renew_id(sender.id).await;
            return Err(RequestError::IdTaken);
        }
        match &result {
            Ok(response) if matches!(response.status, 421 | 500..=599) => {
                self.relay.endpoint_failed(endpoint);
                self.close();
            }
            // After 401 the next connection reads the token again.
            Ok(response) if response.is_last || response.status == 401 => self.close(),
            Err(error) if error.concerns_endpoint() => self.relay.endpoint_failed(endpoint),
            _ => {}
        }
        result
    }

    /// The same at one endpoint, whatever its result.
    pub(super) async fn exchange_at(
        &mut self,
        endpoint: usize,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<RelayResponse, RequestError> {
        let relay = self.relay.name(endpoint);
        let after = response_deadline(body.len());
        let mut open = match self.open.take().filter(|open| open.to.endpoint == endpoint) {
            Some(open) => open,
            None => connect(&self.relay, endpoint).await?,
        };
        let request = request.body(Full::new(body));
        let request = request.map_err(|error| invalid_response(&relay, &error))?;
        let exchange = open.exchange(request, &self.relay.config.tls, &relay);
        let response = tokio::time::timeout(after, exchange).await;
        let response = response.map_err(|_| RequestError::Timeout {
            relay: relay.clone(),
            after,
        })??;
        self.open = Some(open);
        Ok(response)
    }
}

/// How long a response to a body of `bytes` may take: a minute, and the time that a very slow network needs.
fn response_deadline(bytes: usize) -> Duration {
    const BASE: Duration = Duration::from_mins(1);
    const SLOWEST_BYTES_PER_SECOND: u64 = 8 * 1024;
    BASE + Duration::from_secs(bytes as u64 / SLOWEST_BYTES_PER_SECOND)
}

/// Connects to the first network address of the endpoint that answers. The host name is looked up each time.
async fn connect(relay: &Arc<RelayClient>, endpoint: usize) -> Result<OpenConnection, RequestError> {
    let target = relay.address(endpoint);
    let token = match &relay.config.token_file {
        Some(path) => Some(token::read(path).await?),
        None => None,
    };
    let addresses = look_up(target).await?;
    let attempt = |address| {
        let (relay, target) = (Arc::clone(relay), target.clone());
        async move {
            let timed_out = |_| RequestError::Connect(target.to_string(), io::ErrorKind::TimedOut.into());
            let connect = tokio::time::timeout(CONNECT_DEADLINE, connect_to(&relay, &target, address));
            connect.await.map_err(timed_out).flatten()
        }
    };
    let connected = logferry_connect::connect_by(&addresses, attempt).await;
    let (address, stream) = connected.map_err(|failures| worst(target, failures))?;
    let mut builder = http1::Builder::new();
    let handshake = builder.max_buf_size(WRITE_BUFFER).handshake(TokioIo::new(stream));
    let broken = |source| RequestError::Broken(target.to_string(), source);
    let (requests, driver) = handshake.await.map_err(broken)?;
    Ok(OpenConnection {
        requests,
        driver: Some(Box::pin(driver)),
        to: ConnectedEndpoint { endpoint, address },
        host: HeaderValue::try_from(target.authority())
            .expect("host names are letters, digits, dots and dashes"),
        token,
    })
}

async fn connect_to(
    relay: &RelayClient,
    target: &RelayAddress,
    address: SocketAddr,
) -> Result<Box<dyn ByteStream>, RequestError> {
    let name = target.to_string();
    let failed = |source| RequestError::Connect(name.clone(), source);
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(failed)?;
    if let Some(local) = relay.config.local_address {
        let bound = socket.bind(SocketAddr::new(local, 0));
        bound.map_err(|source| RequestError::Bind(local, source))?;
    }
    let stream: TcpStream = socket.connect(address).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(match target.scheme {
        Scheme::Http => Box::new(stream),
        Scheme::Https => {
            let tls = &relay.config.tls;
            Box::new(tls::connect(tls, &name, &target.host, stream).await?)
        }
    })
}

/// The error for an endpoint at whose addresses all attempts failed: one that somebody has to repair, or else all.
fn worst(target: &RelayAddress, failures: Failures<RequestError>) -> RequestError {
    let mut unreachable = Failures::new();
    for (address, error) in failures {
        match error {
            RequestError::Connect(_, source) => unreachable.push((address, source)),
            other => return other,
        }
    }
    RequestError::Connect(target.to_string(), logferry_connect::combined(unreachable))
}

/// The addresses of a host, at least one.
pub(super) async fn look_up(target: &RelayAddress) -> Result<Vec<SocketAddr>, RequestError> {
    let found = logferry_connect::look_up(&target.host, target.port, CONNECT_DEADLINE).await;
    found.map_err(|source| RequestError::Lookup(target.host.clone(), source))
}

pub(super) fn invalid_response(relay: &str, reason: &impl ToString) -> RequestError {
    RequestError::InvalidResponse {
        relay: relay.to_owned(),
        reason: reason.to_string(),
    }
}

/// Polls a connection until it ends, and then drops its driver. A driver that is kept would keep the last response's body
/// open, and reading that body would wait for more.
///
/// Safe to cancel.
async fn drive(driver: &mut Option<ConnectionDriver>) {
    if let Some(running) = driver {
        // An open exchange gets the error itself.
        let _ = running.await;
    }
    *driver = None;
}

impl OpenConnection {
    async fn exchange(
        &mut self,
        mut request: hyper::Request<Full<Bytes>>,
        tls: &ClientTls,
        relay: &str,
    ) -> Result<RelayResponse, RequestError> {
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.extend(self.token.clone().map(|token| (AUTHORIZATION, token)));
        let broken = |source: hyper::Error| {
            tls::refusal(&source, tls, relay).unwrap_or(RequestError::Broken(relay.to_owned(), source))
        };
        let (requests, driver, from) = (&mut self.requests, &mut self.driver, self.to);
        let mut exchange = pin!(async {
            requests.ready().await.map_err(broken)?;
            let response = requests.send_request(request).await.map_err(broken)?;
            let (head, body) = response.into_parts();
            let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
            let retry_after = header(RETRY_AFTER).and_then(|seconds| seconds.parse().ok());
            let date = header(DATE).map(ToOwned::to_owned);
            let is_last = header(CONNECTION).is_some_and(|value| value.eq_ignore_ascii_case("close"));
            let body = Limited::new(body, RESPONSE_MAX).collect().await;
            let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
                Ok(error) => broken(*error),
                Err(too_long) => invalid_response(relay, &too_long),
            })?;
            Ok(RelayResponse {
                status: head.status.as_u16(),
                retry_after: retry_after.map(Duration::from_secs),
                is_last,
                is_id_taken: head.headers.contains_key(ID_TAKEN_HEADER),
                is_of_web_server: head.headers.contains_key(SERVER),
                body: body.to_bytes(),
                from,
                date,
            })
        });
        // If the driver ends first, the exchange already has its response or its error.
        tokio::select! {
            biased;
            response = &mut exchange => response,
            () = drive(driver) => exchange.await,
        }
    }
}

impl RelayResponse {
    /// The response if its status is one of `expected`, and the relay's reason otherwise.
    pub(super) fn or_refused(self, relay: &RelayClient, expected: &[u16]) -> Result<Self, RequestError> {
        if expected.contains(&self.status) {
            return Ok(self);
        }
        let text = String::from_utf8_lossy(&self.body);
        let line = text.lines().next().unwrap_or_default();
        let printable = line.chars().filter(|c| !c.is_control());
        Err(RequestError::Refused {
            relay: relay.name(self.from.endpoint),
            status: self.status,
            reason: printable.take(REASON_MAX).collect(),
            retry_after: self.retry_after,
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::error::RequestErrorKind;
    use crate::relay_client::ClientRole;
    use crate::tail::scenarios::simulation::config;

    /// A client of the relay at this address, and its folder.
    fn client_of(address: SocketAddr) -> (tempfile::TempDir, Arc<RelayClient>) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut config = config(4096, 100, 2048);
        config.relay = vec![format!("http://{address}").parse().expect("an address")];
        config.state_dir = dir.path().into();
        let relay = RelayClient::new(&config, ClientRole::Sender);
        (dir, Arc::new(relay))
    }

    #[tokio::test]
    async fn a_connection_that_breaks_in_an_answer_is_tried_again_and_so_is_a_proxy_without_its_relay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let answers = [
            "200 OK\r\ncontent-length: 9\r\n\r\n{",
            "502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
        ];
        tokio::spawn(async move {
            for answer in answers {
                let (mut client, _) = listener.accept().await.expect("a client");
                client.read_u8().await.expect("a request");
                let answer = format!("HTTP/1.1 {answer}");
                client.write_all(answer.as_bytes()).await.expect("a client");
                client.shutdown().await.expect("a client");
                let _ = client.read_to_end(&mut Vec::new()).await;
            }
        });
        let (_dir, relay) = client_of(address);
        let mut connection = RelayConnection::new(relay.clone());
        for _ in answers {
            let answer = connection
                .exchange(relay.post("/v1/streams"), Bytes::from_static(b"{}"))
                .await;
            let answer = answer.and_then(|answer| answer.or_refused(&relay, &[200]));
            let error = answer.expect_err("no answer");
            assert_eq!(error.kind(), RequestErrorKind::Unreachable, "{error}");
            assert!(error.concerns_all() && error.concerns_endpoint(), "{error}");
        }
    }

    #[tokio::test]
    async fn a_response_after_which_the_relay_closes_is_received_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.expect("a client");
                client.read_u8().await.expect("a request");
                let answer =
                    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 3\r\n\r\nno\n";
                client.write_all(answer).await.expect("a client");
                client.shutdown().await.expect("a client");
                // Unread bytes would reset the connection.
                let _ = client.read_to_end(&mut Vec::new()).await;
            }
        });
        let (_dir, relay) = client_of(address);
        let mut connection = RelayConnection::new(relay.clone());
        for _ in 0..20 {
            let exchange = connection.exchange(relay.post("/v1/streams"), Bytes::from_static(b"{}"));
            // Long before the deadline for an answer.
            let answer = tokio::time::timeout(response_deadline(0) / 2, exchange).await;
            let answer = answer.expect("no wait").expect("an answer");
            assert_eq!((answer.status, &answer.body[..]), (400, &b"no\n"[..]));
        }
    }
}
