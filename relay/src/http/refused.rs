//! What becomes of a refusal beside the answer: it is counted, and who may not send here is named in the log.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hyper::StatusCode;
use logferry_protocol::names::SourceId;

use super::Context;
use crate::notices::{Notice, Notices};
use crate::rejection::Rejection;
use crate::tls::TlsRefusal;

/// Who was refused of late.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<Notices<SourceId, Stranger>>);

impl Context {
    /// Counts a refusal. One that is about who the client is gets into the log, once a minute.
    pub(super) fn refused(&self, peer: IpAddr, rejection: &Rejection) {
        self.metrics.rejected();
        self.board.refused();
        let status = rejection.status.as_u16();
        if !matches!(rejection.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            tracing::debug!(group = %self.group.name, %peer, status, reason = ?rejection.reason, "refused");
            return;
        }
        let source = rejection.source.clone().unwrap_or_else(|| peer.into());
        let reason = format!("{} ({status})", rejection.reason);
        self.note(Stranger { source, peer, reason });
    }

    /// The same for a connection that did not come to speak TLS.
    pub(super) fn refused_tls(&self, peer: IpAddr, refusal: &TlsRefusal) {
        if let TlsRefusal::Gone(error) = refusal {
            tracing::debug!(group = %self.group.name, %peer, error = error as &dyn std::error::Error, "hung up");
            return;
        }
        self.metrics.rejected();
        self.board.refused();
        self.note(Stranger {
            source: peer.into(),
            peer,
            reason: refusal.to_string(),
        });
    }

    fn note(&self, stranger: Stranger) {
        let mut notices = self.strangers.0.lock().unwrap_or_else(PoisonError::into_inner);
        let notice = notices.note(stranger.source.clone(), stranger, Instant::now());
        drop(notices);
        if let Some(notice) = notice {
            self.tell(&notice);
        }
    }

    /// Tells what was refused in the last minute and not told yet.
    pub(super) fn tell_overdue(&self) {
        let mut notices = self.strangers.0.lock().unwrap_or_else(PoisonError::into_inner);
        let overdue = notices.overdue(Instant::now());
        drop(notices);
        for notice in &overdue {
            self.tell(notice);
        }
    }

    fn tell(&self, notice: &Notice<Stranger>) {
        let Stranger { source, peer, reason } = &notice.last;
        let (group, more) = (&self.group.name, notice.more);
        tracing::warn!(%group, %source, %peer, reason = ?reason, more, "a source is refused");
    }
}

/// Somebody who may not send here.
#[derive(Debug)]
struct Stranger {
    /// Whom the refusal is about.
    source: SourceId,
    peer: IpAddr,
    reason: String,
}
