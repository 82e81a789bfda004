//! Reading request bodies: bounded in size, memory and time.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::Request;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use hyper::header::CONTENT_ENCODING;
use logferry_http_server::BodyTimeout;
use logferry_protocol::PLAIN_LENGTH_HEADER;
use serde::de::DeserializeOwned;

use super::{HttpContext, text_header};
use crate::chunk::RequestBody;
use crate::http::decode::{BodyDecoder, BodyEncoding, DecodeError};
use crate::http::error_response::ErrorResponse;

/// How long a request waits for memory before it gets a 503. Waiting requests are served in order, whereas a refused
/// sender starts over after a longer pause; so waiting is fair. Senders wait for a minute and more.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest resolve request or heartbeat in bytes.
const MAX_JSON: usize = 1 << 20;

pub(super) async fn read_json<T: DeserializeOwned>(
    context: &HttpContext,
    body: Incoming,
) -> Result<T, ErrorResponse> {
    let limit = MAX_JSON.min(context.limits.max_in_flight);
    let body = read_body(context, body, BodyEncoding::Plain, None, limit, |_| {}).await?;
    serde_json::from_slice(&body)
        .map_err(|error| ErrorResponse::bad_request(format!("the body is not valid for this path: {error}")))
}

/// Reads the body of a chunk. `so_far` is shown what has arrived, after each piece.
pub(super) async fn read_chunk_body(
    context: &HttpContext,
    request: Request<Incoming>,
    so_far: impl FnMut(&[u8]),
) -> Result<RequestBody, ErrorResponse> {
    let header = |name: &str| text_header(request.headers(), name);
    let encoding = BodyEncoding::from_header(header(CONTENT_ENCODING.as_str())).ok_or_else(|| {
        ErrorResponse::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the relay does not know this content-encoding; use zstd, gzip or none",
        )
    })?;
    let plain_len = match header(PLAIN_LENGTH_HEADER).filter(|_| encoding != BodyEncoding::Plain) {
        Some(text) => Some(text.parse::<u64>().map_err(|_| {
            ErrorResponse::bad_request(format!("header {PLAIN_LENGTH_HEADER} is not a number of bytes"))
        })?),
        None => None,
    };
    // A length above usize::MAX is above every limit.
    let plain_len = plain_len.map(|len| usize::try_from(len).unwrap_or(usize::MAX));
    let limit = context.limits.max_chunk;
    read_body(context, request.into_body(), encoding, plain_len, limit, so_far).await
}

/// Reads a body of at most `limit` bytes, before and after decoding, into the group's body memory. `plain_len` is the
/// announced length of a compressed body after decoding. `so_far` is shown what is decoded, after each piece.
pub(super) async fn read_body(
    context: &HttpContext,
    mut incoming: Incoming,
    encoding: BodyEncoding,
    plain_len: Option<usize>,
    limit: usize,
    mut so_far: impl FnMut(&[u8]),
) -> Result<RequestBody, ErrorResponse> {
    let too_large = || {
        ErrorResponse::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {limit} bytes, the limit for this request"),
        )
    };
    // Without a length the limit is reserved: memory is reserved before it is used.
    let announced = incoming
        .size_hint()
        .exact()
        .map_or(Ok(limit), usize::try_from)
        .map_err(|_| too_large())?;
    let len = match encoding {
        BodyEncoding::Plain => announced,
        BodyEncoding::Zstd | BodyEncoding::Gzip => plain_len.unwrap_or(limit),
    };
    if announced.max(len) > limit {
        return Err(too_large());
    }
    let wrong_length = || {
        ErrorResponse::bad_request(format!(
            "the decompressed body is not as long as {PLAIN_LENGTH_HEADER} says"
        ))
    };
    let decode_error = |error: DecodeError| match error {
        DecodeError::TooLong if len == limit || plain_len.is_none() => too_large(),
        DecodeError::TooLong => wrong_length(),
        DecodeError::Damaged(reason) => {
            ErrorResponse::bad_request(format!("the body cannot be decompressed: {reason}"))
        }
    };
    let reserve = context.bodies.reserve(len, encoding.memory(len));
    let body = tokio::time::timeout(MEMORY_TIMEOUT, reserve)
        .await
        .map_err(|_| ErrorResponse::wait("the group's body memory is full"))?;
    let mut decoder = BodyDecoder::new(encoding, body, len).map_err(decode_error)?;
    let mut received = 0;
    let mut timeout = BodyTimeout::new(context.timeouts.body, Instant::now());
    loop {
        let frame = tokio::time::timeout_at(timeout.deadline().into(), incoming.frame()).await;
        let frame = frame
            .map_err(|_| ErrorResponse::new(StatusCode::REQUEST_TIMEOUT, "the body arrives too slowly"))?;
        let Some(frame) = frame else { break };
        let frame =
            frame.map_err(|error| ErrorResponse::bad_request(format!("the body is incomplete: {error}")))?;
        if let Some(data) = frame.data_ref() {
            received += data.len();
            timeout.received(data.len(), Instant::now());
            if received > announced {
                return Err(too_large());
            }
            decoder.write(data).map_err(decode_error)?;
            so_far(decoder.decoded());
        }
    }
    let body = decoder.finish().map_err(decode_error)?.complete();
    if plain_len.is_some_and(|len| len != body.len()) {
        return Err(wrong_length());
    }
    Ok(body)
}
