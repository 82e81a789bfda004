//! When to try again: batches that failed, and destinations that are down. No clock and no randomness in here.

use std::time::{Duration, Instant};

use logferry_config::DeliveryRetry;

/// A number from 0 to 1 that spreads waits, so that what failed together does not come back together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Jitter(f64);

impl Jitter {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }
}

/// How waits grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Backoff {
    initial: Duration,
    max: Duration,
}

impl From<DeliveryRetry> for Backoff {
    fn from(retry: DeliveryRetry) -> Self {
        Self {
            initial: retry.initial,
            max: retry.max,
        }
    }
}

impl Backoff {
    /// The wait after so many failures in a row: doubling from `initial` up to `max`, then cut by up to half.
    fn wait(self, failures: u32, jitter: Jitter) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.initial.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(1.0 - jitter.0.clamp(0.0, 1.0) / 2.0)
    }
}

/// What becomes of a batch after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryDecision {
    /// It stays ready, and is tried again after the wait.
    TryAgain(Duration),
    /// It goes to `failed/`, and is tried again after the wait.
    GiveUp(Duration),
}

/// Judges a failed attempt; `attempts` counts it and those before it.
pub(crate) fn decide_retry(
    retry: &DeliveryRetry,
    failed_every: Duration,
    attempts: u32,
    jitter: Jitter,
) -> RetryDecision {
    if attempts >= retry.attempts {
        RetryDecision::GiveUp(failed_every)
    } else {
        RetryDecision::TryAgain(Backoff::from(*retry).wait(attempts, jitter))
    }
}

/// The first and the longest wait after a destination refused our credentials, or was not to be trusted: trying often
/// could have the account locked or this host shut out, and it takes a person to mend it.
const SLOW: Backoff = Backoff {
    initial: Duration::from_mins(1),
    max: Duration::from_mins(10),
};

/// How soon a destination that failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackoffKind {
    /// As configured: it may come back by itself.
    Configured,
    /// Rarely.
    Slow,
}

/// What may be put out for a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Everything.
    All,
    /// One batch, to see whether it is up again.
    Probe,
    /// Nothing before so long.
    Wait(Duration),
    /// Nothing before the probe has come to an end.
    Probing,
}

/// Keeps a destination that is down from being tried without pause.
///
/// Closed, everything goes out. A failure of the destination opens it: nothing goes out for a time that grows with the
/// failures in a row. Then one batch goes out as a probe, and what comes of it closes or opens the circuit.
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
            retry: retry.into(),
            state: CircuitState::Closed,
        }
    }

    /// The destination answered as it should; whether that counts. While it is left alone, what was on its way already
    /// may still arrive, and says nothing new.
    pub(crate) fn close(&mut self, now: Instant) -> bool {
        let counts = !matches!(self.admission(now), Admission::Wait(_));
        if counts {
            self.state = CircuitState::Closed;
        }
        counts
    }

    /// The destination failed. What fails together counts once.
    pub(crate) fn open(&mut self, kind: BackoffKind, now: Instant, jitter: Jitter) {
        let failures = match self.state {
            CircuitState::Closed => 1,
            CircuitState::Open { until, .. } if now < until => return,
            CircuitState::Probing { failures } | CircuitState::Open { failures, .. } => {
                failures.saturating_add(1)
            }
        };
        let backoff = match kind {
            BackoffKind::Configured => self.retry,
            BackoffKind::Slow => Backoff {
                initial: self.retry.initial.max(SLOW.initial),
                max: self.retry.max.max(SLOW.max),
            },
        };
        let until = now + backoff.wait(failures, jitter);
        self.state = CircuitState::Open { failures, until };
    }

    /// What mattered has changed: it need not be waited for any longer.
    pub(crate) fn retry_now(&mut self, now: Instant) {
        if let CircuitState::Open { failures, .. } = self.state {
            self.state = CircuitState::Open { failures, until: now };
        }
    }

    /// A batch came back, and nothing can be told from that: if it was the probe, another may go.
    pub(crate) fn probe_inconclusive(&mut self, now: Instant) {
        if let CircuitState::Probing { failures } = self.state {
            self.state = CircuitState::Open { failures, until: now };
        }
    }

    /// What may be put out now.
    pub(crate) fn admission(&self, now: Instant) -> Admission {
        match self.state {
            CircuitState::Closed => Admission::All,
            CircuitState::Open { until, .. } if now < until => Admission::Wait(until - now),
            CircuitState::Open { .. } => Admission::Probe,
            CircuitState::Probing { .. } => Admission::Probing,
        }
    }

    /// The probe is put out.
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
        initial: Duration::from_secs(5),
        max: Duration::from_mins(5),
    };

    /// A circuit's waits: nobody is held up by chance.
    const NO_JITTER: Jitter = Jitter(0.0);

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits: Vec<_> = [1, 2, 3, 7, 8, u32::MAX]
            .map(|failures| Backoff::from(RETRY).wait(failures, NO_JITTER).as_secs())
            .into();
        assert_eq!(waits, [5, 10, 20, 300, 300, 300]);
    }

    #[test]
    fn batch_is_given_up_after_its_attempts_and_goes_on_at_a_steady_pace() {
        let every = Duration::from_mins(1);
        let decide_retry = |attempts| decide_retry(&RETRY, every, attempts, NO_JITTER);
        assert_eq!(decide_retry(1), RetryDecision::TryAgain(Duration::from_secs(5)));
        assert_eq!(decide_retry(2), RetryDecision::TryAgain(Duration::from_secs(10)));
        assert_eq!(decide_retry(3), RetryDecision::GiveUp(every));
        assert_eq!(decide_retry(400), RetryDecision::GiveUp(every));
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
            "what fails together counts once"
        );
        let later = now + Duration::from_secs(5);
        assert_eq!(circuit.admission(later), Admission::Probe);
        circuit.probe();
        assert_eq!(circuit.admission(later), Admission::Probing);
        circuit.open(BackoffKind::Configured, later, NO_JITTER);
        assert_eq!(circuit.admission(later), Admission::Wait(Duration::from_secs(10)));
        assert!(!circuit.close(later), "that was on its way before");
        let last = later + Duration::from_secs(10);
        assert!(circuit.close(last));
        assert_eq!(circuit.admission(later), Admission::All);
    }

    #[test]
    fn refused_credentials_are_tried_a_minute_later_and_then_ever_more_rarely() {
        let (mut now, mut waits) = (Instant::now(), Vec::new());
        let mut circuit = CircuitBreaker::new(RETRY);
        for _ in 0..6 {
            circuit.open(BackoffKind::Slow, now, NO_JITTER);
            let Admission::Wait(wait) = circuit.admission(now) else {
                panic!("it is open")
            };
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [60, 120, 240, 480, 600, 600]);
        circuit.open(BackoffKind::Slow, now, NO_JITTER);
        circuit.retry_now(now);
        assert_eq!(circuit.admission(now), Admission::Probe, "they were changed");
    }

    /// What can happen to a circuit.
    #[derive(Debug, Clone, Copy)]
    enum CircuitEvent {
        Plan,
        Delivered,
        Failed(BackoffKind),
        NoVerdict,
        RetryNow,
        Passes(u64),
    }

    fn turns() -> impl Strategy<Value = Vec<CircuitEvent>> {
        let turn = prop_oneof![
            4 => Just(CircuitEvent::Plan),
            1 => Just(CircuitEvent::Delivered),
            3 => Just(CircuitEvent::Failed(BackoffKind::Configured)),
            1 => Just(CircuitEvent::Failed(BackoffKind::Slow)),
            1 => Just(CircuitEvent::NoVerdict),
            1 => Just(CircuitEvent::RetryNow),
            4 => (0u64..400).prop_map(CircuitEvent::Passes),
        ];
        prop::collection::vec(turn, 0..200)
    }

    proptest! {
        #[test]
        fn waits_stay_within_half_of_the_full_wait_and_the_longest(
            failures in any::<u32>(), jitter in 0.0..=1.0, initial in 1u64..100_000, extra in 0u64..10_000_000,
        ) {
            let initial = Duration::from_millis(initial);
            let backoff = Backoff { initial, max: initial + Duration::from_millis(extra) };
            let wait = backoff.wait(failures, Jitter(jitter));
            prop_assert!(wait <= backoff.max);
            prop_assert!(wait * 2 + Duration::from_millis(1) >= initial);
        }

        #[test]
        fn after_a_failure_only_one_probe_goes_out_at_a_time_and_never_before_half_the_first_wait(
            turns in turns(), jitter in 0.0..=1.0,
        ) {
            let (mut now, mut circuit) = (Instant::now(), CircuitBreaker::new(RETRY));
            let (mut probing, mut failed_at, mut down) = (false, None, false);
            for turn in turns {
                match turn {
                    CircuitEvent::Passes(seconds) => now += Duration::from_secs(seconds),
                    CircuitEvent::Plan => match circuit.admission(now) {
                        Admission::All => prop_assert!(!down),
                        Admission::Probe => {
                            prop_assert!(down && !probing);
                            let first = RETRY.initial / 2;
                            prop_assert!(failed_at.is_none_or(|at| now >= at + first), "too early");
                            circuit.probe();
                            probing = true;
                        }
                        Admission::Wait(wait) => {
                            prop_assert!(down && !probing);
                            prop_assert!(wait <= SLOW.max, "for ever");
                        }
                        Admission::Probing => prop_assert!(probing, "nothing would ever go out again"),
                    },
                    CircuitEvent::Delivered => {
                        if circuit.close(now) {
                            (probing, down) = (false, false);
                        }
                    }
                    CircuitEvent::Failed(kind) => {
                        let waits = matches!(circuit.admission(now), Admission::Wait(_));
                        circuit.open(kind, now, Jitter(jitter));
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
