//! A housekeeper beside another one, and beside a backup.

use super::TestResult;
use super::host::{HOUR, Host};
use crate::*;
use logferry_spool::HOUSEKEEPER_DAEMON_LOCK;

#[test]
fn a_second_housekeeper_is_refused() -> TestResult {
    let host = Host::new(RealDisk);
    let _lock = LockFile::acquire(&host.dir.path().join(HOUSEKEEPER_LOCK))?;
    assert!(matches!(host.run(HOUR), Err(HousekeeperError::Lock(_))));
    Ok(())
}

#[tokio::test]
async fn second_daemon_is_refused_while_a_backup_and_a_run_by_hand_take_turns_with_the_first_one()
-> TestResult {
    let host = Host::new(RealDisk);
    let stop = CancellationToken::new();
    let daemon_lock = host.dir.path().join(HOUSEKEEPER_DAEMON_LOCK);
    let first = tokio::spawn(run(host.config(), stop.clone()));
    // It takes the lock before it first waits.
    tokio::task::yield_now().await;
    assert!(daemon_lock.exists());
    let told = run(host.config(), CancellationToken::new()).await;
    let told = logferry_text::error_chain(&told.expect_err("there is another one"));
    assert!(
        told.contains("another housekeeper runs by the clock") && told.contains("stop that one first"),
        "{told}"
    );
    drop(LockFile::acquire(&host.dir.path().join(HOUSEKEEPER_LOCK))?);
    once(&host.config(), Timestamp::now())?;
    stop.cancel();
    Ok(first.await??)
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
