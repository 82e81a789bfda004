//! Copies a file, durably.

use std::path::Path;

use logferry_durable::{Disk, DiskError, RealDisk};
use logferry_spool::copy_to_file;

/// Copies a whole file; `None` if there is none.
pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<Option<u64>, DiskError> {
    match RealDisk.open_read(from)? {
        Some(input) => copy_to_file(&RealDisk, input, from, to, |_| {}).map(Some),
        None => Ok(None),
    }
}
