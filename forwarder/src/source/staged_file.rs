//! A compressed file on disk that is removed when it is no longer needed, and how many bytes such files have.

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use logferry_durable::{Disk, RealDisk};
use tracing::warn;

/// While a destination's compressed files have so many bytes, no further batch is compressed for it: they take space that the
/// relay needs for lines. As many bytes more may wait in files for another attempt.
const STAGED_MAX: u64 = 256 << 20;

/// The bytes of one destination's compressed files.
#[derive(Debug, Clone, Default)]
pub(crate) struct StagedBytes(Arc<StagedCounts>);

#[derive(Debug, Default)]
struct StagedCounts {
    /// Of the files in use.
    used: AtomicU64,
    /// The files that wait for another attempt, each with its bytes.
    kept: Mutex<HashMap<PathBuf, u64>>,
}

impl StagedBytes {
    /// Whether one more file may be made.
    pub(crate) fn has_room(&self) -> bool {
        self.0.used.load(Ordering::Relaxed) < STAGED_MAX
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<PathBuf, u64>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
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
        counted.0.used.fetch_add(bytes, Ordering::Relaxed);
        counted.kept().remove(&path);
        Self {
            path,
            bytes,
            counted: counted.clone(),
            is_kept: false,
        }
    }

    /// Leaves the file for the next attempt, which uses it if it is whole. If too many bytes wait already, it is removed: to
    /// compress it again costs less than a full disk.
    pub(crate) fn keep(mut self) {
        let mut kept = self.counted.kept();
        let sum: u64 = kept.values().sum();
        if kept.is_empty() || sum.saturating_add(self.bytes) <= STAGED_MAX {
            kept.insert(self.path.clone(), self.bytes);
            self.is_kept = true;
        }
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
        self.counted.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
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
        assert_eq!(staged.0.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn files_are_kept_up_to_a_bound_and_one_in_any_case() {
        let dir = tempfile::tempdir().unwrap();
        let staged = StagedBytes::default();
        let file = |name: &str, bytes| {
            let path = dir.path().join(name);
            RealDisk.replace(&path, b"compressed").unwrap();
            StagedFile::new(path, bytes, &staged)
        };
        let is_there = |name: &str| dir.path().join(name).exists();
        file("large", STAGED_MAX + 1).keep();
        file("second", 1).keep();
        assert!(is_there("large") && !is_there("second"));
        assert!(staged.has_room(), "what waits is not in use");
        let large = file("large", STAGED_MAX + 1);
        file("first", STAGED_MAX).keep();
        large.keep();
        assert!(is_there("first") && !is_there("large"), "it was used in between");
        drop(file("first", STAGED_MAX));
        file("third", 1).keep();
        file("fourth", STAGED_MAX - 1).keep();
        assert!(is_there("third") && is_there("fourth"));
    }
}
