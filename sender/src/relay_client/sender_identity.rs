//! The sender's id, and the file that keeps it: `<state_dir>/id`, one line of 32 hex digits.
//!
//! It is made at the first start and stays. A relay that has seen another process with it asks for a new one: the state
//! folder was copied, with the id in it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use logferry_durable::{Disk, RealDisk};
use logferry_protocol::sender::{SenderId, SenderName, SenderRun};

/// Whose requests a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientRole {
    /// The sender's own, of which one runs on a state folder.
    Sender,
    /// A command's beside it: it has the sender's source, and makes no id.
    Command,
}

#[derive(Debug)]
pub(super) struct SenderIdentity {
    path: PathBuf,
    run: Option<SenderRun>,
    id: Mutex<Option<SenderId>>,
}

impl SenderIdentity {
    /// Reads the id, or makes one for a sender without.
    pub(super) fn load(state_dir: &Path, role: ClientRole) -> Self {
        let path = state_dir.join("id");
        let read = RealDisk.read(&path).inspect_err(|error| {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "the sender's id cannot be read; a new one is used"
            );
        });
        let text = read
            .ok()
            .flatten()
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let known: Option<SenderId> = text.as_deref().and_then(|text| text.trim_end().parse().ok());
        if text.is_some() && known.is_none() {
            tracing::warn!(path = %path.display(), "the file with the sender's id is unusable; a new id replaces it");
        }
        let is_sender = role == ClientRole::Sender;
        let identity = Self {
            path,
            run: is_sender.then(|| SenderRun::new(rand::random())),
            id: Mutex::new(known),
        };
        if is_sender && known.is_none() {
            identity.make(&mut identity.id());
        }
        identity
    }

    fn id(&self) -> MutexGuard<'_, Option<SenderId>> {
        self.id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn name(&self) -> Option<SenderName> {
        let id = (*self.id())?;
        Some(SenderName { id, run: self.run })
    }

    /// Makes a new id in place of `taken`, unless another connection has done that.
    pub(super) fn renew(&self, taken: SenderId) {
        let mut id = self.id();
        if *id == Some(taken) {
            self.make(&mut id);
            tracing::warn!(
                old = taken.short(), new = id.map(SenderId::short), path = %self.path.display(),
                "another sender uses this sender's id, so a new one was made: is its state folder a copy? Copy log files \
                 and state folders to other hosts only without this file"
            );
        }
    }

    /// Makes an id and saves it durably, before the relay hears of it. Without the file the sender would be a new one after
    /// a restart: its source would be its address, and it would go on where the relay says.
    fn make(&self, id: &mut Option<SenderId>) {
        let made = SenderId::new(rand::random());
        *id = Some(made);
        if let Err(error) = RealDisk.replace(&self.path, format!("{made}\n").as_bytes()) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the sender's id cannot be saved, so it lasts until the next start; make the state folder writable"
            );
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use super::*;

    fn id(dir: &Path, role: ClientRole) -> Option<SenderId> {
        SenderIdentity::load(dir, role).name().map(|name| name.id)
    }

    #[test]
    fn an_id_is_made_once_and_each_process_is_a_run_of_its_own() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(id(dir.path(), ClientRole::Command), None, "a command makes none");
        let first = SenderIdentity::load(dir.path(), ClientRole::Sender)
            .name()
            .expect("a name");
        let second = SenderIdentity::load(dir.path(), ClientRole::Sender)
            .name()
            .expect("a name");
        assert_eq!(first.id, second.id);
        assert_ne!(first.run, second.run);
        let beside = SenderIdentity::load(dir.path(), ClientRole::Command)
            .name()
            .expect("a name");
        assert_eq!((beside.id, beside.run), (first.id, None));
    }

    #[test]
    fn an_unusable_file_and_a_taken_id_give_a_new_one_that_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("id"), [0; 40]).expect("zeros");
        let identity = SenderIdentity::load(dir.path(), ClientRole::Sender);
        let first = identity.name().expect("a name").id;
        identity.renew(first);
        let second = identity.name().expect("a name").id;
        assert_ne!(first, second);
        identity.renew(first);
        assert_eq!(identity.name().map(|name| name.id), Some(second), "renewed once");
        assert_eq!(id(dir.path(), ClientRole::Sender), Some(second));
    }

    #[test]
    fn without_a_folder_the_id_lasts_until_the_next_start() {
        let dir = tempfile::tempdir().expect("a folder");
        let gone = dir.path().join("gone");
        assert!(id(&gone, ClientRole::Sender).is_some());
        assert_ne!(id(&gone, ClientRole::Sender), id(&gone, ClientRole::Sender));
    }
}
