//! How full a disk is.

use std::path::Path;

use crate::{DiskError, DiskOperation};

/// The space on the disk of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes that an ordinary user can still write.
    pub free_bytes: u64,
    /// These and the used ones; without those that only root can write.
    pub total_bytes: u64,
}

impl DiskSpace {
    /// How full the disk is, in whole percent, rounded down.
    pub fn used_percent(self) -> u8 {
        let used = self.total_bytes.saturating_sub(self.free_bytes);
        let percent = u128::from(used) * 100 / u128::from(self.total_bytes.max(1));
        u8::try_from(percent).unwrap_or(100)
    }
}

/// The space on the disk of this folder.
pub fn disk_space(folder: &Path) -> Result<DiskSpace, DiskError> {
    let stat = nix::sys::statvfs::statvfs(folder)
        .map_err(|errno| DiskError::new(DiskOperation::FreeSpace, folder, errno.into()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
    let used = stat.blocks().saturating_sub(stat.blocks_free());
    let free_bytes = bytes(stat.blocks_available());
    Ok(DiskSpace {
        free_bytes,
        total_bytes: free_bytes.saturating_add(bytes(used)),
    })
}
