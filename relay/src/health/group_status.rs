//! A group's status, shared by its requests, its commit thread and the health endpoint.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::health::availability::Availability;

/// The status of one group. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedGroupStatus(Arc<StatusValues>);

#[derive(Debug, Default)]
struct StatusValues {
    availability: Mutex<Availability>,
    in_flight: AtomicU64,
    rejected: AtomicU64,
}

/// A request that is being processed, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlightRequest(SharedGroupStatus);

impl SharedGroupStatus {
    pub(crate) fn set_availability(&self, availability: Availability) {
        *self.availability() = availability;
    }

    /// The message for senders whose lines are not accepted; `None` if lines are accepted.
    pub(crate) fn rejection_reason(&self) -> Option<String> {
        self.availability().rejection_reason().map(str::to_owned)
    }

    /// The group's fault, for operators; `None` if there is none.
    pub(crate) fn fault(&self) -> Option<String> {
        self.availability().fault()
    }

    /// Counts a request as in flight until the result is dropped.
    pub(crate) fn begin_request(&self) -> InFlightRequest {
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlightRequest(self.clone())
    }

    /// Counts a response with status 4xx or 503.
    pub(crate) fn count_rejected(&self) {
        self.0.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests in flight, and requests rejected since the start.
    pub(crate) fn requests(&self) -> (u64, u64) {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (load(&self.0.in_flight), load(&self.0.rejected))
    }

    fn availability(&self) -> MutexGuard<'_, Availability> {
        self.0.availability.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        self.0.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
