//! A group's HTTP port: accepts connections, reads and checks requests, and responds.
//!
//! May be changed here alone: limits and timeouts of clients, body encodings, status codes and their texts. Everything
//! that a client sends has a bound: connections, header size and time, body size, time between two pieces of a body, and
//! the memory of all bodies together. A malformed request gets a 4xx response with one line that says why.

mod decode;
mod error_response;
mod listener;
mod peer_slots;
mod receive;
mod rejection_log;
mod requests;
mod runtime;
#[cfg(test)]
mod tests;
mod upload_request;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use logferry_config::{BatchSettings, GroupLimits, GroupSettings};
use logferry_protocol::chunk::Receipt;
use logferry_protocol::names::{LogName, SourceId};
use logferry_protocol::resolve::LedgerId;
use logferry_telemetry::RelayMetrics;
use tokio::sync::oneshot;

use self::error_response::ErrorResponse;
pub(crate) use self::listener::GroupListener;
use self::rejection_log::RejectionLog;
#[cfg(any(test, fuzzing))]
pub(crate) use self::requests::check_body;
pub(crate) use self::runtime::GroupRuntime;
use crate::auth::Credentials;
use crate::chunk::{BodyPool, ChunkReply, ReceivedChunk, RequestBody};
use crate::commit::{CommitJob, CommitQueue};
use crate::health::SharedGroupStatus;
use crate::legacy_upload::AckTracker;
use crate::senders::SharedSenders;

#[derive(Debug, Clone, Copy)]
struct ClientTimeouts {
    /// For the TLS handshake.
    handshake: Duration,
    /// For the head of a request, counted from the end of the previous request. A connection may be idle for so long.
    head: Duration,
    /// For the minimum progress of a body, see [`BodyTimeout`](logferry_http_server::BodyTimeout).
    body: Duration,
}

const TIMEOUTS: ClientTimeouts = ClientTimeouts {
    handshake: Duration::from_secs(10),
    head: Duration::from_secs(30),
    body: Duration::from_secs(30),
};

/// The ledger of the relay, as the senders are told of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServedLedger {
    pub(crate) id: LedgerId,
    /// It was made from the spool.
    pub(crate) is_rebuilt: bool,
    /// When it was restored last, in milliseconds since 1970; 0: never.
    pub(crate) restored: i64,
}

#[derive(Debug)]
struct HttpContext {
    group: Arc<GroupSettings>,
    batch: BatchSettings,
    limits: GroupLimits,
    timeouts: ClientTimeouts,
    credentials: Credentials,
    senders: SharedSenders,
    ledger: ServedLedger,
    bodies: BodyPool,
    acks: AckTracker,
    commits: CommitQueue,
    metrics: RelayMetrics,
    status: SharedGroupStatus,
    rejections: RejectionLog,
}

type HttpResult = Result<Response<Full<Bytes>>, ErrorResponse>;

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

impl HttpContext {
    /// Sends a job to the commit thread, and waits for its reply.
    async fn submit<R>(&self, job: impl FnOnce(oneshot::Sender<R>) -> CommitJob) -> Result<R, ErrorResponse> {
        let (reply, received) = oneshot::channel();
        // If the thread has stopped, the reply is dropped with the job.
        self.commits.submit(job(reply));
        received
            .await
            .map_err(|_| ErrorResponse::wait("the relay is stopping"))
    }

    /// Stores a chunk.
    async fn store(&self, chunk: ReceivedChunk<RequestBody>) -> Result<Receipt, ErrorResponse> {
        match self
            .submit(|reply| CommitJob::Store(Box::new(chunk), reply))
            .await?
        {
            ChunkReply::Receipt(receipt) => Ok(receipt),
            ChunkReply::Wait(reason) => Err(ErrorResponse::wait(reason)),
        }
    }

    /// Refuses the lines of a source whose batches could have no file.
    fn check_source(&self, source: &SourceId, log: &LogName) -> Result<(), ErrorResponse> {
        self.batch
            .check_source(source, &self.group.name, Some(log))
            .map_err(|error| ErrorResponse::bad_request(error.to_string()))
    }

    /// Refuses lines while the group accepts none. To be called before memory for the body is reserved.
    fn check_accepting(&self) -> Result<(), ErrorResponse> {
        let reason = self.status.rejection_reason();
        reason.map_or(Ok(()), |reason| Err(ErrorResponse::wait(reason)))
    }
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
