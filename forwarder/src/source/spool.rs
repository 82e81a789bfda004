//! Where the files of sealed batches are. Looks only; the store move them.

use std::path::{Path, PathBuf};

use logferry_durable::{Disk, DiskError, RealDisk};
use logferry_ledger::{Batch, BatchState};

use crate::error::DeliveryError;

/// The spool's folders.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    disk: RealDisk,
    data_dir: PathBuf,
}

impl Spool {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self {
            disk: RealDisk,
            data_dir: data_dir.to_owned(),
        }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The folder of all files in a state.
    pub(crate) fn folder(&self, state: BatchState) -> PathBuf {
        self.data_dir.join(state.as_str())
    }

    /// Where a batch's file is in a state.
    pub(crate) fn path_in(&self, state: BatchState, batch: &Batch) -> PathBuf {
        self.folder(state)
            .join(batch.source.as_str())
            .join(batch.file_name())
    }

    pub(crate) fn is_in(&self, state: BatchState, batch: &Batch) -> Result<bool, DiskError> {
        Ok(self.disk.len(&self.path_in(state, batch))?.is_some())
    }

    /// The folder in which a sealed batch's file waits, if it is in one.
    pub(crate) fn folder_of(&self, batch: &Batch) -> Result<Option<BatchState>, DiskError> {
        for state in [BatchState::Ready, BatchState::Failed] {
            if self.is_in(state, batch)? {
                return Ok(Some(state));
            }
        }
        Ok(None)
    }

    /// Where a sent batch's file is, if it is still there: plain, or as the housekeeper has compressed it.
    fn archived(&self, batch: &Batch) -> Result<Option<PathBuf>, DiskError> {
        let plain = self.path_in(BatchState::Sent, batch);
        let compressed = plain.with_added_extension("gz");
        // The plain one first: while it is compressed, the other may not be whole.
        for path in [plain, compressed] {
            if self.disk.len(&path)?.is_some() {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Finds a sealed batch's file, wherever it is.
    pub(crate) fn find(&self, batch: &Batch) -> Result<Option<PathBuf>, DiskError> {
        // Looked for twice: between two looks, it may be moved back to where it was not.
        for _ in 0..2 {
            if let Some(state) = self.folder_of(batch)? {
                return Ok(Some(self.path_in(state, batch)));
            }
            if let Some(path) = self.archived(batch)? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Finds the file of a batch that is to be delivered.
    pub(crate) fn locate(&self, batch: &Batch) -> Result<PathBuf, DeliveryError> {
        match self.find(batch) {
            Ok(Some(path)) => Ok(path),
            Ok(None) => Err(DeliveryError::Missing {
                path: self.path_in(batch.state, batch),
            }),
            Err(error) => Err(DeliveryError::LocalFile {
                path: error.path,
                source: error.source,
            }),
        }
    }
}
