//! When to retry a failed batch, and when a destination that is down. No clock and no randomness in here.

use std::time::{Duration, Instant};

use logferry_config::{Backoff, DeliveryRetry};

/// The decision after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetryDecision {
    /// The wait until the next attempt.
    pub(crate) wait: Duration,
    /// The batch goes to `failed/`; otherwise it stays ready.
    pub(crate) gave_up: bool,
}

/// Decides after a failed attempt; `attempts` includes it. `jitter`: see [`Backoff::wait`].
pub(crate) fn decide_retry(
    retry: &DeliveryRetry,
    failed_every: Duration,
    attempts: u32,
    jitter: f64,
) -> RetryDecision {
    let gave_up = attempts >= retry.attempts;
    let wait = if gave_up {
        failed_every
    } else {
        retry.backoff.wait(attempts, jitter)
    };
    RetryDecision { wait, gave_up }
}

/// The first and the longest wait after a destination refused our credentials or showed an untrusted key. Frequent attempts
/// could lock the account or this host out, and only a person can repair the cause.
const SLOW: Backoff = Backoff {
    initial: Duration::from_mins(1),
    max: Duration::from_mins(10),
};

/// The same where each attempt leaves a file at the destination, or gives one to its receiver.
const RARE: Backoff = Backoff {
    initial: Duration::from_mins(10),
    max: Duration::from_hours(2),
};

/// The waits before a failed destination is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackoffKind {
    /// As configured: the destination may recover by itself.
    Configured,
    /// Longer ones.
    Slow,
    /// The longest ones.
    Rare,
    /// The configured one after the first failure, then the longest ones.
    RareIfRepeated,
}

/// The deliveries that are allowed to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// All.
    All,
    /// One batch, as a probe.
    Probe,
    /// None for this time.
    Wait(Duration),
    /// None until the probe has ended.
    Probing,
}

/// Stops attempts to a destination that is down, for a while.
///
/// While it is closed, all deliveries are allowed. A failure of the destination opens it: no delivery is allowed for a
/// time that grows with the failures in a row. Then one batch is delivered as a probe; its result closes or opens the
/// circuit breaker.
#[derive(Debug)]
pub(crate) struct CircuitBreaker {
    retry: Backoff,
    state: CircuitState,
}

#[derive(Debug, Clone, Copy)]
enum CircuitState {
    Closed,
    Open { failures: u32, until: Instant },
    Probing { failures: u32 },
}

impl CircuitBreaker {
    pub(crate) fn new(retry: DeliveryRetry) -> Self {
        Self {
            retry: retry.backoff,
            state: CircuitState::Closed,
        }
    }

    /// A delivery succeeded; returns whether that closes the breaker. During a wait it does not: deliveries that were in
    /// flight before may still succeed and prove nothing new.
    pub(crate) fn close(&mut self, now: Instant) -> bool {
        let counts = !matches!(self.admission(now), Admission::Wait(_));
        if counts {
            self.state = CircuitState::Closed;
        }
        counts
    }

    /// The destination failed. Failures during a wait do not count again.
    pub(crate) fn open(&mut self, kind: BackoffKind, now: Instant, jitter: f64) {
        let failures = match self.state {
            CircuitState::Closed => 1,
            CircuitState::Open { until, .. } if now < until => return,
            CircuitState::Probing { failures } | CircuitState::Open { failures, .. } => {
                failures.saturating_add(1)
            }
        };
        let backoff = match kind {
            BackoffKind::Configured => self.retry,
            BackoffKind::Slow => self.at_least(SLOW),
            BackoffKind::RareIfRepeated if failures == 1 => self.retry,
            BackoffKind::Rare | BackoffKind::RareIfRepeated => self.at_least(RARE),
        };
        let until = now + backoff.wait(failures, jitter);
        self.state = CircuitState::Open { failures, until };
    }

    fn at_least(&self, least: Backoff) -> Backoff {
        Backoff {
            initial: self.retry.initial.max(least.initial),
            max: self.retry.max.max(least.max),
        }
    }

    /// Ends the wait: the cause of the failure may be repaired.
    pub(crate) fn retry_now(&mut self, now: Instant) {
        if let CircuitState::Open { failures, .. } = self.state {
            self.state = CircuitState::Open { failures, until: now };
        }
    }

    /// A delivery ended without proving anything. If it was the probe, another one is allowed.
    pub(crate) fn probe_inconclusive(&mut self, now: Instant) {
        if let CircuitState::Probing { failures } = self.state {
            self.state = CircuitState::Open { failures, until: now };
        }
    }

    /// The deliveries allowed now.
    pub(crate) fn admission(&self, now: Instant) -> Admission {
        match self.state {
            CircuitState::Closed => Admission::All,
            CircuitState::Open { until, .. } if now < until => Admission::Wait(until - now),
            CircuitState::Open { .. } => Admission::Probe,
            CircuitState::Probing { .. } => Admission::Probing,
        }
    }

    /// The probe was queued.
    pub(crate) fn probe(&mut self) {
        if let CircuitState::Open { failures, .. } = self.state {
            self.state = CircuitState::Probing { failures };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RETRY: DeliveryRetry = DeliveryRetry {
        attempts: 3,
        backoff: Backoff {
            initial: Duration::from_secs(5),
            max: Duration::from_mins(5),
        },
    };

    /// Full waits.
    const NO_JITTER: f64 = 0.0;

    #[test]
    fn batch_is_given_up_after_its_attempts_and_goes_on_at_a_steady_pace() {
        let every = Duration::from_mins(1);
        for (attempts, wait, gave_up) in [
            (1, Duration::from_secs(5), false),
            (2, Duration::from_secs(10), false),
            (3, every, true),
            (400, every, true),
        ] {
            let decision = decide_retry(&RETRY, every, attempts, NO_JITTER);
            assert_eq!(decision, RetryDecision { wait, gave_up }, "{attempts}");
        }
    }

    #[test]
    fn circuit_opens_for_longer_each_time_and_closes_at_once() {
        let now = Instant::now();
        let mut circuit = CircuitBreaker::new(RETRY);
        assert_eq!(circuit.admission(now), Admission::All);
        circuit.open(BackoffKind::Configured, now, NO_JITTER);
        assert_eq!(circuit.admission(now), Admission::Wait(Duration::from_secs(5)));
        circuit.open(BackoffKind::Configured, now, NO_JITTER);
        assert_eq!(
            circuit.admission(now),
            Admission::Wait(Duration::from_secs(5)),
            "failures during a wait count once"
        );
        let later = now + Duration::from_secs(5);
        assert_eq!(circuit.admission(later), Admission::Probe);
        circuit.probe();
        assert_eq!(circuit.admission(later), Admission::Probing);
        circuit.open(BackoffKind::Configured, later, NO_JITTER);
        assert_eq!(circuit.admission(later), Admission::Wait(Duration::from_secs(10)));
        assert!(!circuit.close(later), "it was in flight before");
        let last = later + Duration::from_secs(10);
        assert!(circuit.close(last));
        assert_eq!(circuit.admission(later), Admission::All);
    }

    #[test]
    fn refused_credentials_are_retried_after_a_minute_and_then_ever_more_rarely() {
        let (mut now, mut waits) = (Instant::now(), Vec::new());
        let mut circuit = CircuitBreaker::new(RETRY);
        for _ in 0..6 {
            circuit.open(BackoffKind::Slow, now, NO_JITTER);
            let Admission::Wait(wait) = circuit.admission(now) else {
                panic!("open")
            };
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [60, 120, 240, 480, 600, 600]);
        circuit.open(BackoffKind::Slow, now, NO_JITTER);
        circuit.retry_now(now);
        assert_eq!(
            circuit.admission(now),
            Admission::Probe,
            "the credentials were changed"
        );
    }

    #[test]
    fn attempts_that_leave_a_file_behind_are_made_a_few_times_a_day() {
        let now = Instant::now();
        let mut circuit = CircuitBreaker::new(RETRY);
        circuit.open(BackoffKind::Rare, now, NO_JITTER);
        assert_eq!(circuit.admission(now), Admission::Wait(RARE.initial));
        let mut circuit = CircuitBreaker::new(RETRY);
        circuit.open(BackoffKind::RareIfRepeated, now, NO_JITTER);
        assert_eq!(circuit.admission(now), Admission::Wait(RETRY.backoff.initial));
        let later = now + RETRY.backoff.initial;
        circuit.open(BackoffKind::RareIfRepeated, later, NO_JITTER);
        assert_eq!(circuit.admission(later), Admission::Wait(RARE.initial * 2));
    }

    /// The events of a circuit breaker.
    #[derive(Debug, Clone, Copy)]
    enum CircuitEvent {
        Plan,
        Delivered,
        Failed(BackoffKind),
        NoVerdict,
        RetryNow,
        Passes(u64),
    }

    fn events() -> impl Strategy<Value = Vec<CircuitEvent>> {
        let event = prop_oneof![
            4 => Just(CircuitEvent::Plan),
            1 => Just(CircuitEvent::Delivered),
            3 => Just(CircuitEvent::Failed(BackoffKind::Configured)),
            1 => Just(CircuitEvent::Failed(BackoffKind::Slow)),
            1 => Just(CircuitEvent::Failed(BackoffKind::Rare)),
            1 => Just(CircuitEvent::Failed(BackoffKind::RareIfRepeated)),
            1 => Just(CircuitEvent::NoVerdict),
            1 => Just(CircuitEvent::RetryNow),
            4 => (0u64..400).prop_map(CircuitEvent::Passes),
        ];
        prop::collection::vec(event, 0..200)
    }

    proptest! {
        #[test]
        fn after_a_failure_only_one_probe_goes_out_at_a_time_and_never_before_half_the_first_wait(
            events in events(), jitter in 0.0..=1.0,
        ) {
            let (mut now, mut circuit) = (Instant::now(), CircuitBreaker::new(RETRY));
            let (mut probing, mut failed_at, mut down) = (false, None, false);
            for event in events {
                match event {
                    CircuitEvent::Passes(seconds) => now += Duration::from_secs(seconds),
                    CircuitEvent::Plan => match circuit.admission(now) {
                        Admission::All => prop_assert!(!down),
                        Admission::Probe => {
                            prop_assert!(down && !probing);
                            let first = RETRY.backoff.initial / 2;
                            prop_assert!(failed_at.is_none_or(|at| now >= at + first), "too early");
                            circuit.probe();
                            probing = true;
                        }
                        Admission::Wait(wait) => {
                            prop_assert!(down && !probing);
                            prop_assert!(wait <= RARE.max, "too long");
                        }
                        Admission::Probing => prop_assert!(probing, "no delivery would ever be allowed again"),
                    },
                    CircuitEvent::Delivered => {
                        if circuit.close(now) {
                            (probing, down) = (false, false);
                        }
                    }
                    CircuitEvent::Failed(kind) => {
                        let waits = matches!(circuit.admission(now), Admission::Wait(_));
                        circuit.open(kind, now, jitter);
                        if !waits {
                            failed_at = Some(now);
                        }
                        (probing, down) = (false, true);
                    }
                    CircuitEvent::NoVerdict => {
                        circuit.probe_inconclusive(now);
                        probing = false;
                    }
                    CircuitEvent::RetryNow => {
                        circuit.retry_now(now);
                        failed_at = None;
                    }
                }
            }
        }
    }
}
