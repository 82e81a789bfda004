//! The memory of request bodies: bounded and reused.
//!
//! Allocating buffers of megabytes for each request and returning them to the system costs more than everything else
//! that is done with them. So the relay keeps its buffers.
//!
//! Invariants:
//! - The buffers of a group's bodies have at most its budget, those of all groups at most the relay's. Buffers that are kept for
//!   the next bodies are in what is left of it. (What a decoder needs beside a body counts too, but never makes one wait for
//!   more than there is.)
//! - A part of the relay's budget is shared out: a group with few lines never waits for the bodies of others. Of what is common
//!   to all, one group leaves a quarter to the others, however many lines it gets.
//! - What waits holds nothing of the relay's budget.
//!
//! Large bodies arrive a few at a time, see `arrivals`.

use std::cmp::Reverse;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::arrivals::{ARRIVING_BYTES, ArrivalPermit, Congestion, CongestionShare, LARGE_BYTES};
use super::budget::Budget;

/// This part of the relay's budget is shared out among the groups, and of the rest one group leaves so much to the others.
const SHARE: usize = 4;

/// Buffers have a multiple of this size, so that those of one size fit bodies of about that size. Smaller ones are not kept.
const BUFFER_STEP: usize = 64 << 10;

/// Most bytes of buffers that are kept for the next requests while few bodies are in memory. During a burst buffers are kept
/// in what is left of the budget: what is returned to the system and taken again leaves holes.
const KEPT_BYTES: usize = 32 << 20;

/// The memory of the bodies of all groups.
#[derive(Debug, Clone)]
pub(crate) struct RelayBodies {
    /// Common to all groups.
    budget: Budget,
    /// What each group has beside it.
    own_bytes: usize,
    /// The most of both that one group may have.
    of_one_group: usize,
    kept: Arc<Mutex<KeptBuffers>>,
    /// All bodies that are here or wait to come in.
    congestion: Congestion,
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
    arriving: Budget,
    own: Budget,
    group: Budget,
    relay: RelayBodies,
}

/// The bytes of one request with their part of the budgets. Dropping it returns them.
#[derive(Debug)]
pub(crate) struct RequestBody {
    bytes: Vec<u8>,
    relay: RelayBodies,
    permits: Vec<OwnedSemaphorePermit>,
    len_reserved: usize,
    _arrival: Option<ArrivalPermit>,
    _share: CongestionShare,
}

impl RelayBodies {
    /// Memory for `bytes` of bodies of so many groups at a time. The largest has `largest`: it fits in what is common to all, and
    /// in what one group may have, even if less is shared out for it.
    pub(crate) fn new(bytes: usize, largest: usize, groups: usize) -> Self {
        let share = |of: usize| {
            let spare = of.saturating_sub(buffer_size(largest));
            if groups > 1 { spare.min(of / SHARE) } else { 0 }
        };
        let own_bytes = share(bytes) / groups.max(1);
        let common = bytes.saturating_sub(own_bytes.saturating_mul(groups));
        let left = share(common);
        Self {
            budget: Budget::new(common),
            own_bytes,
            of_one_group: common.saturating_sub(left).saturating_add(own_bytes),
            kept: Arc::default(),
            congestion: Congestion::default(),
        }
    }

    /// How many bytes of buffers may be kept now.
    fn room(&self) -> usize {
        let free = self.budget.free();
        let in_flight = self.budget.bytes().saturating_sub(free);
        if in_flight > KEPT_BYTES {
            free
        } else {
            free.min(KEPT_BYTES)
        }
    }

    /// Takes back the buffer of a body whose part of the budget is still taken.
    fn give_back(&self, buffer: Vec<u8>) {
        let room = self.room().saturating_add(buffer.capacity());
        lock(&self.kept).give_back(buffer, room);
    }

    /// The memory of a group, which has at most `bytes` of bodies at a time.
    pub(crate) fn of_group(&self, bytes: usize) -> BodyPool {
        BodyPool {
            arriving: Budget::new(ARRIVING_BYTES),
            own: Budget::new(self.own_bytes.min(bytes)),
            group: Budget::new(bytes.min(self.of_one_group)),
            relay: self.clone(),
        }
    }
}

impl KeptBuffers {
    /// A buffer for `len` bytes: the smallest that is large enough, unless that is more than twice as large. Of those of one size
    /// it is the one that came back last: its bytes are in the processor's cache.
    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let sizes = self.buffers.iter().map(Vec::capacity).zip(0..);
        let fits = sizes.filter(|(size, _)| (len..=len.saturating_mul(2)).contains(size));
        let (size, index) = fits.min_by_key(|&(size, index)| (size, Reverse(index)))?;
        self.bytes = self.bytes.saturating_sub(size);
        Some(self.buffers.remove(index))
    }

    /// Keeps a buffer, and of all at most `room` bytes.
    fn give_back(&mut self, buffer: Vec<u8>, room: usize) {
        if buffer.capacity() >= BUFFER_STEP {
            self.bytes = self.bytes.saturating_add(buffer.capacity());
            self.buffers.push(buffer);
        }
        self.keep(room);
    }

    /// Gives up those that came back first, until at most `room` bytes are kept.
    fn keep(&mut self, room: usize) {
        while self.bytes > room && !self.buffers.is_empty() {
            let surplus = self.buffers.remove(0);
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
        RelayBodies::new(bytes, bytes, 1).of_group(bytes)
    }

    /// Waits for memory for a body of `len` bytes and `scratch` bytes for its decoder, together at most `u32::MAX`.
    ///
    /// Cancel safe: a dropped wait has reserved nothing.
    pub(crate) async fn reserve(&self, len: usize, scratch: usize) -> RequestBody {
        let size = buffer_size(len);
        let needed = size.saturating_add(scratch);
        let share = self.relay.congestion.enter(len);
        let arrival = match len {
            LARGE_BYTES.. => Some(self.arriving.take(len).await),
            _ => None,
        };
        let mut permits = self.take(needed).await;
        let mut bytes = self.buffer(size, &mut permits);
        bytes.clear();
        RequestBody {
            bytes,
            relay: self.relay.clone(),
            permits,
            len_reserved: size,
            _arrival: arrival.map(ArrivalPermit::begin),
            _share: share,
        }
    }

    /// Whether more is on its way to the relay than it stores fastest.
    pub(crate) fn is_congested(&self) -> bool {
        self.relay.congestion.is_dense()
    }

    /// A buffer of `size` bytes, for which there are `permits`, or a larger one that was kept, if there is memory for it.
    fn buffer(&self, size: usize, permits: &mut Vec<OwnedSemaphorePermit>) -> Vec<u8> {
        let mut kept = lock(&self.relay.kept);
        if let Some(buffer) = kept.take(size) {
            let surplus = buffer.capacity().saturating_sub(size);
            let beside = || {
                self.own
                    .try_take(surplus)
                    .or_else(|| self.relay.budget.try_take(surplus))
            };
            if let Some(group) = self.group.try_take(surplus)
                && let Some(beside) = beside()
            {
                permits.extend([group, beside]);
                kept.keep(self.relay.room());
                return buffer;
            }
        }
        kept.keep(self.relay.room());
        Vec::with_capacity(size)
    }

    /// Waits for so many bytes of the group's budget, and of its own or of what is common to all.
    async fn take(&self, bytes: usize) -> Vec<OwnedSemaphorePermit> {
        let group = self.group.take(bytes).await;
        let beside = match self.own.try_take(bytes) {
            Some(own) => own,
            None => self.relay.budget.take(bytes).await,
        };
        vec![group, beside]
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
    use std::time::Duration;

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

    /// Whether so many bytes are there at once. They are kept.
    async fn at_once(pool: &BodyPool, bytes: usize, kept: &mut Vec<Vec<OwnedSemaphorePermit>>) -> bool {
        let taken = tokio::time::timeout(Duration::ZERO, pool.take(bytes)).await;
        let is_there = taken.is_ok();
        kept.extend(taken);
        is_there
    }

    #[tokio::test]
    async fn a_flooded_group_leaves_memory_to_the_others_and_no_small_body_waits_for_another_group() {
        const MIB: usize = 1 << 20;
        let relay = RelayBodies::new(64 * MIB, 16 * MIB, 4);
        let groups: Vec<_> = (0..4).map(|_| relay.of_group(64 * MIB)).collect();
        let (mut of_flooded, mut of_others) = (Vec::new(), Vec::new());
        while at_once(&groups[0], MIB, &mut of_flooded).await {}
        // 4 MiB of its own, and three quarters of the common 48 MiB.
        assert_eq!(of_flooded.len(), 40);
        assert!(at_once(&groups[1], 12 * MIB, &mut of_others).await);
        assert!(at_once(&groups[1], 4 * MIB, &mut of_others).await);
        // Now the common part is taken. Each group still has its own.
        for _ in 0..4 {
            assert!(at_once(&groups[2], MIB, &mut of_others).await);
            assert!(at_once(&groups[3], MIB, &mut of_others).await);
        }
        assert!(!at_once(&groups[2], MIB, &mut of_others).await);
        drop(of_flooded);
        assert!(at_once(&groups[2], 8 * MIB, &mut of_others).await);
    }

    #[tokio::test]
    async fn a_few_large_bodies_arrive_at_a_time_and_a_slow_one_holds_up_nobody() {
        let memory = BodyPool::new(64 << 20);
        let first = memory.reserve(ARRIVING_BYTES / 2, 0).await;
        let second = memory.reserve(ARRIVING_BYTES / 2, 0).await;
        let mut unwoken = Context::from_waker(Waker::noop());
        let mut third = Box::pin(memory.reserve(ARRIVING_BYTES / 2, 0));
        assert!(third.as_mut().poll(&mut unwoken).is_pending());
        let mut small = Box::pin(memory.reserve(LARGE_BYTES - 1, 0));
        assert!(small.as_mut().poll(&mut unwoken).is_ready());
        drop(first);
        let third = third.await;
        // The others do not count any more, although they are not here.
        let fourth = memory.reserve(ARRIVING_BYTES, 0).await;
        drop((second, third, fourth));
    }

    #[tokio::test]
    async fn what_waits_is_a_part_of_the_congestion_until_it_is_stored_or_gives_up() {
        const MIB: usize = 1 << 20;
        let relay = RelayBodies::new(64 * MIB, MIB, 2);
        let (of_one, of_other) = (relay.of_group(64 * MIB), relay.of_group(64 * MIB));
        let mut unwoken = Context::from_waker(Waker::noop());
        let (mut here, mut waiting) = (Vec::new(), Vec::new());
        for _ in 0..32 {
            let mut body = Box::pin(of_one.reserve(MIB, 0));
            match body.as_mut().poll(&mut unwoken) {
                Poll::Ready(body) => here.push(body),
                Poll::Pending => waiting.push(body),
            }
        }
        assert!(!here.is_empty() && !waiting.is_empty() && !of_other.is_congested());
        let one_more = of_other.reserve(MIB, 0).await;
        assert!(of_one.is_congested() && of_other.is_congested());
        drop(waiting.pop());
        assert!(!of_one.is_congested());
        let again = of_other.reserve(MIB, 0).await;
        assert!(of_one.is_congested());
        drop((one_more, again));
        assert!(!of_one.is_congested());
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

    /// All buffers there are: those of bodies, and those that are kept.
    fn buffers(relay: &RelayBodies, bodies: &[RequestBody]) -> usize {
        let in_bodies: usize = bodies.iter().map(|body| body.bytes.capacity()).sum();
        in_bodies + lock(&relay.kept).bytes
    }

    #[tokio::test]
    async fn the_buffers_of_all_groups_have_at_most_the_budget() {
        const MIB: usize = 1 << 20;
        for (groups, largest) in [(1, 64), (1, 16), (3, 60), (3, 64), (200, 16), (200, 64)] {
            let relay = RelayBodies::new(64 * MIB, largest * MIB, groups);
            let pools: Vec<_> = (0..groups).map(|_| relay.of_group(64 * MIB)).collect();
            for len in [largest * MIB, 2 << 10, MIB - 5, 300_000, 2 << 10, largest * MIB] {
                let mut bodies = Vec::new();
                // Round after round, until nobody gets any more.
                let mut are_there = true;
                while are_there {
                    are_there = false;
                    for pool in &pools {
                        if bodies.len() < 2000
                            && let Ok(body) = tokio::time::timeout(Duration::ZERO, pool.reserve(len, 0)).await
                        {
                            bodies.push(body);
                            are_there = true;
                        }
                    }
                }
                assert!(!bodies.is_empty(), "{groups} groups, {len} bytes");
                let used = buffers(&relay, &bodies);
                let bound = invariant_growth_is_bounded("bytes of buffers", used, 64 * MIB);
                assert_eq!(bound, Ok(()), "{groups} groups, {len} bytes");
            }
        }
    }

    #[tokio::test]
    async fn a_small_body_gets_no_large_buffer() {
        let memory = BodyPool::new(64 << 20);
        drop(memory.reserve(16 << 20, 0).await);
        let small = memory.reserve(2 << 10, 0).await;
        assert!(small.bytes.capacity() <= 4 << 10);
        let large = memory.reserve(12 << 20, 0).await;
        assert_eq!(large.bytes.capacity(), 16 << 20);
        let reserved: Vec<_> = large
            .permits
            .iter()
            .map(OwnedSemaphorePermit::num_permits)
            .collect();
        assert_eq!(
            reserved.iter().sum::<usize>(),
            2 * (16 << 20),
            "of the group and beside"
        );
    }
}
