//! Enforces a destination's `bandwidth` over all its sessions together. No clock in here.
//!
//! Bytes are granted as time passes, at most the bytes of one [`BURST`] at once. So over any span of time the limit is
//! exceeded by at most that.

use std::time::{Duration, Instant};

/// The time for which unused bytes are saved up.
const BURST: Duration = Duration::from_millis(50);

/// The time whose bytes are granted at least, if so many are wanted: fewer would make tiny packets. Also the time to
/// wait after no byte was granted.
pub(crate) const PIECE: Duration = Duration::from_millis(10);

/// The bytes that may be sent now.
#[derive(Debug)]
pub(crate) struct Bandwidth {
    /// Bytes per second; `None` for no limit.
    limit: Option<u64>,
    /// Bytes that may be sent now, as of `counted_at`.
    saved: f64,
    counted_at: Instant,
}

impl Bandwidth {
    pub(crate) fn new(limit: Option<u64>, now: Instant) -> Self {
        Self {
            limit,
            saved: 0.0,
            counted_at: now,
        }
    }

    /// Grants at most `wanted` bytes, which then count as sent.
    pub(crate) fn grant(&mut self, wanted: usize, now: Instant) -> usize {
        let Some(limit) = self.limit else { return wanted };
        let rate = as_float(limit);
        let passed = now.saturating_duration_since(self.counted_at);
        self.counted_at = now;
        self.saved = (self.saved + rate * passed.as_secs_f64()).min((rate * BURST.as_secs_f64()).max(1.0));
        let least = as_whole((rate * PIECE.as_secs_f64()).max(1.0));
        let saved = as_whole(self.saved);
        if saved < least.min(wanted) {
            return 0;
        }
        let granted = saved.min(wanted);
        self.saved -= as_float(granted as u64);
        granted
    }
}

#[expect(clippy::cast_precision_loss, reason = "one byte in 2^53 does not matter")]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never negative, and no more than a burst"
)]
fn as_whole(bytes: f64) -> usize {
    bytes as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_a_limit_everything_goes_at_once() {
        let now = Instant::now();
        assert_eq!(Bandwidth::new(None, now).grant(usize::MAX, now), usize::MAX);
    }

    #[test]
    fn nothing_is_granted_before_there_is_a_piece_of_it() {
        let start = Instant::now();
        let mut bandwidth = Bandwidth::new(Some(100_000), start);
        assert_eq!(bandwidth.grant(usize::MAX, start), 0);
        assert_eq!(bandwidth.grant(usize::MAX, start + PIECE / 2), 0);
        assert_eq!(bandwidth.grant(7, start + PIECE / 2), 7, "all that is wanted");
        assert_eq!(bandwidth.grant(usize::MAX, start + PIECE * 2), 1993);
    }

    proptest! {
        #[test]
        fn greedy_sender_is_held_within_five_percent(
            limit in 10_000u64..1_000_000_000, steps in prop::collection::vec(1u64..30_000, 200..400),
        ) {
            let start = Instant::now();
            let (mut bandwidth, mut now, mut sent) = (Bandwidth::new(Some(limit), start), start, 0.0);
            for micros in steps {
                now += Duration::from_micros(micros);
                sent += as_float(bandwidth.grant(usize::MAX, now) as u64);
            }
            let due = as_float(limit) * (now - start).as_secs_f64();
            prop_assert!((0.95 * due - 1.0..=1.05 * due + 1.0).contains(&sent), "{sent} of {due}");
        }
    }
}
