//! The files of open batches: opened when a line comes, and closed when there are too many.
//!
//! Invariant: a file with lines of the round that is being staged is synced with that round, whether it is still open for
//! further lines or not.

use logferry_durable::{Disk, DiskError, DiskFile};
use logferry_ledger::{BatchContents, BatchGrowth, BatchId, BatchState};
use logferry_spool::Spool;

use super::{AppendedLines, OpenBatches};
use crate::chunk::joined_crc32c;
use crate::commit::spool_recovery::CommitError;

/// Most files that are kept open, unless it is said. Each line of a file beyond costs an open(2).
const FILES_MAX: usize = 1024;

/// How many files are kept open, and those that take no more lines but have some of the present round.
#[derive(Debug)]
pub(super) struct FileLimit<F> {
    max: usize,
    set_aside: Vec<F>,
}

impl<F> Default for FileLimit<F> {
    fn default() -> Self {
        Self {
            max: FILES_MAX,
            set_aside: Vec::new(),
        }
    }
}

impl<F> FileLimit<F> {
    /// Forgets the files that were set aside.
    pub(super) fn clear(&mut self) {
        self.set_aside.clear();
    }
}

impl<D: Disk> OpenBatches<D> {
    /// Keeps at most so many files open.
    pub(crate) fn limit_files(&mut self, max: usize) {
        self.files.max = max.clamp(2, FILES_MAX);
    }

    /// Opens the files of new parts together, if there are several: each needs a sync of its folder. A crash leaves empty
    /// files, which are discarded with their rows.
    pub(super) fn open_files(&mut self, opened: &[BatchId], spool: &Spool<D>) -> Result<(), DiskError> {
        if opened.len() < 2 || opened.len() > self.files.max / 2 {
            return Ok(());
        }
        self.make_room(opened.len(), spool.disk())?;
        let batches = opened.iter().filter_map(|id| self.batches.get(id));
        let paths: Vec<_> = batches
            .map(|open| spool.path(&open.batch, BatchState::Open))
            .collect();
        let files = spool.disk().open_append_all(&paths)?;
        for (id, file) in opened.iter().zip(files) {
            if let Some(open) = self.batches.get_mut(id) {
                open.file = Some(file);
            }
        }
        Ok(())
    }

    /// Appends bytes to one batch, whatever its size: the end of a line must follow its beginning.
    pub(crate) fn append(
        &mut self,
        id: BatchId,
        lines: AppendedLines<'_>,
        spool: &Spool<D>,
    ) -> Result<(), CommitError> {
        if self.batches.get(&id).is_some_and(|open| open.file.is_none()) {
            self.make_room(1, spool.disk())?;
        }
        let Some(open) = self.batches.get_mut(&id).filter(|_| !lines.bytes.is_empty()) else {
            return Ok(());
        };
        let file = match &mut open.file {
            Some(file) => file,
            file => {
                let path = spool.path(&open.batch, BatchState::Open);
                file.insert(spool.disk().open_append(&path)?)
            }
        };
        // Counted before the write: after an error the batch is dirty and will be cut back.
        let crc32c = match lines.crc32c {
            Some(crc) => joined_crc32c(open.staged.crc32c, crc, lines.bytes.len()),
            None => crc32c::crc32c_append(open.staged.crc32c, lines.bytes),
        };
        let added = u64::try_from(lines.bytes.len()).unwrap_or(u64::MAX);
        open.staged = BatchContents {
            lines: open.staged.lines + lines.lines,
            bytes: open.staged.bytes + added,
            crc32c,
        };
        open.last_append = open.last_append.max(lines.arrived.steady);
        open.ends_inside_line = !lines.bytes.ends_with(b"\n");
        if self.is_alone {
            file.append_backlog(lines.bytes)?;
        } else {
            file.append(lines.bytes)?;
        }
        Ok(())
    }

    /// Closes files until `wanted` more may be opened: those whose last lines are the oldest, and half of all, so that it is
    /// not done for each file. What has lines of this round is set aside for its sync, and synced here if that is too much.
    fn make_room(&mut self, wanted: usize, disk: &D) -> Result<(), DiskError> {
        let mut open: Vec<_> = self
            .batches
            .values_mut()
            .filter(|open| open.file.is_some())
            .collect();
        if open.len() + wanted <= self.files.max {
            return Ok(());
        }
        open.sort_unstable_by_key(|open| open.last_append);
        for open in open.iter_mut().take(self.files.max.div_ceil(2).max(wanted)) {
            let has_lines = open.is_dirty();
            self.files
                .set_aside
                .extend(open.file.take().filter(|_| has_lines));
        }
        if self.files.set_aside.len() >= self.files.max {
            disk.sync_all(&mut self.files.set_aside.iter_mut().collect::<Vec<_>>())?;
            self.files.set_aside.clear();
        }
        Ok(())
    }

    /// Ends a round: the new contents of its batches, and their files, which must be synced before the ledger may have
    /// those contents.
    pub(crate) fn end_round(&mut self) -> (Vec<BatchGrowth>, Vec<D::File>) {
        let (mut growth, mut files) = (Vec::new(), std::mem::take(&mut self.files.set_aside));
        for open in self.batches.values_mut().filter(|open| open.is_dirty()) {
            open.batch.contents = open.staged;
            growth.push(BatchGrowth {
                batch: open.batch.id,
                contents: open.staged,
            });
            files.extend(open.file.clone());
        }
        (growth, files)
    }
}
