//! Moves whole files to where the ledger says they are, while no role runs.

use std::path::Path;

use logferry_durable::{DiskError, LockError, LockFile, RealDisk};
use logferry_spool::Spool;

use crate::finding::Finding;

const LOCKS: [&str; 3] = ["relay.lock", "forwarder.lock", "housekeeper.lock"];

/// Keeps every role that moves files from starting.
pub(crate) fn lock_moving_roles(data_dir: &Path) -> Result<Vec<LockFile>, LockError> {
    let lock = |name| LockFile::acquire(&data_dir.join(name));
    LOCKS.into_iter().map(lock).collect()
}

/// Keeps every role that uses the ledger from starting.
pub(crate) fn lock_all_roles(data_dir: &Path) -> Result<Vec<LockFile>, LockError> {
    let mut locks = lock_moving_roles(data_dir)?;
    locks.push(LockFile::acquire(&data_dir.join("monitor.lock"))?);
    Ok(locks)
}

/// Moves a misplaced file to the right folder. Returns whether it did.
pub(crate) fn move_file(spool: &Spool<RealDisk>, finding: &Finding) -> Result<bool, DiskError> {
    match &finding.move_to {
        Some(to) => spool.move_unless_taken(&finding.path, to),
        None => Ok(false),
    }
}
