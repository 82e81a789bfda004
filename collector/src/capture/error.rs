//! Why a capture cannot be opened or written.

use std::path::PathBuf;

use logferry_durable::DiskError;

/// Why a capture cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another version of the program wrote the state.
    #[error(
        "{} says `{found}`, and this program reads `logferry capture commits 1`; run the version that wrote it, or let the \
         sender ship all of the source and move its folder away", .path.display()
    )]
    OtherVersion {
        /// The commit log.
        path: PathBuf,
        /// Its first line.
        found: String,
    },
    /// The state cannot be understood.
    #[error(
        "{} is damaged, so it is not known how far the source was read; move it away, and the source begins anew: records may \
         come twice", .path.display()
    )]
    Damaged {
        /// The commit log.
        path: PathBuf,
    },
    /// There is too little free space.
    #[error(
        "{} has {free} bytes of free disk, less than collector.min_free_disk ({least}); free some, and no record is lost",
        .path.display()
    )]
    LowSpace {
        /// The folder.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that must be.
        least: u64,
    },
    /// What is to be appended at once is larger than can be.
    #[error("records of more than 4 GiB were appended at once")]
    TooLarge,
}
