//! Bursts: each time a span is over, one second with a multiple of the rate.

use std::time::Duration;

/// How often a burst comes, and how large it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    /// The time between the beginnings of two bursts, and before the first one.
    pub every: Duration,
    /// The rate in a burst is so many times the other rate; at least 1.
    pub factor: u32,
}

/// How long a burst lasts, unless the next one begins before.
const LENGTH: Duration = Duration::from_secs(1);

impl Burst {
    /// The time that an even traffic would need for as many lines as come in the first `elapsed`, in nanoseconds.
    pub(crate) fn even_time(self, elapsed: u128) -> u128 {
        let (every, length, factor) = self.nanos();
        let bursts = elapsed / every;
        if bursts == 0 {
            return elapsed;
        }
        let in_last = (elapsed % every).min(length);
        elapsed + (factor - 1) * ((bursts - 1) * length + in_last)
    }

    /// The first time at which `even_time` is `even` or more, in nanoseconds.
    pub(crate) fn time_of(self, even: u128) -> u128 {
        let (every, length, factor) = self.nanos();
        let Some(after_first) = even.checked_sub(every) else {
            return even;
        };
        let period = every + (factor - 1) * length;
        let (bursts, rest) = (after_first / period, after_first % period);
        let into = match rest.checked_sub(factor * length) {
            None => rest.div_ceil(factor),
            Some(after_burst) => length + after_burst,
        };
        (bursts + 1) * every + into
    }

    fn nanos(self) -> (u128, u128, u128) {
        let every = self.every.as_nanos().max(1);
        (every, LENGTH.as_nanos().min(every), self.factor.max(1).into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn burst_comes_after_each_span_and_lasts_a_second() {
        let burst = Burst {
            every: Duration::from_secs(10),
            factor: 5,
        };
        for (second, expected) in [
            (0, 0),
            (9, 9),
            (10, 10),
            (11, 15),
            (12, 16),
            (20, 24),
            (21, 29),
            (30, 38),
        ] {
            let (second, expected) = (second * 1_000_000_000, expected * 1_000_000_000);
            assert_eq!(burst.even_time(second), expected, "after {second} ns");
        }
    }

    proptest! {
        #[test]
        fn time_of_is_the_first_time_at_which_so_much_is_due(every in 1..5_000_u64, factor in 1..50_u32, even in 0..200_000_000_000_u64) {
            let burst = Burst { every: Duration::from_millis(every), factor };
            let time = burst.time_of(even.into());
            prop_assert!(burst.even_time(time) >= even.into());
            prop_assert!(time == 0 || burst.even_time(time - 1) < even.into());
        }
    }
}
