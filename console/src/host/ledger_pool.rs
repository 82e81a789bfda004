//! Open ledgers, for one reader at a time each.
//!
//! A ledger that was put in the place of the open one (`fsck --rebuild`, a restored copy) is noticed by its device and inode: the
//! open file would stay as it is for ever.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use logferry_ledger::{FILE_NAME, Ledger, LedgerError};

/// Ledgers that are kept open.
const KEPT_MAX: usize = 8;

/// Device and inode.
pub(crate) type FileIdentity = (u64, u64);

#[derive(Debug)]
pub(super) struct LedgerPool {
    data_dir: PathBuf,
    idle: Mutex<Vec<(FileIdentity, Ledger)>>,
}

impl LedgerPool {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            idle: Mutex::default(),
        }
    }

    /// Reads with one of the ledgers, or a new one.
    pub(super) fn with<T>(
        &self,
        read: impl FnOnce(&Ledger) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let now = identity(&self.data_dir);
        let kept = self.idle().pop().filter(|(identity, _)| Some(*identity) == now);
        let (identity, ledger) = match kept {
            Some((identity, ledger)) => (Some(identity), ledger),
            None => (now, Ledger::open_read_only(&self.data_dir)?),
        };
        let outcome = read(&ledger);
        // One that failed may have a reason of its own to fail again.
        if let (Ok(_), Some(identity)) = (&outcome, identity) {
            let mut idle = self.idle();
            if idle.len() < KEPT_MAX {
                idle.push((identity, ledger));
            }
        }
        outcome
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(FileIdentity, Ledger)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file that has the ledger's name now.
pub(crate) fn identity(data_dir: &Path) -> Option<FileIdentity> {
    let file = std::fs::metadata(data_dir.join(FILE_NAME)).ok()?;
    Some((file.dev(), file.ino()))
}
