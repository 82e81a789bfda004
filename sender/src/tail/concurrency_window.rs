//! How many chunks may be in flight: one until the relay has answered, then twice as many with each answer, up to what
//! is configured; after trouble one again. Without I/O.
//!
//! When hundreds of senders come back to a relay that was away, each first gets one chunk through: the relay's memory
//! is enough for a round of all, and nobody's second chunk stands before another's first.

/// The window of the way to the relay.
#[derive(Debug)]
pub(crate) struct ConcurrencyWindow {
    now: usize,
    max: usize,
}

impl ConcurrencyWindow {
    /// For at most `max` chunks in flight.
    pub(crate) fn new(max: usize) -> Self {
        Self { now: 1, max }
    }

    /// Whether one more may go out beside so many.
    pub(crate) fn allows(&self, in_flight: usize) -> bool {
        in_flight < self.now.min(self.max)
    }

    /// The relay has taken a chunk.
    pub(crate) fn widen(&mut self) {
        self.now = self.now.saturating_mul(2).min(self.max);
    }

    /// The relay has failed, or has no room.
    pub(crate) fn narrow(&mut self) {
        self.now = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_first_and_all_that_are_allowed_soon() {
        let mut window = ConcurrencyWindow::new(4);
        assert!(window.allows(0) && !window.allows(1));
        window.widen();
        window.widen();
        window.widen();
        assert!(window.allows(3) && !window.allows(4));
        window.narrow();
        assert!(window.allows(0) && !window.allows(1));
    }
}
