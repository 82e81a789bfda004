//! When to try again after a failed request, and how often to log it. No I/O: time and randomness are arguments.

use std::error::Error;
use std::time::{Duration, Instant};

use logferry_config::Backoff;

use crate::error::{RequestError, RequestErrorKind};

/// A longer `Retry-After` of the relay counts as this.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);
/// How often a lasting failure is logged.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// The back-off from the relay. All requests wait together, because there is one relay.
#[derive(Debug)]
pub(crate) struct RelayBackoff {
    backoff: Backoff,
    failures: u32,
    until: Option<Instant>,
    failing_since: Option<Instant>,
    /// When a failure was last logged. Kept over a success, so that a failure that comes and goes is not logged each time.
    logged_at: Option<Instant>,
    /// A failure was logged, and no success since.
    is_logged: bool,
}

impl RelayBackoff {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            failures: 0,
            until: None,
            failing_since: None,
            logged_at: None,
            is_logged: false,
        }
    }

    /// Until when nothing may be sent; `None` if it may be sent now.
    pub(crate) fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|&until| now < until)
    }

    /// A request failed. `jitter` in `0.0..=1.0` spreads the senders that failed together.
    pub(crate) fn failed(&mut self, error: &RequestError, now: Instant, jitter: f64) {
        // Requests that were open together count as one failure.
        if self.waits_until(now).is_none() {
            self.failures = self.failures.saturating_add(1);
            let asked = error.retry_after().unwrap_or_default().min(RETRY_AFTER_MAX);
            let wait = self.backoff.wait(self.failures, jitter).max(asked);
            self.until = Some(now + wait);
        }
        let since = *self.failing_since.get_or_insert(now);
        self.log(error, since, now);
    }

    pub(crate) fn succeeded(&mut self) {
        if std::mem::take(&mut self.is_logged) {
            tracing::info!("the relay accepts chunks again");
        }
        self.failures = 0;
        self.until = None;
        self.failing_since = None;
    }

    fn log(&mut self, error: &RequestError, since: Instant, now: Instant) {
        let (kind, error) = (error.kind(), error as &dyn Error);
        if kind == RequestErrorKind::Expected && now < since + LOG_INTERVAL {
            return tracing::debug!(error, "a request is repeated after a wait");
        }
        if self.logged_at.is_some_and(|at| now < at + LOG_INTERVAL) {
            return;
        }
        (self.logged_at, self.is_logged) = (Some(now), true);
        match kind {
            RequestErrorKind::Expected => tracing::warn!(
                error,
                "the relay has answered for more than a minute that this sender must wait; requests are repeated"
            ),
            RequestErrorKind::Unreachable => tracing::warn!(
                error,
                failures = self.failures,
                "nothing can be shipped to the relay; requests are repeated"
            ),
            RequestErrorKind::Refused => tracing::error!(
                error,
                "the relay refuses, or the settings for it are wrong; requests are repeated, no line is dropped"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry() -> RelayBackoff {
        RelayBackoff::new(Backoff {
            initial: Duration::from_millis(200),
            max: Duration::from_secs(30),
        })
    }

    fn wait(retry: &mut RelayBackoff, error: &RequestError, now: Instant, jitter: f64) -> Duration {
        retry.failed(error, now, jitter);
        retry.waits_until(now).expect("a wait") - now
    }

    #[test]
    fn waits_double_up_to_the_maximum_and_start_again_after_a_success() {
        let (mut retry, mut now) = (retry(), Instant::now());
        for expected in [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
            let waited = wait(&mut retry, &RequestError::OffsetMismatch, now, 0.0);
            assert_eq!(waited, Duration::from_millis(expected));
            now += waited;
        }
        retry.succeeded();
        assert_eq!(retry.waits_until(now), None);
        let waited = wait(&mut retry, &RequestError::OffsetMismatch, now, 1.0);
        assert_eq!(waited, Duration::from_millis(100));
    }

    #[test]
    fn failures_that_come_together_count_once() {
        let (mut retry, now) = (retry(), Instant::now());
        for _ in 0..4 {
            let waited = wait(&mut retry, &RequestError::OffsetMismatch, now, 0.0);
            assert_eq!(waited, Duration::from_millis(200));
        }
    }

    #[test]
    fn the_relay_may_ask_for_a_longer_wait_but_not_for_ever() {
        let now = Instant::now();
        for (asked, waited) in [(0, 200), (5_000, 5_000), (9_000_000, 60_000)] {
            let error = busy(Some(Duration::from_millis(asked)));
            let wait = wait(&mut retry(), &error, now, 0.0);
            assert_eq!(wait, Duration::from_millis(waited));
        }
    }

    fn busy(retry_after: Option<Duration>) -> RequestError {
        RequestError::Refused {
            relay: "r".into(),
            status: 503,
            reason: "full".into(),
            retry_after,
        }
    }

    #[test]
    fn a_relay_that_is_busy_is_logged_after_a_minute() {
        let (mut retry, now) = (retry(), Instant::now());
        retry.failed(&busy(None), now, 0.0);
        retry.failed(&busy(None), now + LOG_INTERVAL / 2, 0.0);
        assert!(!retry.is_logged);
        retry.failed(&busy(None), now + LOG_INTERVAL, 0.0);
        assert!(retry.is_logged);
        retry.succeeded();
        assert!(!retry.is_logged);
        retry.failed(&busy(None), now + LOG_INTERVAL * 3, 0.0);
        assert!(!retry.is_logged, "a new failure");
    }

    #[test]
    fn a_failure_that_comes_and_goes_is_logged_once_a_minute() {
        let (mut retry, now) = (retry(), Instant::now());
        let broken = RequestError::Lookup("r".into(), std::io::ErrorKind::NotFound.into());
        retry.failed(&broken, now, 0.0);
        assert!(retry.is_logged);
        retry.succeeded();
        retry.failed(&broken, now + Duration::from_secs(1), 0.0);
        assert!(!retry.is_logged);
        retry.failed(&broken, now + LOG_INTERVAL, 0.0);
        assert!(retry.is_logged);
    }
}
