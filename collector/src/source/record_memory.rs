//! Memory for the records of a source that many clients write to, from the time they are made until they are durable.
//!
//! A record takes more memory than its bytes did: `a\n` is 2 bytes, and the record some hundred. So a client that writes very short
//! records could take all memory of the host, if what it writes were counted by its bytes.
//!
//! Who holds memory waits for nothing but the disk, so that nobody waits for memory for ever.

use std::sync::Arc;

use memchr::{memchr_iter, memchr3_iter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a record and its line, beside what it says.
const RECORD: usize = 512;
/// Bytes of a value in a record of JSON.
const VALUE: usize = 96;

/// The memory, shared by all clients of a source. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct RecordMemory {
    free: Arc<Semaphore>,
    kib: u32,
}

/// Memory that is held; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct HeldRecords {
    _permit: Option<OwnedSemaphorePermit>,
}

impl RecordMemory {
    pub(crate) fn new(bytes: usize) -> Self {
        let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
        let free = Arc::new(Semaphore::new(
            usize::try_from(kib).unwrap_or(Semaphore::MAX_PERMITS),
        ));
        Self { free, kib }
    }

    /// Whether the records of these bytes fit at all.
    pub(crate) fn has_room_for(&self, bytes: &[u8]) -> bool {
        kib_of(bytes) <= self.kib
    }

    /// Waits for memory for the records of these bytes; for all of it, if they need more. Cancel safe.
    pub(crate) async fn hold(&self, bytes: &[u8]) -> HeldRecords {
        let needed = kib_of(bytes).min(self.kib);
        // The semaphore is never closed.
        let permit = Arc::clone(&self.free).acquire_many_owned(needed).await.ok();
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
        let memory = RecordMemory::new(1 << 20);
        let lines = |count: usize| b"a\n".repeat(count);
        assert!(memory.has_room_for(&lines(2000)) && !memory.has_room_for(&lines(3000)));
        assert!(!memory.has_room_for("[".repeat(20_000).as_bytes()));
        assert!(memory.has_room_for(&vec![b'x'; 1_000_000]));
        let first = memory.hold(&lines(2000)).await;
        let second = tokio::spawn({
            let memory = memory.clone();
            async move { memory.hold(&b"a\n".repeat(100_000)).await }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        second.await.expect("all of the memory");
    }
}
