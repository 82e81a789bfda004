//! One keep-alive connection to the relay, made when it is needed.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::RETRY_AFTER;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use super::{Relay, WireError, answer_deadline};

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Most bytes of an answer: streams that begin alike, for the most files that may be asked for.
const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// Most characters of a refusal that are repeated in our log.
const REASON_MAX: usize = 200;
/// So that a chunk's headers and body leave in few writes.
const WRITE_BUFFER: usize = 1024 * 1024;

type Driver = Pin<Box<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>>;

/// A connection, open or not.
pub(super) struct Connection {
    relay: Relay,
    open: Option<Open>,
}

/// An open connection. Nothing moves on it but while it is polled here: it has no task of its own.
struct Open {
    requests: http1::SendRequest<Full<Bytes>>,
    driver: Driver,
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

impl Connection {
    pub(super) fn new(relay: Relay) -> Self {
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
                _ = &mut open.driver => self.open = None,
            }
        }
        next.await
    }

    /// One request and its answer. The connection stays open only if both went well.
    ///
    /// Safe to cancel: the connection is dropped with the request, and the relay takes a chunk whole or not at all.
    pub(super) async fn exchange(
        &mut self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<Answer, WireError> {
        let relay = self.relay.address.to_string();
        let malformed = |reason: String| WireError::Answer {
            relay: relay.clone(),
            reason,
        };
        let deadline = answer_deadline(body.len());
        let request = request
            .body(Full::new(body))
            .map_err(|error| malformed(error.to_string()))?;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        let exchange = open.exchange(request, &relay);
        let silent = |_| WireError::Silent {
            relay: relay.clone(),
            after: deadline,
        };
        let answer = tokio::time::timeout(deadline, exchange).await.map_err(silent)??;
        self.open = Some(open);
        Ok(answer)
    }

    /// Connects to the first address of the relay's name that takes the connection; the name is looked up each time.
    async fn connect(&self) -> Result<Open, WireError> {
        let (host, port) = (self.relay.address.host.as_str(), self.relay.address.port);
        let connect = async {
            let lookup = |source| WireError::Lookup {
                host: host.to_owned(),
                source,
            };
            let addresses: Vec<SocketAddr> = lookup_host((host, port)).await.map_err(lookup)?.collect();
            let mut last = lookup(io::ErrorKind::NotFound.into());
            for address in addresses {
                match self.connect_to(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        let late = |_| WireError::Connect {
            relay: self.relay.address.to_string(),
            source: io::ErrorKind::TimedOut.into(),
        };
        let stream = tokio::time::timeout(CONNECT_DEADLINE, connect)
            .await
            .map_err(late)??;
        let broken = |source| WireError::Broken {
            relay: self.relay.address.to_string(),
            source,
        };
        let handshake = http1::Builder::new()
            .max_buf_size(WRITE_BUFFER)
            .handshake(TokioIo::new(stream));
        let (requests, driver) = handshake.await.map_err(broken)?;
        Ok(Open {
            requests,
            driver: Box::pin(driver),
        })
    }

    async fn connect_to(&self, address: SocketAddr) -> Result<TcpStream, WireError> {
        let failed = |source| WireError::Connect {
            relay: self.relay.address.to_string(),
            source,
        };
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }
        .map_err(failed)?;
        if let Some(local) = self.relay.local {
            let bind = |source| WireError::Bind {
                address: local,
                source,
            };
            socket.bind(SocketAddr::new(local, 0)).map_err(bind)?;
        }
        let stream = socket.connect(address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        Ok(stream)
    }
}

impl Open {
    async fn exchange(
        &mut self,
        request: hyper::Request<Full<Bytes>>,
        relay: &str,
    ) -> Result<Answer, WireError> {
        let broken = |source| WireError::Broken {
            relay: relay.to_owned(),
            source,
        };
        let Self { requests, driver } = self;
        let mut exchange = pin!(async {
            requests.ready().await.map_err(broken)?;
            let response = requests.send_request(request).await.map_err(broken)?;
            let (head, body) = response.into_parts();
            let retry_after = head
                .headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok());
            let unreadable = |error: Box<dyn std::error::Error + Send + Sync>| WireError::Answer {
                relay: relay.to_owned(),
                reason: error.to_string(),
            };
            let body = Limited::new(body, ANSWER_MAX)
                .collect()
                .await
                .map_err(unreadable)?
                .to_bytes();
            let retry_after = retry_after.map(Duration::from_secs);
            Ok(Answer {
                status: head.status.as_u16(),
                retry_after,
                body,
            })
        });
        // When the driver ends first, the exchange has its last answer, or its error, already.
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            _ = driver => exchange.await,
        }
    }
}

impl Answer {
    /// The answer if its status is one of `fine`, and the relay's reason otherwise.
    pub(super) fn or_refused(self, relay: &str, fine: &[u16]) -> Result<Self, WireError> {
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
        Err(WireError::Refused {
            relay: relay.to_owned(),
            status,
            reason,
            retry_after,
        })
    }
}
