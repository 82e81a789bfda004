//! `status.json` in a role's own folder: the role's last account of itself, for `logferry status` on a host without a relay.
//!
//! It is no state: a role never reads its own, and goes on without it.

use std::error::Error;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use logferry_durable::{Disk, DiskError, RealDisk};
use serde::Serialize;
use serde::de::DeserializeOwned;

const FILE_NAME: &str = "status.json";

/// Reads the last account from a role's folder; `None` if there is none, or another version wrote it.
pub fn read_status_file<T: DeserializeOwned>(state_dir: &Path) -> Result<Option<T>, DiskError> {
    let bytes = RealDisk.read(&state_dir.join(FILE_NAME))?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Writes the accounts. A folder that is not writable is told by what the role keeps there.
#[derive(Debug)]
pub struct StatusFile<T> {
    path: PathBuf,
    account: PhantomData<fn(&T)>,
}

impl<T: Serialize> StatusFile<T> {
    /// The file in this folder.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join(FILE_NAME),
            account: PhantomData,
        }
    }

    /// Replaces the account.
    pub fn save(&self, account: &T) {
        let Ok(bytes) = serde_json::to_vec(account) else {
            return;
        };
        if let Err(error) = RealDisk.replace(&self.path, &bytes) {
            tracing::debug!(error = &error as &dyn Error, "the status file cannot be written");
        }
    }
}
