//! What a group's requests, its committer and the health endpoint tell each other: a notice board.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::gate::Standing;

/// The notice board of one group. Clones are the same board.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board(Arc<Notices>);

#[derive(Debug, Default)]
struct Notices {
    standing: Mutex<Standing>,
}

impl Board {
    /// The committer says how the group is.
    pub(crate) fn set_standing(&self, standing: Standing) {
        *self.standing() = standing;
    }

    /// What a request for taking lines is told instead; `None` if lines are taken.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.standing().refusal().map(str::to_owned)
    }

    /// What is wrong with the group; `None` if nothing is.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.standing().trouble()
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
