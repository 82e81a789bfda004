//! Why the store cannot be used.

use std::path::PathBuf;

use logferry_durable::DiskError;

/// The store cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// zstd failed, which it does only for lack of memory.
    #[error(
        "zstd has no memory for the lines of the search store; give this process more, or stop other programs"
    )]
    Memory(#[source] std::io::Error),
    /// A file that was just written reads otherwise.
    #[error(
        "{} is damaged: the disk gave back other bytes than were written; the indexer makes the file anew, but look at the disk",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}
