//! Leaves a share of the disk to the relay and the forwarder: after each piece of work a rest as long as the work took.

use std::thread;
use std::time::{Duration, Instant};

/// Bytes that are worked on between two rests.
const PIECE_BYTES: u64 = 8 << 20;

/// The longest rest. A disk that hangs must not make the housekeeper hang twice as long.
const REST_MAX: Duration = Duration::from_secs(1);

/// Counts work, and rests.
#[derive(Debug)]
pub(crate) struct WorkShare {
    began: Instant,
    bytes: u64,
}

impl WorkShare {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            bytes: 0,
        }
    }

    /// Notes bytes that were read or written, and rests if these are enough.
    pub(crate) fn worked(&mut self, bytes: u64) {
        self.bytes += bytes;
        if let Some(rest) = rest_after(self.bytes, self.began.elapsed()) {
            thread::sleep(rest);
            *self = Self::new();
        }
    }
}

/// The rest after so many bytes in so much time; `None`: it is too early for one.
fn rest_after(bytes: u64, took: Duration) -> Option<Duration> {
    (bytes >= PIECE_BYTES).then(|| took.min(REST_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_time_is_left_to_others() {
        let took = Duration::from_millis(40);
        assert_eq!(rest_after(PIECE_BYTES, took), Some(took));
        assert_eq!(rest_after(PIECE_BYTES - 1, took), None);
        assert_eq!(rest_after(PIECE_BYTES, 100 * REST_MAX), Some(REST_MAX));
    }
}
