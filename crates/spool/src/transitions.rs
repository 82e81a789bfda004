//! Moves batch files from one state's folder to another's.
//!
//! The ledger's state is changed before the file is moved. A crash between the two leaves the file in its old folder;
//! the role that starts next moves it. A crash during a move leaves the file in exactly one of the two folders.

use std::collections::BTreeSet;
use std::path::Path;

use logferry_durable::{Disk, DiskError, DiskFile};
use logferry_ledger::{Batch, BatchState};
use logferry_protocol::names::SourceId;

use crate::layout::{FileForm, Spool};

/// An open batch's file, compared with the ledger after a crash.
#[derive(Debug, PartialEq, Eq)]
pub enum OpenFile {
    /// The file holds exactly the bytes that the ledger has.
    Whole,
    /// The file holds fewer bytes. Nothing may be added to it, and it may not be delivered.
    Short {
        /// Bytes in the file.
        found: u64,
    },
}

impl<D: Disk> Spool<D> {
    /// Makes the folders of these states.
    pub fn create_state_folders(&self, states: &[BatchState]) -> Result<(), DiskError> {
        states
            .iter()
            .try_for_each(|state| self.disk().create_dir_all(&self.state_folder(*state)))
    }

    /// Makes the folders of these sources in one state's folder.
    pub fn create_source_folders<'a>(
        &self,
        state: BatchState,
        sources: impl IntoIterator<Item = &'a SourceId>,
    ) -> Result<(), DiskError> {
        let sources: BTreeSet<_> = sources.into_iter().collect();
        let folders = sources
            .into_iter()
            .map(|source| self.source_folder(state, source));
        self.disk().create_dirs_all(&folders.collect::<Vec<_>>())
    }

    /// Moves batches' plain files, each from one state's folder to another's, and syncs each folder once.
    pub fn move_batches(&self, moves: &[(&Batch, BatchState, BatchState)]) -> Result<(), DiskError> {
        let folder = |(batch, _, to): &(&Batch, _, _)| self.source_folder(*to, &batch.source);
        for folder in moves.iter().map(folder).collect::<BTreeSet<_>>() {
            self.disk().create_dir_all(&folder)?;
        }
        let paths = moves
            .iter()
            .map(|(batch, from, to)| (self.path(batch, *from), self.path(batch, *to)));
        self.disk().rename_all(&paths.collect::<Vec<_>>())
    }

    /// Moves one batch's plain file.
    pub fn move_batch(&self, batch: &Batch, from: BatchState, to: BatchState) -> Result<(), DiskError> {
        self.move_batches(&[(batch, from, to)])
    }

    /// Moves a file to `to`, unless there is a file already. Returns whether it was moved.
    ///
    /// To be called only while no role runs that moves files: a rename would replace a file that appears meanwhile.
    pub fn move_unless_taken(&self, from: &Path, to: &Path) -> Result<bool, DiskError> {
        if let Some(folder) = to.parent() {
            self.disk().create_dir_all(folder)?;
        }
        if self.disk().len(to)?.is_some() {
            return Ok(false);
        }
        self.disk().rename(from, to)?;
        Ok(true)
    }

    /// Cuts an open batch's file back to the bytes that the ledger has.
    ///
    /// The bytes that are cut off were never acknowledged: their sender still has them and sends them again.
    pub fn cut_back(&self, batch: &Batch) -> Result<OpenFile, DiskError> {
        let path = self.path(batch, BatchState::Open);
        let found = self.disk().len(&path)?.unwrap_or(0);
        if found < batch.contents.bytes {
            return Ok(OpenFile::Short { found });
        }
        if found > batch.contents.bytes {
            self.disk().open_append(&path)?.truncate(batch.contents.bytes)?;
        }
        Ok(OpenFile::Whole)
    }

    /// Removes all files of a sent batch from `sent/`.
    pub fn remove_sent(&self, batch: &Batch) -> Result<(), DiskError> {
        let path = |form| self.path_of_form(batch, BatchState::Sent, form);
        FileForm::SENT
            .into_iter()
            .try_for_each(|form| self.disk().remove(&path(form)))
    }

    /// Bytes of all files of a sent batch in `sent/`.
    pub fn sent_bytes(&self, batch: &Batch) -> Result<u64, DiskError> {
        let path = |form| self.path_of_form(batch, BatchState::Sent, form);
        let len = |form| Ok(self.disk().len(&path(form))?.unwrap_or(0));
        FileForm::SENT.into_iter().map(len).sum()
    }

    /// As [`Self::sent_bytes`], without the files that have another name elsewhere: their removal gives no room back.
    pub fn own_sent_bytes(&self, batch: &Batch) -> Result<u64, DiskError> {
        let path = |form| self.path_of_form(batch, BatchState::Sent, form);
        FileForm::SENT
            .into_iter()
            .map(|form| self.disk().own_len(&path(form)))
            .sum()
    }
}
