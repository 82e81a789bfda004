//! The age of the oldest unread byte of a file. No I/O.
//!
//! A mark is a size of the file and the time when the file was first seen to have it. The first mark beyond the
//! acknowledged offset gives the age: exact to the interval of the looks while the sender keeps up, coarser with a
//! backlog.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use logferry_protocol::stream::Offset;

/// Most marks. At the limit every second one is dropped, so the steps of a long backlog become larger.
const MARKS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct LagAge {
    marks: VecDeque<(Offset, Instant)>,
}

impl LagAge {
    /// Notes that the file had `size` bytes at the time `seen`, of which `acked` are acknowledged.
    pub(crate) fn note(&mut self, size: Offset, acked: Offset, seen: Instant) {
        if self.marks.back().is_some_and(|&(last, _)| size < last) {
            self.marks.clear();
        }
        while self.marks.front().is_some_and(|&(marked, _)| marked <= acked) {
            self.marks.pop_front();
        }
        if size > acked && self.marks.back().is_none_or(|&(last, _)| size > last) {
            self.marks.push_back((size, seen));
        }
        if self.marks.len() > MARKS_MAX {
            // The first mark stays: it gives the age.
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// How long there have been bytes beyond `acked`; zero if there are none.
    pub(crate) fn oldest_unread(&self, acked: Offset, now: Instant) -> Duration {
        let mark = self.marks.iter().find(|&&(marked, _)| marked > acked);
        mark.map_or(Duration::ZERO, |&(_, seen)| now.saturating_duration_since(seen))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(bytes: u64) -> Offset {
        Offset::new(bytes)
    }

    #[test]
    fn a_sender_that_keeps_up_has_no_old_lines_however_long_the_log_is_busy() {
        let (mut lag_age, start) = (LagAge::default(), Instant::now());
        for second in 1..1000 {
            let now = start + Duration::from_secs(second);
            lag_age.note(at(second * 100), at(second * 100 - 50), now);
            assert_eq!(lag_age.oldest_unread(at(second * 100 - 50), now), Duration::ZERO);
            assert_eq!(lag_age.oldest_unread(at(second * 100), now), Duration::ZERO);
        }
    }

    #[test]
    fn with_nothing_acknowledged_the_age_is_that_of_the_first_byte() {
        let (mut lag_age, start) = (LagAge::default(), Instant::now());
        for second in 0..1000 {
            let now = start + Duration::from_secs(second);
            lag_age.note(at(10 + second), at(0), now);
            assert_eq!(lag_age.oldest_unread(at(0), now), Duration::from_secs(second));
        }
    }

    #[test]
    fn a_truncated_file_starts_again() {
        let (mut lag_age, start) = (LagAge::default(), Instant::now());
        lag_age.note(at(100), at(0), start);
        let later = start + Duration::from_secs(5);
        lag_age.note(at(10), at(0), later);
        assert_eq!(lag_age.oldest_unread(at(0), later), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn marks_stay_few_and_the_age_is_never_overstated(steps in prop::collection::vec((0_u64..50, 0_u64..60), 1..400)) {
            let (mut lag_age, start) = (LagAge::default(), Instant::now());
            let (mut size, mut acked, mut written) = (0, 0, Vec::new());
            for (second, &(write, ack)) in (0..).zip(&steps) {
                let now = start + Duration::from_secs(second);
                written.extend(std::iter::repeat_n(now, usize::try_from(write).expect("small")));
                size += write;
                acked = size.min(acked + ack);
                lag_age.note(at(size), at(acked), now);
                let true_age = written
                    .get(usize::try_from(acked).expect("small"))
                    .map_or(Duration::ZERO, |&written| now - written);
                prop_assert!(lag_age.oldest_unread(at(acked), now) <= true_age);
                prop_assert!(lag_age.marks.len() <= MARKS_MAX);
            }
        }
    }
}
