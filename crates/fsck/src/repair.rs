//! Moves whole files to where the ledger says they are, while no role runs.

use logferry_durable::{DiskError, RealDisk};
use logferry_spool::Spool;

use crate::finding::Finding;

/// Moves a misplaced file to the right folder. Returns whether it did.
pub(crate) fn move_file(spool: &Spool<RealDisk>, finding: &Finding) -> Result<bool, DiskError> {
    match &finding.move_to {
        Some(to) => spool.move_unless_taken(&finding.path, to),
        None => Ok(false),
    }
}
