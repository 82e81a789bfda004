//! Does what was planned, one batch at a time, in an order that a crash can break anywhere.

use std::path::Path;

use jiff::Timestamp;
use logferry_durable::DiskFile;
use logferry_ledger::{Batch, Ledger};
use tokio_util::sync::CancellationToken;

use crate::gzip::{self, Broken, Measure};
use crate::plan::{Action, Form};
use crate::spool::{ReadDisk, Spool};
use crate::{BatchError, Report};

/// Carries out actions and adds up what they did.
#[derive(Debug)]
pub(crate) struct Worker<'a, D> {
    spool: Spool<'a, D>,
    ledger: Ledger,
    now: Timestamp,
    stop: &'a CancellationToken,
    report: Report,
}

impl<'a, D: ReadDisk> Worker<'a, D> {
    pub(crate) fn new(
        spool: Spool<'a, D>,
        ledger: Ledger,
        now: Timestamp,
        stop: &'a CancellationToken,
    ) -> Self {
        Self {
            spool,
            ledger,
            now,
            stop,
            report: Report::default(),
        }
    }

    /// What was done so far.
    pub(crate) fn report(&self) -> Report {
        self.report
    }

    /// Carries out one action. After an error the batch is as whole as before, and the same action may be repeated.
    pub(crate) fn act(&mut self, action: &Action) -> Result<(), BatchError> {
        let batch = action.batch();
        let bytes_before = self.size(batch)?;
        match action {
            Action::Compress(batch) => {
                self.compress(batch)?;
                self.report.compressed += 1;
            }
            Action::Expire(batch) => {
                // 1. The ledger. A crash leaves files too many; the next plan says to clear them.
                //    A batch that somebody asked for since it was planned stays.
                if self.ledger.mark_expired(batch.id, self.now)? {
                    // 2. The files.
                    self.remove_files(batch)?;
                    self.report.expired += 1;
                }
            }
            Action::Clear(batch) => self.remove_files(batch)?,
        }
        self.report.bytes_freed += bytes_before.saturating_sub(self.size(batch)?);
        Ok(())
    }

    /// Has a checked `.log.gz` in the place of `.log`.
    fn compress(&mut self, batch: &Batch) -> Result<(), BatchError> {
        let plain = self.spool.path(batch, Form::Plain);
        let compressed = self.spool.path(batch, Form::Compressed);
        // Steps 1 to 3, unless a crash after them has left a good copy behind.
        if let Err(error) = self.check(&compressed, batch) {
            if self.spool.disk.len(&plain)?.is_none() {
                return Err(error);
            }
            let partial = self.spool.path(batch, Form::Partial);
            if let Err(error) = self.write_compressed(batch, &plain, &partial, &compressed) {
                // Its room is wanted, above all when the disk is full. If this fails too, the next attempt removes it.
                let _ = self.spool.disk.remove(&partial);
                return Err(error);
            }
        }
        // 4. The ledger. A crash leaves both files; the next plan says to compress, which comes here at once.
        if batch.compressed_at.is_none() {
            self.ledger.mark_compressed(batch.id, self.now)?;
        }
        // 5. The original.
        Ok(self.spool.disk.remove(&plain)?)
    }

    fn write_compressed(
        &self,
        batch: &Batch,
        plain: &Path,
        partial: &Path,
        compressed: &Path,
    ) -> Result<(), BatchError> {
        let disk = self.spool.disk;
        // 1. A compressed copy under a temporary name, synced. A crash leaves a part of it, which is removed here.
        disk.remove(partial)?;
        let original = disk.open_read(plain).map_err(read_error(plain))?;
        let mut file = disk.open_append(partial)?;
        let measure = gzip::compress(original, &mut file, self.stop).map_err(broken(plain))?;
        same(plain, measure, batch)?;
        file.sync()?;
        // 2. The copy is read back. A crash leaves it, as before.
        self.check(partial, batch)?;
        // 3. Its final name. A crash leaves both files, of which the ledger knows the original.
        Ok(disk.rename(partial, compressed)?)
    }

    /// Reads a compressed file through: does it hold the lines that were sealed?
    fn check(&self, compressed: &Path, batch: &Batch) -> Result<(), BatchError> {
        let input = self
            .spool
            .disk
            .open_read(compressed)
            .map_err(read_error(compressed))?;
        let measure = gzip::measure_compressed(input, self.stop).map_err(broken(compressed))?;
        same(compressed, measure, batch)
    }

    fn remove_files(&self, batch: &Batch) -> Result<(), BatchError> {
        for form in Form::ALL {
            self.spool.disk.remove(&self.spool.path(batch, form))?;
        }
        Ok(())
    }

    /// Bytes of all the batch's files in `sent/`.
    fn size(&self, batch: &Batch) -> Result<u64, BatchError> {
        let mut bytes = 0;
        for form in Form::ALL {
            bytes += self.spool.disk.len(&self.spool.path(batch, form))?.unwrap_or(0);
        }
        Ok(bytes)
    }
}

fn same(path: &Path, found: Measure, batch: &Batch) -> Result<(), BatchError> {
    let sealed = Measure::of(batch.contents);
    if found == sealed {
        return Ok(());
    }
    Err(BatchError::Differs {
        path: path.to_owned(),
        found_bytes: found.bytes,
        found_crc32c: found.crc32c,
        bytes: sealed.bytes,
        crc32c: sealed.crc32c,
    })
}

fn read_error(path: &Path) -> impl FnOnce(std::io::Error) -> BatchError + '_ {
    move |source| BatchError::Read {
        path: path.to_owned(),
        source,
    }
}

/// `path` is what was being read.
fn broken(path: &Path) -> impl FnOnce(Broken) -> BatchError + '_ {
    move |broken| match broken {
        Broken::Read(source) => read_error(path)(source),
        Broken::Write(error) => error.into(),
        Broken::Stopped => BatchError::Stopped,
    }
}
