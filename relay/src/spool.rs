//! The spool's folders, and bringing them in line with the ledger when the relay starts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use logferry_durable::{Disk, DiskError};
use logferry_ledger::{Batch, BatchState, Ledger, LedgerError};
use logferry_protocol::names::{GroupName, SourceId};

/// The folders of batch files below `data_dir`.
#[derive(Debug, Clone)]
pub(crate) struct Spool<D> {
    disk: D,
    data_dir: PathBuf,
}

/// The spool and the ledger could not be brought together.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// A file or folder.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl SpoolError {
    /// Whether room on the disk is what is missing.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Disk(error) => error.is_disk_full(),
            Self::Ledger(error) => error.is_disk_full(),
        }
    }

    /// Whether somebody else has changed what was to be changed; nothing is wrong with disk or ledger.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Ledger(LedgerError::Conflict { .. }))
    }

    /// The message for senders that must wait for this reason.
    pub(crate) fn client_message(&self) -> &'static str {
        match self {
            error if error.is_disk_full() => "the relay's disk is full",
            Self::Disk(_) => "the relay cannot write to its disk",
            Self::Ledger(LedgerError::Conflict { .. }) => "these lines came in through another group, too",
            Self::Ledger(LedgerError::Damaged { .. }) => "the relay's ledger is damaged",
            Self::Ledger(_) => "the relay cannot write to its ledger",
        }
    }
}

/// What became of an open batch's file while nobody wrote it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OpenFileState {
    /// It holds exactly what the ledger says.
    Whole,
    /// It holds less. Nothing may be added to it, and it may not be delivered.
    Short {
        /// Bytes it has.
        found: u64,
    },
}

impl<D: Disk> Spool<D> {
    /// The spool in `data_dir`.
    pub(crate) fn new(disk: D, data_dir: &Path) -> Self {
        Self {
            disk,
            data_dir: data_dir.to_owned(),
        }
    }

    /// The disk that the spool is on.
    pub(crate) fn disk(&self) -> &D {
        &self.disk
    }

    /// The folder that holds the spool.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The folder of a source's batches in a state.
    pub(crate) fn folder(&self, state: BatchState, source: &SourceId) -> PathBuf {
        self.data_dir.join(state.as_str()).join(source.as_str())
    }

    /// Where a batch's file is while it is in `state`.
    pub(crate) fn path(&self, batch: &Batch, state: BatchState) -> PathBuf {
        self.folder(state, &batch.source).join(batch.file_name())
    }

    /// Moves batches' files from `open/` to `ready/`; the ledger has sealed the batches before.
    ///
    /// A crash before or between the moves leaves files in `open/`: [`Self::finish_seals`] moves them at the next start.
    pub(crate) fn move_to_ready(&self, batches: &[Batch]) -> Result<(), DiskError> {
        let sources: BTreeSet<_> = batches.iter().map(|batch| &batch.source).collect();
        for source in sources {
            self.disk
                .create_dir_all(&self.folder(BatchState::Ready, source))?;
        }
        let moves: Vec<_> = batches
            .iter()
            .map(|batch| {
                let path = |state| self.path(batch, state);
                (path(BatchState::Open), path(BatchState::Ready))
            })
            .collect();
        self.disk.rename_all(&moves)
    }

    /// Moves the files of batches that were sealed in the ledger when a crash came before the move: of one group, or of
    /// all.
    pub(crate) fn finish_seals(&self, ledger: &Ledger, group: Option<&GroupName>) -> Result<(), SpoolError> {
        let open = self.data_dir.join(BatchState::Open.as_str());
        for source in self.disk.list(&open)? {
            for name in self.disk.list(&open.join(&source))? {
                let batch = match name.strip_suffix(".log") {
                    Some(stem) => ledger.batch_named(stem)?,
                    None => None,
                };
                match batch {
                    Some(batch) if group.is_some_and(|group| *group != batch.group) => {}
                    Some(batch) if batch.state == BatchState::Ready => self.move_to_ready(&[batch])?,
                    Some(batch) if batch.state == BatchState::Open => {}
                    // A group that recovers does not say it again.
                    _ if group.is_some() => {}
                    _ => tracing::warn!(
                        file = %open.join(&source).join(&name).display(),
                        "this file is not in the ledger as an open batch; it is left alone"
                    ),
                }
            }
        }
        Ok(())
    }

    /// Seals the open batches of groups that are not configured any more: nobody else would.
    pub(crate) fn seal_orphans(
        &self,
        ledger: &mut Ledger,
        groups: &[GroupName],
        now: Timestamp,
    ) -> Result<(), SpoolError> {
        for batch in ledger.batches_in(BatchState::Open)? {
            let is_whole = || self.cut_back(&batch).map(|file| file == OpenFileState::Whole);
            if !groups.contains(&batch.group) && batch.contents.bytes > 0 && is_whole()? {
                tracing::warn!(group = %batch.group, batch = %batch.name(), "sealed, as its group is gone");
                ledger.seal(batch.id, now)?;
                self.move_to_ready(&[batch])?;
            }
        }
        Ok(())
    }

    /// Cuts an open batch's file back to what the ledger says is durable.
    ///
    /// What is cut off was never acknowledged, so its sender still has it and sends it again.
    pub(crate) fn cut_back(&self, batch: &Batch) -> Result<OpenFileState, DiskError> {
        let path = self.path(batch, BatchState::Open);
        let found = self.disk.len(&path)?.unwrap_or(0);
        if found < batch.contents.bytes {
            return Ok(OpenFileState::Short { found });
        }
        if found > batch.contents.bytes {
            logferry_durable::DiskFile::truncate(&mut self.disk.open_append(&path)?, batch.contents.bytes)?;
        }
        Ok(OpenFileState::Whole)
    }
}
