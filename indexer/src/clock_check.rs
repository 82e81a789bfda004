//! Whether the clock can be believed: what is removed by its age on a wrong clock is gone. Pure.
//!
//! A clock that went ahead or back by itself, or did when the host started, is believed after a while: by then whoever sets clocks
//! has set it.

use std::time::{Duration, Instant};

/// A clock that is so many seconds ahead of what was expected went ahead; one that is so many behind went back.
const AHEAD: i64 = 3600;

/// So long it is not believed then.
const DOUBTED_FOR: Duration = Duration::from_hours(1);

/// What the clock has shown.
#[derive(Debug, Default)]
pub(crate) struct ClockCheck {
    /// The time that it showed last, in seconds since 1970, and when.
    last: Option<(i64, Instant)>,
    doubted_since: Option<Instant>,
    /// The time that it showed when it was believed last.
    believed: Option<i64>,
}

/// What is known of the clock now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClockState {
    Believed,
    /// It went ahead by so many seconds since the last look.
    WentAhead(i64),
    /// It did so a while ago.
    Doubted,
}

impl ClockCheck {
    /// At the start: the time of the last record of the process before.
    pub(crate) fn begin(&mut self, recorded: Option<i64>, at: Instant) {
        if self.last.is_none() {
            self.last = recorded.map(|recorded| (recorded, at));
            self.believed = recorded;
        }
    }

    /// While the clock is doubted: the time that it showed when it was believed last.
    pub(crate) fn believed_before(&self) -> Option<i64> {
        self.doubted_since.and(self.believed)
    }

    /// The clock shows `now`, in seconds since 1970.
    pub(crate) fn look(&mut self, now: i64, at: Instant) -> ClockState {
        let last = self.last.replace((now, at));
        let ahead = last.map_or(0, |(last, then)| {
            let passed = i64::try_from(at.saturating_duration_since(then).as_secs()).unwrap_or(i64::MAX);
            now.saturating_sub(last).saturating_sub(passed)
        });
        if ahead > AHEAD {
            self.doubted_since = Some(at);
            return ClockState::WentAhead(ahead);
        }
        if ahead < -AHEAD {
            // One that was doubted was set right, unless it shows less than when it was believed last: then it is wrong in another way.
            let is_plausible = self
                .believed
                .is_none_or(|believed| now >= believed.saturating_sub(AHEAD));
            let is_set_right = self.doubted_since.is_some() && is_plausible;
            self.doubted_since = (!is_set_right).then_some(at);
        }
        match self.doubted_since {
            Some(since) if at.saturating_duration_since(since) < DOUBTED_FOR => ClockState::Doubted,
            _ => {
                (self.doubted_since, self.believed) = (None, Some(now));
                ClockState::Believed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_227_600;

    #[test]
    fn clock_that_went_ahead_is_believed_after_an_hour_or_when_it_is_set_right() {
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let day = 86_400;
        let mut clock = ClockCheck::default();
        clock.begin(Some(NOW), start);
        assert_eq!(clock.look(NOW + 9 * day, start), ClockState::WentAhead(9 * day));
        // A session that is opened again begins with the wrong time recorded.
        clock.begin(Some(NOW), after(60));
        assert_eq!(clock.look(NOW + 9 * day + 60, after(60)), ClockState::Doubted);
        assert_eq!(clock.look(NOW + 120, after(120)), ClockState::Believed);
        assert_eq!(
            clock.look(NOW + 9 * day, after(180)),
            ClockState::WentAhead(9 * day - 180)
        );
        assert_eq!(
            clock.look(NOW + 9 * day + 3600, after(3780)),
            ClockState::Believed
        );
    }

    #[test]
    fn clock_that_went_back_is_doubted_for_an_hour_and_the_time_before_is_known_meanwhile() {
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let mut clock = ClockCheck::default();
        clock.begin(Some(NOW), start);
        assert_eq!(clock.look(NOW + 5, start), ClockState::Believed);
        assert_eq!(clock.believed_before(), None);
        assert_eq!(clock.look(100, after(60)), ClockState::Doubted);
        assert_eq!(clock.look(3600, after(3560)), ClockState::Doubted);
        assert_eq!(clock.believed_before(), Some(NOW + 5));
        assert_eq!(clock.look(3700, after(3660)), ClockState::Believed);
        assert_eq!(clock.believed_before(), None);
        let mut clock = ClockCheck::default();
        clock.begin(Some(NOW), start);
        assert_eq!(clock.look(100, start), ClockState::Doubted, "at the start");
        assert_eq!(clock.believed_before(), Some(NOW));
    }

    #[test]
    fn clock_that_went_ahead_and_then_back_to_long_ago_is_not_set_right() {
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let wrong = NOW + 400 * 86_400;
        let mut clock = ClockCheck::default();
        clock.begin(Some(NOW), start);
        assert_eq!(clock.look(wrong, start), ClockState::WentAhead(400 * 86_400));
        assert_eq!(clock.look(0, after(60)), ClockState::Doubted, "1970");
        assert_eq!(clock.believed_before(), Some(NOW));
    }

    #[test]
    fn usual_time_and_a_first_start_are_believed() {
        let start = Instant::now();
        let mut clock = ClockCheck::default();
        clock.begin(None, start);
        assert_eq!(clock.look(NOW, start), ClockState::Believed);
        let later = start + Duration::from_hours(100);
        assert_eq!(clock.look(NOW + 360_000, later), ClockState::Believed);
    }
}
