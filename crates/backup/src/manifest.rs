//! `backup.json`: what a backup is of. It is the last file of a backup, so its presence says that the backup is whole.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use logferry_durable::{Disk, RealDisk};
use serde::{Deserialize, Serialize};

use crate::BackupError;

const FILE_NAME: &str = "backup.json";

/// The format of the folder that this version writes and reads.
const FORMAT: u32 = 1;

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupManifest {
    /// The format of the folder.
    format: u32,
    /// When the ledger was copied. What arrived later is not in the backup.
    pub made_at: Timestamp,
    /// The folder that it is of.
    pub data_dir: PathBuf,
    /// The ledger's id.
    pub ledger: String,
    /// Batches with a file.
    pub batches: u64,
    /// Bytes of these files.
    pub bytes: u64,
}

/// The field that every format has.
#[derive(Deserialize)]
struct FormatField {
    format: u32,
}

impl BackupManifest {
    pub(crate) fn new(made_at: Timestamp, data_dir: &Path, ledger: String) -> Self {
        Self {
            format: FORMAT,
            made_at,
            data_dir: data_dir.to_owned(),
            ledger,
            batches: 0,
            bytes: 0,
        }
    }

    /// Makes the folder a backup, durably.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), BackupError> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("texts and numbers only, which JSON can hold");
        bytes.push(b'\n');
        Ok(RealDisk.replace(&folder.join(FILE_NAME), &bytes)?)
    }

    /// What the backup in a folder is of.
    pub fn read(folder: &Path) -> Result<Self, BackupError> {
        let path = folder.join(FILE_NAME);
        let Some(bytes) = RealDisk.read(&path)? else {
            return Err(BackupError::NoBackup(folder.to_owned()));
        };
        let failed = |source| BackupError::Manifest {
            path: path.clone(),
            source,
        };
        let FormatField { format } = serde_json::from_slice(&bytes).map_err(failed)?;
        if format != FORMAT {
            return Err(BackupError::OtherFormat {
                path,
                found: format,
                known: FORMAT,
            });
        }
        serde_json::from_slice(&bytes).map_err(failed)
    }
}
