//! Requests to the relay over keep-alive HTTP/1.1 connections, one attempt each.
//!
//! `tail` and `backfill` decide what to send and when to repeat it. A request comes in, its result goes out as an event.
//! Chunks of one stream may be on different connections: the relay puts them in order. A failure moves on to the next
//! of the relay's addresses (`endpoints`). Compression, TLS and tokens may be changed here without looking elsewhere.

mod answerer;
mod compression;
mod connection;
mod endpoints;
mod probe;
mod relay_identity;
mod sender_identity;
mod tls;
mod token;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Request;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use logferry_config as config;
use logferry_protocol::chunk::{ChunkOutcome, Receipt};
use logferry_protocol::heartbeat::{Heartbeat, PART_BYTES};
use logferry_protocol::resolve::{LedgerId, ResolveRequest, ResolveResponse};
use logferry_protocol::sender::SenderId;
use logferry_protocol::stream::Offset;
use logferry_protocol::{
    CHUNKS_PATH, HEARTBEAT_PATH, LEDGER_HEADER, PLAIN_LENGTH_HEADER, SENDER_HEADER, SOURCE_HEADER,
    STREAMS_PATH,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::RequestError;
use crate::messages::{ConnectionId, OutgoingChunk, RelayLedger, RelayRequest, SenderEvent};
use crate::relay_client::compression::ChunkCompressor;
use crate::relay_client::connection::{ConnectedEndpoint, RelayConnection, RelayResponse};
use crate::relay_client::endpoints::{Endpoints, LedgerMatch};
pub use crate::relay_client::probe::{RelayFound, RelayProbeError, probe_relay};
use crate::relay_client::relay_identity::{RelayIdentity, RelayIdentityFile};
pub(crate) use crate::relay_client::sender_identity::ClientRole;
use crate::relay_client::sender_identity::SenderIdentity;

/// What is wrong with the TLS files of a sender, without a connection; `None` if they can be used, or are not.
pub fn credential_finding(config: &config::SenderSettings) -> Option<String> {
    let is_https = |address: &config::RelayAddress| address.scheme == config::Scheme::Https;
    config.relay.iter().find(|address| is_https(address))?;
    let error = tls::check_files(&config.tls).err()?;
    Some(logferry_text::error_chain(&error))
}

/// One question and one heartbeat: there is never a second question, and a late heartbeat is of no use.
const CONTROL_QUEUE: usize = 2;

/// A heartbeat that has waited for this time is not sent: it says how things were, and the next one has come.
const HEARTBEAT_WAIT_MAX: Duration = Duration::from_secs(10);

/// The settings of requests, and the address in use. All connections share it.
#[derive(Debug)]
pub(crate) struct RelayClient {
    config: config::SenderSettings,
    identity_file: RelayIdentityFile,
    sender: SenderIdentity,
    endpoints: Mutex<Endpoints>,
}

/// A request for the connection that carries no chunks.
#[derive(Debug)]
enum ControlRequest {
    Streams(ResolveRequest),
    Heartbeat {
        made: Instant,
        heartbeat: Box<Heartbeat>,
    },
}

impl ControlRequest {
    fn is_late(&self, now: Instant) -> bool {
        matches!(self, Self::Heartbeat { made, .. } if now >= *made + HEARTBEAT_WAIT_MAX)
    }
}

impl RelayClient {
    /// Reads from the state folder which relay lines were shipped to, and who the sender is.
    fn new(config: &config::SenderSettings, role: ClientRole) -> Self {
        let identity_file = RelayIdentityFile::new(&config.state_dir);
        let endpoints = Endpoints::new(config.relay.len(), identity_file.load());
        Self {
            config: config.clone(),
            identity_file,
            sender: SenderIdentity::load(&config.state_dir, role),
            endpoints: Mutex::new(endpoints),
        }
    }

    fn endpoints(&self) -> MutexGuard<'_, Endpoints> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn endpoint(&self) -> usize {
        self.endpoints().current
    }

    fn endpoint_failed(&self, endpoint: usize) {
        self.endpoints().failed(endpoint);
    }

    /// `endpoint` is a number from [`Self::endpoint`].
    fn address(&self, endpoint: usize) -> &config::RelayAddress {
        &self.config.relay[endpoint]
    }

    fn name(&self, endpoint: usize) -> String {
        self.address(endpoint).to_string()
    }

    /// A request that any relay answers.
    fn post(&self, path: &str) -> hyper::http::request::Builder {
        let mut request = Request::post(path);
        if let Some(name) = self.sender.name() {
            request = request.header(SENDER_HEADER, name.to_string());
        }
        match &self.config.source {
            config::SourceSetting::Auto => request,
            config::SourceSetting::Named(source) => request.header(SOURCE_HEADER, source.as_str()),
        }
    }

    /// A request that only the relay with the known ledger answers.
    fn post_to_known(&self, path: &str) -> hyper::http::request::Builder {
        let request = self.post(path);
        match &self.endpoints().identity {
            Some(identity) => request.header(LEDGER_HEADER, identity.ledger.to_string()),
            None => request,
        }
    }

    /// Verifies that the relay that has answered is the one that lines were shipped to, and saves its identity. Only then
    /// its answer may be used.
    async fn verify_ledger(
        self: &Arc<Self>,
        ledger: Option<LedgerId>,
        from: ConnectedEndpoint,
    ) -> Result<(), RequestError> {
        let (matched, known) = {
            let endpoints = self.endpoints();
            let matched = endpoints.match_ledger(ledger, from.address);
            (matched, endpoints.identity.clone())
        };
        let relay = self.name(from.endpoint);
        match (matched, known) {
            // It was saved, unless the state folder was not writable: then it is saved again.
            (LedgerMatch::Known, Some(known)) if !self.identity_file.is_saved() => {
                return self.save(known).await;
            }
            (LedgerMatch::Known, _) => return Ok(()),
            (LedgerMatch::Other, Some(known)) if ledger.is_none() || self.still_lists(&known).await => {
                self.endpoint_failed(from.endpoint);
                return Err(RequestError::WrongLedger {
                    relay,
                    known: known.endpoint,
                });
            }
            (LedgerMatch::Replaced | LedgerMatch::Other, Some(known)) => tracing::warn!(
                relay, known = %known.ledger, before = known.endpoint,
                "the relay has another ledger than before; that ledger decides which lines are shipped again"
            ),
            _ => {}
        }
        let Some(ledger) = ledger else { return Ok(()) };
        let identity = RelayIdentity {
            ledger,
            endpoint: relay,
            address: from.address,
        };
        self.endpoints().identity = Some(identity.clone());
        // Before the answer is used: no chunk is sent that could go to another relay after a restart.
        self.save(identity).await
    }

    /// The relay says that another process has the id `taken`.
    async fn renew_id(self: &Arc<Self>, taken: SenderId) {
        let relay = Arc::clone(self);
        // It fails only when the process ends.
        let _ = tokio::task::spawn_blocking(move || relay.sender.renew(taken)).await;
    }

    async fn save(self: &Arc<Self>, identity: RelayIdentity) -> Result<(), RequestError> {
        let relay = Arc::clone(self);
        let saved = tokio::task::spawn_blocking(move || relay.identity_file.save(&identity)).await;
        saved.map_err(|_| RequestError::Stopping)
    }

    /// Whether the ledger's address is still one of the relay's. If this cannot be found out, it is.
    async fn still_lists(&self, known: &RelayIdentity) -> bool {
        let mut addresses = self.config.relay.iter();
        let Some(address) = addresses.find(|address| address.to_string() == known.endpoint) else {
            return false;
        };
        let found = connection::look_up(address).await;
        found.map_or(true, |found| found.contains(&known.address))
    }

    fn invalid_response(&self, from: ConnectedEndpoint, reason: &impl ToString) -> RequestError {
        connection::invalid_response(&self.name(from.endpoint), reason)
    }
}

pub(crate) struct RelayConnections {
    chunks: Vec<mpsc::Sender<Box<OutgoingChunk>>>,
    control: mpsc::Sender<ControlRequest>,
}

/// Starts the tasks that send requests, one for each connection. They end once their channel is closed, or with `cut`.
pub(crate) fn start(
    config: &config::SenderSettings,
    role: ClientRole,
    events: &std::sync::mpsc::Sender<SenderEvent>,
    cut: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> RelayConnections {
    let relay = Arc::new(RelayClient::new(config, role));
    let chunks = (0..config.in_flight).map(|number| {
        // A connection gets a chunk only when it is idle.
        let (sender, receiver) = mpsc::channel(1);
        let (relay, events, cut) = (relay.clone(), events.clone(), cut.clone());
        tasks.spawn(serve_chunks(relay, ConnectionId(number), receiver, events, cut));
        sender
    });
    let chunks = chunks.collect();
    let (control, requests) = mpsc::channel(CONTROL_QUEUE);
    tasks.spawn(serve_control(relay, requests, events.clone(), cut.clone()));
    RelayConnections { chunks, control }
}

impl RelayConnections {
    /// Never waits for the relay: the thread that reads the logs sends, and only to idle connections.
    ///
    /// A full or closed channel loses nothing: a heartbeat is repeated, and channels are closed only in a stop.
    pub(crate) fn send(&self, request: RelayRequest) {
        match request {
            RelayRequest::Chunk {
                connection: ConnectionId(number),
                chunk,
            } => {
                if let Some(connection) = self.chunks.get(number) {
                    let _ = connection.blocking_send(chunk);
                }
            }
            RelayRequest::Streams(question) => {
                let _ = self.control.try_send(ControlRequest::Streams(question));
            }
            // The last place is the question's.
            RelayRequest::Heartbeat(heartbeat) if self.control.capacity() > 1 => {
                let made = Instant::now();
                let _ = self
                    .control
                    .try_send(ControlRequest::Heartbeat { made, heartbeat });
            }
            RelayRequest::Heartbeat(_) => {}
        }
    }
}

async fn serve_chunks(
    relay: Arc<RelayClient>,
    id: ConnectionId,
    mut chunks: mpsc::Receiver<Box<OutgoingChunk>>,
    events: std::sync::mpsc::Sender<SenderEvent>,
    cut: CancellationToken,
) {
    let mut connection = RelayConnection::new(relay.clone());
    let mut compressor = ChunkCompressor::new(relay.config.compression);
    while let Some(chunk) = connection.idle_until(chunks.recv()).await {
        let (seq, header, mut body) = (chunk.seq, chunk.header, chunk.body);
        let request = relay.post_to_known(CHUNKS_PATH);
        let mut request = request.header(CONTENT_TYPE, "application/octet-stream");
        for (name, value) in header.to_pairs() {
            request = request.header(name, value);
        }
        if let Some((compressed, encoding)) = compressor.compress(&body).await {
            request = request.header(CONTENT_ENCODING, encoding);
            request = request.header(PLAIN_LENGTH_HEADER, body.len());
            body = compressed;
        }
        let exchange = connection.exchange(request, body);
        let response = cut.run_until_cancelled(exchange).await;
        let response = response.unwrap_or(Err(RequestError::Stopping));
        let result = response.and_then(|response| receipt(&relay, response, header.range.end()));
        let event = SenderEvent::Chunk {
            connection: id,
            seq,
            result,
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

async fn serve_control(
    relay: Arc<RelayClient>,
    mut requests: mpsc::Receiver<ControlRequest>,
    events: std::sync::mpsc::Sender<SenderEvent>,
    cut: CancellationToken,
) {
    let mut connection = RelayConnection::new(relay.clone());
    while let Some(request) = connection.idle_until(requests.recv()).await {
        if request.is_late(Instant::now()) {
            continue;
        }
        let exchange = async {
            match request {
                ControlRequest::Streams(question) => {
                    let result = resolve(&relay, &mut connection, &question, &events).await;
                    SenderEvent::Streams(result)
                }
                ControlRequest::Heartbeat { heartbeat, .. } => {
                    let gaps = heartbeat.gaps.clone();
                    let sent = send_heartbeat(&relay, &mut connection, *heartbeat, &events).await;
                    match sent {
                        Ok(()) => SenderEvent::HeartbeatAcked(gaps),
                        Err(error) => {
                            tracing::debug!(
                                error = &error as &dyn std::error::Error,
                                "a heartbeat was not acknowledged; the next one repeats its losses"
                            );
                            SenderEvent::HeartbeatFailed(error)
                        }
                    }
                }
            }
        };
        let Some(event) = cut.run_until_cancelled(exchange).await else {
            return;
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

/// Asks which streams files are. The answer is used only if it is from the relay that lines are shipped to. If it came on a
/// new connection, that is told too: the relay may have been put back from a backup in between.
async fn resolve(
    relay: &Arc<RelayClient>,
    connection: &mut RelayConnection,
    question: &ResolveRequest,
    events: &std::sync::mpsc::Sender<SenderEvent>,
) -> Result<ResolveResponse, RequestError> {
    let is_new = connection.endpoint() != Some(relay.endpoint());
    let response = post_json(relay, connection, relay.post(STREAMS_PATH), question).await?;
    let answer: ResolveResponse = parse(relay, &response)?;
    let (asked, answered) = (question.files.len(), answer.candidates.len());
    if answered != asked {
        let reason = format!("it was asked for {asked} files and answered for {answered}");
        return Err(relay.invalid_response(response.from, &reason));
    }
    let verified = relay.verify_ledger(answer.ledger, response.from).await;
    if verified.is_err() {
        connection.close();
    } else if is_new {
        // It fails only when the sender stops.
        let _ = events.send(SenderEvent::Connected(RelayLedger::from(&answer)));
    }
    verified.map(|()| answer)
}

async fn send_heartbeat(
    relay: &Arc<RelayClient>,
    connection: &mut RelayConnection,
    heartbeat: Heartbeat,
    events: &std::sync::mpsc::Sender<SenderEvent>,
) -> Result<(), RequestError> {
    // A sender without new lines asks no other question. Without this one it would not notice that the relay at its
    // address was replaced.
    if connection.endpoint() != Some(relay.endpoint()) {
        resolve(relay, connection, &ResolveRequest { files: Vec::new() }, events).await?;
    }
    for part in heartbeat.into_parts(PART_BYTES) {
        let request = relay.post_to_known(HEARTBEAT_PATH);
        post_json(relay, connection, request, &part).await?;
    }
    Ok(())
}

async fn post_json(
    relay: &RelayClient,
    connection: &mut RelayConnection,
    request: hyper::http::request::Builder,
    body: &impl Serialize,
) -> Result<RelayResponse, RequestError> {
    let body = serde_json::to_vec(body).expect("protocol types are maps of strings and numbers");
    let request = request.header(CONTENT_TYPE, "application/json");
    let response = connection.exchange(request, Bytes::from(body)).await?;
    response.or_refused(relay, &[200, 204])
}

fn parse<T: DeserializeOwned>(relay: &RelayClient, response: &RelayResponse) -> Result<T, RequestError> {
    serde_json::from_slice(&response.body).map_err(|error| relay.invalid_response(response.from, &error))
}

fn receipt(relay: &RelayClient, response: RelayResponse, end: Offset) -> Result<Receipt, RequestError> {
    let response = response.or_refused(relay, &[200, 409])?;
    let receipt: Receipt = parse(relay, &response)?;
    let is_stored = matches!(receipt.outcome, ChunkOutcome::Stored | ChunkOutcome::Duplicate);
    if is_stored && receipt.committed < end {
        let reason = format!(
            "it acknowledged a chunk up to {end}, but its committed offset is {}",
            receipt.committed
        );
        return Err(relay.invalid_response(response.from, &reason));
    }
    Ok(receipt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_a_place_while_the_relay_answers_no_heartbeat() {
        let (control, mut waiting) = mpsc::channel(CONTROL_QUEUE);
        let chunks = Vec::new();
        let connections = RelayConnections { chunks, control };
        for _ in 0..3 {
            connections.send(RelayRequest::Heartbeat(Box::default()));
        }
        let question = ResolveRequest { files: Vec::new() };
        connections.send(RelayRequest::Streams(question));
        let first = waiting.try_recv().expect("a heartbeat");
        let now = Instant::now();
        assert!(matches!(first, ControlRequest::Heartbeat { .. }) && !first.is_late(now));
        assert!(first.is_late(now + HEARTBEAT_WAIT_MAX));
        let second = waiting.try_recv().expect("the question");
        assert!(matches!(second, ControlRequest::Streams(_)));
        assert!(!second.is_late(now + HEARTBEAT_WAIT_MAX));
    }
}
