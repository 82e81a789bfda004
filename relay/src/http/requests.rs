//! The requests of senders: chunks, stream positions, heartbeats.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap, TRANSFER_ENCODING};
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use logferry_protocol::chunk::{ChunkHeader, ChunkOutcome, LineEnd};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::names::SourceId;
use logferry_protocol::resolve::{MAX_QUERIES, ResolveRequest, ResolveResponse};
use logferry_protocol::{
    CHUNKS_PATH, HEARTBEAT_PATH, LEDGER_HEADER, SOURCE_HEADER, STREAMS_PATH, UPLOAD_PATH,
};
use serde::Serialize;

use super::receive::{read_chunk_body, read_json};
use super::upload_request::handle_upload;
use super::{HttpContext, HttpResult, response, text_header};
use crate::auth::{PeerIdentity, TokenOwner, Tokens, authorize, bearer_token};
use crate::chunk::{ReceivedChunk, split_by_window};
use crate::commit::CommitJob;
use crate::health::without_control_characters;
use crate::http::error_response::ErrorResponse;
use crate::legacy_upload::UnconfirmedResponse;

#[derive(Debug)]
pub(super) struct ConnectedPeer {
    pub(super) address: IpAddr,
    /// The names in its certificate, if the port requires client certificates.
    pub(super) certificate: Option<Vec<SourceId>>,
    pub(super) unconfirmed: Arc<UnconfirmedResponse>,
}

pub(super) async fn handle_request(
    context: &HttpContext,
    peer: &ConnectedPeer,
    request: Request<Incoming>,
) -> HttpResult {
    check_framing(request.headers())?;
    let path = request.uri().path();
    if ![CHUNKS_PATH, STREAMS_PATH, HEARTBEAT_PATH, UPLOAD_PATH].contains(&path) {
        let reason = "there is nothing at this path";
        return Err(ErrorResponse::new(StatusCode::NOT_FOUND, reason));
    }
    if request.method() != Method::POST {
        return Err(ErrorResponse::new(StatusCode::METHOD_NOT_ALLOWED, "use POST"));
    }
    let tokens = context.credentials.tokens();
    let token = tokens
        .as_deref()
        .map(|tokens| token_owner(tokens, request.headers()))
        .transpose()?;
    let client = PeerIdentity {
        address: peer.address,
        certificate: peer.certificate.as_deref(),
        token,
    };
    if path == UPLOAD_PATH {
        return handle_upload(context, client, &peer.unconfirmed, request).await;
    }
    let header = |name| text_header(request.headers(), name);
    if let Some(expected) = header(LEDGER_HEADER)
        && expected != context.ledger.to_string()
    {
        let ledger = context.ledger;
        let reason = format!("this relay's ledger is {ledger}, not the one in {LEDGER_HEADER}");
        return Err(ErrorResponse::new(StatusCode::MISDIRECTED_REQUEST, reason));
    }
    let source = authorize(&context.group, client, header(SOURCE_HEADER))?;
    match path {
        CHUNKS_PATH => store_chunk(context, source, request).await,
        STREAMS_PATH => resolve_streams(context, source, request).await,
        _ => record_heartbeat(context, source, request).await,
    }
}

/// Checks that the end of the body is unambiguous (RFC 9112, section 6.1). Hyper does the rest: it refuses unknown
/// codings, and closes the connection after a request that has a length and `chunked`.
fn check_framing(headers: &HeaderMap) -> Result<(), ErrorResponse> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(ErrorResponse::bad_request(
            "chunked is the only transfer coding that this port accepts",
        )),
    }
}

fn token_owner<'a>(tokens: &'a Tokens, headers: &HeaderMap) -> Result<&'a TokenOwner, ErrorResponse> {
    let unauthorized = |reason: &str| ErrorResponse::new(StatusCode::UNAUTHORIZED, reason);
    let token = text_header(headers, AUTHORIZATION.as_str()).and_then(bearer_token);
    let token = token.ok_or_else(|| unauthorized("this port requires a token; set sender.token_file"))?;
    tokens
        .find(token)
        .ok_or_else(|| unauthorized("the token is not in the relay's tokens file"))
}

async fn store_chunk(context: &HttpContext, source: SourceId, request: Request<Incoming>) -> HttpResult {
    let header = ChunkHeader::from_pairs(|name| text_header(request.headers(), name))
        .map_err(|error| ErrorResponse::bad_request(error.to_string()))?;
    context.check_accepting()?;
    let body = read_chunk_body(context, request).await?;
    let clock = context.batch.clock(&header.log, Timestamp::now());
    let split = split_by_window(&body, clock, context.batch.window);
    check_body(&header, &body, split.lines())?;
    let chunk = ReceivedChunk {
        source,
        header,
        upload: None,
        body,
        split,
    };
    let receipt = context.store(chunk).await?;
    let status = match receipt.outcome {
        ChunkOutcome::Stored | ChunkOutcome::Duplicate => StatusCode::OK,
        ChunkOutcome::OffsetMismatch => StatusCode::CONFLICT,
    };
    Ok(json(status, &receipt))
}

/// Checks a body, which has so many `lines`, against its header.
pub(crate) fn check_body(header: &ChunkHeader, body: &[u8], lines: u64) -> Result<(), ErrorResponse> {
    let refused = |reason: &str| Err(ErrorResponse::bad_request(reason));
    if crc32c::crc32c(body) != header.crc32c {
        return refused("the body's CRC-32C differs from the one in ferry-crc32c");
    }
    let said = header.lines.sent;
    if lines != said {
        return refused(&format!("ferry-lines says {said} lines, the body has {lines}"));
    }
    let ends_whole = body.last().is_none_or(|&last| last == b'\n');
    if ends_whole == (header.line_end == LineEnd::Open) && !body.is_empty() {
        return refused("ferry-end does not match the end of the body's last line");
    }
    // A newline that the sender added is the only byte that is not in its file.
    let added = u64::from(header.line_end == LineEnd::Added);
    if u64::try_from(body.len()).unwrap_or(u64::MAX) > header.range.len().saturating_add(added) {
        return refused("the body is longer than ferry-range");
    }
    Ok(())
}

async fn resolve_streams(context: &HttpContext, source: SourceId, request: Request<Incoming>) -> HttpResult {
    let query: ResolveRequest = read_json(context, request.into_body()).await?;
    if query.files.len() > MAX_QUERIES {
        return Err(ErrorResponse::bad_request(format!(
            "at most {MAX_QUERIES} files in one request"
        )));
    }
    let candidates = context
        .submit(|reply| CommitJob::Resolve(source.clone(), query, reply))
        .await?
        .ok_or_else(|| ErrorResponse::wait("the relay cannot read its ledger now"))?;
    let response = ResolveResponse {
        source,
        max_chunk: u64::try_from(context.limits.max_chunk).unwrap_or(u64::MAX),
        ledger: Some(context.ledger),
        candidates,
    };
    Ok(json(StatusCode::OK, &response))
}

async fn record_heartbeat(context: &HttpContext, source: SourceId, request: Request<Incoming>) -> HttpResult {
    let heartbeat: Heartbeat = read_json(context, request.into_body()).await?;
    let heartbeat = without_control_characters(heartbeat);
    if !context
        .submit(|reply| CommitJob::Heartbeat(source, heartbeat, reply))
        .await?
    {
        return Err(ErrorResponse::wait("the relay cannot write to its ledger now"));
    }
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let text = serde_json::to_vec(value).expect("these types have string keys only");
    response(status, "application/json", text)
}
