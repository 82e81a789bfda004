//! The wire: requests to the relay over keep-alive HTTP/1.1 connections, one attempt each.
//!
//! When to try again, and with what, is the tail's to decide; here a job comes in and its result goes out.
//! Several chunks of one stream may be on different connections: the relay puts them in order.
//! Which of the relay's addresses to use is decided in `doors`; a failure moves on to the next.

mod connection;
mod doors;
mod error;
mod home;
mod packing;
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
use tokio_util::sync::CancellationToken;

use self::connection::{Answer, Connection, Place};
use self::doors::{Doors, Home, Meeting};
pub(crate) use self::error::{Kind, WireError};
use self::home::HomeFile;
use self::packing::Packer;
use crate::tail::{Event, OutChunk, WorkerId};

/// Where to send, how, and as whom. Clones share which address is in use.
#[derive(Debug, Clone)]
pub(crate) struct Relay {
    settings: Arc<Settings>,
    doors: Arc<Mutex<Doors>>,
}

#[derive(Debug)]
struct Settings {
    addresses: Vec<config::RelayAddress>,
    source: config::SourceSetting,
    local: Option<IpAddr>,
    compression: config::ChunkCompression,
    token_file: Option<PathBuf>,
    tls: config::ClientTls,
    home: HomeFile,
}

/// What one connection brings back, and where to.
#[derive(Debug, Clone)]
pub(crate) struct Outlet {
    pub(crate) events: std::sync::mpsc::Sender<Event>,
    /// Cancelled once nobody waits for an answer any more.
    pub(crate) cut: CancellationToken,
}

/// What goes over the connection for questions and heartbeats.
#[derive(Debug)]
pub(crate) enum Control {
    Streams(ResolveRequest),
    Heartbeat(Heartbeat),
}

impl Relay {
    /// The relay of a sender's configuration. Reads from the state folder which ledger lines were shipped to.
    pub(crate) fn new(config: &config::SenderSettings) -> Self {
        let home = HomeFile::new(&config.state_dir);
        let doors = Doors::new(config.relay.len(), home.load());
        let settings = Settings {
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
            doors: Arc::new(Mutex::new(doors)),
        }
    }

    fn doors(&self) -> MutexGuard<'_, Doors> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address to use now, by its number.
    fn door(&self) -> usize {
        self.doors().current()
    }

    fn leave(&self, door: usize) {
        self.doors().failed(door);
    }

    /// `door` came from [`Self::door`], which numbers the addresses.
    fn address(&self, door: usize) -> &config::RelayAddress {
        &self.settings.addresses[door]
    }

    fn name(&self, door: usize) -> String {
        self.address(door).to_string()
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
        match self.doors().home() {
            Some(home) => request.header(LEDGER_HEADER, home.ledger.to_string()),
            None => request,
        }
    }

    /// Finds out whether the relay that has answered is the one that lines were shipped to, and notes it. Only then
    /// its answer counts.
    async fn recognise(&self, ledger: Option<LedgerId>, place: Place) -> Result<(), WireError> {
        let (meeting, known) = {
            let doors = self.doors();
            (doors.meet(ledger, place.address), doors.home().cloned())
        };
        let relay = self.name(place.door);
        match (meeting, known) {
            // Noted, unless the state folder could not be written then: that is tried again.
            (Meeting::Known, Some(home)) if !self.settings.home.is_saved() => return self.note(home).await,
            (Meeting::Known, _) => return Ok(()),
            (Meeting::Elsewhere, Some(known)) if ledger.is_none() || self.still_has(&known).await => {
                self.leave(place.door);
                let home = known.door;
                return Err(WireError::OtherRelay { relay, home });
            }
            (Meeting::Replaced | Meeting::Elsewhere, Some(known)) => tracing::warn!(
                relay, known = %known.ledger, before = known.door,
                "the relay's ledger is another one than before; it decides what is shipped again"
            ),
            _ => {}
        }
        let Some(ledger) = ledger else { return Ok(()) };
        let home = Home {
            ledger,
            door: relay,
            address: place.address,
        };
        self.doors().settle(home.clone());
        // Before the answer is used: no chunk is sent that a restart could take elsewhere.
        self.note(home).await
    }

    /// Has the state folder remember where lines are shipped to.
    async fn note(&self, home: Home) -> Result<(), WireError> {
        let settings = Arc::clone(&self.settings);
        let saved = tokio::task::spawn_blocking(move || settings.home.save(&home)).await;
        saved.map_err(|_| WireError::Stopped)
    }

    /// Whether the ledger's address is still one of the relay's. In doubt it is.
    async fn still_has(&self, home: &Home) -> bool {
        let mut doors = self.settings.addresses.iter();
        let Some(door) = doors.find(|door| door.to_string() == home.door) else {
            return false;
        };
        let found = connection::look_up(door).await;
        found.map_or(true, |found| found.contains(&home.address))
    }
}

/// Ships the chunks of one connection, until no more come.
pub(crate) async fn ship(
    relay: Relay,
    worker: WorkerId,
    mut chunks: mpsc::Receiver<Box<OutChunk>>,
    outlet: Outlet,
) {
    let mut connection = Connection::new(relay.clone());
    let mut packer = Packer::new(relay.settings.compression);
    while let Some(chunk) = connection.idle_until(chunks.recv()).await {
        let OutChunk {
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
        if let Some(packed) = packer.pack(&body).await {
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
            .unwrap_or(Err(WireError::Stopped));
        let result = result.and_then(|answer| receipt(&relay, answer, header.range.end()));
        if outlet.events.send(Event::Chunk { worker, seq, result }).is_err() {
            return;
        }
    }
}

/// Asks questions and sends heartbeats over one connection, until no more come.
pub(crate) async fn control(relay: Relay, mut jobs: mpsc::Receiver<Control>, outlet: Outlet) {
    let mut connection = Connection::new(relay.clone());
    while let Some(job) = connection.idle_until(jobs.recv()).await {
        let exchange = async {
            match job {
                Control::Streams(question) => {
                    Some(Event::Streams(ask(&relay, &mut connection, &question).await))
                }
                Control::Heartbeat(beat) => match report(&relay, &mut connection, &beat).await {
                    Ok(()) => Some(Event::Told(beat.gaps)),
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
    relay: &Relay,
    connection: &mut Connection,
    question: &ResolveRequest,
) -> Result<ResolveResponse, WireError> {
    let answer = post_json(relay, connection, relay.post(STREAMS_PATH), question).await?;
    let response: ResolveResponse = parse(relay, &answer)?;
    let (asked, answered) = (question.files.len(), response.candidates.len());
    if answered != asked {
        return Err(WireError::Answer {
            relay: relay.name(answer.place.door),
            reason: format!("{asked} files were asked for, it answered for {answered}"),
        });
    }
    let recognised = relay.recognise(response.ledger, answer.place).await;
    if recognised.is_err() {
        connection.close();
    }
    recognised.map(|()| response)
}

async fn report(relay: &Relay, connection: &mut Connection, beat: &Heartbeat) -> Result<(), WireError> {
    // A sender without new lines asks nothing, and would not notice that the relay behind its address is a new one.
    if connection.place().is_none_or(|place| place.door != relay.door()) {
        ask(relay, connection, &ResolveRequest { files: Vec::new() }).await?;
    }
    let request = relay.post_home(HEARTBEAT_PATH);
    post_json(relay, connection, request, beat).await.map(drop)
}

async fn post_json(
    relay: &Relay,
    connection: &mut Connection,
    request: hyper::http::request::Builder,
    body: &impl Serialize,
) -> Result<Answer, WireError> {
    let body = serde_json::to_vec(body).expect("protocol types are maps of strings and numbers");
    let request = request.header(CONTENT_TYPE, "application/json");
    connection
        .exchange(request, Bytes::from(body))
        .await?
        .or_refused(relay, &[200, 204])
}

fn parse<T: DeserializeOwned>(relay: &Relay, answer: &Answer) -> Result<T, WireError> {
    serde_json::from_slice(&answer.body).map_err(|error| WireError::Answer {
        relay: relay.name(answer.place.door),
        reason: error.to_string(),
    })
}

fn receipt(
    relay: &Relay,
    answer: Answer,
    end: logferry_protocol::stream::Offset,
) -> Result<Receipt, WireError> {
    let answer = answer.or_refused(relay, &[200, 409])?;
    let receipt: Receipt = parse(relay, &answer)?;
    let taken = matches!(receipt.outcome, ChunkOutcome::Stored | ChunkOutcome::Duplicate);
    if taken && receipt.committed < end {
        let reason = format!("it took a chunk up to {end} but is at {}", receipt.committed);
        return Err(WireError::Answer {
            relay: relay.name(answer.place.door),
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
