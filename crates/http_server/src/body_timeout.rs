//! The lowest upload speed: a body must make a minimum progress in each interval.
//!
//! There is no total time limit, which would fail on a slow link. The minimum progress prevents that a client that sends
//! a byte now and then holds memory and a connection forever. Pure.

use std::time::{Duration, Instant};

/// Bytes that must arrive in each interval, unless the body ends before. With 30 s that is 4.4 kbit/s.
const MIN_PROGRESS: usize = 16 << 10;

/// How long a body may take.
#[derive(Debug)]
pub struct BodyTimeout {
    interval: Duration,
    deadline: Instant,
    missing: usize,
}

impl BodyTimeout {
    /// A body that starts at `now` and must bring [`MIN_PROGRESS`] bytes in each `interval`.
    pub fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            deadline: now + interval,
            missing: MIN_PROGRESS,
        }
    }

    /// When the body is too slow if no more bytes arrive.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Notes that `bytes` arrived at `now`.
    pub fn received(&mut self, bytes: usize, now: Instant) {
        self.missing = self.missing.saturating_sub(bytes);
        if self.missing == 0 {
            *self = Self::new(self.interval, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    #[test]
    fn a_byte_now_and_then_is_too_slow_and_a_slow_link_is_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timeout = BodyTimeout::new(INTERVAL, start);
        (1..30).for_each(|second| timeout.received(1, at(second)));
        assert_eq!(timeout.deadline(), at(30));
        let mut timeout = BodyTimeout::new(INTERVAL, start);
        for second in 1..10_000 {
            assert!(timeout.deadline() > at(second));
            timeout.received(1 << 10, at(second));
        }
    }

    proptest! {
        #[test]
        fn a_body_in_time_has_made_the_minimum_progress_in_each_interval(
            pieces in prop::collection::vec((0..40_u64, 0..3 * MIN_PROGRESS), 0..50),
        ) {
            let start = Instant::now();
            let (mut timeout, mut now, mut total) = (BodyTimeout::new(INTERVAL, start), start, 0);
            for (wait, bytes) in pieces {
                now += Duration::from_secs(wait);
                if now >= timeout.deadline() {
                    break;
                }
                total += bytes;
                timeout.received(bytes, now);
                let intervals = (now - start).as_secs() / INTERVAL.as_secs();
                prop_assert!(total as u64 >= intervals * MIN_PROGRESS as u64, "{total} bytes in {intervals} intervals");
            }
        }
    }
}
