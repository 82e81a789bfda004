//! Tests that need root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// Runs the test again as root of a user namespace if this process is not root. True if that was done.
///
/// It needs `unshare --map-auto`, from util-linux 2.38 on with `uidmap` and a line for this user in /etc/subuid; without them
/// the test fails and says so.
pub fn ran_as_root(test: &str) -> bool {
    if fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        return false;
    }
    let again = Command::new("unshare")
        .args(["--user", "--map-root-user", "--map-auto", "--setgroups=allow"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .output();
    let said = again.as_ref().map_or_else(ToString::to_string, |output| {
        String::from_utf8_lossy(&output.stderr).into_owned()
    });
    assert!(
        again.is_ok_and(|output| output.status.success()),
        "this test needs root, or `unshare --map-auto` (uidmap and a line in /etc/subuid): {said}"
    );
    true
}
