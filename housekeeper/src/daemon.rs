//! Starts runs by the clock (UTC), one after the other.

use std::error::Error;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::HousekeeperSettings;
use logferry_durable::{LockError, LockFile, RealDisk};
use logferry_ledger::Ledger;
use logferry_spool::HOUSEKEEPER_DAEMON_LOCK;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::sync::CancellationToken;

use crate::clock_watch::ClockWatch;
use crate::{HousekeeperError, once_on};

/// How often it is looked whether the clock was set back.
const CLOCK_LOOK_EVERY: Duration = Duration::from_secs(10);

/// Runs by the configured schedule until `shutdown`. A run that fails is logged; the next one tries again.
///
/// The schedule is in UTC, where no hour is skipped or repeated. A run that is due during another one starts after it;
/// several such runs become one. On `shutdown` a run stops between two blocks of a file.
///
/// The scheduler keeps the time of its next run. After a clock that was ahead is set back, that time may be a year away, so a
/// new scheduler takes its place.
pub async fn run(config: HousekeeperSettings, shutdown: CancellationToken) -> Result<(), HousekeeperError> {
    run_by(config, shutdown, Timestamp::now, CLOCK_LOOK_EVERY).await
}

/// As [`run`], by any clock.
pub(crate) async fn run_by(
    config: HousekeeperSettings,
    shutdown: CancellationToken,
    clock: impl Fn() -> Timestamp,
    look_every: Duration,
) -> Result<(), HousekeeperError> {
    let mut lock = None;
    lock_out_others(&config, &mut lock)?;
    // Room for one tick: a second one that waits would add nothing.
    let (tick, mut ticks) = mpsc::channel(1);
    let mut scheduler = start_scheduler(&config.schedule, tick.clone()).await?;
    let folder = config.data_dir.display();
    tracing::info!(schedule = config.schedule, "housekeeper started on {folder}");
    if Ledger::is_missing(&config.data_dir) {
        tracing::info!(%folder, "waiting for the relay's first start: no ledger in {folder} yet");
    }
    let (mut watch, started) = (ClockWatch::new(clock()), Instant::now());
    let mut looks = tokio::time::interval(look_every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = looks.tick() => {
                if watch.is_set_back(clock(), started.elapsed()) {
                    tracing::info!("this host's clock was set back; the next run is planned anew");
                    scheduler.shutdown().await.map_err(HousekeeperError::Scheduler)?;
                    scheduler = start_scheduler(&config.schedule, tick.clone()).await?;
                }
            }
            Some(()) = ticks.recv() => {
                lock_out_others(&config, &mut lock)?;
                run_once(&config, &shutdown).await?;
            }
        }
    }
    scheduler.shutdown().await.map_err(HousekeeperError::Scheduler)?;
    tracing::info!("housekeeper stopped");
    Ok(())
}

/// Keeps a second daemon from the folder; an error if another one was first. A folder without a ledger gets no lock file, and a full
/// disk, which takes none, needs the housekeeper all the more: then the next run tries again.
fn lock_out_others(
    config: &HousekeeperSettings,
    lock: &mut Option<LockFile>,
) -> Result<(), HousekeeperError> {
    if lock.is_some() || Ledger::is_missing(&config.data_dir) {
        return Ok(());
    }
    match LockFile::acquire(&config.data_dir.join(HOUSEKEEPER_DAEMON_LOCK)) {
        Ok(acquired) => *lock = Some(acquired),
        Err(error @ LockError::Held { .. }) => return Err(HousekeeperError::AlreadyRuns(error)),
        Err(error) => tracing::warn!(
            error = &error as &dyn Error,
            "a second housekeeper would not be refused now; the next run tries to lock the folder again"
        ),
    }
    Ok(())
}

/// A scheduler that ticks by this schedule.
async fn start_scheduler(schedule: &str, tick: mpsc::Sender<()>) -> Result<JobScheduler, HousekeeperError> {
    let send_tick = move |_, _| {
        let _ = tick.try_send(());
    };
    let job = Job::new(schedule, send_tick).map_err(|source| HousekeeperError::Schedule {
        schedule: schedule.to_owned(),
        source,
    })?;
    let scheduler = JobScheduler::new().await.map_err(HousekeeperError::Scheduler)?;
    scheduler.add(job).await.map_err(HousekeeperError::Scheduler)?;
    scheduler.start().await.map_err(HousekeeperError::Scheduler)?;
    Ok(scheduler)
}

/// One run, if there is a ledger. Its failure is logged.
async fn run_once(
    config: &HousekeeperSettings,
    shutdown: &CancellationToken,
) -> Result<(), HousekeeperError> {
    if Ledger::is_missing(&config.data_dir) {
        tracing::debug!(folder = %config.data_dir.display(), "there is still no ledger");
        return Ok(());
    }
    let (config, stop) = (config.clone(), shutdown.clone());
    let work = move || once_on(&RealDisk, &config, Timestamp::now(), &stop);
    let done = tokio::task::spawn_blocking(work).await;
    match done.map_err(HousekeeperError::Panicked)? {
        Ok(_) => {}
        Err(HousekeeperError::Lock(error @ LockError::Held { .. })) => {
            tracing::info!(
                error = &error as &dyn Error,
                "a backup or another housekeeper is at work; the next run tries again"
            );
        }
        Err(error) => tracing::error!(
            error = &error as &dyn Error,
            "this run of the housekeeper failed; the next one tries again"
        ),
    }
    Ok(())
}
