//! Requests to the server of the settings: where it is, the login, and how long an answer may take.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use logferry_config::{OpenSearchLogin, OpenSearchSettings, Scheme};
use logferry_http_client::{HttpConnection, HttpMessage, HttpServer};

use crate::error::OpenSearchError;

/// Most bytes of an answer. One that has a long reason for each of many documents may be longer; then fewer are sent.
const ANSWER_MAX: usize = 32 << 20;

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct ServerAnswer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct ServerRequest {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
}

impl ServerRequest {
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

/// The kept connection to the server of the settings.
pub(crate) struct SearchConnection {
    settings: OpenSearchSettings,
    connection: HttpConnection,
}

impl SearchConnection {
    pub(crate) fn new(settings: OpenSearchSettings) -> Self {
        let url = &settings.url;
        let server = HttpServer {
            scheme: if url.is_https() {
                Scheme::Https
            } else {
                Scheme::Http
            },
            host: url.host().to_owned(),
            port: url.port(),
            authority: url.authority(),
            ca_file: settings.ca_file.clone(),
        };
        Self {
            connection: HttpConnection::new(server, ANSWER_MAX),
            settings,
        }
    }

    pub(crate) fn settings(&self) -> &OpenSearchSettings {
        &self.settings
    }

    /// One request and its answer. Every request of this crate may be repeated.
    ///
    /// Safe to cancel: the connection is dropped with the request.
    pub(crate) async fn exchange(
        &mut self,
        request: &ServerRequest,
    ) -> Result<ServerAnswer, OpenSearchError> {
        let mut headers = HeaderMap::new();
        if !request.body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(request.content_type));
        }
        if let Some(login) = login_header(&self.settings.login) {
            headers.insert(AUTHORIZATION, login);
        }
        let message = HttpMessage {
            method: request.method.clone(),
            target: &request.path,
            headers,
            body: request.body.clone(),
        };
        let limit = answer_deadline(request.body.len());
        let reply = self.connection.exchange(&message, limit).await?;
        Ok(ServerAnswer {
            status: reply.status,
            retry_after: reply.retry_after,
            body: reply.body?,
        })
    }
}

/// How long a request with a body of `bytes` may take: two minutes, since a server that is merging its index is slow, and the
/// time that a slow network needs.
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
