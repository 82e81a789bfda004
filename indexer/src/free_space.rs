//! How much space the store leaves free on its disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use logferry_config::IndexerSettings;
use logferry_durable::{DiskSpace, disk_space};

/// The store leaves at least so many bytes free beside those that the relay needs to take lines. On a disk of its own at most so
/// many.
const FREE_MARGIN: u64 = 256 << 20;

/// Two folders share their space if what is free differs by less: it changes between two looks.
const FREE_CHANGE: u64 = 16 << 20;

/// What the store leaves free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeftFree {
    pub(crate) bytes: u64,
    /// Whether the relay writes to the same disk.
    pub(crate) is_for_relay: bool,
}

/// The file system of a folder.
#[derive(Debug, Clone, Copy)]
struct FolderDisk {
    device: u64,
    space: DiskSpace,
}

impl FolderDisk {
    /// `None` if it cannot be told: the folder may not be there yet.
    fn of(folder: &Path) -> Option<Self> {
        Some(Self {
            device: fs::metadata(folder).ok()?.dev(),
            space: disk_space(folder).ok()?,
        })
    }

    /// Whether what one of them takes the other has no more. Subvolumes and data sets of one pool are devices of their own, but
    /// have the same free bytes.
    fn shares_space(self, other: Self) -> bool {
        self.device == other.device || self.space.free_bytes.abs_diff(other.space.free_bytes) < FREE_CHANGE
    }
}

impl LeftFree {
    /// What the store leaves free now.
    pub(crate) fn of(config: &IndexerSettings) -> Self {
        let [store, spool] = [&config.store_dir, &config.data_dir].map(|folder| FolderDisk::of(folder));
        Self::on(store, spool, config.min_free_disk)
    }

    /// Beside the relay as much again as it needs. On another disk only what the indexer needs to go on. Who cannot tell leaves
    /// the relay its space.
    fn on(store: Option<FolderDisk>, spool: Option<FolderDisk>, min_free: u64) -> Self {
        match store.zip(spool) {
            Some((store, spool)) if !store.shares_space(spool) => Self {
                bytes: FREE_MARGIN.min(store.space.total_bytes / 10),
                is_for_relay: false,
            },
            _ => Self {
                bytes: min_free.saturating_add(min_free.max(FREE_MARGIN)),
                is_for_relay: true,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_on_a_disk_of_its_own_leaves_the_relay_no_space_there() {
        let disk = |device, free: u64, total: u64| {
            let space = DiskSpace {
                free_bytes: free << 30,
                total_bytes: total << 30,
            };
            Some(FolderDisk { device, space })
        };
        let left = |store, spool| {
            let left = LeftFree::on(store, spool, 1 << 30);
            (left.bytes, left.is_for_relay)
        };
        let beside = (2 << 30, true);
        let spool = disk(1, 50, 100);
        assert_eq!(left(disk(1, 50, 100), spool), beside);
        assert_eq!(left(disk(2, 1, 2), spool), ((2 << 30) / 10, false));
        assert_eq!(left(disk(2, 1, 20), spool), (FREE_MARGIN, false));
        assert_eq!(left(disk(2, 50, 100), spool), beside, "a subvolume");
        assert_eq!(left(disk(2, 1, 2), None), beside, "no relay yet");
        assert_eq!(left(None, spool), beside);
    }
}
