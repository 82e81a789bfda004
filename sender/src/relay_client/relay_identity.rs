//! The file that remembers which ledger lines are shipped to: `<state_dir>/relay`, one line of JSON.
//!
//! It stands beside the checkpoint and not in it, as it must be there before the first chunk is sent: of all chunks, the
//! one whose answer was lost must not go to another relay after a restart.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::relay_client::endpoints::RelayIdentity;
use logferry_durable::{Disk, RealDisk};

/// Where it is kept.
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

    /// What an earlier run has noted. A file that cannot be used is written anew after the relay's next answer.
    pub(super) fn load(&self) -> Option<RelayIdentity> {
        let bytes = match RealDisk.read(&self.path) {
            Ok(bytes) => bytes?,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "it cannot be read which relay lines were shipped to; the first that answers is taken"
                );
                return None;
            }
        };
        let home = serde_json::from_slice(&bytes);
        home.inspect_err(|error| {
            tracing::warn!(
                path = %self.path.display(), %error,
                "the note of the relay that lines were shipped to is unusable; the first that answers is taken"
            );
        })
        .ok()
    }

    /// Notes it durably. A failure is said, and shipping goes on: only a restart would forget. The caller tries again.
    pub(super) fn save(&self, home: &RelayIdentity) {
        let mut bytes = serde_json::to_vec(home).expect("texts only, which JSON can hold");
        bytes.push(b'\n');
        let saved = RealDisk.replace(&self.path, &bytes);
        // What fails again and again is said once.
        if self.is_saved.swap(saved.is_ok(), Ordering::Relaxed)
            && let Err(error) = saved
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "which relay lines are shipped to cannot be noted, shipping goes on; make the state folder writable"
            );
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use logferry_protocol::resolve::LedgerId;

    use super::*;

    #[test]
    fn what_was_noted_is_known_after_a_restart_and_a_spoilt_note_is_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = RelayIdentityFile::new(dir.path());
        assert_eq!(file.load(), None);
        let home = RelayIdentity {
            ledger: LedgerId::new(7),
            endpoint: "http://relay:5001".into(),
            address: ([192, 0, 2, 10], 5001).into(),
        };
        file.save(&home);
        assert_eq!(RelayIdentityFile::new(dir.path()).load(), Some(home));
        std::fs::write(dir.path().join("relay"), [0; 40]).expect("zeros");
        assert_eq!(file.load(), None);
    }

    #[test]
    fn what_could_not_be_noted_is_known_to_be_missing() {
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().join("state");
        let file = RelayIdentityFile::new(&state);
        let home = RelayIdentity {
            ledger: LedgerId::new(7),
            endpoint: "http://relay:5001".into(),
            address: ([192, 0, 2, 10], 5001).into(),
        };
        file.save(&home);
        assert!(!file.is_saved(), "there is no folder yet");
        std::fs::create_dir(&state).expect("a folder");
        file.save(&home);
        assert!(file.is_saved());
    }
}
