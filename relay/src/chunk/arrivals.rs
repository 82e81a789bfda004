//! How many bytes arrive at a time, so that they stay in the processor's cache until they are stored.
//!
//! Many bodies that come in at once are slower than a few at a time. So large bodies arrive one after the other, up to
//! [`ARRIVING_BYTES`] at a time. One that is slow, or waits for another, does not hold up the others: it counts as arriving for
//! [`ARRIVAL_MAX`].
//!
//! What waits is in sockets meanwhile, out of the cache too. So when more than [`CONGESTED_BYTES`] are here or wait, the receipts say
//! so, and each sender has fewer chunks in flight, down to one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Bytes of large bodies of a group that arrive at a time.
pub(super) const ARRIVING_BYTES: usize = 8 << 20;

/// How long a body counts as arriving at most. From a fast network it is here and appended by then.
const ARRIVAL_MAX: Duration = Duration::from_millis(50);

/// Smaller bodies do not count.
pub(super) const LARGE_BYTES: usize = 256 << 10;

/// More than these on their way to the relay are congestion.
const CONGESTED_BYTES: usize = 32 << 20;

/// A large body's part of [`ARRIVING_BYTES`]. It is given back when this is dropped, or after [`ARRIVAL_MAX`].
#[derive(Debug)]
pub(super) struct ArrivalPermit(
    #[expect(dead_code, reason = "dropping it is the signal")] oneshot::Sender<()>,
);

impl ArrivalPermit {
    pub(super) fn begin(permit: OwnedSemaphorePermit) -> Self {
        let (arrival, ended) = oneshot::channel();
        tokio::spawn(async move {
            // Nothing is sent: it ends because the body is dropped, or by the time.
            let _ = tokio::time::timeout(ARRIVAL_MAX, ended).await;
            drop(permit);
        });
        Self(arrival)
    }
}

/// The bytes of all bodies that are here or wait to come in.
#[derive(Debug, Clone, Default)]
pub(super) struct Congestion(Arc<AtomicUsize>);

/// A body's part of the [`Congestion`].
#[derive(Debug)]
pub(super) struct CongestionShare {
    congestion: Congestion,
    bytes: usize,
}

impl Congestion {
    pub(super) fn enter(&self, bytes: usize) -> CongestionShare {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        CongestionShare {
            congestion: self.clone(),
            bytes,
        }
    }

    /// Whether it would be faster if some of it were not here yet.
    pub(super) fn is_dense(&self) -> bool {
        self.0.load(Ordering::Relaxed) > CONGESTED_BYTES
    }
}

impl Drop for CongestionShare {
    fn drop(&mut self) {
        self.congestion.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
