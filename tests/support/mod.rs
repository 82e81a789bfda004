//! What the tests stand on. Nothing here knows a role from inside.

pub(crate) mod logs;
pub(crate) mod network;
pub(crate) mod pipeline;
pub(crate) mod process;
pub(crate) mod servers;
pub(crate) mod test_folder;
pub(crate) mod tmpfs;

use std::process::Command;
use std::time::{Duration, Instant};

/// Far beyond what anything here takes on a busy machine.
pub(crate) const WAIT_LIMIT: Duration = Duration::from_mins(1);

/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Waits until `is_so`; fails the test after `limit`.
pub(crate) fn wait_for(what: &str, limit: Duration, is_so: impl FnMut() -> bool) {
    assert!(becomes_true(limit, is_so), "waited {limit:?} for {what}");
}

/// Waits until `is_so`, at most for `limit`; whether it came to that.
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

/// The seed of a test's chances: from `LOGFERRY_TEST_SEED` where that is set, to repeat a failure. It is printed.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("LOGFERRY_TEST_SEED").ok();
    let seed = given.map_or_else(rand::random, |text| {
        text.parse().expect("LOGFERRY_TEST_SEED is a number")
    });
    println!("LOGFERRY_TEST_SEED={seed}");
    seed
}

/// The logferry that was built for this test, with an environment that says nothing to it.
pub(crate) fn logferry() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command.env_remove("LOGFERRY_CONFIG");
    command
}
