//! Bodies on their way in: bounded in size, memory and time.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::Request;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use hyper::header::CONTENT_ENCODING;
use logferry_protocol::PLAIN_LENGTH_HEADER;
use serde::de::DeserializeOwned;

use super::{Context, text_header};
use crate::body::Body;
use crate::encoding::{DecodeError, Decoder, Encoding};
use crate::pace::Pace;
use crate::rejection::Rejection;

/// How long a request waits for memory before it is told to come again. Whoever waits is served in turn, and whoever
/// is sent away must start over with a longer pause: so waiting is the fair way. Senders wait for a minute and more.
const MEMORY_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of the largest resolve request or heartbeat.
const MAX_JSON: usize = 1 << 20;

pub(super) async fn read_json<T: DeserializeOwned>(
    context: &Context,
    body: Incoming,
) -> Result<T, Rejection> {
    let limit = MAX_JSON.min(context.limits.max_in_flight);
    let body = read_body(context, body, Encoding::Plain, None, limit).await?;
    serde_json::from_slice(&body)
        .map_err(|error| Rejection::bad_request(format!("the body is not what it should be: {error}")))
}

/// Reads a chunk's body, and decodes it.
pub(super) async fn read_chunk(context: &Context, request: Request<Incoming>) -> Result<Body, Rejection> {
    let header = |name: &str| text_header(request.headers(), name);
    let encoding = Encoding::named(header(CONTENT_ENCODING.as_str())).ok_or_else(|| {
        Rejection::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body's encoding is not known here; use zstd, gzip or none",
        )
    })?;
    let plain_len = match header(PLAIN_LENGTH_HEADER).filter(|_| encoding != Encoding::Plain) {
        Some(text) => Some(text.parse::<u64>().map_err(|_| {
            Rejection::bad_request(format!("header {PLAIN_LENGTH_HEADER}: it is no number of bytes"))
        })?),
        None => None,
    };
    // What does not fit is above every limit.
    let plain_len = plain_len.map(|len| usize::try_from(len).unwrap_or(usize::MAX));
    read_body(
        context,
        request.into_body(),
        encoding,
        plain_len,
        context.limits.max_chunk,
    )
    .await
}

/// Reads a body of at most `limit` bytes, as it comes and decoded, into the group's memory. `plain_len` is how long a
/// compressed one is said to become.
pub(super) async fn read_body(
    context: &Context,
    mut incoming: Incoming,
    encoding: Encoding,
    plain_len: Option<usize>,
    limit: usize,
) -> Result<Body, Rejection> {
    let too_large = || {
        Rejection::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("at most {limit} bytes are taken here"),
        )
    };
    // Without a length the largest body is reserved: memory is bounded by promise, not by hope.
    let announced = incoming
        .size_hint()
        .exact()
        .map_or(Ok(limit), usize::try_from)
        .map_err(|_| too_large())?;
    let len = match encoding {
        Encoding::Plain => announced,
        Encoding::Zstd | Encoding::Gzip => plain_len.unwrap_or(limit),
    };
    if announced.max(len) > limit {
        return Err(too_large());
    }
    let refused = |error: DecodeError| match error {
        DecodeError::TooLong if len == limit || plain_len.is_none() => too_large(),
        DecodeError::TooLong => wrong_length(),
        DecodeError::Damaged(reason) => {
            Rejection::bad_request(format!("the body cannot be decompressed: {reason}"))
        }
    };
    let reserve = context.memory.reserve(len, encoding.memory(len));
    let body = tokio::time::timeout(MEMORY_PATIENCE, reserve)
        .await
        .map_err(|_| Rejection::wait("the group's memory is full"))?;
    let mut decoder = Decoder::new(encoding, body, len).map_err(refused)?;
    let mut taken = 0;
    let mut pace = Pace::new(context.times.body, Instant::now());
    loop {
        let frame = tokio::time::timeout_at(pace.due().into(), incoming.frame()).await;
        let frame = frame.map_err(|_| too_slow())?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| Rejection::bad_request(format!("the body broke off: {error}")))?;
        if let Some(data) = frame.data_ref() {
            taken += data.len();
            pace.took(data.len(), Instant::now());
            if taken > announced {
                return Err(too_large());
            }
            decoder.write(data).map_err(refused)?;
        }
    }
    let body = decoder.finish().map_err(refused)?.complete();
    if plain_len.is_some_and(|said| said != body.len()) {
        return Err(wrong_length());
    }
    Ok(body)
}

fn too_slow() -> Rejection {
    Rejection::new(StatusCode::REQUEST_TIMEOUT, "the body comes too slowly")
}

fn wrong_length() -> Rejection {
    Rejection::bad_request(format!("the body is not as long as {PLAIN_LENGTH_HEADER} says"))
}
