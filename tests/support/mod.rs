//! What the tests stand on. Nothing here knows a role from inside.

pub(crate) mod comparison;
pub(crate) mod config;
pub(crate) mod gate;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod nginx;
pub(crate) mod pipeline;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod relay;
pub(crate) mod site;
pub(crate) mod sshd;
pub(crate) mod tmpfs;

use std::process::Command;
use std::time::{Duration, Instant};

/// Far beyond what anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// Waits until `is_so`; fails the test after `limit`.
pub(crate) fn wait_for(what: &str, limit: Duration, is_so: impl FnMut() -> bool) {
    assert!(comes_true(limit, is_so), "waited {limit:?} for {what}");
}

/// Waits until `is_so`, at most for `limit`; whether it came to that.
pub(crate) fn comes_true(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(GLANCE);
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
