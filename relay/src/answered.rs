//! Whether the answer to an upload got through.
//!
//! An old shipper posts a body again when it did not hear the answer, and only then is it the same body. What the relay
//! can see of that is the connection, which it closes behind the answer: a client that has read the answer closes it
//! too. One that hung up before, or cannot be reached, leaves it reset or silent.
//!
//! Invariants:
//! - Of equal bodies of one source one is worked on at a time, until the fate of its answer is known: whoever posts it
//!   again is judged by that fate.
//! - Only the latest claim on a body can report that its answer got through.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use logferry_ledger::UploadedBody;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::pipeline::{Job, Pipeline};

/// How long a body waits for the fate of the answer to an equal one. After that, the answer is taken for lost.
const PATIENCE: Duration = Duration::from_secs(3);

/// The bodies of a group whose answers are under way.
#[derive(Debug, Clone)]
pub(crate) struct Claims {
    bodies: Arc<Mutex<HashMap<UploadedBody, Holder>>>,
    pipeline: Pipeline,
    patience: Duration,
}

/// Who works on a body.
#[derive(Debug)]
struct Holder {
    number: u64,
    done: CancellationToken,
}

impl Claims {
    /// No body; what got through is reported to `pipeline`.
    pub(crate) fn new(pipeline: Pipeline) -> Self {
        Self {
            bodies: Arc::default(),
            pipeline,
            patience: PATIENCE,
        }
    }

    /// Waits until nobody works on the body, or has done so for too long.
    ///
    /// Cancel safe: a dropped wait has taken nothing.
    pub(crate) async fn claim(&self, body: UploadedBody) -> Claim {
        let deadline = Instant::now() + self.patience;
        while let Some(done) = self.holder(&body) {
            if tokio::time::timeout_at(deadline, done.cancelled()).await.is_err() {
                break;
            }
        }
        self.take(body)
    }

    fn holder(&self, body: &UploadedBody) -> Option<CancellationToken> {
        let bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.get(body).map(|holder| holder.done.clone())
    }

    fn take(&self, body: UploadedBody) -> Claim {
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let number = bodies.get(&body).map_or(0, |holder| holder.number + 1);
        let done = CancellationToken::new();
        bodies.insert(body.clone(), Holder { number, done });
        Claim {
            claims: self.clone(),
            body,
            number,
        }
    }
}

/// The right to work on a body, and the duty to say what became of its answer. Dropped: the answer is lost.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Claims,
    body: UploadedBody,
    number: u64,
}

impl Claim {
    /// Reports that the answer has got through.
    pub(crate) fn got_through(self) {
        let bodies = self.claims.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        if bodies
            .get(&self.body)
            .is_some_and(|holder| holder.number == self.number)
        {
            // Before the body is free: whoever takes it next queues behind this. A committer that has stopped
            // remembers the body, and takes it for unanswered.
            let _ = self.claims.pipeline.submit(Job::Answered(self.body.clone()));
        }
        drop(bodies);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut bodies = self.claims.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        if bodies
            .get(&self.body)
            .is_some_and(|holder| holder.number == self.number)
            && let Some(holder) = bodies.remove(&self.body)
        {
            holder.done.cancel();
        }
    }
}

/// The upload that was answered last on a connection, until it is known whether the answer got through.
#[derive(Debug, Default)]
pub(crate) struct LastAnswer(Mutex<Option<Claim>>);

impl LastAnswer {
    /// The answer to this body goes out now.
    pub(crate) fn set(&self, claim: Claim) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(claim);
    }

    /// Whether an answer is under way.
    pub(crate) fn is_pending(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The client has shown that it has the answer.
    pub(crate) fn got_through(&self) {
        let claim = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(claim) = claim {
            claim.got_through();
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

    fn claims() -> (Claims, Receiver<Job>) {
        let (jobs, queue) = channel();
        (Claims::new(Pipeline::to(jobs)), queue)
    }

    fn answered(queue: &Receiver<Job>) -> Vec<UploadedBody> {
        let jobs = queue.try_iter().map(|job| match job {
            Job::Answered(body) => body,
            other => unreachable!("{other:?}"),
        });
        jobs.collect()
    }

    #[tokio::test]
    async fn an_equal_body_waits_for_the_fate_of_the_first() {
        let (claims, queue) = claims();
        let first = claims.claim(body("a")).await;
        let (second, ()) = tokio::join!(claims.claim(body("a")), async {
            claims.claim(body("b")).await;
            tokio::task::yield_now().await;
            assert!(answered(&queue).is_empty());
            first.got_through();
        });
        assert_eq!(
            answered(&queue),
            [body("a")],
            "it is reported before the second begins"
        );
        drop(second);
        assert_eq!(answered(&queue), [], "a claim that is dropped reports nothing");
        assert!(claims.bodies.lock().expect("not poisoned").is_empty());
    }

    #[tokio::test]
    async fn a_body_that_was_taken_over_does_not_report() {
        let (mut claims, queue) = claims();
        claims.patience = Duration::ZERO;
        let first = claims.claim(body("a")).await;
        let second = claims.claim(body("a")).await;
        first.got_through();
        assert_eq!(answered(&queue), []);
        second.got_through();
        assert_eq!(answered(&queue), [body("a")]);
        assert!(claims.bodies.lock().expect("not poisoned").is_empty());
    }
}
