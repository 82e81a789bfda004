//! One request to an address of the configuration, on a connection of its own.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use logferry_config::{WebAddress, WebEndpoint};

use crate::connection::{HttpConnection, HttpMessage};
use crate::error::HttpError;

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

/// Sends a request on a connection of its own, and waits for its answer.
///
/// Not cancel safe: the server may have got the request.
pub async fn send(request: &HttpRequest<'_>, limit: Duration) -> Result<HttpAnswer, HttpError> {
    let address = &request.endpoint.address;
    let mut headers = HeaderMap::new();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if request.method == HttpMethod::PostJson {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(key) = request.key {
        let key = HeaderValue::from_str(key).map_err(|_| HttpError::Address {
            host: address.authority(),
        })?;
        headers.insert(HeaderName::from_static("idempotency-key"), key);
    }
    let message = HttpMessage {
        method: match request.method {
            HttpMethod::Get => Method::GET,
            HttpMethod::PostJson => Method::POST,
            HttpMethod::Options => Method::OPTIONS,
        },
        target: address.target.expose(),
        headers,
        body: request.body.clone(),
    };
    let mut connection = HttpConnection::new(request.endpoint.into(), ANSWER_MAX);
    let reply = connection.exchange(&message, limit).await;
    let reply = reply.map_err(|error| match error {
        HttpError::Broken { host, reason } => HttpError::Broken {
            host,
            reason: without_secret(&reason, address),
        },
        other => other,
    })?;
    // The status says it all: an answer that is too long or breaks off has no text.
    let body = reply.body.unwrap_or_default();
    Ok(HttpAnswer {
        status: reply.status,
        retry_after: reply.retry_after,
        text: one_line(&without_secret(&String::from_utf8_lossy(&body), address)),
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
