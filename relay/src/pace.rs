//! How fast a body has to come in: no total time, which a slow link would break, but a least progress, so that a client
//! that sends a byte now and then does not hold memory and a connection for ever.
//!
//! Pure.

use std::time::{Duration, Instant};

/// Bytes that have to come in each span, unless the body ends before. With 30 s that is 4.4 kbit/s.
const LEAST: usize = 16 << 10;

/// A body's progress.
#[derive(Debug)]
pub(crate) struct Pace {
    span: Duration,
    due: Instant,
    lacking: usize,
}

impl Pace {
    /// A body that begins at `now`, and has to bring [`LEAST`] bytes in each `span`.
    pub(crate) fn new(span: Duration, now: Instant) -> Self {
        Self {
            span,
            due: now + span,
            lacking: LEAST,
        }
    }

    /// When it is too slow, if nothing more comes.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// So many bytes have come at `now`.
    pub(crate) fn took(&mut self, bytes: usize, now: Instant) {
        self.lacking = self.lacking.saturating_sub(bytes);
        if self.lacking == 0 {
            *self = Self::new(self.span, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPAN: Duration = Duration::from_secs(30);

    #[test]
    fn a_byte_now_and_then_is_too_slow_and_a_slow_link_is_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(SPAN, start);
        (1..30).for_each(|second| pace.took(1, at(second)));
        assert_eq!(pace.due(), at(30));
        let mut pace = Pace::new(SPAN, start);
        for second in 1..10_000 {
            assert!(pace.due() > at(second));
            pace.took(1 << 10, at(second));
        }
    }

    proptest! {
        #[test]
        fn whoever_is_in_time_has_brought_the_least_in_each_span(
            pieces in prop::collection::vec((0..40_u64, 0..3 * LEAST), 0..50),
        ) {
            let start = Instant::now();
            let (mut pace, mut now, mut total) = (Pace::new(SPAN, start), start, 0);
            for (wait, bytes) in pieces {
                now += Duration::from_secs(wait);
                if now >= pace.due() {
                    break;
                }
                total += bytes;
                pace.took(bytes, now);
                let spans = (now - start).as_secs() / SPAN.as_secs();
                prop_assert!(total as u64 >= spans * LEAST as u64, "{total} bytes in {spans} spans");
            }
        }
    }
}
