//! How many bytes the next chunk may have. No I/O.
//!
//! A log that is followed has chunks of up to `max_bytes`. When far more is unread, the chunks double with each answer, up to
//! [`GROWTH_MAX`] times that: the relay syncs less often, and the disk waits less. Still larger ones are slower: what is in flight
//! is out of the processor's cache before it is stored. What is not far behind keeps its latency.
//! A chunk that is too large for the relay, or too slow on the network, is halved. After a failure of the relay every
//! sender begins with chunks of the usual size again: after an outage the relay's memory has to be enough for all.

/// A chunk is not halved below this, however slow the network is.
const BYTES_MIN: usize = 64 * 1024;

/// How many times larger than usual a chunk may be, if a log is far behind.
const GROWTH_MAX: usize = 2;

/// The buffers of larger chunks have at most so many bytes together.
const GROWN_BUFFERS: usize = 24 << 20;

/// A log is far behind while so many of its largest chunks are unread.
const CHUNKS_BEHIND: u64 = 4;

#[derive(Debug)]
pub(crate) struct ChunkSize {
    usual: usize,
    /// The bytes of a chunk of a log that is far behind.
    now: usize,
    max: usize,
}

impl ChunkSize {
    /// `usual`: the configured size; `buffers`: how many chunks are in memory at a time.
    pub(crate) fn new(usual: usize, buffers: usize) -> Self {
        let shared = GROWN_BUFFERS / buffers.max(1);
        Self {
            usual,
            now: usual,
            max: usual.saturating_mul(GROWTH_MAX).min(shared).max(usual),
        }
    }

    /// The largest that it may become.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// That of a log that is not far behind.
    pub(crate) fn usual(&self) -> usize {
        self.now.min(self.usual)
    }

    /// That of a file with so many unread bytes.
    pub(crate) fn of(&self, unread: u64) -> usize {
        if unread >= CHUNKS_BEHIND.saturating_mul(self.max as u64) {
            self.now
        } else {
            self.usual()
        }
    }

    /// A chunk was answered.
    pub(crate) fn grow(&mut self) {
        self.now = self.now.saturating_mul(2).min(self.max);
    }

    /// The relay takes at most so many bytes.
    pub(crate) fn limit(&mut self, bytes: usize) {
        self.max = self.max.min(bytes);
        self.now = self.now.min(self.max);
    }

    /// The relay did not take a chunk, as it was too large.
    pub(crate) fn too_large(&mut self) {
        self.limit(halved(self.max));
    }

    /// A chunk did not get through in time.
    pub(crate) fn too_slow(&mut self) {
        self.now = halved(self.now);
    }

    /// The relay failed, or has no room.
    pub(crate) fn failed(&mut self) {
        self.now = self.usual();
    }
}

fn halved(bytes: usize) -> usize {
    // Never more than before: the relay may allow less than the minimum.
    bytes.min((bytes / 2).max(BYTES_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn chunks_of_a_log_that_is_far_behind_grow_with_the_answers() {
        let mut size = ChunkSize::new(MIB, 6);
        let far = 1 << 30;
        assert_eq!((size.max(), size.of(far)), (2 * MIB, MIB));
        size.grow();
        assert_eq!(
            (size.of(far), size.of(7 << 20), size.usual()),
            (2 * MIB, MIB, MIB)
        );
        size.grow();
        assert_eq!(size.of(far), 2 * MIB);
        size.failed();
        assert_eq!(size.of(far), MIB);
    }

    #[test]
    fn larger_chunks_have_a_bound_for_all_buffers_together() {
        assert_eq!(ChunkSize::new(MIB, 14).max(), GROWN_BUFFERS / 14);
        assert_eq!(ChunkSize::new(MIB, 66).max(), MIB, "never less than configured");
        assert_eq!(ChunkSize::new(16 * MIB, 6).max(), 16 * MIB);
    }

    #[test]
    fn a_chunk_is_halved_down_to_a_minimum_and_never_above_the_relays_limit() {
        let mut size = ChunkSize::new(MIB, 6);
        size.limit(300_000);
        size.grow();
        assert_eq!(size.of(u64::MAX), 300_000);
        size.too_large();
        size.grow();
        assert_eq!(size.of(u64::MAX), 150_000);
        for _ in 0..10 {
            size.too_slow();
        }
        assert_eq!(size.usual(), BYTES_MIN);
        size.limit(1000);
        size.too_large();
        assert_eq!(size.usual(), 1000);
    }
}
