//! Whether the response to a legacy upload was received.
//!
//! A legacy shipper posts a body again if it did not receive the response, and only then is it the same body. The relay
//! can observe only the connection, which it closes after the response: a client that has read the response closes it
//! too. If the client disconnected before or cannot be reached, the connection is reset or stays silent.
//!
//! Invariants:
//! - Of equal bodies of a source one is processed at a time, until it is known whether its response was received. Only
//!   then the next one is checked.
//! - Only the latest claim on a body can report that its response was received.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use logferry_http_server::LastResponse;
use logferry_ledger::UploadedBody;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::commit::{CommitJob, CommitQueue};

/// How long a body waits for the acknowledgement of an equal one. After that the response counts as lost.
const ACK_TIMEOUT: Duration = Duration::from_secs(3);

/// The bodies of a group that are processed now or have an unconfirmed response.
#[derive(Debug, Clone)]
pub(crate) struct AckTracker {
    bodies: Arc<Mutex<HashMap<UploadedBody, ClaimState>>>,
    commits: CommitQueue,
    timeout: Duration,
}

/// The current claim on a body.
#[derive(Debug)]
struct ClaimState {
    number: u64,
    released: CancellationToken,
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

    /// Waits until the body is free, or the timeout is over, and claims it.
    ///
    /// Cancel safe: a dropped wait has claimed nothing.
    pub(crate) async fn claim(&self, body: UploadedBody) -> PendingAck {
        let deadline = Instant::now() + self.timeout;
        loop {
            let released = self.lock().get(&body).map(|claim| claim.released.clone());
            let Some(released) = released else { break };
            if tokio::time::timeout_at(deadline, released.cancelled())
                .await
                .is_err()
            {
                break;
            }
        }
        let mut bodies = self.lock();
        let number = bodies.get(&body).map_or(0, |claim| claim.number + 1);
        let released = CancellationToken::new();
        bodies.insert(body.clone(), ClaimState { number, released });
        PendingAck {
            tracker: self.clone(),
            body,
            number,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UploadedBody, ClaimState>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The claim on a body whose response is not confirmed. Dropping it means that the response is lost.
#[derive(Debug)]
pub(crate) struct PendingAck {
    tracker: AckTracker,
    body: UploadedBody,
    number: u64,
}

impl PendingAck {
    /// The response was received.
    pub(crate) fn confirm(self) {
        let bodies = self.tracker.lock();
        if self.is_current(&bodies) {
            // Reported before the body is free: the next claim's chunk is queued after this job. A committer that has
            // stopped remembers the body, and treats its response as unconfirmed.
            let job = CommitJob::Acknowledged(self.body.clone());
            self.tracker.commits.submit(job);
        }
        drop(bodies);
    }

    fn is_current(&self, bodies: &HashMap<UploadedBody, ClaimState>) -> bool {
        let claim = bodies.get(&self.body);
        claim.is_some_and(|claim| claim.number == self.number)
    }
}

impl Drop for PendingAck {
    fn drop(&mut self) {
        let mut bodies = self.tracker.lock();
        if self.is_current(&bodies)
            && let Some(claim) = bodies.remove(&self.body)
        {
            claim.released.cancel();
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
        let first = tracker.claim(body("a")).await;
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
    async fn a_claim_that_was_replaced_does_not_report() {
        let (mut tracker, queue) = tracker();
        tracker.timeout = Duration::ZERO;
        let first = tracker.claim(body("a")).await;
        let second = tracker.claim(body("a")).await;
        first.confirm();
        assert_eq!(acknowledged(&queue), []);
        second.confirm();
        assert_eq!(acknowledged(&queue), [body("a")]);
        assert!(tracker.bodies.lock().expect("not poisoned").is_empty());
    }
}
