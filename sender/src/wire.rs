//! The wire: requests to the relay over keep-alive HTTP/1.1 connections, one attempt each.
//!
//! When to try again, and with what, is the tail's to decide; here a job comes in and its result goes out.
//! Several chunks of one stream may be on different connections: the relay puts them in order.

mod connection;
mod error;

use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use hyper::header::{CONTENT_TYPE, HOST};
use logferry_config as config;
use logferry_protocol::chunk::{Outcome, Receipt};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::resolve::{ResolveRequest, ResolveResponse};
use logferry_protocol::{CHUNKS_PATH, HEARTBEAT_PATH, SOURCE_HEADER, STREAMS_PATH};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::connection::{Answer, Connection};
pub(crate) use self::error::{Kind, WireError};
use crate::tail::{Event, OutChunk, WorkerId};

/// Where to send, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct Relay {
    address: config::RelayAddress,
    source: config::SourceSetting,
    local: Option<std::net::IpAddr>,
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
    pub(crate) fn new(config: &config::Sender) -> Self {
        let (address, source) = (config.relay.clone(), config.source.clone());
        Self {
            address,
            source,
            local: config.local_address,
        }
    }

    fn post(&self, path: &str) -> hyper::http::request::Builder {
        let text = self.address.to_string();
        let authority = text.strip_prefix("http://").unwrap_or(&text);
        let request = Request::post(path).header(HOST, authority);
        match &self.source {
            config::SourceSetting::Auto => request,
            config::SourceSetting::Named(source) => request.header(SOURCE_HEADER, source.as_str()),
        }
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
    while let Some(chunk) = connection.idle_until(chunks.recv()).await {
        let OutChunk { seq, header, body } = *chunk;
        let mut request = relay
            .post(CHUNKS_PATH)
            .header(CONTENT_TYPE, "application/octet-stream");
        for (name, value) in header.to_pairs() {
            request = request.header(name, value);
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
                    let asked = question.files.len();
                    let answer = post_json(&relay, &mut connection, STREAMS_PATH, &question).await;
                    Some(Event::Streams(
                        answer.and_then(|answer| candidates(&relay, &answer, asked)),
                    ))
                }
                Control::Heartbeat(beat) => {
                    if let Err(error) = post_json(&relay, &mut connection, HEARTBEAT_PATH, &beat).await {
                        tracing::debug!(
                            error = &error as &dyn std::error::Error,
                            "a heartbeat did not get through"
                        );
                    }
                    None
                }
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

async fn post_json(
    relay: &Relay,
    connection: &mut Connection,
    path: &str,
    body: &impl Serialize,
) -> Result<Answer, WireError> {
    let body = serde_json::to_vec(body).expect("protocol types are maps of strings and numbers");
    let request = relay.post(path).header(CONTENT_TYPE, "application/json");
    connection
        .exchange(request, Bytes::from(body))
        .await?
        .or_refused(&relay.address.to_string(), &[200, 204])
}

fn parse<T: DeserializeOwned>(relay: &Relay, answer: &Answer) -> Result<T, WireError> {
    serde_json::from_slice(&answer.body).map_err(|error| WireError::Answer {
        relay: relay.address.to_string(),
        reason: error.to_string(),
    })
}

fn receipt(
    relay: &Relay,
    answer: Answer,
    end: logferry_protocol::stream::Offset,
) -> Result<Receipt, WireError> {
    let answer = answer.or_refused(&relay.address.to_string(), &[200, 409])?;
    let receipt: Receipt = parse(relay, &answer)?;
    let taken = matches!(receipt.outcome, Outcome::Stored | Outcome::Duplicate);
    if taken && receipt.committed < end {
        let reason = format!("it took a chunk up to {end} but is at {}", receipt.committed);
        return Err(WireError::Answer {
            relay: relay.address.to_string(),
            reason,
        });
    }
    Ok(receipt)
}

fn candidates(relay: &Relay, answer: &Answer, asked: usize) -> Result<ResolveResponse, WireError> {
    let response: ResolveResponse = parse(relay, answer)?;
    if response.candidates.len() == asked {
        return Ok(response);
    }
    let reason = format!(
        "{asked} files were asked for, it answered for {}",
        response.candidates.len()
    );
    Err(WireError::Answer {
        relay: relay.address.to_string(),
        reason,
    })
}

/// How long an answer to a body of `bytes` may take: a minute, and what a very slow network needs.
fn answer_deadline(bytes: usize) -> Duration {
    const BASE: Duration = Duration::from_mins(1);
    const SLOWEST_BYTES_PER_SECOND: u64 = 8 * 1024;
    BASE + Duration::from_secs(bytes as u64 / SLOWEST_BYTES_PER_SECOND)
}
