//! The order in which groups use the shared disk.
//!
//! A sync waits for all earlier writes to the disk. So a group with small rounds (a log as it is written) would wait for
//! the megabytes of a flooded group. Therefore:
//! - While another group has small rounds, a group's rounds are limited to [`SHARED_ROUND_BYTES`], so that a sync waits
//!   for one such round at most. Otherwise a round may be larger.
//! - Before each of its syncs, a large round waits for the small rounds that are running.
//!
//! Invariants: a small round never waits. A large round waits only for rounds that began before it asked, so it continues
//! however many follow. Two large rounds never wait for each other.
//!
//! [`DiskScheduler`] decides and is pure. [`SharedDiskScheduler`] is the shell with the lock.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Largest small round: its sync takes hardly longer than the sync of a single line.
const SMALL_ROUND_BYTES: usize = 128 << 10;

/// Largest round while others have small rounds.
const SHARED_ROUND_BYTES: usize = 256 << 10;

/// Largest round otherwise: large enough for few syncs, small enough for quick receipts.
const ROUND_BYTES: usize = 32 << 20;

/// For so long after a small round another is expected: a sender collects lines for up to a second.
const SMALL_ROUND_MEMORY: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupSlot(usize);

#[derive(Debug, Default)]
pub(crate) struct DiskScheduler {
    groups: Vec<GroupRounds>,
    begun: u64,
}

#[derive(Debug, Default)]
struct GroupRounds {
    running: RunningRound,
    last_small: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum RunningRound {
    #[default]
    None,
    Small(u64),
    Large,
}

/// The small rounds that had begun at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SyncMark(u64);

impl DiskScheduler {
    pub(crate) fn join(&mut self) -> GroupSlot {
        self.groups.push(GroupRounds::default());
        GroupSlot(self.groups.len() - 1)
    }

    pub(crate) fn max_round_bytes(&self, slot: GroupSlot, now: Instant) -> usize {
        let has_small = |group: &GroupRounds| {
            let is_recent = |at: Instant| now.saturating_duration_since(at) < SMALL_ROUND_MEMORY;
            matches!(group.running, RunningRound::Small(_)) || group.last_small.is_some_and(is_recent)
        };
        if self.others(slot).any(has_small) {
            SHARED_ROUND_BYTES
        } else {
            ROUND_BYTES
        }
    }

    pub(crate) fn begin(&mut self, slot: GroupSlot, bytes: usize) {
        let running = if bytes <= SMALL_ROUND_BYTES {
            self.begun += 1;
            RunningRound::Small(self.begun)
        } else {
            RunningRound::Large
        };
        self.groups[slot.0].running = running;
    }

    /// A group's round has ended. Returns whether others may have waited for it.
    pub(crate) fn end(&mut self, slot: GroupSlot, now: Instant) -> bool {
        let group = &mut self.groups[slot.0];
        let ended = std::mem::take(&mut group.running);
        let was_small = matches!(ended, RunningRound::Small(_));
        if was_small {
            group.last_small = Some(now);
        }
        was_small
    }

    /// The rounds for which a group that is about to sync must wait.
    pub(crate) fn mark(&self) -> SyncMark {
        SyncMark(self.begun)
    }

    /// Whether a group that took `mark` may sync now.
    pub(crate) fn may_sync(&self, slot: GroupSlot, mark: SyncMark) -> bool {
        let goes_first =
            |group: &GroupRounds| matches!(group.running, RunningRound::Small(number) if number <= mark.0);
        self.groups[slot.0].running != RunningRound::Large || !self.others(slot).any(goes_first)
    }

    fn others(&self, slot: GroupSlot) -> impl Iterator<Item = &GroupRounds> {
        let all = self.groups.iter().enumerate();
        all.filter(move |(number, _)| *number != slot.0)
            .map(|(_, group)| group)
    }
}

/// The groups that share a disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedDiskScheduler(Arc<(Mutex<DiskScheduler>, Condvar)>);

/// One group's access to the shared disk.
#[derive(Debug, Clone)]
pub(crate) struct GroupScheduler {
    shared: SharedDiskScheduler,
    slot: GroupSlot,
}

/// A running round. Dropping it ends the round.
#[derive(Debug)]
pub(crate) struct RoundGuard(GroupScheduler);

impl SharedDiskScheduler {
    pub(crate) fn join(&self) -> GroupScheduler {
        let slot = self.lock().join();
        GroupScheduler {
            shared: self.clone(),
            slot,
        }
    }

    fn lock(&self) -> MutexGuard<'_, DiskScheduler> {
        // No change can leave the state incomplete.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GroupScheduler {
    pub(crate) fn max_round_bytes(&self) -> usize {
        self.shared.lock().max_round_bytes(self.slot, Instant::now())
    }

    pub(crate) fn begin(&self, bytes: usize) -> RoundGuard {
        self.shared.lock().begin(self.slot, bytes);
        RoundGuard(self.clone())
    }

    /// If the round is large: waits, before a sync, for the running small rounds of other groups.
    pub(crate) fn wait_for_small(&self) {
        let scheduler = self.shared.lock();
        let mark = scheduler.mark();
        let ended = &self.shared.0.1;
        drop(ended.wait_while(scheduler, |scheduler| !scheduler.may_sync(self.slot, mark)));
    }
}

impl Drop for RoundGuard {
    fn drop(&mut self) {
        let GroupScheduler { shared, slot } = &self.0;
        if shared.lock().end(*slot, Instant::now()) {
            shared.0.1.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    const LARGE: usize = SMALL_ROUND_BYTES + 1;

    fn two() -> (DiskScheduler, GroupSlot, GroupSlot) {
        let mut scheduler = DiskScheduler::default();
        let (quiet, flooded) = (scheduler.join(), scheduler.join());
        (scheduler, quiet, flooded)
    }

    #[test]
    fn rounds_are_limited_only_while_another_group_has_small_ones() {
        let ((mut scheduler, quiet, flooded), now) = (two(), Instant::now());
        assert_eq!(scheduler.max_round_bytes(flooded, now), ROUND_BYTES);
        scheduler.begin(quiet, 200);
        assert_eq!(scheduler.max_round_bytes(flooded, now), SHARED_ROUND_BYTES);
        assert_eq!(scheduler.max_round_bytes(quiet, now), ROUND_BYTES);
        scheduler.end(quiet, now);
        let at = |later| scheduler.max_round_bytes(flooded, now + later);
        let soon = at(SMALL_ROUND_MEMORY / 2);
        assert_eq!(soon, SHARED_ROUND_BYTES, "the next is likely to come");
        assert_eq!(at(SMALL_ROUND_MEMORY), ROUND_BYTES);
    }

    #[test]
    fn large_rounds_do_not_limit_each_other() {
        let ((mut scheduler, one, other), now) = (two(), Instant::now());
        scheduler.begin(one, LARGE);
        scheduler.begin(other, LARGE);
        let mark = scheduler.mark();
        assert!(scheduler.may_sync(one, mark) && scheduler.may_sync(other, mark));
        scheduler.end(one, now);
        assert_eq!(scheduler.max_round_bytes(other, now), ROUND_BYTES);
    }

    #[test]
    fn a_large_round_waits_for_the_running_small_one_and_not_for_the_next() {
        let ((mut scheduler, quiet, flooded), now) = (two(), Instant::now());
        scheduler.begin(flooded, LARGE);
        scheduler.begin(quiet, SMALL_ROUND_BYTES);
        let mark = scheduler.mark();
        assert!(scheduler.may_sync(quiet, mark), "a small one never waits");
        assert!(!scheduler.may_sync(flooded, mark));
        scheduler.end(quiet, now);
        scheduler.begin(quiet, 200);
        assert!(scheduler.may_sync(flooded, mark), "however many follow");
    }

    #[test]
    fn a_large_round_continues_when_the_small_one_ends_even_by_a_panic() {
        let disk = SharedDiskScheduler::default();
        let (quiet, flooded) = (disk.join(), disk.join());
        let large = flooded.begin(usize::MAX);
        let small = quiet.begin(1);
        let (passed, seen) = channel();
        let waiting = thread::spawn(move || {
            flooded.wait_for_small();
            // It is received below.
            let _ = passed.send(());
        });
        assert!(seen.try_recv().is_err(), "the small round is running");
        let panicked = thread::spawn(move || {
            let _small = small;
            std::panic::resume_unwind(Box::new("a bug"));
        });
        assert!(panicked.join().is_err());
        assert!(waiting.join().is_ok());
        assert!(seen.recv().is_ok());
        drop(large);
    }

    #[derive(Debug, Clone)]
    enum Event {
        Begin(usize, bool),
        End(usize),
        Ask(usize),
    }

    proptest! {
        /// For any rounds: small ones never wait, and a waiting one continues when every small round that was running when
        /// it asked has ended.
        #[test]
        fn no_round_waits_for_a_later_one(events in prop::collection::vec(prop_oneof![
            (0_usize..4, any::<bool>()).prop_map(|(group, is_small)| Event::Begin(group, is_small)),
            (0_usize..4).prop_map(Event::End),
            (0_usize..4).prop_map(Event::Ask),
        ], 0..80)) {
            let (mut scheduler, now) = (DiskScheduler::default(), Instant::now());
            let slots: Vec<_> = (0..4).map(|_| scheduler.join()).collect();
            // For each group: its round, if any; and if it waits, its mark and the groups it waits for.
            let mut rounds = [None; 4];
            let mut waits: [Option<(SyncMark, Vec<usize>)>; 4] = [const { None }; 4];
            for event in events {
                match event {
                    Event::Begin(group, is_small) if rounds[group].is_none() => {
                        scheduler.begin(slots[group], if is_small { 1 } else { LARGE });
                        rounds[group] = Some(is_small);
                    }
                    // A waiting round cannot end.
                    Event::End(group) if waits[group].is_none() => {
                        scheduler.end(slots[group], now);
                        rounds[group] = None;
                        waits.iter_mut().flatten().for_each(|(_, ahead)| ahead.retain(|of| *of != group));
                    }
                    Event::Ask(group) if rounds[group].is_some() && waits[group].is_none() => {
                        let small = |of: &usize| *of != group && rounds[*of] == Some(true);
                        let ahead = (0..4).filter(|of| rounds[group] == Some(false) && small(of)).collect();
                        waits[group] = Some((scheduler.mark(), ahead));
                    }
                    Event::Begin(..) | Event::End(_) | Event::Ask(_) => {}
                }
                for (group, wait) in waits.iter_mut().enumerate() {
                    if let Some((mark, ahead)) = wait {
                        let passes = scheduler.may_sync(slots[group], *mark);
                        prop_assert_eq!(passes, ahead.is_empty());
                        if passes {
                            *wait = None;
                        }
                    }
                }
            }
        }
    }
}
