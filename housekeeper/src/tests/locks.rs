//! A housekeeper beside another one, and beside a backup.

use super::TestResult;
use super::host::{HOUR, Host};
use crate::*;

#[test]
fn a_second_housekeeper_is_refused() -> TestResult {
    let host = Host::new(RealDisk);
    let _lock = LockFile::acquire(&host.dir.path().join(HOUSEKEEPER_LOCK))?;
    assert!(matches!(host.run(HOUR), Err(HousekeeperError::Lock(_))));
    Ok(())
}

#[test]
fn a_run_by_hand_waits_until_a_backup_is_done() -> TestResult {
    let host = Host::new(RealDisk);
    let backup = LockFile::acquire(&host.dir.path().join(HOUSEKEEPER_LOCK))?;
    let busy = once_within(&host.config(), Timestamp::now(), Duration::ZERO);
    assert!(busy.is_err_and(|it| it.to_string().contains("let it finish")));
    let shrunk = crate::shrink_ledger(&host.config());
    let told = shrunk.expect_err("a backup is at work").to_string();
    assert!(
        told.contains("let it finish, then run this again") && !told.contains("stop"),
        "{told}"
    );
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        drop(backup);
    });
    Ok(once(&host.config(), Timestamp::now()).map(drop)?)
}
