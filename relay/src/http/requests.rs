//! The requests of senders: chunks, stream positions, heartbeats.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap, TRANSFER_ENCODING};
use hyper::{Method, Request, Response, StatusCode};
use logferry_protocol::chunk::{ChunkHeader, ChunkOutcome, LineEnd};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::names::SourceId;
use logferry_protocol::resolve::{MAX_QUERIES, ResolveRequest, ResolveResponse};
use logferry_protocol::sender::{SenderId, SenderName, SenderRun};
use logferry_protocol::{
    CHUNKS_PATH, HEARTBEAT_PATH, LEDGER_HEADER, SENDER_HEADER, SOURCE_HEADER, STREAMS_PATH, UPLOAD_PATH,
};
use serde::Serialize;

use super::receive::{read_chunk_body, read_json};
use super::upload_request::handle_upload;
use super::{HttpContext, HttpResult, response, text_header};
use crate::auth::{PeerIdentity, TokenOwner, Tokens, authorize, bearer_token, is_by_address};
use crate::chunk::{BodyScan, Moment, ReceivedChunk};
use crate::commit::CommitJob;
use crate::health::without_control_characters;
use crate::http::error_response::ErrorResponse;
use crate::http::peer_slots::PeerSlot;
use crate::legacy_upload::UnconfirmedResponse;
use crate::senders::{Contact, ContactOutcome, RunConnection};

#[derive(Debug)]
pub(super) struct ConnectedPeer {
    pub(super) address: IpAddr,
    /// The names in its certificate, if the port requires client certificates.
    pub(super) certificate: Option<Vec<SourceId>>,
    pub(super) unconfirmed: Arc<UnconfirmedResponse>,
    /// The sender's process at the other end, once it has named itself.
    pub(super) run: Mutex<Option<RunConnection>>,
    /// Its place among the connections of its group.
    pub(super) slot: PeerSlot,
}

/// Whose a request is.
#[derive(Debug, Clone)]
struct Requester {
    source: SourceId,
    /// `None` for a sender that does not name itself.
    sender: Option<SenderId>,
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
    let header = |name| text_header(request.headers(), name);
    let claimed = header(SOURCE_HEADER);
    if authorize(&context.group, client, claimed).is_ok() {
        peer.slot.prove();
    }
    if path == UPLOAD_PATH {
        return handle_upload(context, client, &peer.unconfirmed, request).await;
    }
    if let Some(expected) = header(LEDGER_HEADER)
        && expected != context.ledger.id.to_string()
    {
        let ledger = context.ledger.id;
        let reason = format!("this relay's ledger is {ledger}, not the one in {LEDGER_HEADER}");
        return Err(ErrorResponse::new(StatusCode::MISDIRECTED_REQUEST, reason));
    }
    let mut requester = Requester {
        source: authorize(&context.group, client, claimed)?,
        sender: None,
    };
    if let Some(name) = header(SENDER_HEADER) {
        let by_address = is_by_address(&context.group, client, claimed);
        requester = identify_sender(context, peer, &requester.source, by_address, name)?;
        if path != HEARTBEAT_PATH {
            save_sender(context, &requester).await?;
        }
    }
    match path {
        CHUNKS_PATH => store_chunk(context, requester, request).await,
        STREAMS_PATH => resolve_streams(context, requester, request).await,
        _ => record_heartbeat(context, requester, request).await,
    }
}

/// The sender that a request names, and its source: `source`, or the one that it had at another address.
fn identify_sender(
    context: &HttpContext,
    peer: &ConnectedPeer,
    source: &SourceId,
    by_address: bool,
    name: &str,
) -> Result<Requester, ErrorResponse> {
    let malformed = |error| ErrorResponse::bad_request(format!("header {SENDER_HEADER}: {error}"));
    let name: SenderName = name.parse().map_err(malformed)?;
    if let Some(run) = name.run {
        peer.note_run(context, run);
    }
    let contact = Contact {
        name,
        group: &context.group.name,
        address: peer.address.to_canonical(),
        source,
        by_address,
    };
    let may_send = |source: &SourceId| context.group.sources.allows_name(source);
    match context.senders.contact(&contact, may_send) {
        ContactOutcome::Source(source) => Ok(Requester {
            source,
            sender: Some(name.id),
        }),
        ContactOutcome::Wait => Err(ErrorResponse::wait(
            "another process with this sender's id is connected; within 30 s it is known whether it lives",
        )),
        ContactOutcome::IdTaken => Err(ErrorResponse::id_taken()),
    }
}

/// Makes durable what the ledger does not know of a sender, before a line is stored under its source: after a crash it
/// must have the same source.
async fn save_sender(context: &HttpContext, requester: &Requester) -> Result<(), ErrorResponse> {
    let unsaved = |id| context.senders.unsaved(id, &context.group.name, false);
    let Some(record) = requester.sender.and_then(unsaved) else {
        return Ok(());
    };
    let saved = context
        .submit(|reply| CommitJob::NoteSender(Box::new(record.clone()), reply))
        .await?;
    if !saved {
        return Err(not_recorded());
    }
    context.senders.saved(&record);
    Ok(())
}

fn not_recorded() -> ErrorResponse {
    ErrorResponse::wait("the relay cannot write to its ledger now")
}

impl ConnectedPeer {
    /// A process lives as long as it is connected. A connection through a proxy may come from several.
    fn note_run(&self, context: &HttpContext, run: SenderRun) {
        let mut noted = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.as_ref().is_none_or(|noted| noted.run() != run) {
            *noted = Some(context.senders.connected(run));
        }
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

async fn store_chunk(context: &HttpContext, requester: Requester, request: Request<Incoming>) -> HttpResult {
    let header = ChunkHeader::from_pairs(|name| text_header(request.headers(), name))
        .map_err(|error| ErrorResponse::bad_request(error.to_string()))?;
    context.check_source(&requester.source, &header.log)?;
    context.check_accepting()?;
    let clock = context.batch.clock(&header.log, Moment::now().wall);
    let mut scan = BodyScan::new(clock, context.batch.window);
    let body = read_chunk_body(context, request, |so_far| scan.read(so_far)).await?;
    let arrived = Moment::now();
    let (split, crc32c) = scan.finish(&body);
    check_body(&header, &body, crc32c, split.lines())?;
    let chunk = ReceivedChunk {
        source: requester.source,
        sender: requester.sender,
        header,
        upload: None,
        arrived,
        body,
        split,
    };
    let mut receipt = context.store(chunk).await?;
    receipt.congested = context.bodies.is_congested();
    let status = match receipt.outcome {
        ChunkOutcome::Stored | ChunkOutcome::Duplicate => StatusCode::OK,
        ChunkOutcome::OffsetMismatch => StatusCode::CONFLICT,
    };
    Ok(json(status, &receipt))
}

/// Checks a body, which has so many `lines`, against its header.
pub(crate) fn check_body(
    header: &ChunkHeader,
    body: &[u8],
    crc32c: u32,
    lines: u64,
) -> Result<(), ErrorResponse> {
    let refused = |reason: &str| Err(ErrorResponse::bad_request(reason));
    if crc32c != header.crc32c {
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
    let bytes_max = header.range.len().saturating_add(added);
    if u64::try_from(body.len()).unwrap_or(u64::MAX) > bytes_max {
        return refused("the body is longer than ferry-range");
    }
    // Each line has its newline at least.
    if header.lines.read() > bytes_max {
        return refused("ferry-lines counts more lines than ferry-range has bytes");
    }
    Ok(())
}

async fn resolve_streams(
    context: &HttpContext,
    Requester { source, sender }: Requester,
    request: Request<Incoming>,
) -> HttpResult {
    let query: ResolveRequest = read_json(context, request.into_body()).await?;
    if query.files.len() > MAX_QUERIES {
        return Err(ErrorResponse::bad_request(format!(
            "at most {MAX_QUERIES} files in one request"
        )));
    }
    let found = context
        .submit(|reply| CommitJob::Resolve((source.clone(), sender), query, reply))
        .await?
        .ok_or_else(|| ErrorResponse::wait("the relay cannot read its ledger now"))?;
    let response = ResolveResponse {
        source,
        group: Some(context.group.name.clone()),
        max_chunk: u64::try_from(context.limits.max_chunk).unwrap_or(u64::MAX),
        ledger: Some(context.ledger.id),
        rebuilt: Some(context.ledger.is_rebuilt),
        restored: Some(context.ledger.restored),
        candidates: found.candidates,
        of_other_logs: found.of_other_logs,
    };
    Ok(json(StatusCode::OK, &response))
}

async fn record_heartbeat(
    context: &HttpContext,
    Requester { source, sender }: Requester,
    request: Request<Incoming>,
) -> HttpResult {
    let heartbeat: Heartbeat = read_json(context, request.into_body()).await?;
    let heartbeat = Box::new(without_control_characters(heartbeat));
    // Always, for the time of its contact.
    let record = sender.and_then(|id| context.senders.unsaved(id, &context.group.name, true));
    if record.is_some() {
        context.senders.log_together(&source);
    }
    let noted = record.clone().map(Box::new);
    let recorded = context
        .submit(|reply| CommitJob::Heartbeat((source, sender), heartbeat, noted, reply))
        .await?;
    if !recorded {
        return Err(not_recorded());
    }
    if let Some(record) = record {
        context.senders.saved(&record);
    }
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let text = serde_json::to_vec(value).expect("these types have string keys only");
    response(status, "application/json", text)
}
