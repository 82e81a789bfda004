//! Where the files of sealed batches are. Looks only; the books move them.

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

    /// Finds a waiting batch's file.
    pub(crate) fn locate(&self, batch: &Batch) -> Result<PathBuf, DeliveryError> {
        let missing = self.path_in(batch.state, batch);
        // Looked for twice: between two looks, another destination's worker may move it back to where it was not.
        for _ in 0..2 {
            match self.folder_of(batch) {
                Ok(Some(state)) => return Ok(self.path_in(state, batch)),
                Ok(None) => {}
                Err(error) => {
                    return Err(DeliveryError::LocalFile {
                        path: error.path,
                        source: error.source,
                    });
                }
            }
        }
        Err(DeliveryError::Missing { path: missing })
    }
}
