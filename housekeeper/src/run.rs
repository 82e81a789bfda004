//! One run: the batches that are due, room on the disk, old rows of the ledger.

use std::error::Error;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::HousekeeperSettings;
use logferry_durable::Disk;
use logferry_ledger::HousekeeperRecord;
use logferry_text::{error_chain, size};
use tokio_util::sync::CancellationToken;

use crate::executor::ActionExecutor;
use crate::plan::{self, Action};
use crate::{BatchError, HousekeeperError, HousekeeperReport};

/// Carries out a run, and counts what failed.
pub(crate) struct HousekeeperRun<'a, D> {
    executor: ActionExecutor<'a, D>,
    stop: &'a CancellationToken,
    /// Batches that failed.
    pub(crate) failed: usize,
    first: Option<Box<BatchError>>,
}

impl<'a, D: Disk> HousekeeperRun<'a, D> {
    pub(crate) fn new(executor: ActionExecutor<'a, D>, stop: &'a CancellationToken) -> Self {
        Self {
            executor,
            stop,
            failed: 0,
            first: None,
        }
    }

    /// Does all that is due at `now`, until a stop.
    pub(crate) fn carry_out_all(
        &mut self,
        config: &HousekeeperSettings,
        now: Timestamp,
    ) -> Result<(), HousekeeperError> {
        for action in plan::plan(self.executor.sent_batches()?, now, config) {
            if !self.carry_out(&action) {
                break;
            }
        }
        self.make_room(config)?;
        if !self.stop.is_cancelled() {
            self.executor
                .forget_old_rows(config.keep_ledger, &config.data_dir)?;
        }
        Ok(())
    }

    /// Returns whether to go on: not after a stop.
    fn carry_out(&mut self, action: &Action) -> bool {
        let done = self.executor.execute(action);
        if self.stop.is_cancelled() {
            return false;
        }
        if let Err(error) = done {
            let batch = action.batch().name();
            tracing::error!(
                batch,
                error = &error as &dyn Error,
                "batch {batch} was not compressed or deleted; the next run tries again"
            );
            self.failed += 1;
            self.first.get_or_insert_with(|| Box::new(error));
        }
        true
    }

    /// Deletes delivered batches before their age, the oldest first, until the disk is below `early_delete`. What is not
    /// delivered stays, however full the disk is.
    fn make_room(&mut self, config: &HousekeeperSettings) -> Result<(), HousekeeperError> {
        let data_dir = &config.data_dir;
        let used = |run: &Self| {
            Ok::<_, HousekeeperError>(run.executor.spool().disk().space(data_dir)?.used_percent())
        };
        let before = used(self)?;
        if before >= config.disk.warn {
            tracing::warn!(
                "the disk of {} is {before} % full (housekeeper.disk.warn is {} %); docs/trouble/disk-full.md says what may go",
                data_dir.display(),
                config.disk.warn
            );
        }
        if before < config.disk.early_delete || self.stop.is_cancelled() {
            return Ok(());
        }
        self.executor.is_early = true;
        let (planned, failed_before) = (plan::plan_early(self.executor.sent_batches()?), self.failed);
        for action in &planned {
            if used(self)? < config.disk.early_delete || !self.carry_out(action) {
                return Ok(());
            }
        }
        let (after, deleted) = (used(self)?, self.executor.report.expired_early);
        let deleted = usize::try_from(deleted).unwrap_or(usize::MAX);
        if after >= config.disk.early_delete {
            let failed = self.failed - failed_before;
            let kept = planned.len().saturating_sub(deleted.saturating_add(failed));
            tracing::warn!(
                "the disk of {} is still {after} % full{}",
                data_dir.display(),
                what_is_left(deleted, failed, kept)
            );
        }
        Ok(())
    }

    pub(crate) fn report(&self) -> HousekeeperReport {
        self.executor.report
    }

    /// The run for the ledger. `error`: why it ended early.
    pub(crate) fn record(
        &self,
        started_at: Timestamp,
        duration: Duration,
        error: Option<&HousekeeperError>,
    ) -> HousekeeperRecord {
        let HousekeeperReport {
            compressed,
            expired,
            expired_early,
            forgotten,
            bytes_freed,
        } = self.executor.report;
        let first = self.first.as_deref().map(|error| error_chain(error));
        HousekeeperRecord {
            started_at,
            duration,
            compressed,
            expired,
            expired_early,
            forgotten,
            bytes_freed,
            failed: self.failed as u64,
            error: error.map(|error| error_chain(error)).or(first),
        }
    }

    pub(crate) fn end(self) -> Result<HousekeeperReport, HousekeeperError> {
        let (failed, report) = (self.failed, self.executor.report);
        match self.first {
            None => Ok(report),
            Some(first) => Err(HousekeeperError::Unfinished {
                failed,
                report,
                first,
            }),
        }
    }
}

/// What became of the delivered batches on a disk that is still too full. `kept`: they are to be sent again.
fn what_is_left(deleted: usize, failed: usize, kept: usize) -> String {
    let none_left = (failed + kept == 0).then_some(", and no delivered batch is left to delete");
    let failed = (failed > 0).then(|| format!(", {failed} could not be deleted"));
    let kept = (kept > 0).then(|| format!(", {kept} are kept, to be sent again"));
    format!(
        "{}: {deleted} went before their age{}{}",
        none_left.unwrap_or_default(),
        failed.unwrap_or_default(),
        kept.unwrap_or_default()
    )
}

impl HousekeeperReport {
    pub(crate) fn log(&self, failed: usize) {
        let &Self {
            compressed,
            expired,
            expired_early,
            forgotten,
            bytes_freed,
        } = self;
        if *self == Self::default() {
            tracing::debug!(failed, "no batch was compressed or deleted");
            return;
        }
        tracing::info!(
            compressed,
            expired,
            expired_early,
            forgotten,
            bytes_freed,
            failed,
            "sent batches: {compressed} compressed, {expired} deleted, {expired_early} deleted before their age, {failed} failed, \
             {} freed; {forgotten} left the ledger",
            size(bytes_freed)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_said_to_be_without_delivered_batches_only_if_it_is() {
        for (deleted, failed, kept, expected) in [
            (
                3,
                0,
                0,
                ", and no delivered batch is left to delete: 3 went before their age",
            ),
            (1, 2, 0, ": 1 went before their age, 2 could not be deleted"),
            (0, 0, 2, ": 0 went before their age, 2 are kept, to be sent again"),
        ] {
            assert_eq!(what_is_left(deleted, failed, kept), expected);
        }
    }
}
