//! The relay that lines are shipped to, and the file that remembers it: `<state_dir>/relay`, one line of JSON.
//!
//! The file is separate from the checkpoint because it must exist before the first chunk is sent. Otherwise a chunk whose
//! answer was lost could go to another relay after a restart.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use logferry_durable::{Disk, RealDisk};
use logferry_protocol::resolve::LedgerId;
use serde::{Deserialize, Serialize};

/// The ledger that lines are shipped to, and where it answered last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RelayIdentity {
    pub(super) ledger: LedgerId,
    /// The configured address, as text.
    #[serde(rename = "door")]
    pub(super) endpoint: String,
    /// The network address that this led to.
    pub(super) address: SocketAddr,
}

#[derive(Debug)]
pub(super) struct RelayIdentityFile {
    path: PathBuf,
    is_saved: AtomicBool,
}

impl RelayIdentityFile {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join("relay"),
            is_saved: AtomicBool::new(true),
        }
    }

    /// False after a [`Self::save`] that failed, until one succeeds.
    pub(super) fn is_saved(&self) -> bool {
        self.is_saved.load(Ordering::Relaxed)
    }

    /// The relay that an earlier process has saved. An unusable file is replaced after the relay's next answer.
    pub(super) fn load(&self) -> Option<RelayIdentity> {
        let bytes = match RealDisk.read(&self.path) {
            Ok(bytes) => bytes?,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the file that names the relay cannot be read; the first relay that answers is used"
                );
                return None;
            }
        };
        let identity = serde_json::from_slice(&bytes);
        identity
            .inspect_err(|error| {
                tracing::warn!(
                    path = %self.path.display(), %error,
                    "the file that names the relay is unusable; the first relay that answers is used"
                );
            })
            .ok()
    }

    /// Saves the relay durably. If it fails, shipping continues: only a restart would forget the relay. The caller saves
    /// again.
    pub(super) fn save(&self, identity: &RelayIdentity) {
        let mut bytes = serde_json::to_vec(identity).expect("texts only, which JSON can hold");
        bytes.push(b'\n');
        let saved = RealDisk.replace(&self.path, &bytes);
        // A lasting failure is logged once.
        if self.is_saved.swap(saved.is_ok(), Ordering::Relaxed)
            && let Err(error) = saved
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the file that names the relay cannot be saved; shipping continues; make the state folder writable"
            );
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use super::*;

    fn identity() -> RelayIdentity {
        RelayIdentity {
            ledger: LedgerId::new(7),
            endpoint: "http://relay:5001".into(),
            address: ([192, 0, 2, 10], 5001).into(),
        }
    }

    #[test]
    fn a_saved_relay_is_known_after_a_restart_and_an_unusable_file_is_ignored() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = RelayIdentityFile::new(dir.path());
        assert_eq!(file.load(), None);
        file.save(&identity());
        assert_eq!(RelayIdentityFile::new(dir.path()).load(), Some(identity()));
        std::fs::write(dir.path().join("relay"), [0; 40]).expect("zeros");
        assert_eq!(file.load(), None);
    }

    #[test]
    fn the_file_of_versions_in_the_field_is_understood() {
        let dir = tempfile::tempdir().expect("a folder");
        let text = r#"{"ledger":"00000000000000000000000000000007","door":"http://relay:5001","address":"192.0.2.10:5001"}"#;
        std::fs::write(dir.path().join("relay"), text).expect("room");
        assert_eq!(RelayIdentityFile::new(dir.path()).load(), Some(identity()));
    }

    #[test]
    fn a_failed_save_is_noticed_until_one_succeeds() {
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().join("state");
        let file = RelayIdentityFile::new(&state);
        file.save(&identity());
        assert!(!file.is_saved(), "there is no folder yet");
        std::fs::create_dir(&state).expect("a folder");
        file.save(&identity());
        assert!(file.is_saved());
    }
}
