//! How many chunks may be in flight: one until the relay has answered, then twice as many with each answer, up to the
//! configured number; half as many with each answer of a relay that is congested; after a failure one again. No I/O.
//!
//! When hundreds of senders reconnect after an outage of the relay, each sender gets one chunk through before any gets
//! two, and the relay's memory is enough for one chunk of each. While they are as many, each keeps to one: more would only wait,
//! and cost more than they bring.

#[derive(Debug)]
pub(crate) struct ConcurrencyWindow {
    size: usize,
    max: usize,
}

impl ConcurrencyWindow {
    pub(crate) fn new(max: usize) -> Self {
        Self { size: 1, max }
    }

    /// Whether one more may go out while so many connections are idle.
    pub(crate) fn allows_beside(&self, idle: usize) -> bool {
        self.allows(self.max.saturating_sub(idle))
    }

    fn allows(&self, in_flight: usize) -> bool {
        in_flight < self.size.min(self.max)
    }

    /// A chunk was answered.
    pub(crate) fn answered(&mut self, congested: bool) {
        self.size = if congested {
            (self.size / 2).max(1)
        } else {
            self.size.saturating_mul(2).min(self.max)
        };
    }

    /// The relay failed, or has no room.
    pub(crate) fn failed(&mut self) {
        self.size = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_chunk_goes_first_and_the_allowed_number_soon() {
        let mut window = ConcurrencyWindow::new(4);
        assert!(window.allows(0) && !window.allows(1));
        (0..3).for_each(|_| window.answered(false));
        assert!(window.allows(3) && !window.allows(4));
        window.failed();
        assert!(window.allows(0) && !window.allows(1));
    }

    #[test]
    fn a_congested_relay_gets_half_as_many_with_each_answer_and_at_least_one() {
        let mut window = ConcurrencyWindow::new(4);
        (0..2).for_each(|_| window.answered(false));
        window.answered(true);
        assert!(window.allows(1) && !window.allows(2));
        (0..3).for_each(|_| window.answered(true));
        assert!(window.allows(0) && !window.allows(1));
        window.answered(false);
        assert!(window.allows(1));
    }
}
