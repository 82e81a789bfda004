//! The daemon, by its schedule.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::daemon::run_by;

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_runs_by_its_schedule_until_shutdown() -> TestResult {
    let host = Host::new(RealDisk);
    let batch = host.batch(1, BatchState::Sent);
    let config = HousekeeperSettings {
        compress_after: Duration::ZERO,
        delete_after: 100_000_000 * HOUR,
        schedule: "* * * * * *".to_owned(),
        ..host.config()
    };
    let shutdown = CancellationToken::new();
    let daemon = tokio::spawn(run(config, shutdown.clone()));
    let compressed = async {
        while host.get(&batch, FileForm::Plain).is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), compressed).await?;
    shutdown.cancel();
    tokio::time::timeout(Duration::from_mins(1), daemon).await???;
    host.assert_compressed(&batch);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_goes_on_after_the_clock_is_set_back() -> TestResult {
    let host = Host::new(RealDisk);
    let config = HousekeeperSettings {
        compress_after: Duration::ZERO,
        delete_after: 100_000_000 * HOUR,
        schedule: "* * * * * *".to_owned(),
        ..host.config()
    };
    // Only its first look is at a clock that is ahead.
    let looks = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&looks);
    let clock = move || match seen.fetch_add(1, Ordering::Relaxed) {
        0 => sealed_at() + 8 * HOUR,
        _ => sealed_at(),
    };
    let shutdown = CancellationToken::new();
    let every = Duration::from_millis(20);
    let daemon = tokio::spawn(run_by(config, shutdown.clone(), clock, every));
    let done = async {
        while looks.load(Ordering::Relaxed) < 4 {
            tokio::time::sleep(every).await;
        }
        let batch = host.batch(1, BatchState::Sent);
        while host.get(&batch, FileForm::Plain).is_some() {
            tokio::time::sleep(every).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), done).await?;
    shutdown.cancel();
    tokio::time::timeout(Duration::from_mins(1), daemon).await???;
    Ok(())
}

#[tokio::test]
async fn error_for_a_wrong_schedule_names_the_right_form() {
    let config = HousekeeperSettings {
        schedule: "0 99 * * * *".to_owned(),
        ..rules()
    };
    let error = run(config, CancellationToken::new())
        .await
        .expect_err("no minute 99");
    assert_eq!(
        error.to_string(),
        "housekeeper.schedule `0 99 * * * *` is not a cron schedule; write six fields, seconds first, such as \
         `0 */10 * * * *` for every ten minutes"
    );
}
