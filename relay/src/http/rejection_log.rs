//! Counts rejections, and logs the clients that may not send.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hyper::StatusCode;
use logferry_protocol::names::SourceId;

use super::HttpContext;
use crate::auth::TlsFailure;
use crate::health::{LogThrottle, ThrottledEvent};
use crate::http::error_response::ErrorResponse;

#[derive(Debug, Default)]
pub(super) struct RejectionLog(Mutex<LogThrottle<SourceId, RejectedClient>>);

/// A client that may not send to this group.
#[derive(Debug)]
struct RejectedClient {
    source: SourceId,
    peer: IpAddr,
    reason: String,
}

impl HttpContext {
    /// Counts a rejection. If the client may not send, it is logged, at most once a minute.
    pub(super) fn log_rejection(&self, peer: IpAddr, rejected: &ErrorResponse) {
        self.count_rejection();
        let status = rejected.status.as_u16();
        if !matches!(rejected.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            tracing::debug!(group = %self.group.name, %peer, status, reason = ?rejected.reason, "request refused");
            return;
        }
        self.log_client(RejectedClient {
            source: rejected.source.clone().unwrap_or_else(|| peer.into()),
            peer,
            reason: format!("{} ({status})", rejected.reason),
        });
    }

    /// The same for a connection whose TLS handshake failed.
    pub(super) fn log_failed_handshake(&self, peer: IpAddr, failure: &TlsFailure) {
        if let TlsFailure::Disconnected(error) = failure {
            tracing::debug!(group = %self.group.name, %peer, error = error as &dyn std::error::Error, "disconnected");
            return;
        }
        self.count_rejection();
        self.log_client(RejectedClient {
            source: peer.into(),
            peer,
            reason: failure.to_string(),
        });
    }

    /// The same for a connection above the bound of its client.
    pub(super) fn log_too_many_connections(&self, peer: IpAddr) {
        self.count_rejection();
        self.log_client(RejectedClient {
            source: peer.into(),
            peer,
            reason: "too many connections at one time from this address; see relay.limits.max_connections"
                .to_owned(),
        });
    }

    fn count_rejection(&self) {
        self.metrics.rejected();
        self.status.count_rejected();
    }

    fn log_client(&self, client: RejectedClient) {
        let mut throttle = self.rejections.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = throttle.record(client.source.clone(), client, Instant::now());
        drop(throttle);
        if let Some(event) = due {
            self.log_event(&event);
        }
    }

    /// Logs the rejections of the last minute that were not logged yet.
    pub(super) fn log_overdue_rejections(&self) {
        let mut throttle = self.rejections.0.lock().unwrap_or_else(PoisonError::into_inner);
        let overdue = throttle.overdue(Instant::now());
        drop(throttle);
        for event in overdue {
            self.log_event(&event);
        }
    }

    fn log_event(&self, event: &ThrottledEvent<RejectedClient>) {
        let RejectedClient { source, peer, reason } = &event.latest;
        let (group, more) = (&self.group.name, event.unsaid());
        tracing::warn!(%group, %source, %peer, reason, more, "a source is refused");
    }
}
