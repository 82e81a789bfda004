//! One keep-alive connection to the server, opened when it is needed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use logferry_config::{OpenSearchLogin, OpenSearchSettings};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::error::OpenSearchError;
use crate::tls;

/// For the look-up of the name, for each of its addresses, and for TLS.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Most bytes of an answer. One that has a long reason for each of many documents may be longer; then fewer are sent.
const ANSWER_MAX: usize = 32 << 20;

/// Large, so that a request is sent in few writes.
const WRITE_BUFFER: usize = 1 << 20;

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct HttpRequest {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
}

impl HttpRequest {
    /// A request with a JSON body, which may be empty.
    pub(crate) fn json(method: Method, path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            method,
            path: path.into(),
            content_type: "application/json",
            body: body.into(),
        }
    }
}

trait ServerStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ServerStream for T {}

struct OpenHttp {
    requests: http1::SendRequest<Full<Bytes>>,
    /// Moves the bytes. It ends with the connection, and is aborted when this is dropped.
    _driver: JoinSet<()>,
}

/// The connection.
pub(crate) struct HttpConnection {
    settings: OpenSearchSettings,
    open: Option<OpenHttp>,
}

impl HttpConnection {
    pub(crate) fn new(settings: OpenSearchSettings) -> Self {
        Self { settings, open: None }
    }

    pub(crate) fn settings(&self) -> &OpenSearchSettings {
        &self.settings
    }

    /// One request and its answer. A connection that the server closed while it was idle is replaced once: every request of
    /// this crate may be repeated.
    ///
    /// Safe to cancel: the connection is dropped with the request.
    pub(crate) async fn exchange(&mut self, request: &HttpRequest) -> Result<HttpAnswer, OpenSearchError> {
        if let Some(open) = self.open.take() {
            match self.exchange_on(open, request).await {
                Err(OpenSearchError::Broken { .. }) => {}
                result => return result,
            }
        }
        let open = self.connect().await?;
        self.exchange_on(open, request).await
    }

    async fn exchange_on(
        &mut self,
        mut open: OpenHttp,
        request: &HttpRequest,
    ) -> Result<HttpAnswer, OpenSearchError> {
        let after = answer_deadline(request.body.len());
        let url = self.settings.url.to_string();
        let broken = |source| OpenSearchError::Broken {
            url: url.clone(),
            source,
        };
        let exchange = async {
            open.requests.ready().await.map_err(broken)?;
            let response = open.requests.send_request(self.built(request)?).await;
            let (head, body) = response.map_err(broken)?.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await;
            let body = body.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    return OpenSearchError::AnswerTooLong { url: url.clone() };
                }
                match error.downcast::<hyper::Error>() {
                    Ok(source) => broken(*source),
                    Err(error) => unexpected(&url, error.to_string()),
                }
            })?;
            let seconds = head
                .headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok());
            Ok(HttpAnswer {
                status: head.status.as_u16(),
                retry_after: seconds
                    .and_then(|seconds| seconds.parse().ok())
                    .map(Duration::from_secs),
                body: body.to_bytes(),
            })
        };
        let answer = timeout(after, exchange).await;
        let answer = answer.map_err(|_| OpenSearchError::Timeout {
            url: url.clone(),
            after,
        })??;
        self.open = Some(open);
        Ok(answer)
    }

    fn built(&self, request: &HttpRequest) -> Result<Request<Full<Bytes>>, OpenSearchError> {
        let mut built = Request::builder()
            .method(request.method.clone())
            .uri(&request.path)
            .header(HOST, self.settings.url.authority());
        if !request.body.is_empty() {
            built = built.header(CONTENT_TYPE, request.content_type);
        }
        if let Some(login) = login_header(&self.settings.login) {
            built = built.header(AUTHORIZATION, login);
        }
        built
            .body(Full::new(request.body.clone()))
            .map_err(|error| unexpected(&self.settings.url, error.to_string()))
    }

    /// Connects to the first address that answers. The name is looked up each time.
    async fn connect(&self) -> Result<OpenHttp, OpenSearchError> {
        let url = &self.settings.url;
        let addresses = logferry_connect::look_up(url.host(), url.port(), CONNECT_DEADLINE).await;
        let addresses = addresses.map_err(|source| OpenSearchError::Lookup {
            host: url.host().to_owned(),
            source,
        })?;
        let stream = logferry_connect::connect(&addresses, CONNECT_DEADLINE).await;
        let stream = stream.map_err(|source| OpenSearchError::Connect {
            url: url.to_string(),
            source,
        })?;
        let stream: Box<dyn ServerStream> = if url.is_https() {
            let tls = timeout(
                CONNECT_DEADLINE,
                tls::connect(url, self.settings.ca_file.as_deref(), stream),
            );
            let connected = tls.await.map_err(|_| OpenSearchError::Timeout {
                url: url.to_string(),
                after: CONNECT_DEADLINE,
            })?;
            Box::new(connected?)
        } else {
            Box::new(stream)
        };
        let mut builder = http1::Builder::new();
        let handshake = builder.max_buf_size(WRITE_BUFFER).handshake(TokioIo::new(stream));
        let (requests, driver) = handshake.await.map_err(|source| OpenSearchError::Broken {
            url: url.to_string(),
            source,
        })?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // An open exchange gets the error itself.
            let _ = driver.await;
        });
        Ok(OpenHttp {
            requests,
            _driver: tasks,
        })
    }
}

/// How long an answer to a body of `bytes` may take: two minutes, since a server that is merging its index is slow, and the time
/// that a slow network needs.
fn answer_deadline(bytes: usize) -> Duration {
    const BASE: Duration = Duration::from_mins(2);
    const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;
    BASE + Duration::from_secs(bytes as u64 / SLOWEST_BYTES_PER_SECOND)
}

fn login_header(login: &OpenSearchLogin) -> Option<HeaderValue> {
    let text = match login {
        OpenSearchLogin::None => return None,
        OpenSearchLogin::Basic { user, password } => {
            format!(
                "Basic {}",
                STANDARD.encode(format!("{user}:{}", password.expose()))
            )
        }
        OpenSearchLogin::ApiKey(key) => format!("ApiKey {}", key.expose()),
    };
    // The configuration has checked the characters.
    let mut header = HeaderValue::try_from(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

pub(crate) fn unexpected(url: &impl ToString, reason: impl Into<String>) -> OpenSearchError {
    OpenSearchError::Unexpected {
        url: url.to_string(),
        reason: reason.into(),
    }
}
