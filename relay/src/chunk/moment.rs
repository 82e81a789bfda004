//! The time at which something happened, read once and passed on: what decides reads no clock.

use std::time::{Duration, Instant};

use jiff::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) wall: Timestamp,
    /// By the monotonic clock: durations are measured with it, as somebody may set the wall clock.
    pub(crate) steady: Instant,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            wall: Timestamp::now(),
            steady: Instant::now(),
        }
    }

    /// The time since `earlier`; none if that is later.
    pub(crate) fn since(self, earlier: Instant) -> Duration {
        self.steady.saturating_duration_since(earlier)
    }
}
