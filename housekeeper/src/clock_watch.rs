//! Notices that this host's clock was set back, and which time counts for what is deleted for good. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use logferry_durable::BootTime;
use logferry_ledger::ClockRecord;

/// A clock that is corrected by less was not set.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// The monitor looks each minute. Without a look for so long, none runs here.
const LOOK_AGE_MAX: Duration = Duration::from_hours(24);

/// Compares the clock that can be set with the one that cannot.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    start: Timestamp,
    /// How far the clock was ahead of the running time since the start, at most.
    ahead: SignedDuration,
}

impl ClockWatch {
    pub(crate) fn new(start: Timestamp) -> Self {
        Self {
            start,
            ahead: SignedDuration::ZERO,
        }
    }

    /// Whether the clock was set back since the last call that returned true. `running`: the time since the start.
    pub(crate) fn is_set_back(&mut self, now: Timestamp, running: Duration) -> bool {
        let running = SignedDuration::try_from(running).unwrap_or(SignedDuration::MAX);
        let ahead = now.duration_since(self.start).saturating_sub(running);
        let is_set_back = ahead.saturating_add(TOLERANCE) < self.ahead;
        self.ahead = if is_set_back { ahead } else { ahead.max(self.ahead) };
        is_set_back
    }
}

/// The time by which rows of the ledger are old: `now`, or the monitor's trusted time if that is earlier. A clock that was set
/// ahead by mistake makes nothing old.
pub(crate) fn time_for_rows(now: Timestamp, clock: Option<&ClockRecord>, boot: &BootTime) -> Timestamp {
    let Some(clock) = clock else {
        return now;
    };
    let uptime_of_look = Duration::from_millis(u64::try_from(clock.uptime_ms).unwrap_or_default());
    let is_same_boot = boot.boot_id.as_ref() == Some(&clock.boot_id);
    let (since_look, elapsed) = if is_same_boot {
        let since_look = boot.uptime.saturating_sub(uptime_of_look);
        (since_look, since_look)
    } else {
        (boot.uptime, Duration::ZERO)
    };
    if since_look > LOOK_AGE_MAX {
        return now;
    }
    let trusted = clock.trusted.checked_add(elapsed).unwrap_or(Timestamp::MAX);
    now.min(trusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn start() -> Timestamp {
        Timestamp::from_second(1_790_000_000).expect("in range")
    }

    #[test]
    fn clock_that_is_set_back_is_noticed_once() {
        let mut watch = ClockWatch::new(start());
        let mut look = |now: SignedDuration, running: u64| {
            watch.is_set_back(start() + now, Duration::from_secs(running))
        };
        let seconds = SignedDuration::from_secs;
        assert!(!look(seconds(10), 10));
        assert!(!look(seconds(17), 20), "corrected a little");
        assert!(!look(seconds(30) + HOUR, 30), "set ahead");
        assert!(look(seconds(40), 40), "and back to the right time");
        assert!(!look(seconds(50), 50));
        assert!(look(seconds(60) - 8 * HOUR, 60));
        assert!(!look(seconds(70) - 8 * HOUR, 70));
    }

    #[test]
    fn clock_that_is_ahead_makes_no_row_old_while_a_monitor_looks() {
        let clock = ClockRecord {
            boot_id: "boot".to_owned(),
            uptime_ms: 60_000,
            trusted: start(),
            presumed_after: None,
            step: None,
        };
        let boot = |id: &str, hours| BootTime {
            boot_id: Some(id.to_owned()),
            uptime: Duration::from_mins(1) + Duration::from_hours(hours),
        };
        let (year, behind) = (start() + 9000 * HOUR, start() - HOUR);
        assert_eq!(time_for_rows(year, None, &boot("boot", 2)), year, "no monitor");
        for (boot, expected) in [
            (boot("boot", 2), start() + 2 * HOUR),
            (boot("next", 2), start()),
            (boot("boot", 25), year),
            (boot("next", 25), year),
        ] {
            assert_eq!(time_for_rows(year, Some(&clock), &boot), expected, "{boot:?}");
            assert_eq!(time_for_rows(behind, Some(&clock), &boot), behind, "{boot:?}");
        }
    }
}
