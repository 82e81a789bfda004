//! The wire: requests to the relay over keep-alive HTTP/1.1 connections, one attempt each.
//!
//! When to try again, and with what, is the tail's to decide; here a job comes in and its result goes out.
//! Several chunks of one stream may be on different connections: the relay puts them in order.
//! Which of the relay's addresses to use is decided in `endpoints`; a failure moves on to the next.

mod compression;
mod connection;
mod endpoints;
mod relay_identity;
mod tls;
mod token;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use logferry_config as config;
use logferry_protocol::chunk::{ChunkOutcome, Receipt};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::resolve::{LedgerId, ResolveRequest, ResolveResponse};
use logferry_protocol::{
    CHUNKS_PATH, HEARTBEAT_PATH, LEDGER_HEADER, PLAIN_LENGTH_HEADER, SOURCE_HEADER, STREAMS_PATH,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::RequestError;
use crate::messages::{ConnectionId, OutgoingChunk, RelayRequest, SenderEvent};
use crate::relay_client::compression::ChunkCompressor;
use crate::relay_client::connection::{ConnectedEndpoint, RelayConnection, RelayResponse};
use crate::relay_client::endpoints::{Endpoints, LedgerMatch, RelayIdentity};
use crate::relay_client::relay_identity::RelayIdentityFile;

/// A question and a heartbeat; there is never more than one of the first, and a late heartbeat is no use.
const CONTROL_QUEUE: usize = 2;

/// Where to send, how, and as whom. Clones share which address is in use.
#[derive(Debug, Clone)]
pub(crate) struct RelayClient {
    settings: Arc<ClientSettings>,
    endpoints: Arc<Mutex<Endpoints>>,
}

#[derive(Debug)]
struct ClientSettings {
    addresses: Vec<config::RelayAddress>,
    source: config::SourceSetting,
    local: Option<IpAddr>,
    compression: config::ChunkCompression,
    token_file: Option<PathBuf>,
    tls: config::ClientTls,
    home: RelayIdentityFile,
}

/// What one connection brings back, and where to.
#[derive(Debug, Clone)]
pub(crate) struct EventOutlet {
    pub(crate) events: std::sync::mpsc::Sender<SenderEvent>,
    /// Cancelled once nobody waits for an answer any more.
    pub(crate) cut: CancellationToken,
}

/// What goes over the connection for questions and heartbeats.
#[derive(Debug)]
pub(crate) enum ControlRequest {
    Streams(ResolveRequest),
    Heartbeat(Heartbeat),
}

impl RelayClient {
    /// The relay of a sender's configuration. Reads from the state folder which ledger lines were shipped to.
    pub(crate) fn new(config: &config::SenderSettings) -> Self {
        let home = RelayIdentityFile::new(&config.state_dir);
        let endpoints = Endpoints::new(config.relay.len(), home.load());
        let settings = ClientSettings {
            addresses: config.relay.clone(),
            source: config.source.clone(),
            local: config.local_address,
            compression: config.compression,
            token_file: config.token_file.clone(),
            tls: config.tls.clone(),
            home,
        };
        Self {
            settings: Arc::new(settings),
            endpoints: Arc::new(Mutex::new(endpoints)),
        }
    }

    fn endpoints(&self) -> MutexGuard<'_, Endpoints> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address to use now, by its number.
    fn endpoint(&self) -> usize {
        self.endpoints().current()
    }

    fn leave(&self, endpoint: usize) {
        self.endpoints().failed(endpoint);
    }

    /// `endpoint` came from [`Self::endpoint`], which numbers the addresses.
    fn address(&self, endpoint: usize) -> &config::RelayAddress {
        &self.settings.addresses[endpoint]
    }

    fn name(&self, endpoint: usize) -> String {
        self.address(endpoint).to_string()
    }

    /// A request that any relay answers.
    fn post(&self, path: &str) -> hyper::http::request::Builder {
        let request = Request::post(path);
        match &self.settings.source {
            config::SourceSetting::Auto => request,
            config::SourceSetting::Named(source) => request.header(SOURCE_HEADER, source.as_str()),
        }
    }

    /// A request that only the relay of our ledger answers.
    fn post_home(&self, path: &str) -> hyper::http::request::Builder {
        let request = self.post(path);
        match self.endpoints().home() {
            Some(home) => request.header(LEDGER_HEADER, home.ledger.to_string()),
            None => request,
        }
    }

    /// Finds out whether the relay that has answered is the one that lines were shipped to, and notes it. Only then
    /// its answer counts.
    async fn verify_ledger(
        &self,
        ledger: Option<LedgerId>,
        place: ConnectedEndpoint,
    ) -> Result<(), RequestError> {
        let (meeting, known) = {
            let endpoints = self.endpoints();
            (
                endpoints.match_ledger(ledger, place.address),
                endpoints.home().cloned(),
            )
        };
        let relay = self.name(place.endpoint);
        match (meeting, known) {
            // Noted, unless the state folder could not be written then: that is tried again.
            (LedgerMatch::Known, Some(home)) if !self.settings.home.is_saved() => {
                return self.note(home).await;
            }
            (LedgerMatch::Known, _) => return Ok(()),
            (LedgerMatch::Elsewhere, Some(known)) if ledger.is_none() || self.still_has(&known).await => {
                self.leave(place.endpoint);
                let home = known.endpoint;
                return Err(RequestError::WrongLedger { relay, home });
            }
            (LedgerMatch::Replaced | LedgerMatch::Elsewhere, Some(known)) => tracing::warn!(
                relay, known = %known.ledger, before = known.endpoint,
                "the relay's ledger is another one than before; it decides what is shipped again"
            ),
            _ => {}
        }
        let Some(ledger) = ledger else { return Ok(()) };
        let home = RelayIdentity {
            ledger,
            endpoint: relay,
            address: place.address,
        };
        self.endpoints().set_identity(home.clone());
        // Before the answer is used: no chunk is sent that a restart could take elsewhere.
        self.note(home).await
    }

    /// Has the state folder remember where lines are shipped to.
    async fn note(&self, home: RelayIdentity) -> Result<(), RequestError> {
        let settings = Arc::clone(&self.settings);
        let saved = tokio::task::spawn_blocking(move || settings.home.save(&home)).await;
        saved.map_err(|_| RequestError::Stopping)
    }

    /// Whether the ledger's address is still one of the relay's. In doubt it is.
    async fn still_has(&self, home: &RelayIdentity) -> bool {
        let mut endpoints = self.settings.addresses.iter();
        let Some(endpoint) = endpoints.find(|endpoint| endpoint.to_string() == home.endpoint) else {
            return false;
        };
        let found = connection::look_up(endpoint).await;
        found.map_or(true, |found| found.contains(&home.address))
    }
}

/// The ways to the wire.
pub(crate) struct RelayConnections {
    connections: Vec<mpsc::Sender<Box<OutgoingChunk>>>,
    control: mpsc::Sender<ControlRequest>,
}

pub(crate) fn start(
    config: &config::SenderSettings,
    events: &std::sync::mpsc::Sender<SenderEvent>,
    cut: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> RelayConnections {
    let relay = RelayClient::new(config);
    let outlet = EventOutlet {
        events: events.clone(),
        cut: cut.clone(),
    };
    let connections = (0..config.in_flight).map(|number| {
        // The tail gives a connection a chunk only when it is idle.
        let (sender, receiver) = mpsc::channel(1);
        tasks.spawn(serve_chunks(
            relay.clone(),
            ConnectionId(number),
            receiver,
            outlet.clone(),
        ));
        sender
    });
    let connections = connections.collect();
    let (control, jobs) = mpsc::channel(CONTROL_QUEUE);
    tasks.spawn(serve_control(relay, jobs, outlet));
    RelayConnections { connections, control }
}

impl RelayConnections {
    pub(crate) fn dispatch(&self, job: RelayRequest) {
        // Full or closed is no loss: a heartbeat is repeated, and the wire closes only when all stops.
        match job {
            RelayRequest::Chunk {
                connection: ConnectionId(number),
                chunk,
            } => {
                if let Some(connection) = self.connections.get(number) {
                    let _ = connection.blocking_send(chunk);
                }
            }
            RelayRequest::Streams(question) => {
                let _ = self.control.blocking_send(ControlRequest::Streams(question));
            }
            RelayRequest::Heartbeat(beat) => {
                let _ = self.control.try_send(ControlRequest::Heartbeat(beat));
            }
        }
    }
}

/// Ships the chunks of one connection, until no more come.
pub(crate) async fn serve_chunks(
    relay: RelayClient,
    id: ConnectionId,
    mut chunks: mpsc::Receiver<Box<OutgoingChunk>>,
    outlet: EventOutlet,
) {
    let mut connection = RelayConnection::new(relay.clone());
    let mut compressor = ChunkCompressor::new(relay.settings.compression);
    while let Some(chunk) = connection.idle_until(chunks.recv()).await {
        let OutgoingChunk {
            seq,
            header,
            mut body,
        } = *chunk;
        let mut request = relay
            .post_home(CHUNKS_PATH)
            .header(CONTENT_TYPE, "application/octet-stream");
        for (name, value) in header.to_pairs() {
            request = request.header(name, value);
        }
        if let Some(packed) = compressor.compress(&body).await {
            request = request
                .header(CONTENT_ENCODING, packed.encoding)
                .header(PLAIN_LENGTH_HEADER, body.len());
            body = packed.body;
        }
        let exchange = connection.exchange(request, body);
        let result = outlet
            .cut
            .run_until_cancelled(exchange)
            .await
            .unwrap_or(Err(RequestError::Stopping));
        let result = result.and_then(|answer| receipt(&relay, answer, header.range.end()));
        if outlet
            .events
            .send(SenderEvent::Chunk {
                connection: id,
                seq,
                result,
            })
            .is_err()
        {
            return;
        }
    }
}

/// Asks questions and sends heartbeats over one connection, until no more come.
pub(crate) async fn serve_control(
    relay: RelayClient,
    mut jobs: mpsc::Receiver<ControlRequest>,
    outlet: EventOutlet,
) {
    let mut connection = RelayConnection::new(relay.clone());
    while let Some(job) = connection.idle_until(jobs.recv()).await {
        let exchange = async {
            match job {
                ControlRequest::Streams(question) => Some(SenderEvent::Streams(
                    ask(&relay, &mut connection, &question).await,
                )),
                ControlRequest::Heartbeat(beat) => match report(&relay, &mut connection, &beat).await {
                    Ok(()) => Some(SenderEvent::HeartbeatAcked(beat.gaps)),
                    Err(error) => {
                        tracing::debug!(
                            error = &error as &dyn std::error::Error,
                            "a heartbeat did not get through"
                        );
                        None
                    }
                },
            }
        };
        match outlet.cut.run_until_cancelled(exchange).await {
            Some(Some(event)) => {
                if outlet.events.send(event).is_err() {
                    return;
                }
            }
            Some(None) => {}
            None => return,
        }
    }
}

/// Asks which streams files are. The answer counts only if it is from the relay that lines are shipped to.
async fn ask(
    relay: &RelayClient,
    connection: &mut RelayConnection,
    question: &ResolveRequest,
) -> Result<ResolveResponse, RequestError> {
    let answer = post_json(relay, connection, relay.post(STREAMS_PATH), question).await?;
    let response: ResolveResponse = parse(relay, &answer)?;
    let (asked, answered) = (question.files.len(), response.candidates.len());
    if answered != asked {
        return Err(RequestError::InvalidResponse {
            relay: relay.name(answer.place.endpoint),
            reason: format!("{asked} files were asked for, it answered for {answered}"),
        });
    }
    let recognised = relay.verify_ledger(response.ledger, answer.place).await;
    if recognised.is_err() {
        connection.close();
    }
    recognised.map(|()| response)
}

async fn report(
    relay: &RelayClient,
    connection: &mut RelayConnection,
    beat: &Heartbeat,
) -> Result<(), RequestError> {
    // A sender without new lines asks nothing, and would not notice that the relay behind its address is a new one.
    if connection
        .place()
        .is_none_or(|place| place.endpoint != relay.endpoint())
    {
        ask(relay, connection, &ResolveRequest { files: Vec::new() }).await?;
    }
    let request = relay.post_home(HEARTBEAT_PATH);
    post_json(relay, connection, request, beat).await.map(drop)
}

async fn post_json(
    relay: &RelayClient,
    connection: &mut RelayConnection,
    request: hyper::http::request::Builder,
    body: &impl Serialize,
) -> Result<RelayResponse, RequestError> {
    let body = serde_json::to_vec(body).expect("protocol types are maps of strings and numbers");
    let request = request.header(CONTENT_TYPE, "application/json");
    connection
        .exchange(request, Bytes::from(body))
        .await?
        .or_refused(relay, &[200, 204])
}

fn parse<T: DeserializeOwned>(relay: &RelayClient, answer: &RelayResponse) -> Result<T, RequestError> {
    serde_json::from_slice(&answer.body).map_err(|error| RequestError::InvalidResponse {
        relay: relay.name(answer.place.endpoint),
        reason: error.to_string(),
    })
}

fn receipt(
    relay: &RelayClient,
    answer: RelayResponse,
    end: logferry_protocol::stream::Offset,
) -> Result<Receipt, RequestError> {
    let answer = answer.or_refused(relay, &[200, 409])?;
    let receipt: Receipt = parse(relay, &answer)?;
    let taken = matches!(receipt.outcome, ChunkOutcome::Stored | ChunkOutcome::Duplicate);
    if taken && receipt.committed < end {
        let reason = format!("it took a chunk up to {end} but is at {}", receipt.committed);
        return Err(RequestError::InvalidResponse {
            relay: relay.name(answer.place.endpoint),
            reason,
        });
    }
    Ok(receipt)
}

/// How long an answer to a body of `bytes` may take: a minute, and what a very slow network needs.
fn answer_deadline(bytes: usize) -> Duration {
    const BASE: Duration = Duration::from_mins(1);
    const SLOWEST_BYTES_PER_SECOND: u64 = 8 * 1024;
    BASE + Duration::from_secs(bytes as u64 / SLOWEST_BYTES_PER_SECOND)
}
