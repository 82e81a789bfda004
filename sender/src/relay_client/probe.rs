//! Asks each of the relay's addresses what a sender would be there, for `logferry check --connect`.
//!
//! The request is the first one of each sender, over the same connection, TLS and token, and asks for no file. Nothing is
//! stored at the relay, and nothing in the state folder changes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use logferry_config::{RelayAddress, Scheme, SenderSettings};
use logferry_protocol::STREAMS_PATH;
use logferry_protocol::names::{GroupName, SourceId};
use logferry_protocol::resolve::{LedgerId, ResolveRequest, ResolveResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::answerer::Answerer;
use super::connection::{RelayConnection, RelayResponse, look_up};
use super::endpoints::LedgerMatch;
use super::{ClientRole, RelayClient};
use crate::error::RequestError;

/// Time limit for the answer of one address.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);
/// The same for a server that gave no proper answer before.
const RECOGNISE_TIME_MAX: Duration = Duration::from_secs(3);
/// Most bytes of an answer that are read to recognise a server.
const RECOGNISE_BYTES: u64 = 1024;

/// What a sender would be at one of the relay's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayFound {
    /// The source of its lines.
    pub source: SourceId,
    /// The group of the port; `None`: an older relay, which does not tell it.
    pub group: Option<GroupName>,
    /// The relay's ledger; `None`: an older relay, which does not tell it.
    pub ledger: Option<LedgerId>,
    /// Whether the connection has TLS.
    pub is_encrypted: bool,
    /// The file of the token that was sent.
    pub token_file: Option<PathBuf>,
    /// The time by the relay's clock, as HTTP writes it (RFC 9110, section 5.6.7), and by this host's when it arrived.
    pub clocks: Option<(String, SystemTime)>,
}

/// Why no line would arrive at one of the relay's addresses.
#[derive(Debug, thiserror::Error)]
pub enum RelayProbeError {
    /// The host name leads nowhere.
    #[error("cannot find the address of {0}; check sender.relay and this host's DNS")]
    Lookup(String, #[source] io::Error),
    /// Nothing answers.
    #[error("cannot connect; check that the relay runs and listens there, and the firewalls between")]
    Connect(#[source] io::Error),
    /// No TLS session.
    #[error("no safe connection: {0}")]
    Tls(String),
    /// A relay without TLS, for which https is configured.
    #[error(
        "a relay answers there, but without TLS: write http:// in sender.relay, or give the relay a certificate"
    )]
    WithoutTls,
    /// A port with TLS, for which http is configured.
    #[error("a server that wants TLS answers there: write https:// in sender.relay")]
    WantsTls,
    /// No relay.
    #[error("{0}, no logferry relay; write the address of a group's port in sender.relay")]
    NotARelay(String),
    /// The relay does not know the token.
    #[error("the relay refuses the token in {}: {reason}", .file.display())]
    Token {
        /// The file.
        file: PathBuf,
        /// The relay's reason.
        reason: String,
    },
    /// The relay refuses this host.
    #[error("the relay refuses this host: {0}")]
    Refused(String),
    /// The relay accepts nothing now.
    #[error("a relay answers there, but it asks to wait: {0}")]
    Waits(String),
    /// Another relay than the one that has this sender's lines.
    #[error(
        "its ledger is {found}, but lines were shipped to ledger {known} at {at}: all addresses in sender.relay must \
         belong to one relay"
    )]
    OtherLedger {
        /// The ledger there.
        found: String,
        /// The ledger that is known.
        known: LedgerId,
        /// The address of that one.
        at: String,
    },
    /// A file of the configuration, or another failure.
    #[error("{0}")]
    Other(String),
}

/// Asks each address of the relay. Takes up to half a minute for each that does not answer.
pub async fn probe_relay(
    config: &SenderSettings,
) -> Vec<(RelayAddress, Result<RelayFound, RelayProbeError>)> {
    let relay = Arc::new(RelayClient::new(config, ClientRole::Command));
    let mut results: Vec<(RelayAddress, Result<RelayFound, RelayProbeError>)> = Vec::new();
    for (endpoint, address) in config.relay.iter().enumerate() {
        let result = relay.probe(endpoint).await.and_then(|found| {
            let others = results
                .iter()
                .filter_map(|(at, result)| Some((at, result.as_ref().ok()?)));
            one_ledger(found, others)
        });
        results.push((address.clone(), result));
    }
    results
}

/// Refuses an address at which another ledger was found than at an address before.
fn one_ledger<'a>(
    found: RelayFound,
    mut before: impl Iterator<Item = (&'a RelayAddress, &'a RelayFound)>,
) -> Result<RelayFound, RelayProbeError> {
    let other = before.find_map(|(at, other)| {
        let known = other.ledger?;
        (found.ledger != Some(known)).then(|| other_ledger(found.ledger, known, at.to_string()))
    });
    other.map_or(Ok(found), Err)
}

fn other_ledger(found: Option<LedgerId>, known: LedgerId, at: String) -> RelayProbeError {
    let found = found.map_or_else(|| "not told".to_owned(), |ledger| ledger.to_string());
    RelayProbeError::OtherLedger { found, known, at }
}

impl RelayClient {
    async fn probe(self: &Arc<Self>, endpoint: usize) -> Result<RelayFound, RelayProbeError> {
        let question = ResolveRequest { files: Vec::new() };
        let body = serde_json::to_vec(&question).expect("a list");
        let request = self.post(STREAMS_PATH).header(CONTENT_TYPE, "application/json");
        let mut connection = RelayConnection::new(Arc::clone(self));
        let exchange = connection.exchange_at(endpoint, request, Bytes::from(body));
        match tokio::time::timeout(ANSWER_TIME_MAX, exchange).await {
            Ok(Ok(response)) => self.found(endpoint, response).await,
            Ok(Err(error)) => Err(self.explain(endpoint, error).await),
            Err(_) => Err(RelayProbeError::NotARelay(Answerer::Mute.to_string())),
        }
    }

    /// Reads the answer of a server that speaks HTTP.
    async fn found(&self, endpoint: usize, response: RelayResponse) -> Result<RelayFound, RelayProbeError> {
        let (from, status) = (response.from, response.status);
        let clocks = response.date.clone().map(|date| (date, SystemTime::now()));
        if response.is_of_web_server || !matches!(status, 200 | 401 | 403 | 409 | 429 | 503) {
            let answerer = self.recognise(endpoint).await;
            return Err(match answerer {
                Some(Answerer::Tls) if !self.is_https(endpoint) => RelayProbeError::WantsTls,
                Some(answerer @ Answerer::Web { .. }) => RelayProbeError::NotARelay(answerer.to_string()),
                _ => RelayProbeError::NotARelay(Answerer::Web { server: None, status }.to_string()),
            });
        }
        let response = response
            .or_refused(self, &[200])
            .map_err(|error| self.refusal(error))?;
        let Ok(answer) = serde_json::from_slice::<ResolveResponse>(&response.body) else {
            let web = Answerer::Web { server: None, status };
            return Err(RelayProbeError::NotARelay(web.to_string()));
        };
        let (matched, known) = {
            let endpoints = self.endpoints();
            (
                endpoints.match_ledger(answer.ledger, from.address),
                endpoints.identity.clone(),
            )
        };
        if let (LedgerMatch::Other, Some(known)) = (matched, known)
            && (answer.ledger.is_none() || self.still_lists(&known).await)
        {
            return Err(other_ledger(answer.ledger, known.ledger, known.endpoint));
        }
        Ok(RelayFound {
            source: answer.source,
            group: answer.group,
            ledger: answer.ledger,
            is_encrypted: self.is_https(endpoint),
            token_file: self.config.token_file.clone(),
            clocks,
        })
    }

    fn is_https(&self, endpoint: usize) -> bool {
        self.address(endpoint).scheme == Scheme::Https
    }

    fn refusal(&self, error: RequestError) -> RelayProbeError {
        match (error, &self.config.token_file) {
            (
                RequestError::Refused {
                    status: 401, reason, ..
                },
                Some(file),
            ) => {
                let file = file.clone();
                RelayProbeError::Token { file, reason }
            }
            (
                RequestError::Refused {
                    status: 401 | 403,
                    reason,
                    ..
                },
                _,
            ) => RelayProbeError::Refused(reason),
            (RequestError::Refused { reason, .. }, _) => RelayProbeError::Waits(reason),
            (other, _) => RelayProbeError::Other(logferry_text::error_chain(&other)),
        }
    }

    /// The error for a request without an HTTP answer. Another connection shows what else answers there.
    async fn explain(&self, endpoint: usize, error: RequestError) -> RelayProbeError {
        match error {
            RequestError::Lookup(host, source) => return RelayProbeError::Lookup(host, source),
            // The port was open, or no connection was tried.
            RequestError::Connect(_, source) if !is_closed(&source) => {
                return RelayProbeError::Connect(source);
            }
            RequestError::Connect(..)
            | RequestError::Tls { .. }
            | RequestError::Broken(..)
            | RequestError::InvalidResponse { .. } => {}
            other => return RelayProbeError::Other(logferry_text::error_chain(&other)),
        }
        match (self.recognise(endpoint).await, error) {
            (Some(Answerer::Relay), _) if self.is_https(endpoint) => RelayProbeError::WithoutTls,
            (Some(Answerer::Tls), RequestError::Tls { reason, .. }) => RelayProbeError::Tls(reason),
            (Some(Answerer::Tls), _) if !self.is_https(endpoint) => RelayProbeError::WantsTls,
            (
                Some(
                    answerer @ (Answerer::Ssh(_)
                    | Answerer::MailOrFtp(_)
                    | Answerer::Web { .. }
                    | Answerer::Other(_)),
                ),
                _,
            ) => RelayProbeError::NotARelay(answerer.to_string()),
            (_, RequestError::Tls { reason, .. }) => RelayProbeError::Tls(reason),
            (Some(Answerer::Mute), _) => RelayProbeError::NotARelay(Answerer::Mute.to_string()),
            (_, error) => RelayProbeError::Other(logferry_text::error_chain(&error)),
        }
    }

    /// What answers at an address to the question without TLS and without the token; `None` if nothing does.
    async fn recognise(&self, endpoint: usize) -> Option<Answerer> {
        let target = self.address(endpoint);
        let addresses = look_up(target).await.ok()?;
        let connected = logferry_connect::connect(&addresses, RECOGNISE_TIME_MAX).await;
        let mut stream = connected.ok()?;
        let question = format!(
            "POST {STREAMS_PATH} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\
             connection: close\r\n\r\n{{\"files\":[]}}",
            target.authority()
        );
        // A server that greets first may close before it has read this.
        let _ = stream.write_all(question.as_bytes()).await;
        let mut answer = Vec::new();
        let mut head = stream.take(RECOGNISE_BYTES);
        // What came until then is enough.
        let _ = tokio::time::timeout(RECOGNISE_TIME_MAX, head.read_to_end(&mut answer)).await;
        Some(Answerer::recognise(&answer))
    }
}

/// Whether the server accepted the connection and closed it.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset)
}
