//! Carries out the plan, one batch at a time. A crash may come between any two steps.

use std::io::{self, Read};
use std::path::Path;
use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use logferry_durable::{BootTime, Disk, DiskFile};
use logferry_ledger::{Batch, BatchState, Ledger};
use logferry_spool::{CopyError, FileForm, Measure, MeasuredReader, Spool, copy, gzip_encoder};
use tokio_util::sync::CancellationToken;

use crate::clock_watch::time_for_rows;
use crate::ledger_file;
use crate::plan::Action;
use crate::sent_files::{self, SentBatch};
use crate::work_share::WorkShare;
use crate::{BatchError, HousekeeperError, HousekeeperReport};

/// Pages of the ledger's file, of 4 KiB each, that one step gives back.
const PAGES_A_STEP: u32 = 256;

/// Most windows that one run forgets, for minutes: what is due later must not wait for the rows of years. The next run goes on.
const WINDOWS_A_RUN: u32 = 5000;

/// The rest between two steps in the ledger.
const STEP_REST: Duration = Duration::from_millis(20);

/// Carries out actions and counts what they did.
#[derive(Debug)]
pub(crate) struct ActionExecutor<'a, D> {
    spool: Spool<D>,
    ledger: Ledger,
    now: Timestamp,
    stop: &'a CancellationToken,
    /// Whether batches are deleted before their age.
    pub(crate) is_early: bool,
    /// The result so far.
    pub(crate) report: HousekeeperReport,
}

impl<'a, D: Disk> ActionExecutor<'a, D> {
    pub(crate) fn new(spool: Spool<D>, ledger: Ledger, now: Timestamp, stop: &'a CancellationToken) -> Self {
        Self {
            spool,
            ledger,
            now,
            stop,
            is_early: false,
            report: HousekeeperReport::default(),
        }
    }

    pub(crate) fn spool(&self) -> &Spool<D> {
        &self.spool
    }

    /// The sent batches as they are now.
    pub(crate) fn sent_batches(&self) -> Result<Vec<SentBatch>, HousekeeperError> {
        sent_files::sent_batches(&self.spool, &self.ledger)
    }

    /// Deletes the rows of windows that ended, and whose files were deleted, longer ago than `keep`; then gives the room in
    /// the ledger's file back. Each step is a transaction of milliseconds, with a rest after it, so that no commit of the relay
    /// waits for long. It stops between two steps.
    pub(crate) fn forget_old_rows(
        &mut self,
        keep: Duration,
        data_dir: &Path,
    ) -> Result<(), HousekeeperError> {
        let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
        let now = time_for_rows(self.now, self.ledger.clock()?.as_ref(), &BootTime::now());
        let Ok(before) = now.checked_sub(keep) else {
            return Ok(());
        };
        for window in self.ledger.windows_to_forget(before, WINDOWS_A_RUN)? {
            self.report.forgotten += self.ledger.forget_window(window, before)?.unwrap_or(0);
            if self.stop.is_cancelled() {
                return Ok(());
            }
            thread::sleep(STEP_REST);
        }
        let free_on_disk = self.spool.disk().space(data_dir)?.free_bytes;
        ledger_file::shrink_beside_relay(&mut self.ledger, free_on_disk)?;
        while self.ledger.give_back_pages(PAGES_A_STEP)? > 0 && !self.stop.is_cancelled() {
            thread::sleep(STEP_REST);
        }
        Ok(())
    }

    /// Carries out one action. After an error the batch is as whole as before, and the action may be repeated.
    pub(crate) fn execute(&mut self, action: &Action) -> Result<(), BatchError> {
        let batch = action.batch();
        let bytes_before = self.spool.own_sent_bytes(batch)?;
        match action {
            Action::Compress(batch) => {
                self.compress(batch)?;
                self.report.compressed += 1;
            }
            Action::Expire(batch) => {
                // 1. The ledger. A crash after it leaves the files; the next plan clears them.
                //    A batch that somebody asked for since it was planned stays.
                if self.ledger.mark_expired(batch.id, self.now)? {
                    // 2. The files.
                    self.spool.remove_sent(batch)?;
                    if self.is_early {
                        self.report.expired_early += 1;
                    } else {
                        self.report.expired += 1;
                    }
                }
            }
            Action::Clear(batch) => self.spool.remove_sent(batch)?,
        }
        self.report.bytes_freed += bytes_before.saturating_sub(self.spool.own_sent_bytes(batch)?);
        Ok(())
    }

    /// Puts a checked `.log.gz` in the place of `.log`.
    fn compress(&mut self, batch: &Batch) -> Result<(), BatchError> {
        let path = |form| self.spool.path_of_form(batch, BatchState::Sent, form);
        let (plain, compressed) = (path(FileForm::Plain), path(FileForm::Compressed));
        // Steps 1 to 3, unless a crash after them has left a good copy.
        if let Err(error) = self.check_contents(batch, &compressed, FileForm::Compressed) {
            if self.spool.disk().len(&plain)?.is_none() {
                return Err(error);
            }
            let partial = path(FileForm::Partial);
            if let Err(error) = self.write_compressed(batch, &plain, &partial, &compressed) {
                // Its space is needed, above all when the disk is full. If this fails too, the next attempt removes it.
                let _ = self.spool.disk().remove(&partial);
                return Err(error);
            }
        }
        // 4. The ledger. A crash after it leaves both files; the next plan compresses again, which skips to this step.
        if batch.compressed_at.is_none() {
            self.ledger.mark_compressed(batch.id, self.now)?;
        }
        // 5. The original.
        Ok(self.spool.disk().remove(&plain)?)
    }

    fn write_compressed(
        &self,
        batch: &Batch,
        plain: &Path,
        partial: &Path,
        compressed: &Path,
    ) -> Result<(), BatchError> {
        let disk = self.spool.disk();
        // 1. A compressed copy under a temporary name, synced. A crash leaves a part of it, which is removed here.
        disk.remove(partial)?;
        let mut original = MeasuredReader::new(self.open(plain, FileForm::Plain)?, Measure::default());
        let mut file = disk.open_append(partial)?;
        self.copy(plain, gzip_encoder(&mut original), |block| file.append(block))?;
        require_match(plain, original.measure(), batch)?;
        file.sync()?;
        // 2. The copy is read back. A crash leaves it, as before.
        self.check_contents(batch, partial, FileForm::Partial)?;
        // 3. Its final name. A crash leaves both files; the ledger still has the original.
        Ok(disk.rename(partial, compressed)?)
    }

    /// Reads a file whole, and fails unless it holds the lines that were sealed.
    fn check_contents(&self, batch: &Batch, path: &Path, form: FileForm) -> Result<(), BatchError> {
        let mut measure = Measure::default();
        self.copy(path, self.open(path, form)?, |block| {
            measure.add(block);
            Ok(())
        })?;
        require_match(path, &measure, batch)
    }

    fn open(&self, path: &Path, form: FileForm) -> Result<impl Read + use<D>, BatchError> {
        let file = self.spool.open_as(path, form)?;
        file.ok_or_else(|| read_error(path, io::ErrorKind::NotFound.into()))
    }

    /// `path`: the file that is read.
    fn copy(
        &self,
        path: &Path,
        input: impl Read,
        output: impl FnMut(&[u8]) -> Result<(), logferry_durable::DiskError>,
    ) -> Result<(), BatchError> {
        let (mut output, mut share) = (output, WorkShare::new());
        let output = |block: &[u8]| {
            let done = output(block);
            // A disk that is too full cannot wait.
            if !self.is_early {
                share.worked(block.len() as u64);
            }
            done
        };
        copy(input, || self.stop.is_cancelled(), output).map_err(|error| match error {
            CopyError::Read(source) => read_error(path, source),
            CopyError::Write(error) => error.into(),
            CopyError::Stopped => BatchError::Stopped,
        })
    }
}

fn require_match(path: &Path, found: &Measure, batch: &Batch) -> Result<(), BatchError> {
    if found.matches(batch.contents) {
        return Ok(());
    }
    Err(BatchError::Differs {
        path: path.to_owned(),
        found: found.contents(),
        sealed: batch.contents,
    })
}

fn read_error(path: &Path, source: io::Error) -> BatchError {
    BatchError::Read {
        path: path.to_owned(),
        source,
    }
}
