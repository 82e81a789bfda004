//! The time as an argument: state machines read no clock themselves.

use std::time::{Instant, SystemTime};

/// The two clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Never jumps; for waiting.
    pub(crate) instant: Instant,
    /// The clock that file times are in.
    pub(crate) wall: SystemTime,
}

impl Now {
    pub(crate) fn read() -> Self {
        Self {
            instant: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// The moment that is `wait` later by both clocks.
    #[cfg(test)]
    pub(crate) fn after(self, wait: std::time::Duration) -> Self {
        Self {
            instant: self.instant + wait,
            wall: self.wall + wait,
        }
    }
}
