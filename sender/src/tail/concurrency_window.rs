//! How many chunks may be in flight: one until the relay has answered, then twice as many with each answer, up to the
//! configured number; after a failure one again. No I/O.
//!
//! When hundreds of senders reconnect after an outage of the relay, each sender gets one chunk through before any gets
//! two, and the relay's memory is enough for one chunk of each.

#[derive(Debug)]
pub(crate) struct ConcurrencyWindow {
    size: usize,
    max: usize,
}

impl ConcurrencyWindow {
    pub(crate) fn new(max: usize) -> Self {
        Self { size: 1, max }
    }

    pub(crate) fn allows(&self, in_flight: usize) -> bool {
        in_flight < self.size.min(self.max)
    }

    pub(crate) fn widen(&mut self) {
        self.size = self.size.saturating_mul(2).min(self.max);
    }

    pub(crate) fn narrow(&mut self) {
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
        window.widen();
        window.widen();
        window.widen();
        assert!(window.allows(3) && !window.allows(4));
        window.narrow();
        assert!(window.allows(0) && !window.allows(1));
    }
}
