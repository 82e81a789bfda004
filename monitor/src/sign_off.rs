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
pub(crate) const ALL_EVERY: Duration = Duration::from_hours(1);

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
