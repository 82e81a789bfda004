//! Compresses and deletes the batches that every destination has, by their age, or before it when the disk fills.
//!
//! A batch's age is the time since it was sealed. A batch that a destination still lacks is kept at any age. If it is
//! delivered late, it may be compressed or deleted at once.
//!
//! Invariants:
//! - Only batches that the ledger has as sent are touched, and only their files in `sent/`.
//! - At every instant at least one whole copy of an unexpired batch is in `sent/`. The original is removed only after
//!   its compressed copy was synced and read back.
//! - One housekeeper is at work at a time (`<data_dir>/housekeeper.lock`), as a daemon or with `--once`, and one daemon lives at a time
//!   (`<data_dir>/housekeeper-daemon.lock`).
//! - Rows of the ledger are deleted only for windows that are delivered and expired as a whole, and their sums stay.
//!
//! `sent_files` finds the files, `plan` decides, `executor` acts, `run` puts them together, `work_share` leaves the disk to others,
//! `ledger_file` writes the ledger of an earlier version anew, `daemon` runs by the clock, and `clock_watch`
//! notices that it was set.

mod clock_watch;
mod daemon;
mod error;
mod executor;
mod ledger_file;
mod plan;
mod run;
mod sent_files;
mod work_share;

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::HousekeeperSettings;
use logferry_durable::{Disk, LockError, LockFile, RealDisk};
use logferry_ledger::Ledger;
use logferry_spool::{HOUSEKEEPER_LOCK, Spool};
use tokio_util::sync::CancellationToken;

pub use daemon::run;
pub use error::{BatchError, HousekeeperError};
pub use ledger_file::{ShrunkLedger, shrink_ledger};

use crate::executor::ActionExecutor;
use crate::plan::Action;
use crate::run::HousekeeperRun;

/// The result of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HousekeeperReport {
    /// Batches whose file became `.log.gz`.
    pub compressed: u64,
    /// Batches whose file was deleted at its age.
    pub expired: u64,
    /// Batches whose file was deleted before its age, because the disk was too full.
    pub expired_early: u64,
    /// Batches whose rows left the ledger.
    pub forgotten: u64,
    /// Bytes by which the files in `sent/` shrank.
    pub bytes_freed: u64,
}

/// What a run would do to a batch now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// The batch's name.
    pub batch: String,
    /// What would be done.
    pub kind: StepKind,
    /// Bytes of its files in `sent/` now.
    pub bytes: u64,
}

/// What a run does to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// It becomes `.log.gz`.
    Compress,
    /// It is deleted at its age.
    Delete,
    /// It is deleted before its age, if the disk is still too full when its turn comes.
    DeleteEarly,
}

/// So long [`once`] waits for a backup or another run to end. Runs of cron that wait for one that hangs stay few.
const LOCK_WAIT: Duration = Duration::from_hours(1);

/// Compresses and deletes the batches that are due at `now`. After one fails, the others are still done.
///
/// Waits until a backup or another run is done.
pub fn once(config: &HousekeeperSettings, now: Timestamp) -> Result<HousekeeperReport, HousekeeperError> {
    once_within(config, now, LOCK_WAIT)
}

fn once_within(
    config: &HousekeeperSettings,
    now: Timestamp,
    limit: Duration,
) -> Result<HousekeeperReport, HousekeeperError> {
    let data_dir: &Path = &config.data_dir;
    // A folder without a ledger gets no lock file. During the wait the ledger may be replaced: it is opened again after it.
    drop(Ledger::open(data_dir)?);
    let on_wait = || tracing::info!("waiting until a backup or another housekeeper is done");
    let locked = LockFile::acquire_within(&data_dir.join(HOUSEKEEPER_LOCK), limit, on_wait);
    let _lock = locked.map_err(|error| match error {
        held @ LockError::Held { .. } => HousekeeperError::Busy(limit, held),
        other => other.into(),
    })?;
    run_locked(&RealDisk, config, now, &CancellationToken::new())
}

/// What a run at `now` would do, in its order. Changes nothing.
pub fn dry_run(config: &HousekeeperSettings, now: Timestamp) -> Result<Vec<PlannedStep>, HousekeeperError> {
    let (ledger, spool) = (
        Ledger::open(&config.data_dir)?,
        Spool::new(RealDisk, &config.data_dir),
    );
    let step = |action: &Action, kind| -> Result<PlannedStep, HousekeeperError> {
        Ok(PlannedStep {
            batch: action.batch().name(),
            kind,
            bytes: spool.sent_bytes(action.batch())?,
        })
    };
    let found = sent_files::sent_batches(&spool, &ledger)?;
    let due = plan::plan(found.clone(), now, config);
    let mut steps = Vec::with_capacity(due.len());
    for action in &due {
        let kind = match action {
            Action::Compress(_) => StepKind::Compress,
            Action::Expire(_) | Action::Clear(_) => StepKind::Delete,
        };
        steps.push(step(action, kind)?);
    }
    if spool.disk().space(&config.data_dir)?.used_percent() >= config.disk.early_delete {
        let is_due = |action: &Action| due.iter().any(|due| due.batch().id == action.batch().id);
        for action in plan::plan_early(found).iter().filter(|action| !is_due(action)) {
            steps.push(step(action, StepKind::DeleteEarly)?);
        }
    }
    Ok(steps)
}

/// As [`once`], on any disk, and until `stop`. An unfinished compression is then undone or left for the next run.
fn once_on<D: Disk>(
    disk: &D,
    config: &HousekeeperSettings,
    now: Timestamp,
    stop: &CancellationToken,
) -> Result<HousekeeperReport, HousekeeperError> {
    let data_dir: &Path = &config.data_dir;
    drop(Ledger::open(data_dir)?);
    let _lock = LockFile::acquire(&data_dir.join(HOUSEKEEPER_LOCK))?;
    run_locked(disk, config, now, stop)
}

/// One run. Its caller has the lock.
fn run_locked<D: Disk>(
    disk: &D,
    config: &HousekeeperSettings,
    now: Timestamp,
    stop: &CancellationToken,
) -> Result<HousekeeperReport, HousekeeperError> {
    let (data_dir, began): (&Path, _) = (&config.data_dir, Instant::now());
    let ledger = Ledger::open(data_dir)?;
    let mut record = ledger.reopen()?;
    let mut run = HousekeeperRun::new(
        ActionExecutor::new(Spool::new(disk.clone(), data_dir), ledger, now, stop),
        stop,
    );
    let done = run.carry_out_all(config, now);
    run.report().log(run.failed);
    record.note_housekeeper_run(&run.record(now, began.elapsed(), done.as_ref().err()))?;
    done?;
    run.end()
}

#[cfg(test)]
mod tests;
