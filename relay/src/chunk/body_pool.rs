//! The memory of request bodies: bounded and reused.
//!
//! Allocating buffers of megabytes for each request and returning them to the system costs more than everything else
//! that is done with them. So each group keeps its buffers.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Buffers that are kept for the next requests. Further buffers belong to a burst and are returned to the system.
const KEPT_BUFFERS: usize = 8;

#[derive(Debug, Clone)]
pub(crate) struct BodyPool {
    budget: Arc<Semaphore>,
    bytes: usize,
    buffers: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// The bytes of one request with their part of the group's budget. Dropping it returns both.
#[derive(Debug)]
pub(crate) struct RequestBody {
    bytes: Vec<u8>,
    buffers: Arc<Mutex<Vec<Vec<u8>>>>,
    permit: OwnedSemaphorePermit,
    len_reserved: usize,
}

impl BodyPool {
    /// Memory for `bytes` of bodies at a time.
    pub(crate) fn new(bytes: usize) -> Self {
        let permits = bytes.min(Semaphore::MAX_PERMITS);
        Self {
            budget: Arc::new(Semaphore::new(permits)),
            bytes: permits,
            buffers: Arc::default(),
        }
    }

    /// Waits for memory for a body of `len` bytes and `scratch` bytes for its decoder, together at most `u32::MAX`.
    ///
    /// A request for more than the whole budget gets the whole budget.
    /// Cancel safe: a dropped wait has reserved nothing.
    pub(crate) async fn reserve(&self, len: usize, scratch: usize) -> RequestBody {
        let permits = len.saturating_add(scratch).min(self.bytes);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.budget).acquire_many_owned(permits).await;
        let permit = permit.expect("the semaphore is never closed");
        let kept = self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut bytes = kept.unwrap_or_default();
        bytes.clear();
        bytes.reserve(len);
        RequestBody {
            bytes,
            buffers: Arc::clone(&self.buffers),
            permit,
            len_reserved: len,
        }
    }
}

impl RequestBody {
    /// Appends bytes. The caller must not exceed the reserved length.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The body is decoded: the memory that was reserved for its decoder is released.
    pub(crate) fn complete(mut self) -> Self {
        let surplus = self.permit.num_permits().saturating_sub(self.len_reserved);
        drop(self.permit.split(surplus));
        self
    }

    /// Replaces the contents by `bytes`, which must not exceed the reserved length.
    pub(crate) fn replace(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.extend(bytes);
    }
}

impl Deref for RequestBody {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for RequestBody {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let mut kept = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_BUFFERS {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use logferry_invariants::invariant_growth_is_bounded;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Requests of any size come, wait, give up and end in any order.
        #[test]
        fn bodies_never_hold_more_than_the_budget(requests in prop::collection::vec((0_usize..70, 0_usize..8), 1..100)) {
            const BUDGET: usize = 100;
            let memory = BodyPool::new(BUDGET);
            let mut waiting: BTreeMap<usize, Pin<Box<dyn Future<Output = RequestBody>>>> = BTreeMap::new();
            let mut held: BTreeMap<usize, (RequestBody, usize)> = BTreeMap::new();
            let mut lengths = BTreeMap::new();
            for (len, slot) in requests {
                // The request that had the slot ends, or gives up.
                held.remove(&slot);
                let pool = memory.clone();
                waiting.insert(slot, Box::pin(async move { pool.reserve(len, 0).await }));
                lengths.insert(slot, len);
                let polled = waiting.iter_mut().filter_map(|(slot, body)| {
                    match body.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                        Poll::Ready(body) => Some((*slot, (body, lengths[slot]))),
                        Poll::Pending => None,
                    }
                });
                let ready: Vec<_> = polled.collect();
                for (slot, body) in ready {
                    waiting.remove(&slot);
                    held.insert(slot, body);
                }
                let used = held.values().map(|(_, len)| len).sum();
                prop_assert_eq!(invariant_growth_is_bounded("bytes of bodies", used, BUDGET), Ok(()));
            }
        }
    }

    #[tokio::test]
    async fn a_body_waits_until_there_is_room_and_reuses_a_buffer() {
        let memory = BodyPool::new(100);
        let mut first = memory.reserve(80, 0).await;
        first.extend(&[7; 80]);
        let buffer = first.as_ptr();
        let waiting = memory.reserve(50, 0);
        tokio::pin!(waiting);
        let mut unwoken = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut unwoken).is_pending(), "80 + 50 > 100");
        drop(first);
        let second = waiting.await;
        assert!(second.is_empty());
        assert_eq!(second.as_ptr(), buffer);
    }

    #[tokio::test]
    async fn memory_to_make_a_body_with_goes_back_when_it_is_made() {
        let memory = BodyPool::new(100);
        let made = memory.reserve(40, 30).await.complete();
        let second = memory.reserve(60, 0).await;
        drop((made, second));
        // More than there is would be waited for in vain.
        let all = memory.reserve(90, 30).await;
        assert!(all.complete().is_empty());
    }
}
