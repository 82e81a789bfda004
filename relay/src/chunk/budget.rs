//! A number of bytes to be shared: what is taken comes back when its permit is dropped.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of bytes to be shared.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    free: Arc<Semaphore>,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        let bytes = bytes.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(bytes)),
            bytes,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Those that are not taken.
    pub(super) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// A request for more than the whole budget gets the whole budget.
    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.bytes)).unwrap_or(u32::MAX)
    }

    /// Takes `bytes` if they are there now.
    pub(super) fn try_take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes).ok()?;
        Arc::clone(&self.free).try_acquire_many_owned(permits).ok()
    }

    pub(super) async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.free)
            .acquire_many_owned(self.permits(bytes))
            .await;
        permit.expect("the semaphore is never closed")
    }
}
