//! One keep-alive connection to the relay, made when it is needed.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue, RETRY_AFTER};
use hyper_util::rt::TokioIo;
use logferry_config::{RelayAddress, Scheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use super::{answer_deadline, tls, token};
use crate::error::RequestError;
use crate::relay_client::RelayClient;

/// For the look-up of a name, and for each of its addresses.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Most bytes of an answer: streams that begin alike, for the most files that may be asked for.
const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// Most characters of a refusal that are repeated in our log.
const REASON_MAX: usize = 200;
/// So that a chunk's headers and body leave in few writes.
const WRITE_BUFFER: usize = 1024 * 1024;

/// A connection of TCP or of TLS.
trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

type ConnectionDriver = Pin<Box<http1::Connection<TokioIo<Box<dyn ByteStream>>, Full<Bytes>>>>;

/// A connection, open or not.
pub(super) struct RelayConnection {
    relay: RelayClient,
    open: Option<OpenConnection>,
}

/// An open connection. Nothing moves on it but while it is polled here: it has no task of its own.
struct OpenConnection {
    requests: http1::SendRequest<Full<Bytes>>,
    /// `None` once the connection has ended.
    driver: Option<ConnectionDriver>,
    place: ConnectedEndpoint,
    host: HeaderValue,
    token: Option<HeaderValue>,
}

/// Where a connection leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectedEndpoint {
    /// Which of the relay's configured addresses.
    pub(super) endpoint: usize,
    /// What that led to.
    pub(super) address: SocketAddr,
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct RelayResponse {
    status: u16,
    retry_after: Option<Duration>,
    /// Whether the relay closes the connection behind it.
    is_last: bool,
    pub(super) body: Bytes,
    pub(super) place: ConnectedEndpoint,
}

impl RelayConnection {
    pub(super) fn new(relay: RelayClient) -> Self {
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

    /// Where it leads, if it is open.
    pub(super) fn place(&self) -> Option<ConnectedEndpoint> {
        self.open.as_ref().map(|open| open.place)
    }

    /// Drops the connection: the next request makes a new one.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// One request and its answer. The connection stays open only if both went well. A endpoint that fails is left.
    ///
    /// Safe to cancel: the connection is dropped with the request, and the relay takes a chunk whole or not at all.
    pub(super) async fn exchange(
        &mut self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<RelayResponse, RequestError> {
        let endpoint = self.relay.endpoint();
        let open = self.open.take().filter(|open| open.place.endpoint == endpoint);
        let result = self.exchange_at(endpoint, open, request, body).await;
        match &result {
            Ok(answer) if matches!(answer.status, 421 | 503) => {
                self.relay.leave(endpoint);
                self.close();
            }
            // At 401 the token is read anew with the next connection.
            Ok(answer) if answer.is_last || answer.status == 401 => self.close(),
            Err(error) if error.concerns_endpoint() => self.relay.leave(endpoint),
            _ => {}
        }
        result
    }

    async fn exchange_at(
        &mut self,
        endpoint: usize,
        open: Option<OpenConnection>,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<RelayResponse, RequestError> {
        let deadline = answer_deadline(body.len());
        let mut open = match open {
            Some(open) => open,
            None => connect(&self.relay, endpoint).await?,
        };
        let relay = self.relay.name(endpoint);
        let request = request
            .body(Full::new(body))
            .map(|request| open.addressed(request));
        let request = request.map_err(|error| RequestError::InvalidResponse {
            relay: relay.clone(),
            reason: error.to_string(),
        })?;
        let exchange = open.exchange(request, &self.relay, &relay);
        let silent = |_| RequestError::Timeout {
            relay: relay.clone(),
            after: deadline,
        };
        let answer = tokio::time::timeout(deadline, exchange).await.map_err(silent)??;
        self.open = Some(open);
        Ok(answer)
    }
}

/// Connects to the first address of the endpoint's name that takes the connection; the name is looked up each time.
async fn connect(relay: &RelayClient, endpoint: usize) -> Result<OpenConnection, RequestError> {
    let target = relay.address(endpoint);
    let token = match &relay.settings.token_file {
        Some(path) => Some(token::read(path).await?),
        None => None,
    };
    let mut outcome = Err(RequestError::Lookup {
        host: target.host.clone(),
        source: io::ErrorKind::NotFound.into(),
    });
    for address in look_up(target).await? {
        let late = |_| RequestError::Connect {
            relay: target.to_string(),
            source: io::ErrorKind::TimedOut.into(),
        };
        let connect = tokio::time::timeout(CONNECT_DEADLINE, connect_to(relay, target, address));
        match connect.await.map_err(late).flatten() {
            Ok(stream) => {
                outcome = Ok((stream, address));
                break;
            }
            Err(error) => outcome = Err(error),
        }
    }
    let (stream, address) = outcome?;
    let broken = |source| RequestError::Broken {
        relay: target.to_string(),
        source,
    };
    let handshake = http1::Builder::new()
        .max_buf_size(WRITE_BUFFER)
        .handshake(TokioIo::new(stream));
    let (requests, driver) = handshake.await.map_err(broken)?;
    Ok(OpenConnection {
        requests,
        driver: Some(Box::pin(driver)),
        place: ConnectedEndpoint { endpoint, address },
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
    let failed = |source| RequestError::Connect {
        relay: name.clone(),
        source,
    };
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }
    .map_err(failed)?;
    if let Some(local) = relay.settings.local {
        let bind = |source| RequestError::Bind {
            address: local,
            source,
        };
        socket.bind(SocketAddr::new(local, 0)).map_err(bind)?;
    }
    let stream: TcpStream = socket.connect(address).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(match target.scheme {
        Scheme::Http => Box::new(stream),
        Scheme::Https => {
            let tls = &relay.settings.tls;
            Box::new(tls::connect(tls, &name, &target.host, stream).await?)
        }
    })
}

/// The addresses of a host, at least one.
pub(super) async fn look_up(target: &RelayAddress) -> Result<Vec<SocketAddr>, RequestError> {
    let failed = |source| RequestError::Lookup {
        host: target.host.clone(),
        source,
    };
    let found = tokio::time::timeout(CONNECT_DEADLINE, lookup_host((&*target.host, target.port))).await;
    let found: Vec<_> = found
        .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
        .map_err(failed)?
        .collect();
    if found.is_empty() {
        return Err(failed(io::ErrorKind::NotFound.into()));
    }
    Ok(found)
}

/// Moves a connection on until it ends, and then lets go of it: a driver that is kept keeps the last answer's body open,
/// and whoever reads that would wait for more.
///
/// Safe to cancel.
async fn drive(driver: &mut Option<ConnectionDriver>) {
    if let Some(running) = driver {
        // Why it ended the exchange hears, if there is one.
        let _ = running.await;
    }
    *driver = None;
}

impl OpenConnection {
    /// Completes a request with what depends on the connection.
    fn addressed(&self, mut request: hyper::Request<Full<Bytes>>) -> hyper::Request<Full<Bytes>> {
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        if let Some(token) = &self.token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        request
    }

    async fn exchange(
        &mut self,
        request: hyper::Request<Full<Bytes>>,
        settings: &RelayClient,
        relay: &str,
    ) -> Result<RelayResponse, RequestError> {
        let broken = |source: hyper::Error| {
            tls::refusal(&source, &settings.settings.tls, relay).unwrap_or(RequestError::Broken {
                relay: relay.to_owned(),
                source,
            })
        };
        let Self {
            requests,
            driver,
            place,
            ..
        } = self;
        let mut exchange = pin!(async {
            requests.ready().await.map_err(broken)?;
            let response = requests.send_request(request).await.map_err(broken)?;
            let (head, body) = response.into_parts();
            let retry_after = head
                .headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok());
            let is_last = head.headers.get(CONNECTION);
            let is_last = is_last.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
            let unreadable =
                |error: Box<dyn std::error::Error + Send + Sync>| RequestError::InvalidResponse {
                    relay: relay.to_owned(),
                    reason: error.to_string(),
                };
            let body = Limited::new(body, ANSWER_MAX)
                .collect()
                .await
                .map_err(unreadable)?
                .to_bytes();
            let retry_after = retry_after.map(Duration::from_secs);
            Ok(RelayResponse {
                status: head.status.as_u16(),
                retry_after,
                is_last,
                body,
                place: *place,
            })
        });
        // When the driver ends first, the exchange has its last answer, or its error, already.
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            () = drive(driver) => exchange.await,
        }
    }
}

impl RelayResponse {
    /// The answer if its status is one of `fine`, and the relay's reason otherwise.
    pub(super) fn or_refused(self, relay: &RelayClient, fine: &[u16]) -> Result<Self, RequestError> {
        if fine.contains(&self.status) {
            return Ok(self);
        }
        let text = String::from_utf8_lossy(&self.body);
        let line = text.lines().next().unwrap_or_default();
        let reason = line
            .chars()
            .filter(|c| !c.is_control())
            .take(REASON_MAX)
            .collect();
        let (status, retry_after) = (self.status, self.retry_after);
        Err(RequestError::Refused {
            relay: relay.name(self.place.endpoint),
            status,
            reason,
            retry_after,
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_answer_with_which_the_relay_hangs_up_is_heard_at_once() {
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
                // What is left unread would reset the connection.
                let _ = client.read_to_end(&mut Vec::new()).await;
            }
        });
        let dir = tempfile::tempdir().expect("a folder");
        let text = format!(
            "sender:\n  relay: http://{address}\n  state_dir: {}\n  logs: [{{path: /a.log}}]\n",
            dir.path().display()
        );
        let config = logferry_config::parse(&text, "c.yaml".as_ref(), &|_| None).expect("valid");
        let relay = RelayClient::new(&config.sender.expect("a sender"));
        let mut connection = RelayConnection::new(relay.clone());
        for _ in 0..20 {
            let exchange = connection.exchange(relay.post("/v1/streams"), Bytes::from_static(b"{}"));
            // Long before the deadline for an answer.
            let answer = tokio::time::timeout(answer_deadline(0) / 2, exchange).await;
            let answer = answer.expect("no wait").expect("an answer");
            assert_eq!((answer.status, &answer.body[..]), (400, &b"no\n"[..]));
        }
    }
}
