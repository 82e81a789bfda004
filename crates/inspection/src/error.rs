//! Why the status or the audit cannot be made, worded for the operator who has to mend it.

use logferry_durable::DiskError;
use logferry_ledger::LedgerError;

use crate::sign_off::KeyError;

/// The status or the audit cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum InspectionError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The spool cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The public key of signed windows cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
}
