//! Why there is no backup, or no restore.

use std::path::PathBuf;

use logferry_durable::{DiskError, LockError};
use logferry_ledger::LedgerError;

/// A backup was not made, or not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The ledger cannot be read or copied.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The housekeeper did not end its run in time.
    #[error("the housekeeper is at work, and a backup must not race it; try again when its run is over")]
    HousekeeperBusy(#[source] LockError),
    /// A role runs on the folder to restore into.
    #[error("a role is running on the folder to restore into; stop it first")]
    RoleRunning(#[source] LockError),
    /// The folder for the backup has files.
    #[error("{} is not empty; a backup needs a folder of its own, such as one named by the date", .0.display())]
    TargetNotEmpty(PathBuf),
    /// The folder for the backup is in the data folder.
    #[error(
        "{} is in the data folder {}: a backup there would be lost with it. Name a folder of its own outside of it, such as \
         /var/backups/logferry-2026-11-21", .target.display(), .data_dir.display()
    )]
    TargetInDataDir {
        /// The folder for the backup.
        target: PathBuf,
        /// The data folder.
        data_dir: PathBuf,
    },
    /// The folder to restore into has a ledger or a spool.
    #[error(
        "{} exists: a backup is restored into an empty data folder only. Move the whole data folder away first, or \
         all that is in it if it is a mount of its own; if an interrupted restore has left it, remove it", .0.display()
    )]
    DataDirNotEmpty(PathBuf),
    /// The folder has no `backup.json`.
    #[error("{} is no backup, or one that was not finished: it has no backup.json", .0.display())]
    NoBackup(PathBuf),
    /// `backup.json` cannot be understood.
    #[error("{} cannot be understood; was it changed?", .path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
    /// Another version made the backup.
    #[error(
        "{} is a backup of format {found}, and this version restores format {known}: install the version that made it",
        .path.display()
    )]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The format of this version.
        known: u32,
    },
    /// The ledger in the backup is not the one that `backup.json` names.
    #[error("{}: its ledger.db is not the one that backup.json names; was the backup put together from two?", .0.display())]
    OtherLedger(PathBuf),
}
