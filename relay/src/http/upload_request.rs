//! `POST /upload`, the request of the legacy shippers.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, Response, StatusCode};
use logferry_ledger::UploadedBody;
use logferry_protocol::names::SourceId;
use logferry_protocol::stream::Hash16;

use super::receive::read_body;
use super::{HttpContext, HttpResult, PLAIN_TEXT, response};
use crate::auth::{AuthorizationError, PeerIdentity, authorize};
use crate::chunk::{Moment, split_by_window};
use crate::http::decode::BodyEncoding;
use crate::http::error_response::ErrorResponse;
use crate::legacy_upload::{UnconfirmedResponse, parse, upload_chunk, upload_log};

/// Stores the posted lines, and responds with their number.
pub(super) async fn handle_upload(
    context: &HttpContext,
    client: PeerIdentity<'_>,
    unconfirmed: &UnconfirmedResponse,
    request: Request<Incoming>,
) -> HttpResult {
    if !context.group.trust_source {
        // A client that may not send is refused before its body is read.
        authorize(&context.group, client, None)?;
    }
    context.check_accepting()?;
    let (encoding, limit) = (BodyEncoding::Plain, context.limits.max_chunk);
    let mut body = read_body(context, request.into_body(), encoding, None, limit, |_| {}).await?;
    let upload = parse(&body).map_err(|error| ErrorResponse::bad_request(error.to_string()))?;
    let source = upload_source(context, client, upload.host.as_deref())?;
    let log = upload_log();
    context.check_source(&source, &log)?;
    body.replace(&upload.lines);
    // Only the body counts in the group's memory, and the waits below may be long.
    drop(upload);
    let arrived = Moment::now();
    let clock = context.batch.clock(&log, arrived.wall);
    let split = split_by_window(&body, clock, context.batch.window);
    let lines = split.lines();
    if lines == 0 {
        return Ok(stored_response(0));
    }
    let body_id = UploadedBody {
        source,
        lines: Hash16::of(&body),
    };
    let pending = context.acks.claim(body_id.clone()).await;
    let pending = pending.ok_or_else(|| {
        ErrorResponse::wait(
            "an equal upload is not known to have its response; nothing was stored, send it again",
        )
    })?;
    let chunk = upload_chunk(&context.group.name, body_id, arrived, body, split);
    context.store(chunk).await?;
    unconfirmed.set(pending);
    Ok(stored_response(lines))
}

/// The source of the lines: the host in the body, if the group trusts it and knows the host; else the source that the
/// client's identity gives. A known host that contradicts the client's certificate or token is refused.
fn upload_source(
    context: &HttpContext,
    client: PeerIdentity<'_>,
    host: Option<&str>,
) -> Result<SourceId, ErrorResponse> {
    let group = &context.group;
    let is_known = |source: &SourceId| group.trust_source && group.sources.allows_name(source);
    match authorize(group, client, host) {
        Ok(source) => Ok(source),
        Err(error @ AuthorizationError::OtherSource { .. }) if error.source_id().is_some_and(is_known) => {
            Err(error.into())
        }
        Err(_) => Ok(authorize(group, client, None)?),
    }
}

fn stored_response(lines: u64) -> Response<Full<Bytes>> {
    let mut response = response(StatusCode::OK, PLAIN_TEXT, format!("OK - {lines} lines"));
    // The client closes the connection after it has read this response. That confirms the response.
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}
