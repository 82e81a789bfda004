//! Why the store cannot be used.

use logferry_durable::DiskError;

/// The store cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
