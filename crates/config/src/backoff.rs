//! Waits between retries. Pure: the caller counts the failures and supplies the random number.

use std::time::Duration;

/// A wait that grows from `initial` to `max`. Both are above zero, and `max` is not less than `initial`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Backoff {
    /// The wait after `failures` in a row: doubled with each from `initial` up to `max`, then shortened by up to half.
    /// `jitter` from 0 to 1 spreads the waits, so that those who failed together do not retry together; 0 gives full waits.
    pub fn wait(self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.initial.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff {
            initial: Duration::from_secs(5),
            max: Duration::from_mins(5),
        };
        let waits = [1, 2, 3, 7, 8, u32::MAX].map(|failures| backoff.wait(failures, 0.0).as_secs());
        assert_eq!(waits, [5, 10, 20, 300, 300, 300]);
    }

    proptest! {
        #[test]
        fn waits_stay_within_half_of_the_full_wait_and_the_longest(
            failures in any::<u32>(), jitter in 0.0..=1.0, initial in 1u64..100_000, extra in 0u64..10_000_000,
        ) {
            let initial = Duration::from_millis(initial);
            let backoff = Backoff { initial, max: initial + Duration::from_millis(extra) };
            let wait = backoff.wait(failures, jitter);
            prop_assert!(wait <= backoff.max);
            prop_assert!(wait * 2 + Duration::from_millis(1) >= initial);
        }
    }
}
