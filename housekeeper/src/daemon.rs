//! Starts runs by the clock (UTC), one after the other.

use std::error::Error;

use jiff::Timestamp;
use logferry_config::HousekeeperSettings;
use logferry_durable::{LockError, RealDisk};
use logferry_ledger::Ledger;
use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::sync::CancellationToken;

use crate::{HousekeeperError, once_on};

/// Runs by the configured schedule until `shutdown`. A run that fails is logged; the next one tries again.
///
/// The schedule is in UTC, where no hour is skipped or repeated. A run that is due during another one starts after it;
/// several such runs become one. On `shutdown` a run stops between two blocks of a file.
pub async fn run(config: HousekeeperSettings, shutdown: CancellationToken) -> Result<(), HousekeeperError> {
    // Room for one tick: a second one that waits would add nothing.
    let (tick, mut ticks) = mpsc::channel(1);
    let send_tick = move |_, _| {
        let _ = tick.try_send(());
    };
    let job = Job::new(&config.schedule, send_tick).map_err(|source| HousekeeperError::Schedule {
        schedule: config.schedule.clone(),
        source,
    })?;
    let mut scheduler = JobScheduler::new().await.map_err(HousekeeperError::Scheduler)?;
    scheduler.add(job).await.map_err(HousekeeperError::Scheduler)?;
    scheduler.start().await.map_err(HousekeeperError::Scheduler)?;
    tracing::info!(
        schedule = config.schedule,
        "housekeeper started on {}",
        config.data_dir.display()
    );

    let folder = config.data_dir.display();
    if Ledger::is_missing(&config.data_dir) {
        tracing::info!(%folder, "waiting for the relay's first start: no ledger in {folder} yet");
    }
    while let Some(Some(())) = shutdown.run_until_cancelled(ticks.recv()).await {
        if Ledger::is_missing(&config.data_dir) {
            tracing::debug!(%folder, "there is still no ledger");
            continue;
        }
        let (config, stop) = (config.clone(), shutdown.clone());
        let work = move || once_on(&RealDisk, &config, Timestamp::now(), &stop);
        let done = tokio::task::spawn_blocking(work).await;
        if let Err(error) = done.map_err(HousekeeperError::Panicked)? {
            if let HousekeeperError::Lock(LockError::Held { .. }) = &error {
                tracing::info!(
                    error = &error as &dyn Error,
                    "a backup or another housekeeper is at work; the next run tries again"
                );
                continue;
            }
            tracing::error!(
                error = &error as &dyn Error,
                "this run of the housekeeper failed; the next one tries again"
            );
        }
    }
    scheduler.shutdown().await.map_err(HousekeeperError::Scheduler)?;
    tracing::info!("housekeeper stopped");
    Ok(())
}
