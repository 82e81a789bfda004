//! Moves whole files to where the ledger says they are, while no role runs.

use std::path::Path;

use logferry_durable::{DiskError, LockError, LockFile, RealDisk};
use logferry_spool::Spool;

use crate::finding::Finding;

/// Keeps these roles from starting.
pub(crate) fn lock_roles(data_dir: &Path, roles: &[&str]) -> Result<Vec<LockFile>, LockError> {
    let lock = |name| LockFile::acquire(&data_dir.join(name));
    roles.iter().map(lock).collect()
}

/// Moves a misplaced file to the right folder. Returns whether it did.
pub(crate) fn move_file(spool: &Spool<RealDisk>, finding: &Finding) -> Result<bool, DiskError> {
    match &finding.move_to {
        Some(to) => spool.move_unless_taken(&finding.path, to),
        None => Ok(false),
    }
}
