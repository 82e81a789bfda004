//! How often a destination is planned. No clock in here.
//!
//! A plan reads every batch that waits, under the lock that the destinations share. With a large backlog that takes seconds, so plans
//! must not follow each other as closely as the events that ask for them.

use std::time::{Duration, Instant};

/// A plan so short may follow upon each event.
const SHORT: Duration = Duration::from_millis(50);

/// After a longer one, so many times its duration pass until the next: plans take a tenth of the time at most.
const PAUSE_FACTOR: u32 = 10;

/// The longest pause: fresh lines wait for a plan.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// When the last plan was made, and how long it took.
#[derive(Debug, Default)]
pub(crate) struct PlanThrottle {
    last: Option<PlanTime>,
}

#[derive(Debug, Clone, Copy)]
struct PlanTime {
    ended: Instant,
    took: Duration,
}

impl PlanThrottle {
    /// A plan was made.
    pub(crate) fn planned(&mut self, started: Instant, ended: Instant) {
        let took = ended.saturating_duration_since(started);
        self.last = Some(PlanTime { ended, took });
    }

    /// How long no plan is to be made yet, after an event that asks for one.
    pub(crate) fn pause(&self, now: Instant) -> Option<Duration> {
        let last = self.last.filter(|last| last.took > SHORT)?;
        self.left(last.took.saturating_mul(PAUSE_FACTOR).min(PAUSE_MAX), now)
    }

    /// How long the last plan is younger than `every`.
    pub(crate) fn left(&self, every: Duration, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.last?.ended);
        every.checked_sub(since).filter(|left| !left.is_zero())
    }

    /// The next event is planned at once.
    pub(crate) fn hurry(&mut self) {
        if let Some(last) = &mut self.last {
            last.took = Duration::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_take_a_tenth_of_the_time_at_most_and_short_ones_are_not_held_up() {
        let start = Instant::now();
        let pauses = |took: u64| {
            let mut throttle = PlanThrottle::default();
            let ended = start + Duration::from_millis(took);
            throttle.planned(start, ended);
            let pause = throttle.pause(ended);
            let half = pause.unwrap_or_default() / 2;
            let after = [half, half * 2].map(|after| throttle.pause(ended + after));
            assert_eq!(after, [pause.map(|_| half), None]);
            pause
        };
        assert_eq!(pauses(50), None);
        assert_eq!(pauses(200), Some(Duration::from_secs(2)));
        assert_eq!(pauses(60_000), Some(PAUSE_MAX));
    }

    #[test]
    fn nothing_holds_up_the_first_plan_and_the_one_after_a_probe() {
        let start = Instant::now();
        let mut throttle = PlanThrottle::default();
        assert_eq!(throttle.pause(start), None);
        assert_eq!(throttle.left(PAUSE_MAX, start), None);
        let ended = start + Duration::from_secs(1);
        throttle.planned(start, ended);
        throttle.hurry();
        assert_eq!(throttle.pause(ended), None);
        assert_eq!(throttle.left(PAUSE_MAX, ended), Some(PAUSE_MAX));
    }
}
