//! A client of an HTTP source: one connection, kept open; each request is repeated until it is answered.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use logferry_traffic::ApplicationTraffic;
use tokio::time::{sleep, sleep_until, timeout_at};

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
    connection: Option<SendRequest<Full<Bytes>>>,
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
        connection: None,
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
        let begun = tokio::time::Instant::now();
        let mut wait = RETRY_FIRST;
        loop {
            let exchange = timeout_at(end, self.exchange(body.clone(), key)).await;
            let answer = match exchange {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => RequestAnswer::Later(None, error),
                Err(_) => RequestAnswer::Later(None, "no answer in time".to_owned()),
            };
            match answer {
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
                    if tokio::time::Instant::now() + pause >= end {
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
    async fn exchange(&mut self, body: Bytes, key: &str) -> Result<RequestAnswer, String> {
        let mut connection = match self
            .connection
            .take()
            .filter(|connection| !connection.is_closed())
        {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let mut builder = Request::post(&self.target.path)
            .header(HOST, self.target.at.to_string())
            .header(CONTENT_TYPE, self.simulation.shape.content_type())
            .header("idempotency-key", key);
        if let Some(key) = &self.simulation.key {
            builder = builder.header("x-api-key", key);
        }
        let request = builder.body(Full::new(body)).map_err(|error| error.to_string())?;
        connection.ready().await.map_err(|error| error.to_string())?;
        let response = connection
            .send_request(request)
            .await
            .map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let text = Limited::new(body, ANSWER_MAX).collect().await;
        let text = text.map_err(|error| error.to_string())?.to_bytes();
        self.connection = Some(connection);
        if head.status.is_success() {
            return Ok(RequestAnswer::Taken);
        }
        let text = String::from_utf8_lossy(&text);
        let reason = format!("{}: {}", head.status, text.lines().next().unwrap_or_default());
        let is_later = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&head.status)
            || head.status.is_server_error();
        if !is_later {
            return Ok(RequestAnswer::Refused(reason));
        }
        let after = head
            .headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(RequestAnswer::Later(after.map(Duration::from_secs), reason))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream =
            super::target::connect(&self.target.at, self.simulation.options.ca_file.as_deref()).await?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (requests, driver) = handshake.map_err(|error| error.to_string())?;
        // It ends with the connection.
        tokio::spawn(driver);
        Ok(requests)
    }
}
