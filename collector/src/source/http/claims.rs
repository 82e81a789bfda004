//! Whether the answer to a request has arrived.
//!
//! A client posts a body again if it did not get the answer, and only then is it the same body. Whether the answer has arrived
//! shows in the connection: the client sends its next request on it, or closes it without an error after it has read the answer.
//! A client that gave up before resets the connection when the answer reaches its host.
//!
//! Invariants:
//! - Of equal requests one is worked on at a time, until it is known whether its answer has arrived. Only then the next one.
//! - Only the latest claim on a request can say that its answer has arrived.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use logferry_http_server::LastResponse;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::capture::{CaptureHandle, RequestKey};
use crate::source::http::socket_table::{ConnectionAddresses, has_taken_all};

/// How long a request waits for the end of an equal one. After that it is refused, and comes again.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// After how long somebody who waits first asks the kernel whether the answer was taken. The pause doubles each time.
const ASK_FIRST: Duration = Duration::from_millis(5);

/// The longest pause between two such questions.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// Those who wait for a claim. The first holds it.
type WaitQueue = tokio::sync::Mutex<()>;

/// The requests that are worked on, or were answered and not confirmed.
#[derive(Debug, Clone)]
pub(super) struct Claims {
    requests: Arc<Mutex<HashMap<RequestKey, Claim>>>,
    /// The number of the next claim.
    next: Arc<AtomicU64>,
    capture: CaptureHandle,
}

#[derive(Debug)]
struct Claim {
    number: u64,
    released: CancellationToken,
    queue: Arc<WaitQueue>,
    /// The connection on which it was answered.
    answered: Option<ConnectionAddresses>,
}

/// What somebody who waits keeps of the claim before.
#[derive(Debug)]
struct EarlierClaim {
    number: u64,
    released: CancellationToken,
    queue: Arc<WaitQueue>,
}

impl Claims {
    pub(super) fn new(capture: CaptureHandle) -> Self {
        Self {
            requests: Arc::default(),
            next: Arc::default(),
            capture,
        }
    }

    /// Waits until no equal request is worked on, and claims this one. `None` if that takes too long: nobody knows then whether
    /// this request is a repeat, so it must come again.
    ///
    /// Cancel safe: a dropped wait has claimed nothing.
    pub(super) async fn claim(&self, key: RequestKey) -> Option<PendingAnswer> {
        let deadline = Instant::now() + WAIT_MAX;
        let queue = match self.try_claim(key, Arc::default()) {
            Ok(pending) => return Some(pending),
            Err(earlier) => earlier.queue,
        };
        // Only the first of those who wait asks the kernel.
        let _first = tokio::time::timeout_at(deadline, queue.lock()).await.ok()?;
        loop {
            match self.try_claim(key, Arc::clone(&queue)) {
                Ok(pending) => return Some(pending),
                Err(earlier) => self.wait_for_end(key, &earlier, deadline).await?,
            }
        }
    }

    /// Waits until the earlier claim on the request has ended; `None` at the deadline.
    async fn wait_for_end(&self, key: RequestKey, earlier: &EarlierClaim, deadline: Instant) -> Option<()> {
        let mut pause = ASK_FIRST;
        loop {
            let until = deadline.min(Instant::now() + pause);
            if tokio::time::timeout_at(until, earlier.released.cancelled())
                .await
                .is_ok()
            {
                return Some(());
            }
            let answered = self
                .lock()
                .get(&key)
                .filter(|claim| claim.number == earlier.number)
                .and_then(|claim| claim.answered);
            // The other host has all of the answer: it is another client, which posts an equal record.
            if answered.is_some_and(has_taken_all) {
                self.confirm(key, earlier.number);
                return Some(());
            }
            if Instant::now() >= deadline {
                return None;
            }
            pause = (pause * 2).min(ASK_INTERVAL);
        }
    }

    /// Claims the request with this queue of those who wait for it, or says who has claimed it.
    fn try_claim(&self, key: RequestKey, queue: Arc<WaitQueue>) -> Result<PendingAnswer, EarlierClaim> {
        // Looked up and entered under one lock: of two who were woken together one gets it.
        let mut requests = self.lock();
        if let Some(claim) = requests.get(&key) {
            return Err(EarlierClaim {
                number: claim.number,
                released: claim.released.clone(),
                queue: Arc::clone(&claim.queue),
            });
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let claim = Claim {
            number,
            released: CancellationToken::new(),
            queue,
            answered: None,
        };
        requests.insert(key, claim);
        Ok(PendingAnswer {
            claims: self.clone(),
            key,
            number,
        })
    }

    /// The answer to this request has arrived, if the claim on it is still this one.
    fn confirm(&self, key: RequestKey, number: u64) {
        let mut requests = self.lock();
        let is_current = requests.get(&key).is_some_and(|claim| claim.number == number);
        if is_current && let Some(claim) = requests.remove(&key) {
            // Said before the next equal request can be appended.
            self.capture.confirm(key);
            claim.released.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RequestKey, Claim>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The claim on a request whose answer is not known to have arrived. Dropping it means that the answer is lost.
#[derive(Debug)]
pub(super) struct PendingAnswer {
    claims: Claims,
    key: RequestKey,
    number: u64,
}

impl PendingAnswer {
    /// The answer was given to the kernel on this connection.
    fn answered(&self, on: Option<ConnectionAddresses>) {
        if let Some(claim) = self.claims.lock().get_mut(&self.key)
            && claim.number == self.number
        {
            claim.answered = on;
        }
    }
}

impl Drop for PendingAnswer {
    fn drop(&mut self) {
        let mut requests = self.claims.lock();
        let is_current = requests
            .get(&self.key)
            .is_some_and(|claim| claim.number == self.number);
        if is_current && let Some(claim) = requests.remove(&self.key) {
            claim.released.cancel();
        }
    }
}

/// The last answer on a connection, until it is known whether it has arrived.
#[derive(Debug, Default)]
pub(super) struct UnconfirmedAnswer {
    pending: Mutex<Option<PendingAnswer>>,
    /// Whether bytes of it went out.
    is_written: AtomicBool,
    connection: Option<ConnectionAddresses>,
}

impl UnconfirmedAnswer {
    /// No answer yet on this connection.
    pub(super) fn on(connection: Option<ConnectionAddresses>) -> Self {
        Self {
            pending: Mutex::default(),
            is_written: AtomicBool::new(false),
            connection,
        }
    }

    /// The answer to this request goes out next.
    pub(super) fn set(&self, pending: PendingAnswer) {
        self.is_written.store(false, Ordering::Release);
        *self.lock() = Some(pending);
    }

    fn lock(&self) -> MutexGuard<'_, Option<PendingAnswer>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LastResponse for UnconfirmedAnswer {
    fn is_pending(&self) -> bool {
        self.lock().is_some() && self.is_written.load(Ordering::Acquire)
    }

    fn written(&self) {
        self.is_written.store(true, Ordering::Release);
        // Not before: the kernel has nothing left to send also while nothing of the answer was given to it.
        if let Some(pending) = &*self.lock() {
            pending.answered(self.connection);
        }
    }

    fn confirm(&self) {
        let pending = self.lock().take();
        if let Some(pending) = pending {
            pending.claims.confirm(pending.key, pending.number);
        }
    }

    fn closing(&self) {
        if self.connection.is_some_and(has_taken_all) {
            self.confirm();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::testing::memory_capture;

    fn key(text: &str) -> RequestKey {
        RequestKey::of(&[text.as_bytes()])
    }

    #[tokio::test]
    async fn equal_request_waits_until_the_first_is_confirmed() {
        let claims = Claims::new(memory_capture(None).0);
        let answer = UnconfirmedAnswer::default();
        answer.set(claims.claim(key("a")).await.expect("free"));
        let (second, ()) = tokio::join!(claims.claim(key("a")), async {
            drop(claims.claim(key("b")).await);
            tokio::task::yield_now().await;
            assert!(!answer.is_pending(), "nothing of it went out");
            answer.written();
            assert!(answer.is_pending());
            answer.confirm();
        });
        assert!(!answer.is_pending());
        drop(second);
        assert!(claims.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn request_that_waits_too_long_for_an_equal_one_is_no_repeat_of_it() {
        let claims = Claims::new(memory_capture(None).0);
        let first = UnconfirmedAnswer::default();
        first.set(claims.claim(key("a")).await.expect("free"));
        // Nobody knows what became of the first answer: who waits is sent away, and the claim stays.
        let waits = [claims.claim(key("a")), claims.claim(key("a"))];
        for refused in futures_of(waits).await {
            assert!(refused.is_none());
        }
        assert_eq!(claims.lock().len(), 1, "the first claim is still there");
        first.confirm();
        assert!(claims.claim(key("a")).await.is_some());
        assert!(claims.lock().is_empty());
    }

    async fn futures_of<F: Future>([one, other]: [F; 2]) -> [F::Output; 2] {
        tokio::join!(one, other).into()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_many_equal_requests_one_at_a_time_is_worked_on() {
        let claims = Claims::new(memory_capture(None).0);
        let working = Arc::new(AtomicU64::new(0));
        let mut requests = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let (claims, working) = (claims.clone(), Arc::clone(&working));
            requests.spawn(async move {
                let pending = claims.claim(key("a")).await.expect("in time");
                assert_eq!(
                    working.fetch_add(1, Ordering::SeqCst),
                    0,
                    "nobody else works on it"
                );
                tokio::task::yield_now().await;
                working.fetch_sub(1, Ordering::SeqCst);
                claims.confirm(key("a"), pending.number);
            });
        }
        assert_eq!(requests.join_all().await.len(), 100);
        assert!(claims.lock().is_empty());
    }
}
