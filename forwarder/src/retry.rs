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

/// The wait after so many failures in a row: doubling from `initial` up to `max`, then cut by up to half.
pub(crate) fn backoff(retry: &DeliveryRetry, failures: u32, jitter: Jitter) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let full = retry.initial.saturating_mul(1 << doublings).min(retry.max);
    full.mul_f64(1.0 - jitter.0.clamp(0.0, 1.0) / 2.0)
}

/// What becomes of a batch after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stays ready, and is tried again after the wait.
    TryAgain(Duration),
    /// It goes to `failed/`, and is tried again after the wait.
    GiveUp(Duration),
}

/// Judges a failed attempt; `attempts` counts it and those before it.
pub(crate) fn judge(retry: &DeliveryRetry, failed_every: Duration, attempts: u32, jitter: Jitter) -> Verdict {
    if attempts >= retry.attempts {
        Verdict::GiveUp(failed_every)
    } else {
        Verdict::TryAgain(backoff(retry, attempts, jitter))
    }
}

/// Keeps a destination that is down from being tried without pause.
#[derive(Debug)]
pub(crate) struct Circuit {
    retry: DeliveryRetry,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed,
    Open { failures: u32, until: Instant },
}

impl Circuit {
    pub(crate) fn new(retry: DeliveryRetry) -> Self {
        Self {
            retry,
            state: State::Closed,
        }
    }

    /// The destination answered as it should.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
    }

    /// The destination failed.
    pub(crate) fn open(&mut self, now: Instant, jitter: Jitter) {
        let failures = match self.state {
            State::Closed => 1,
            State::Open { failures, .. } => failures.saturating_add(1),
        };
        let until = now + backoff(&self.retry, failures, jitter);
        self.state = State::Open { failures, until };
    }

    /// The destination refused our credentials: no quick second try, which could have the account locked.
    pub(crate) fn open_for_long(&mut self, now: Instant) {
        let (failures, until) = (u32::MAX, now + self.retry.max);
        self.state = State::Open { failures, until };
    }

    /// How long the destination must still be left alone.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Closed => None,
            State::Open { until, .. } => {
                Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
            }
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

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits: Vec<_> = [1, 2, 3, 7, 8, u32::MAX]
            .map(|failures| backoff(&RETRY, failures, Jitter(0.0)).as_secs())
            .into();
        assert_eq!(waits, [5, 10, 20, 300, 300, 300]);
    }

    #[test]
    fn batch_is_given_up_after_its_attempts_and_goes_on_at_a_steady_pace() {
        let every = Duration::from_mins(1);
        let judge = |attempts| judge(&RETRY, every, attempts, Jitter(0.0));
        assert_eq!(judge(1), Verdict::TryAgain(Duration::from_secs(5)));
        assert_eq!(judge(2), Verdict::TryAgain(Duration::from_secs(10)));
        assert_eq!(judge(3), Verdict::GiveUp(every));
        assert_eq!(judge(400), Verdict::GiveUp(every));
    }

    #[test]
    fn circuit_opens_for_longer_each_time_and_closes_at_once() {
        let now = Instant::now();
        let mut circuit = Circuit::new(RETRY);
        assert_eq!(circuit.wait(now), None);
        circuit.open(now, Jitter(0.0));
        assert_eq!(circuit.wait(now), Some(Duration::from_secs(5)));
        let later = now + Duration::from_secs(5);
        assert_eq!(circuit.wait(later), None);
        circuit.open(later, Jitter(0.0));
        assert_eq!(circuit.wait(later), Some(Duration::from_secs(10)));
        circuit.close();
        assert_eq!(circuit.wait(later), None);
        circuit.open_for_long(later);
        assert_eq!(circuit.wait(later), Some(RETRY.max));
    }

    proptest! {
        #[test]
        fn waits_stay_within_half_of_the_full_wait_and_the_longest(
            failures in any::<u32>(), jitter in 0.0..=1.0, initial in 1u64..100_000, extra in 0u64..10_000_000,
        ) {
            let initial = Duration::from_millis(initial);
            let retry = DeliveryRetry { attempts: 3, initial, max: initial + Duration::from_millis(extra) };
            let wait = backoff(&retry, failures, Jitter(jitter));
            prop_assert!(wait <= retry.max);
            prop_assert!(wait * 2 + Duration::from_millis(1) >= initial);
        }
    }
}
