//! A compressed file on disk that is removed when it is no longer needed.

use std::error::Error;
use std::path::PathBuf;

use logferry_durable::{Disk, RealDisk};
use tracing::warn;

/// A compressed file, which is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct StagedFile(pub(super) PathBuf);

impl Drop for StagedFile {
    fn drop(&mut self) {
        if let Err(error) = RealDisk.remove(&self.0) {
            let error: &dyn Error = &error;
            warn!(file = %self.0.display(), error, "cannot remove a compressed file; the next start removes it");
        }
    }
}
