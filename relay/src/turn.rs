//! A group's place among those that share the disk: the shell around [`Turns`], which decides.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::turns::{Seat, Turns};

/// The groups that share a disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedDisk(Arc<(Mutex<Turns>, Condvar)>);

/// One group's place.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    shared: SharedDisk,
    seat: Seat,
}

/// A round under way; over when it is dropped.
#[derive(Debug)]
pub(crate) struct Round(Turn);

impl SharedDisk {
    /// A place for one more group.
    pub(crate) fn join(&self) -> Turn {
        let seat = self.turns().join();
        Turn {
            shared: self.clone(),
            seat,
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        // No change leaves it half done.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// How many bytes the next round may have.
    pub(crate) fn round_bytes(&self) -> usize {
        self.shared.turns().round_bytes(self.seat, Instant::now())
    }

    /// Begins a round of so many bytes.
    pub(crate) fn begin(&self, bytes: usize) -> Round {
        self.shared.turns().begin(self.seat, bytes);
        Round(self.clone())
    }

    /// Waits, in a large round and before it syncs, for the small rounds of others that are under way.
    pub(crate) fn wait_for_small(&self) {
        let turns = self.shared.turns();
        let mark = turns.mark();
        let ended = &self.shared.0.1;
        let turns = ended.wait_while(turns, |turns| !turns.may_pass(self.seat, mark));
        drop(turns);
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        let Turn { shared, seat } = &self.0;
        if shared.turns().end(*seat, Instant::now()) {
            shared.0.1.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn a_large_round_goes_on_when_the_small_one_is_over_even_by_a_panic() {
        let disk = SharedDisk::default();
        let (quiet, flooded) = (disk.join(), disk.join());
        let large = flooded.begin(usize::MAX);
        let small = quiet.begin(1);
        let (passed, seen) = channel();
        let waiting = thread::spawn(move || {
            flooded.wait_for_small();
            // It is heard below.
            let _ = passed.send(());
        });
        assert!(seen.try_recv().is_err(), "the small one is under way");
        let panicked = thread::spawn(move || {
            let _small = small;
            std::panic::resume_unwind(Box::new("a bug"));
        });
        assert!(panicked.join().is_err());
        assert!(waiting.join().is_ok());
        assert!(seen.recv().is_ok());
        drop(large);
    }
}
