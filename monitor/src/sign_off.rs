//! Signs off delivered windows at each look.

use std::error::Error;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::MonitorSettings;
use logferry_inspection::sign_off::{SigningReach, sign_windows};
use logferry_ledger::Ledger;
use logferry_text::{duration, error_chain};

/// Time that one look signs for, so that alerts do not wait for it. The first look at an old ledger has thousands of windows to
/// sign, of which some thousand fit into it.
const SIGNING_TIME: Duration = Duration::from_secs(2);

/// All windows are looked at once in so long.
const ALL_EVERY: Duration = Duration::from_hours(1);

/// Signs windows that are complete and not signed. An error is logged: the next look tries again.
pub(crate) fn sign(ledger: &mut Ledger, config: &MonitorSettings, reach: SigningReach, now: Timestamp) {
    let start = Instant::now();
    let may_go_on = || start.elapsed() < SIGNING_TIME;
    if let Err(error) = sign_windows(ledger, &config.data_dir, reach, now, may_go_on) {
        tracing::error!(
            error = &error as &dyn Error,
            "cannot sign off delivered windows in {}: {}; this is tried again in {}",
            config.data_dir.display(),
            error_chain(&error),
            duration(config.interval)
        );
    }
}

/// When a running monitor looks at all windows: at the first look of each hour of the clock. A look takes time, so looks are more than
/// an interval apart, and no look may fall into a given part of the hour.
#[derive(Debug)]
pub(crate) struct SigningSchedule {
    /// The hour whose windows need no look at all of them any more.
    hour: i64,
}

impl SigningSchedule {
    /// A start in the middle of an hour brings no such look about, so that restarts do not.
    pub(crate) fn since(start: Timestamp, interval: Duration) -> Self {
        let started = hour(start);
        let before = start.checked_sub(interval).map_or(started, hour);
        Self { hour: before }
    }

    pub(crate) fn reach(&self, now: Timestamp) -> SigningReach {
        // Another hour, not a later one: the clock may be set back.
        if hour(now) == self.hour {
            SigningReach::Recent
        } else {
            SigningReach::All
        }
    }

    /// A look has succeeded.
    pub(crate) fn looked(&mut self, now: Timestamp) {
        self.hour = hour(now);
    }
}

/// The hour of the clock.
fn hour(at: Timestamp) -> i64 {
    let every = i64::try_from(ALL_EVERY.as_secs()).unwrap_or(1);
    at.as_second().div_euclid(every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_of_an_hour_is_at_all_windows_however_long_looks_take() {
        let minute = Duration::from_mins(1);
        for (begin, looks_all) in [("2026-11-21T05:00:07Z", 3), ("2026-11-21T05:30:00Z", 2)] {
            let start: Timestamp = begin.parse().expect("a time");
            let mut schedule = SigningSchedule::since(start, minute);
            let mut all = Vec::new();
            for number in 0..110 {
                // Each look takes 7 s.
                let now = start + Duration::from_secs(67) * number;
                if schedule.reach(now) == SigningReach::All {
                    all.push(now);
                }
                schedule.looked(now);
            }
            assert_eq!(all.len(), looks_all, "{all:?}");
        }
    }

    #[test]
    fn a_look_that_fails_is_made_up_for_and_a_clock_set_back_stops_none() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let mut schedule = SigningSchedule::since(at("2026-11-21T05:30:00Z"), Duration::from_mins(1));
        assert_eq!(schedule.reach(at("2026-11-21T05:31:00Z")), SigningReach::Recent);
        assert_eq!(schedule.reach(at("2026-11-21T06:00:30Z")), SigningReach::All);
        assert_eq!(
            schedule.reach(at("2026-11-21T06:40:00Z")),
            SigningReach::All,
            "it failed"
        );
        schedule.looked(at("2026-11-21T06:40:00Z"));
        assert_eq!(schedule.reach(at("2026-11-21T06:41:00Z")), SigningReach::Recent);
        assert_eq!(
            schedule.reach(at("2026-11-20T01:00:00Z")),
            SigningReach::All,
            "set back"
        );
    }
}
