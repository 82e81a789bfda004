//! What a group's requests, its committer and the health endpoint tell each other: a notice board.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::gate::Standing;

/// The notice board of one group. Clones are the same board.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board(Arc<Notices>);

#[derive(Debug, Default)]
struct Notices {
    standing: Mutex<Standing>,
    in_flight: AtomicU64,
    refused: AtomicU64,
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Board);

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

    /// A request has come in.
    pub(crate) fn begin(&self) -> InFlight {
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }

    /// A request was answered with 4xx or 503.
    pub(crate) fn refused(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that are being answered, and those refused since the start.
    pub(crate) fn requests(&self) -> (u64, u64) {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (load(&self.0.in_flight), load(&self.0.refused))
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
