//! Support for the end-to-end tests: processes, folders, configuration, comparison. It uses no role's internals.

pub(crate) mod journal;
pub(crate) mod logs;
pub(crate) mod network;
pub(crate) mod pipeline;
pub(crate) mod process;
pub(crate) mod servers;
pub(crate) mod test_folder;
pub(crate) mod tmpfs;

use std::process::Command;
use std::time::{Duration, Instant};

/// The limit for every wait: far longer than anything takes on a busy machine.
pub(crate) const WAIT_LIMIT: Duration = Duration::from_mins(1);

/// The interval at which a condition is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Waits until `is_so`; fails the test after `limit`.
pub(crate) fn wait_for(what: &str, limit: Duration, is_so: impl FnMut() -> bool) {
    assert!(becomes_true(limit, is_so), "waited {limit:?} for {what}");
}

/// Waits until `is_so`, at most for `limit`. Returns whether it became true.
pub(crate) fn becomes_true(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// The seed of a test's random choices. It is printed; set `LOGFERRY_TEST_SEED` to it to repeat a failure.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("LOGFERRY_TEST_SEED").ok();
    let seed = given.map_or_else(rand::random, |text| {
        text.parse().expect("LOGFERRY_TEST_SEED is a number")
    });
    println!("LOGFERRY_TEST_SEED={seed}");
    seed
}

/// The logferry binary of this build, without environment settings.
pub(crate) fn logferry() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command.env_remove("LOGFERRY_CONFIG");
    command
}
