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
pub(crate) fn sign(ledger: &mut Ledger, config: &MonitorSettings, now: Timestamp) {
    let start = Instant::now();
    let reach = reach(now, config.interval);
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

/// The first look of each hour of the clock looks at all, so that restarts do not bring it about.
fn reach(now: Timestamp, interval: Duration) -> SigningReach {
    let into =
        i128::from(now.as_millisecond()).rem_euclid(i128::try_from(ALL_EVERY.as_millis()).unwrap_or(1));
    if into.unsigned_abs() < interval.as_millis() {
        SigningReach::All
    } else {
        SigningReach::Recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_of_an_hour_is_at_all_windows() {
        let start: Timestamp = "2026-11-21T05:00:07Z".parse().expect("a time");
        let minute = Duration::from_mins(1);
        let looks = (0..120).map(|number| reach(start + minute * number, minute));
        assert_eq!(looks.filter(|reach| *reach == SigningReach::All).count(), 2);
    }
}
