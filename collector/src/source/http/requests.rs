//! One request: who asks, what is in it, and the answer once it is durable.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_http_server::LastResponse;
use serde::{Deserialize, Serialize};

use crate::capture::{Appended, RequestKey, RequestReceipt};
use crate::line_record::fit;
use crate::record::Record;
use crate::source::SourceContext;
use crate::source::http::body::{BodyCoding, BodyMemory};
use crate::source::http::claims::{Claims, PendingAnswer, UnconfirmedAnswer};
use crate::source::http::keys::ClientKeys;
use crate::source::http::parse::{BodyOrigin, PostPath, records};
use crate::source::http::rate_limit::RateLimit;
use crate::source::http::rejection::Rejection;

/// Longest key that a client may give a request.
const IDEMPOTENCY_KEY_MAX: usize = 255;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const API_KEY: &str = "x-api-key";

/// What all requests of a source share.
#[derive(Debug)]
pub(super) struct PostContext {
    pub(super) source: SourceContext,
    pub(super) keys: Option<ClientKeys>,
    pub(super) max_body: usize,
    pub(super) rate: Option<Mutex<RateLimit>>,
    pub(super) claims: Claims,
    pub(super) memory: BodyMemory,
    pub(super) zone: TimeZone,
}

/// The other end of a connection.
#[derive(Debug)]
pub(super) struct ConnectedClient {
    pub(super) address: IpAddr,
    pub(super) unconfirmed: Arc<UnconfirmedAnswer>,
}

/// What is answered to a request, and kept to be answered again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredAnswer {
    /// Records.
    n: usize,
    /// The id of the only record of `/log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// What was posted, if the client's key says which request it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<RequestKey>,
}

impl PostContext {
    pub(super) async fn respond(
        &self,
        client: &ConnectedClient,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        // Its last answer has arrived: the client sends another request on the same connection.
        client.unconfirmed.confirm();
        match self.handle(client, request).await {
            Ok(response) => response,
            Err(rejection) => {
                tracing::debug!(
                    source = %self.source.name, client = %client.address, status = rejection.status.as_u16(),
                    reason = rejection.reason, "a request was refused"
                );
                let is_unauthorized = rejection.status == StatusCode::UNAUTHORIZED;
                let mut response = rejection.into_response();
                if is_unauthorized {
                    let scheme = HeaderValue::from_static("Bearer");
                    response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
                }
                response
            }
        }
    }

    async fn handle(
        &self,
        client: &ConnectedClient,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Rejection> {
        let path = PostPath::of(request.uri().path()).ok_or_else(|| {
            Rejection::new(
                StatusCode::NOT_FOUND,
                "there is nothing at this path; post to /log, /api/logs or /lines",
            )
        })?;
        if request.method() != Method::POST {
            let mut response = Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "use POST").into_response();
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("POST"));
            return Ok(response);
        }
        self.check_rate(client.address)?;
        let owner = self.key_owner(request.headers())?;
        let (parts, body) = request.into_parts();
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let coding = BodyCoding::of(header(CONTENT_ENCODING.as_str())).ok_or_else(|| {
            Rejection::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "this Content-Encoding is not known; use gzip, zstd or none",
            )
        })?;
        let mut body = self.memory.read(body, coding, self.max_body).await?;
        let held = self.memory.hold_records(&body).await?;
        let address = client.address.to_canonical().to_string();
        let origin = BodyOrigin {
            arrival: Timestamp::now(),
            zone: &self.zone,
            source: owner.as_deref().unwrap_or(&address),
            is_json: header(CONTENT_TYPE.as_str()).is_some_and(is_json),
        };
        let mut records =
            records(path, &body.bytes, &origin).map_err(|error| Rejection::bad_request(error.to_string()))?;
        let (mut cut, limit) = (0, self.source.max_record);
        for record in &mut records {
            cut += u64::from(fit(record, 0, limit));
        }
        self.source.status.count_cut(cut);
        let contents = RequestKey::of(&[path.as_str().as_bytes(), &body.bytes]);
        let sent = RequestKey::of(&[path.as_str().as_bytes(), address.as_bytes(), &body.bytes]);
        let given = parts.headers.get(IDEMPOTENCY_KEY);
        let given = given
            .map(|given| given_key(path, owner.as_deref(), given))
            .transpose()?;
        // Its records take its place in memory, until they are stored.
        body.bytes = Vec::new();
        let given = given.map(|given| (given, contents));
        let answered = self
            .store(path, records, (sent, given), origin.arrival, client)
            .await;
        drop((body, held));
        answered
    }

    /// Appends the records unless they were before, and answers. `sent`: by what was posted and from where; `given`: by the
    /// client's own key, with what was posted.
    async fn store(
        &self,
        path: PostPath,
        records: Vec<Record>,
        (sent, given): (RequestKey, Option<(RequestKey, RequestKey)>),
        now: Timestamp,
        client: &ConnectedClient,
    ) -> Result<Response<Full<Bytes>>, Rejection> {
        let answer = StoredAnswer {
            n: records.len(),
            id: match records.first() {
                Some(record) if path == PostPath::Log => record.id.as_str().map(str::to_owned),
                _ => None,
            },
            body: given.map(|(_, contents)| contents),
        };
        if records.is_empty() {
            return Ok(response(path, &answer));
        }
        let key = given.map_or(sent, |(given, _)| given);
        let pending: Option<PendingAnswer> = self.claims.claim(key).await;
        let pending = pending.ok_or_else(|| {
            Rejection::wait(
                Duration::from_secs(1),
                "an equal request is not finished, or not known to have its answer; nothing was stored, send it again",
            )
        })?;
        let receipt = RequestReceipt {
            key,
            at: now.as_second(),
            answer: serde_json::to_string(&answer).unwrap_or_default(),
            lasting: given.is_some(),
        };
        let appended = self
            .source
            .capture
            .append_once(&records, None, Some(receipt))
            .await?;
        let answer = match appended {
            Appended::Stored => answer,
            Appended::Before(before) => {
                let before: StoredAnswer = serde_json::from_str(&before).unwrap_or(answer);
                if before
                    .body
                    .is_some_and(|body| given.is_some_and(|(_, contents)| body != contents))
                {
                    return Err(Rejection::bad_request(
                        "this Idempotency-Key came before with another body; give each request a key of its own",
                    ));
                }
                before
            }
        };
        // By its own key a repeat is known whether or not the answer arrives: such a request need not wait for that.
        if given.is_none() {
            client.unconfirmed.set(pending);
        }
        Ok(response(path, &answer))
    }

    fn check_rate(&self, client: IpAddr) -> Result<(), Rejection> {
        let Some(rate) = &self.rate else { return Ok(()) };
        let taken = rate
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(client.to_canonical(), Instant::now());
        taken.map_err(|wait| Rejection {
            status: StatusCode::TOO_MANY_REQUESTS,
            reason: "too many requests a second from this address (rate)".to_owned(),
            retry_after: Some(wait),
        })
    }

    /// Whose key the request has; nothing if none is needed, or it has no name.
    fn key_owner(&self, headers: &HeaderMap) -> Result<Option<String>, Rejection> {
        let Some(keys) = &self.keys else { return Ok(None) };
        let refuse = |reason: &str| Rejection::new(StatusCode::UNAUTHORIZED, reason);
        let bearer = headers
            .get(AUTHORIZATION)
            .and_then(|value| bearer(value.as_bytes()));
        let given = headers.get(API_KEY).map(HeaderValue::as_bytes).or(bearer);
        let given = given.ok_or_else(|| {
            refuse("a key is needed; send it as `X-API-Key: KEY` or `Authorization: Bearer KEY`")
        })?;
        keys.owner(given)
            .ok_or_else(|| refuse("the key is not in the collector's keys_file"))
    }
}

/// The key that a client gave its request, for requests of this key's owner.
fn given_key(path: PostPath, owner: Option<&str>, given: &HeaderValue) -> Result<RequestKey, Rejection> {
    let given = given.as_bytes();
    if given.is_empty() || given.len() > IDEMPOTENCY_KEY_MAX {
        return Err(Rejection::bad_request(format!(
            "an Idempotency-Key has 1 to {IDEMPOTENCY_KEY_MAX} characters"
        )));
    }
    let owner = owner.unwrap_or_default();
    Ok(RequestKey::of(&[
        IDEMPOTENCY_KEY.as_bytes(),
        path.as_str().as_bytes(),
        owner.as_bytes(),
        given,
    ]))
}

fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = header.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| key.trim_ascii())
}

/// Whether a `Content-Type` says JSON, a value or one a line: `application/json`, `application/x-ndjson`, `application/jsonl`.
fn is_json(content_type: &str) -> bool {
    let kind = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind.contains("json")
}

fn answer_text(path: PostPath, answer: &StoredAnswer) -> String {
    let body = match (path, &answer.id) {
        (PostPath::Log, Some(id)) => serde_json::json!({"status": "logged", "id": id}),
        _ => serde_json::json!({"status": "success", "stored": answer.n}),
    };
    body.to_string()
}

fn response(path: PostPath, answer: &StoredAnswer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(answer_text(path, answer)));
    *response.status_mut() = StatusCode::CREATED;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_is_read_in_any_case_and_nothing_else_is() {
        assert_eq!(bearer(b"Bearer key"), Some(&b"key"[..]));
        assert_eq!(bearer(b"bearer  key "), Some(&b"key"[..]));
        assert_eq!(bearer(b"Basic a2V5"), None);
        assert_eq!(bearer(b"Bear"), None);
    }

    #[test]
    fn types_of_json_are_known() {
        for json in [
            "application/json",
            "application/x-ndjson; charset=utf-8",
            "APPLICATION/JSONL",
        ] {
            assert!(is_json(json), "{json}");
        }
        assert!(!is_json("text/plain") && !is_json("application/x-www-form-urlencoded"));
    }

    #[test]
    fn answers_are_those_of_the_contract() {
        let answer = StoredAnswer {
            n: 2,
            id: Some("u".into()),
            body: None,
        };
        let text = |path| answer_text(path, &answer);
        let read = |path| serde_json::from_str::<serde_json::Value>(&text(path)).expect("JSON");
        assert_eq!(
            read(PostPath::Log),
            serde_json::json!({"status": "logged", "id": "u"})
        );
        assert_eq!(
            read(PostPath::Lines),
            serde_json::json!({"status": "success", "stored": 2})
        );
    }
}
