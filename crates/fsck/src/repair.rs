//! Moving whole files to where the ledger says they are.

use std::io;
use std::path::Path;

use logferry_durable::{Disk, DiskError, DiskOperation, LockError, LockFile, RealDisk};

use crate::judge::Finding;

/// The locks of the roles that move files.
const LOCKS: [&str; 3] = ["relay.lock", "forwarder.lock", "housekeeper.lock"];

/// Keeps every role that moves files from starting.
pub(crate) fn lock(data_dir: &Path) -> Result<Vec<LockFile>, LockError> {
    LOCKS
        .iter()
        .map(|name| LockFile::acquire(&data_dir.join(name)))
        .collect()
}

/// Keeps every role that uses the ledger from starting.
pub(crate) fn lock_all(data_dir: &Path) -> Result<Vec<LockFile>, LockError> {
    let mut locks = lock(data_dir)?;
    locks.push(LockFile::acquire(&data_dir.join("monitor.lock"))?);
    Ok(locks)
}

/// Moves the file to where it belongs, if that puts it right. Whether it did.
pub(crate) fn put_right(finding: &Finding) -> Result<bool, DiskError> {
    let Some(to) = &finding.belongs else {
        return Ok(false);
    };
    if let Some(folder) = to.parent() {
        RealDisk.create_dir_all(folder)?;
    }
    // No role runs, and a file there would have been the batch's; asked again, as a rename replaces.
    if to
        .try_exists()
        .map_err(|error: io::Error| DiskError::new(DiskOperation::Read, to, error))?
    {
        return Ok(false);
    }
    RealDisk.rename(&finding.path, to)?;
    Ok(true)
}
