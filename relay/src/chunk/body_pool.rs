//! The memory of request bodies: bounded and reused.
//!
//! Allocating buffers of megabytes for each request and returning them to the system costs more than everything else
//! that is done with them. So the relay keeps its buffers.
//!
//! Invariants:
//! - The bodies of a group have at most its budget, those of all groups at most the relay's, beside [`OWN_BYTES`] for each
//!   group. So a group with few lines never waits for the bodies of others.
//! - What waits holds nothing of the relay's budget.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What each group has for itself: a second of a busy log.
const OWN_BYTES: usize = 1 << 20;

/// Buffers have a multiple of this size, so that those of one size fit bodies of about that size. Smaller ones are not kept.
const BUFFER_STEP: usize = 64 << 10;

/// Most bytes of buffers that are kept for the next requests while few bodies are in memory. During a burst buffers are kept
/// in what is left of the budget: what is returned to the system and taken again leaves holes.
const KEPT_BYTES: usize = 32 << 20;

/// The memory of the bodies of all groups.
#[derive(Debug, Clone)]
pub(crate) struct RelayBodies {
    budget: Budget,
    kept: Arc<Mutex<KeptBuffers>>,
}

/// Buffers for the next requests.
#[derive(Debug, Default)]
struct KeptBuffers {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// The memory of the bodies of one group.
#[derive(Debug, Clone)]
pub(crate) struct BodyPool {
    own: Budget,
    group: Budget,
    relay: RelayBodies,
}

/// A number of bytes to be shared.
#[derive(Debug, Clone)]
struct Budget {
    free: Arc<Semaphore>,
    bytes: usize,
}

/// The bytes of one request with their part of the budgets. Dropping it returns them.
#[derive(Debug)]
pub(crate) struct RequestBody {
    bytes: Vec<u8>,
    relay: RelayBodies,
    permits: Vec<OwnedSemaphorePermit>,
    len_reserved: usize,
}

impl Budget {
    fn new(bytes: usize) -> Self {
        let bytes = bytes.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(bytes)),
            bytes,
        }
    }

    /// A request for more than the whole budget gets the whole budget.
    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.bytes)).unwrap_or(u32::MAX)
    }

    /// Takes `bytes` if they are there now.
    fn try_take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes).ok()?;
        Arc::clone(&self.free).try_acquire_many_owned(permits).ok()
    }

    async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.free)
            .acquire_many_owned(self.permits(bytes))
            .await;
        permit.expect("the semaphore is never closed")
    }
}

impl RelayBodies {
    /// Memory for `bytes` of bodies at a time.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            budget: Budget::new(bytes),
            kept: Arc::default(),
        }
    }

    /// Takes back the buffer of a body whose part of the budget is still taken.
    fn give_back(&self, buffer: Vec<u8>) {
        let free = self.budget.free.available_permits();
        let in_flight = self.budget.bytes.saturating_sub(free);
        let most = if in_flight > KEPT_BYTES {
            usize::MAX
        } else {
            KEPT_BYTES
        };
        let room = free.saturating_add(buffer.capacity()).min(most);
        lock(&self.kept).give_back(buffer, room);
    }

    /// The memory of a group, which has at most `bytes` of bodies at a time.
    pub(crate) fn of_group(&self, bytes: usize) -> BodyPool {
        BodyPool {
            own: Budget::new(OWN_BYTES.min(bytes)),
            group: Budget::new(bytes),
            relay: self.clone(),
        }
    }
}

impl KeptBuffers {
    /// A buffer for `len` bytes: the smallest that is large enough, or a new one.
    fn take(&mut self, len: usize) -> Vec<u8> {
        let sizes = self.buffers.iter().map(Vec::capacity).zip(0..);
        let Some((size, index)) = sizes.filter(|(size, _)| *size >= len).min() else {
            return Vec::with_capacity(buffer_size(len));
        };
        self.bytes = self.bytes.saturating_sub(size);
        self.buffers.swap_remove(index)
    }

    /// Keeps a buffer, and of all at most `room` bytes.
    fn give_back(&mut self, buffer: Vec<u8>, room: usize) {
        if buffer.capacity() >= BUFFER_STEP {
            self.bytes = self.bytes.saturating_add(buffer.capacity());
            self.buffers.push(buffer);
        }
        while self.bytes > room && !self.buffers.is_empty() {
            let surplus = self.buffers.swap_remove(0);
            self.bytes = self.bytes.saturating_sub(surplus.capacity());
        }
    }
}

/// The size of a new buffer for a body of `len` bytes.
fn buffer_size(len: usize) -> usize {
    if len < BUFFER_STEP {
        len
    } else {
        len.next_multiple_of(BUFFER_STEP)
    }
}

/// Every change is complete, so a panic of another thread leaves nothing half done.
fn lock(kept: &Mutex<KeptBuffers>) -> MutexGuard<'_, KeptBuffers> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BodyPool {
    /// The memory of the only group of a relay.
    #[cfg(test)]
    pub(crate) fn new(bytes: usize) -> Self {
        RelayBodies::new(bytes).of_group(bytes)
    }

    /// Waits for memory for a body of `len` bytes and `scratch` bytes for its decoder, together at most `u32::MAX`.
    ///
    /// Cancel safe: a dropped wait has reserved nothing.
    pub(crate) async fn reserve(&self, len: usize, scratch: usize) -> RequestBody {
        let needed = len.saturating_add(scratch);
        let group = self.group.take(needed).await;
        let beside = match self.own.try_take(needed) {
            Some(own) => own,
            None => self.relay.budget.take(needed).await,
        };
        let mut bytes = lock(&self.relay.kept).take(len);
        bytes.clear();
        RequestBody {
            bytes,
            relay: self.relay.clone(),
            permits: vec![group, beside],
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
        for permit in &mut self.permits {
            let surplus = permit.num_permits().saturating_sub(self.len_reserved);
            drop(permit.split(surplus));
        }
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
        self.relay.give_back(std::mem::take(&mut self.bytes));
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
    async fn groups_share_the_relays_memory_and_a_small_body_never_waits_for_another_group() {
        let relay = RelayBodies::new(10 << 20);
        let (flooded, other) = (relay.of_group(8 << 20), relay.of_group(8 << 20));
        let first = flooded.reserve(8 << 20, 0).await;
        let mut unwoken = Context::from_waker(Waker::noop());
        let mut large = Box::pin(other.reserve(4 << 20, 0));
        assert!(large.as_mut().poll(&mut unwoken).is_pending(), "8 + 4 > 10 MiB");
        let small = other.reserve(1000, 0).await;
        drop(first);
        assert!(large.as_mut().poll(&mut unwoken).is_ready());
        drop(small);
    }

    #[tokio::test]
    async fn a_body_waits_until_there_is_room_and_reuses_a_buffer() {
        let memory = BodyPool::new(10 * BUFFER_STEP);
        let mut first = memory.reserve(8 * BUFFER_STEP, 0).await;
        first.extend(&[7; 80]);
        let buffer = first.as_ptr();
        let waiting = memory.reserve(5 * BUFFER_STEP, 0);
        tokio::pin!(waiting);
        let mut unwoken = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut unwoken).is_pending(), "8 + 5 > 10");
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
