//! What a running monitor does at the first look of each hour, or quarter of an hour, of the clock. Looks take time, so they are
//! more than an interval apart, and no look may fall into a given part of the hour.

use std::time::Duration;

use jiff::Timestamp;

/// A schedule by the clock. Restarts do not bring anything about.
#[derive(Debug)]
pub(crate) struct ClockSchedule {
    every_seconds: i64,
    /// The part of time in which nothing more is due.
    done: i64,
}

impl ClockSchedule {
    /// A start at an instant brings nothing about, unless a part of time began in the interval before it.
    pub(crate) fn since(start: Timestamp, interval: Duration, every: Duration) -> Self {
        let every_seconds = i64::try_from(every.as_secs()).unwrap_or(i64::MAX).max(1);
        let before = start.checked_sub(interval).unwrap_or(start);
        Self {
            every_seconds,
            done: before.as_second().div_euclid(every_seconds),
        }
    }

    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        // Another part, not a later one: the clock may be set back.
        self.part(now) != self.done
    }

    /// A look has succeeded.
    pub(crate) fn looked(&mut self, now: Timestamp) {
        self.done = self.part(now);
    }

    fn part(&self, at: Timestamp) -> i64 {
        at.as_second().div_euclid(self.every_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn one_look_of_each_part_is_due_however_long_looks_take() {
        let (hour, quarter) = (Duration::from_hours(1), Duration::from_mins(15));
        for (begin, every, look_seconds, expected) in [
            ("2026-11-21T05:00:07Z", hour, 7, 3),
            ("2026-11-21T05:30:00Z", hour, 7, 2),
            ("2026-11-21T05:00:07Z", quarter, 20, 10),
            ("2026-11-21T05:01:00Z", quarter, 20, 9),
        ] {
            let start = at(begin);
            let mut schedule = ClockSchedule::since(start, MINUTE, every);
            let mut due = Vec::new();
            for number in 0..110 {
                let now = start + (MINUTE + Duration::from_secs(look_seconds)) * number;
                if schedule.is_due(now) {
                    due.push(now);
                }
                schedule.looked(now);
            }
            assert_eq!(due.len(), expected, "{due:?}");
        }
    }

    #[test]
    fn a_look_that_fails_is_made_up_for_and_a_clock_set_back_stops_none() {
        let mut schedule = ClockSchedule::since(at("2026-11-21T05:30:00Z"), MINUTE, Duration::from_hours(1));
        assert!(!schedule.is_due(at("2026-11-21T05:31:00Z")));
        assert!(schedule.is_due(at("2026-11-21T06:00:30Z")));
        assert!(schedule.is_due(at("2026-11-21T06:40:00Z")), "it failed");
        schedule.looked(at("2026-11-21T06:40:00Z"));
        assert!(!schedule.is_due(at("2026-11-21T06:41:00Z")));
        assert!(schedule.is_due(at("2026-11-20T01:00:00Z")), "set back");
    }
}
