//! When to try again after the relay failed, and how often to say so. Without I/O: time and chance are arguments.

use std::time::{Duration, Instant};

use logferry_config::Backoff;

use crate::error::{RequestError, RequestErrorKind};

/// The longest that the relay's `Retry-After` is heeded.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);
/// How often a trouble that lasts is said again.
const COMPLAINT_INTERVAL: Duration = Duration::from_mins(1);

/// The back-off towards the relay. Everything waits together: it is one relay.
#[derive(Debug)]
pub(crate) struct RelayBackoff {
    backoff: Backoff,
    /// Failed rounds since the last success.
    failures: u32,
    until: Option<Instant>,
    /// The first failure since the last success.
    failing_since: Option<Instant>,
    /// When trouble was last said; kept over a success, so that what comes and goes is not said each time.
    said: Option<Instant>,
    /// It was said and is not over.
    complained: bool,
}

impl RelayBackoff {
    /// A relay that has not failed yet.
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            failures: 0,
            until: None,
            failing_since: None,
            said: None,
            complained: false,
        }
    }

    /// Until when nothing must be sent; `None` if it may.
    pub(crate) fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|&until| now < until)
    }

    /// A request failed. `chance` in `0.0..1.0` spreads the senders that failed together.
    pub(crate) fn failed(&mut self, error: &RequestError, now: Instant, chance: f64) {
        // Requests that were out together are one failure.
        if self.waits_until(now).is_none() {
            self.failures = self.failures.saturating_add(1);
            let asked = error.retry_after().unwrap_or_default().min(RETRY_AFTER_MAX);
            let wait = self.backoff.wait(self.failures, 1.0 - chance).max(asked);
            self.until = Some(now + wait);
        }
        let since = *self.failing_since.get_or_insert(now);
        self.complain(error, since, now);
    }

    /// A request succeeded.
    pub(crate) fn succeeded(&mut self) {
        if std::mem::take(&mut self.complained) {
            tracing::info!("the relay takes chunks again");
        }
        self.failures = 0;
        self.until = None;
        self.failing_since = None;
    }

    fn complain(&mut self, error: &RequestError, since: Instant, now: Instant) {
        let error_value = error as &dyn std::error::Error;
        let lasts = now >= since + COMPLAINT_INTERVAL;
        if error.kind() == RequestErrorKind::Expected && !lasts {
            return tracing::debug!(error = error_value, "the relay is asked again");
        }
        if self.said.is_some_and(|at| now < at + COMPLAINT_INTERVAL) {
            return;
        }
        (self.said, self.complained) = (Some(now), true);
        match error.kind() {
            RequestErrorKind::Expected => {
                tracing::warn!(
                    error = error_value,
                    "the relay has put this sender off for a minute and more, it is tried again for ever"
                );
            }
            RequestErrorKind::Unreachable => {
                tracing::warn!(
                    error = error_value,
                    failures = self.failures,
                    "nothing can be shipped, it is tried again for ever"
                );
            }
            RequestErrorKind::Refused => {
                tracing::error!(
                    error = error_value,
                    "the relay refuses, it is tried again for ever; nothing is dropped"
                );
            }
        }
    }

    #[cfg(test)]
    fn is_complaining(&self) -> bool {
        self.complained
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

    fn wait(retry: &mut RelayBackoff, error: &RequestError, now: Instant, chance: f64) -> Duration {
        retry.failed(error, now, chance);
        retry.waits_until(now).expect("a wait") - now
    }

    #[test]
    fn waits_double_up_to_the_maximum_and_start_anew_after_a_success() {
        let (mut retry, mut now) = (retry(), Instant::now());
        for expected in [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
            let waited = wait(&mut retry, &RequestError::OffsetMismatch, now, 1.0);
            assert_eq!(waited, Duration::from_millis(expected));
            now += waited;
        }
        retry.succeeded();
        assert_eq!(retry.waits_until(now), None);
        assert_eq!(
            wait(&mut retry, &RequestError::OffsetMismatch, now, 0.0),
            Duration::from_millis(100)
        );
    }

    #[test]
    fn failures_that_come_together_count_once() {
        let (mut retry, now) = (retry(), Instant::now());
        for _ in 0..4 {
            assert_eq!(
                wait(&mut retry, &RequestError::OffsetMismatch, now, 1.0),
                Duration::from_millis(200)
            );
        }
    }

    #[test]
    fn the_relay_may_ask_for_a_longer_wait_but_not_for_ever() {
        let now = Instant::now();
        for (asked, waited) in [(0, 200), (5_000, 5_000), (9_000_000, 60_000)] {
            let retry_after = Some(Duration::from_millis(asked));
            let error = RequestError::Refused {
                relay: "r".into(),
                status: 503,
                reason: "full".into(),
                retry_after,
            };
            assert_eq!(
                wait(&mut retry(), &error, now, 1.0),
                Duration::from_millis(waited)
            );
        }
    }

    fn busy() -> RequestError {
        RequestError::Refused {
            relay: "r".into(),
            status: 503,
            reason: "full".into(),
            retry_after: None,
        }
    }

    #[test]
    fn a_relay_that_is_busy_for_a_moment_is_no_trouble_and_for_a_minute_it_is() {
        let (mut retry, now) = (retry(), Instant::now());
        retry.failed(&busy(), now, 0.0);
        retry.failed(&busy(), now + COMPLAINT_INTERVAL / 2, 0.0);
        assert!(!retry.is_complaining());
        retry.failed(&busy(), now + COMPLAINT_INTERVAL, 0.0);
        assert!(retry.is_complaining());
        retry.succeeded();
        assert!(!retry.is_complaining());
        retry.failed(&busy(), now + COMPLAINT_INTERVAL * 3, 0.0);
        assert!(!retry.is_complaining(), "it begins anew");
    }

    #[test]
    fn trouble_that_comes_and_goes_is_said_once_a_minute() {
        let (mut retry, now) = (retry(), Instant::now());
        let broken = RequestError::Lookup {
            host: "r".into(),
            source: std::io::ErrorKind::NotFound.into(),
        };
        retry.failed(&broken, now, 0.0);
        assert!(retry.is_complaining());
        retry.succeeded();
        retry.failed(&broken, now + Duration::from_secs(1), 0.0);
        assert!(!retry.is_complaining());
        retry.failed(&broken, now + COMPLAINT_INTERVAL, 0.0);
        assert!(retry.is_complaining());
    }
}
