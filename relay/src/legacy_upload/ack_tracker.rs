//! Whether the response to a legacy upload was received.
//!
//! A legacy shipper posts a body again if it did not receive the response, and only then is it the same body. The relay
//! can observe only the connection, which it closes after the response: a client that has read the response closes it
//! too. If the client disconnected before or cannot be reached, the connection is reset or stays silent.
//!
//! Invariants:
//! - Of equal bodies of a source one is processed at a time, until it is known whether its response was received. Only
//!   then the next one is checked.
//! - A claim ends only with its connection: so nothing replaces it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use logferry_http_server::LastResponse;
use logferry_ledger::UploadedBody;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::commit::{CommitJob, CommitQueue};

/// How long a body waits for the acknowledgement of an equal one. After that it is refused, and comes again.
const ACK_TIMEOUT: Duration = Duration::from_secs(3);

/// The bodies of a group that are processed now or have an unconfirmed response.
#[derive(Debug, Clone)]
pub(crate) struct AckTracker {
    /// Each with what says that it is free.
    bodies: Arc<Mutex<HashMap<UploadedBody, CancellationToken>>>,
    commits: CommitQueue,
    timeout: Duration,
}

impl AckTracker {
    /// No body. Received responses are reported to `commits`.
    pub(crate) fn new(commits: CommitQueue) -> Self {
        Self {
            bodies: Arc::default(),
            commits,
            timeout: ACK_TIMEOUT,
        }
    }

    /// Waits until the body is free, and claims it. `None` if that takes too long: nobody knows then whether this body is a
    /// repeat, so it must come again.
    ///
    /// Cancel safe: a dropped wait has claimed nothing.
    pub(crate) async fn claim(&self, body: UploadedBody) -> Option<PendingAck> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let released = match self.try_claim(&body) {
                Ok(pending) => return Some(pending),
                Err(released) => released,
            };
            tokio::time::timeout_at(deadline, released.cancelled())
                .await
                .ok()?;
        }
    }

    /// Claims the body, or gives what says that it is free.
    fn try_claim(&self, body: &UploadedBody) -> Result<PendingAck, CancellationToken> {
        // Looked up and entered under one lock: of two who were woken together one gets it.
        let mut bodies = self.lock();
        if let Some(released) = bodies.get(body) {
            return Err(released.clone());
        }
        bodies.insert(body.clone(), CancellationToken::new());
        Ok(PendingAck {
            tracker: self.clone(),
            body: body.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UploadedBody, CancellationToken>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The claim on a body whose response is not confirmed. Dropping it means that the response is lost.
#[derive(Debug)]
pub(crate) struct PendingAck {
    tracker: AckTracker,
    body: UploadedBody,
}

impl PendingAck {
    /// The response was received.
    pub(crate) fn confirm(self) {
        // Reported before the body is free: the next claim's chunk is queued after this job. A committer that has
        // stopped remembers the body, and treats its response as unconfirmed.
        let job = CommitJob::Acknowledged(self.body.clone());
        self.tracker.commits.submit(job);
    }
}

impl Drop for PendingAck {
    fn drop(&mut self) {
        if let Some(released) = self.tracker.lock().remove(&self.body) {
            released.cancel();
        }
    }
}

/// The last upload of a connection, until it is known whether its response was received.
#[derive(Debug, Default)]
pub(crate) struct UnconfirmedResponse(Mutex<Option<PendingAck>>);

impl UnconfirmedResponse {
    /// The response to this body is sent now.
    pub(crate) fn set(&self, pending: PendingAck) {
        *self.lock() = Some(pending);
    }

    fn lock(&self) -> MutexGuard<'_, Option<PendingAck>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LastResponse for UnconfirmedResponse {
    fn is_pending(&self) -> bool {
        self.lock().is_some()
    }

    fn confirm(&self) {
        let pending = self.lock().take();
        if let Some(pending) = pending {
            pending.confirm();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use logferry_protocol::stream::Hash16;

    use super::*;

    fn body(text: &str) -> UploadedBody {
        UploadedBody {
            source: "198.51.100.1".parse().expect("valid"),
            lines: Hash16::of(text.as_bytes()),
        }
    }

    fn tracker() -> (AckTracker, Receiver<CommitJob>) {
        let (jobs, queue) = channel();
        (AckTracker::new(CommitQueue::to(jobs)), queue)
    }

    fn acknowledged(queue: &Receiver<CommitJob>) -> Vec<UploadedBody> {
        let jobs = queue.try_iter().map(|job| match job {
            CommitJob::Acknowledged(body) => body,
            other => unreachable!("{other:?}"),
        });
        jobs.collect()
    }

    #[tokio::test]
    async fn an_equal_body_waits_for_the_acknowledgement_of_the_first() {
        let (tracker, queue) = tracker();
        let first = tracker.claim(body("a")).await.expect("free");
        let (second, ()) = tokio::join!(tracker.claim(body("a")), async {
            tracker.claim(body("b")).await;
            tokio::task::yield_now().await;
            assert!(acknowledged(&queue).is_empty());
            first.confirm();
        });
        assert_eq!(
            acknowledged(&queue),
            [body("a")],
            "it is reported before the second begins"
        );
        drop(second);
        assert_eq!(acknowledged(&queue), [], "a dropped claim reports nothing");
        assert!(tracker.bodies.lock().expect("not poisoned").is_empty());
    }

    #[tokio::test]
    async fn a_body_that_waits_too_long_for_an_equal_one_is_no_repeat_of_it() {
        let (mut tracker, queue) = tracker();
        tracker.timeout = Duration::ZERO;
        let first = tracker.claim(body("a")).await.expect("free");
        assert!(tracker.claim(body("a")).await.is_none());
        first.confirm();
        assert_eq!(acknowledged(&queue), [body("a")]);
        assert!(tracker.bodies.lock().expect("not poisoned").is_empty());
    }
}
