//! A client of an HTTP source: one connection, kept open; each request is repeated until it is answered.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use logferry_config::Scheme;
use logferry_http_client::{HttpConnection, HttpMessage, HttpServer};
use logferry_traffic::ApplicationTraffic;
use tokio::time::{Instant, sleep, sleep_until};

use super::report::SimulationTally;
use super::schedule::Schedule;
use super::target::{HttpTarget, SimulationTarget};
use super::{ClientSimulation, GRACE};

const ANSWER_MAX: usize = 64 << 10;
/// Waits between two attempts: the first, and the longest.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// What a request came to.
enum RequestAnswer {
    Taken,
    Refused(String),
    /// Try again, after so long if the source said so.
    Later(Option<Duration>, String),
}

struct HttpClient<'a> {
    simulation: &'a ClientSimulation,
    target: &'a HttpTarget,
    connection: HttpConnection,
    tally: SimulationTally,
}

/// Sends the client's records, and counts.
pub(super) async fn run(
    simulation: &ClientSimulation,
    number: usize,
    mut schedule: Schedule,
    mut traffic: ApplicationTraffic,
) -> SimulationTally {
    let SimulationTarget::Http(target) = &simulation.target else {
        return SimulationTally::default();
    };
    let mut client = HttpClient {
        simulation,
        target,
        connection: HttpConnection::new(server(simulation, target), ANSWER_MAX),
        tally: SimulationTally::default(),
    };
    let batch = simulation.options.batch.get().min(simulation.shape.batch_max());
    let mut requests = 0_u64;
    loop {
        let mut records = Vec::new();
        while records.len() < batch
            && let Some(due) = schedule.next(simulation.start.elapsed())
        {
            sleep_until(simulation.start + due).await;
            schedule.sent();
            records.push(traffic.record());
        }
        if records.is_empty() {
            return client.tally;
        }
        let body = simulation
            .shape
            .body(&traffic, &records, (number, Timestamp::now()));
        let key = format!("{}-{number}-{requests}", simulation.run);
        requests += 1;
        client.tally.sent += records.len() as u64;
        client.tally.bytes += body.len() as u64;
        if !client.send(Bytes::from(body), &key, records.len()).await {
            return client.tally;
        }
    }
}

impl HttpClient<'_> {
    /// Sends a body until it is answered; `false` when the time is over.
    async fn send(&mut self, body: Bytes, key: &str, records: usize) -> bool {
        let end = self.simulation.start + Duration::from_secs(self.simulation.options.seconds) + GRACE;
        let begun = Instant::now();
        let mut wait = RETRY_FIRST;
        loop {
            let limit = end.saturating_duration_since(Instant::now());
            let answer = self.exchange(body.clone(), key, limit).await;
            match answer.unwrap_or_else(|error| RequestAnswer::Later(None, error)) {
                RequestAnswer::Taken => {
                    self.tally.answered(records, begun.elapsed());
                    return true;
                }
                RequestAnswer::Refused(reason) => {
                    self.tally.refused += records as u64;
                    self.tally.problem = Some(reason);
                    return true;
                }
                RequestAnswer::Later(after, problem) => {
                    self.tally.problem = Some(problem);
                    let pause = after.unwrap_or(wait);
                    if Instant::now() + pause >= end {
                        return false;
                    }
                    self.tally.retries += 1;
                    sleep(pause).await;
                    wait = (wait * 2).min(RETRY_LONGEST);
                }
            }
        }
    }

    /// One attempt. After an error the next one has a new connection.
    async fn exchange(&mut self, body: Bytes, key: &str, limit: Duration) -> Result<RequestAnswer, String> {
        let value = |text: &str| HeaderValue::try_from(text).map_err(|error| error.to_string());
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(self.simulation.shape.content_type()),
        );
        headers.insert("idempotency-key", value(key)?);
        if let Some(key) = &self.simulation.key {
            headers.insert("x-api-key", value(key)?);
        }
        let message = HttpMessage {
            method: Method::POST,
            target: &self.target.path,
            headers,
            body,
        };
        let reply = self.connection.exchange(&message, limit).await;
        let reply = reply.map_err(|error| error.to_string())?;
        let text = reply.body.map_err(|error| error.to_string())?;
        let status = StatusCode::from_u16(reply.status).map_err(|error| error.to_string())?;
        if status.is_success() {
            return Ok(RequestAnswer::Taken);
        }
        let text = String::from_utf8_lossy(&text);
        let reason = format!("{status}: {}", text.lines().next().unwrap_or_default());
        let is_later = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status)
            || status.is_server_error();
        Ok(if is_later {
            RequestAnswer::Later(reply.retry_after, reason)
        } else {
            RequestAnswer::Refused(reason)
        })
    }
}

fn server(simulation: &ClientSimulation, target: &HttpTarget) -> HttpServer {
    let at = &target.at;
    HttpServer {
        scheme: if at.is_tls { Scheme::Https } else { Scheme::Http },
        host: at.host.clone(),
        port: at.port,
        authority: at.to_string(),
        ca_file: simulation.options.ca_file.clone(),
    }
}
