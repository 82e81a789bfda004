//! Memory for the records that clients write, from the time they are made until they are durable. All sources share it, so that
//! several doors that are flooded at once do not take the memory of the whole collector.
//!
//! A record takes more memory than its bytes did: `a\n` is 2 bytes, and the record some hundred. So a client that writes very
//! short records could take all memory of the host, if what it writes were counted by its bytes.
//!
//! Who holds memory waits for nothing but the disk. One source's capture may refuse for long, and its clients then hold what they
//! have. So bodies, which are refused then, have a pool apart from streams, which wait; and each source has a reserve.

use std::sync::Arc;

use memchr::{memchr_iter, memchr3_iter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a record and its line, beside what it says.
const RECORD: usize = 512;
/// Bytes of a value in a record of JSON.
const VALUE: usize = 96;

/// Memory of the records of all bodies, at least and by the largest body: lines of 64 bytes need eight times as much.
const BODIES_MIN: usize = 256 << 20;
const BODIES_FACTOR: usize = 8;
/// Memory of the records of all streams.
const STREAMS: usize = 128 << 20;
/// What a source has for itself, beside it.
const RESERVE_KIB: u32 = 8 << 10;

/// The memory of a collector.
#[derive(Debug, Clone)]
pub struct ClientMemory {
    /// Of bodies that are posted.
    pub(crate) bodies: RecordMemory,
    /// Of what is written to connections.
    pub(crate) streams: RecordMemory,
}

impl ClientMemory {
    /// For bodies of at most so many bytes.
    pub(crate) fn new(max_body: usize) -> Self {
        Self {
            bodies: RecordMemory::new(BODIES_MIN.max(max_body.saturating_mul(BODIES_FACTOR))),
            streams: RecordMemory::new(STREAMS),
        }
    }

    /// The same memory, with a reserve for another source.
    pub(crate) fn of_source(&self) -> Self {
        Self {
            bodies: self.bodies.of_source(),
            streams: self.streams.of_source(),
        }
    }
}

/// A pool of memory, and the reserve of a source. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct RecordMemory {
    pool: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    kib: u32,
}

/// Memory that is held; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct HeldRecords {
    _permit: Option<OwnedSemaphorePermit>,
}

fn semaphore(kib: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(
        usize::try_from(kib).unwrap_or(Semaphore::MAX_PERMITS),
    ))
}

impl RecordMemory {
    pub(crate) fn new(bytes: usize) -> Self {
        let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
        Self {
            pool: semaphore(kib),
            reserve: semaphore(RESERVE_KIB),
            kib,
        }
    }

    fn of_source(&self) -> Self {
        Self {
            reserve: semaphore(RESERVE_KIB),
            ..self.clone()
        }
    }

    /// Whether the records of these bytes fit at all.
    pub(crate) fn has_room_for(&self, bytes: &[u8]) -> bool {
        kib_of(bytes) <= self.kib
    }

    /// The first of these bytes: so many that the reserve of a source is enough for their records.
    pub(crate) fn part_of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let mut part = bytes;
        while kib_of(part) > RESERVE_KIB.min(self.kib) && part.len() > 1 {
            part = part.get(..part.len() / 2).unwrap_or_default();
        }
        part
    }

    /// Waits for memory for the records of these bytes; for all of it, if they need more. Cancel safe.
    pub(crate) async fn hold(&self, bytes: &[u8]) -> HeldRecords {
        let needed = kib_of(bytes).min(self.kib);
        let pool = Arc::clone(&self.pool).acquire_many_owned(needed);
        // The semaphores are never closed.
        let permit = if needed > RESERVE_KIB {
            pool.await.ok()
        } else {
            tokio::select! {
                biased;
                held = pool => held.ok(),
                held = Arc::clone(&self.reserve).acquire_many_owned(needed) => held.ok(),
            }
        };
        HeldRecords { _permit: permit }
    }
}

/// At most so much memory do the records of these bytes take, whether they are lines of text or JSON.
fn kib_of(bytes: &[u8]) -> u32 {
    let records = memchr_iter(b'\n', bytes).count() + 1;
    let values = memchr3_iter(b',', b'{', b'[', bytes).count();
    let needed = bytes.len() + records * RECORD + values * VALUE;
    u32::try_from(needed.div_ceil(1024)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn short_records_need_more_than_their_bytes_and_wait_for_each_other() {
        let memory = RecordMemory::new(16 << 20);
        let lines = |count: usize| b"a\n".repeat(count);
        assert!(memory.has_room_for(&lines(32_000)) && !memory.has_room_for(&lines(48_000)));
        assert!(!memory.has_room_for("[".repeat(200_000).as_bytes()));
        assert!(memory.has_room_for(&vec![b'x'; 16_000_000]));
        let first = memory.hold(&lines(32_000)).await;
        let second = tokio::spawn({
            let memory = memory.clone();
            async move { memory.hold(&b"a\n".repeat(100_000)).await }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        second.await.expect("all of the memory");
    }

    #[tokio::test]
    async fn source_gets_its_reserve_while_others_hold_all_of_the_pool() {
        let memory = ClientMemory::new(1 << 20);
        let (one, other) = (memory.of_source().streams, memory.of_source().streams);
        let bytes = b"a\n".repeat(1 << 20);
        let part = one.part_of(&bytes).to_vec();
        assert!(
            part.len() > 8 << 10 && kib_of(&part) <= RESERVE_KIB,
            "{}",
            part.len()
        );
        let all = one.hold(&bytes).await;
        let reserve = one.hold(&part).await;
        let waiting = |memory: &RecordMemory| {
            let (memory, part) = (memory.clone(), part.clone());
            tokio::spawn(async move { memory.hold(&part).await })
        };
        let third = waiting(&one);
        tokio::task::yield_now().await;
        assert!(!third.is_finished());
        waiting(&other).await.expect("the other's reserve");
        drop((all, reserve));
        third.await.expect("free again");
    }

    #[test]
    fn bytes_of_any_kind_are_taken_in_parts_until_none_is_left() {
        let memory = RecordMemory::new(4096);
        for bytes in [&b"\n".repeat(100)[..], &b"[".repeat(9999), b"x"] {
            let mut rest = bytes;
            while !rest.is_empty() {
                let part = memory.part_of(rest);
                assert!(!part.is_empty());
                rest = &rest[part.len()..];
            }
        }
    }
}
