//! A compressed file on disk that is removed when it is no longer needed, and how many bytes such files have.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use logferry_durable::{Disk, RealDisk};
use tracing::warn;

/// While a destination's compressed files have so many bytes, no further batch is compressed for it: they take space that the
/// relay needs for lines.
const STAGED_MAX: u64 = 256 << 20;

/// The bytes of one destination's compressed files.
#[derive(Debug, Clone, Default)]
pub(crate) struct StagedBytes(Arc<AtomicU64>);

impl StagedBytes {
    /// Whether one more file may be made.
    pub(crate) fn has_room(&self) -> bool {
        self.0.load(Ordering::Relaxed) < STAGED_MAX
    }
}

/// A compressed file, which is removed when this is dropped, unless it is kept.
#[derive(Debug)]
pub(crate) struct StagedFile {
    path: PathBuf,
    bytes: u64,
    counted: StagedBytes,
    is_kept: bool,
}

impl StagedFile {
    /// For a file of so many bytes, which are counted until it is removed.
    pub(super) fn new(path: PathBuf, bytes: u64, counted: &StagedBytes) -> Self {
        counted.0.fetch_add(bytes, Ordering::Relaxed);
        Self {
            path,
            bytes,
            counted: counted.clone(),
            is_kept: false,
        }
    }

    /// Leaves the file for the next attempt, which uses it if it is whole.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = RealDisk.remove(&self.path)
        {
            let error: &dyn Error = &error;
            warn!(file = %self.path.display(), error, "cannot remove a compressed file; the next start removes it");
        }
        self.counted.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_count_until_they_are_removed_and_many_bytes_leave_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let staged = StagedBytes::default();
        let file = |bytes| StagedFile::new(dir.path().join("x.zst"), bytes, &staged);
        let (small, large) = (file(1), file(STAGED_MAX - 2));
        assert!(staged.has_room());
        let last = file(1);
        assert!(!staged.has_room());
        drop(small);
        assert!(staged.has_room());
        drop((large, last));
        assert_eq!(staged.0.load(Ordering::Relaxed), 0);
    }
}
