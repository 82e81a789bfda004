//! The order in which groups use the shared disk.
//!
//! A sync waits for all earlier writes to the disk. So a group with small rounds (a log as it is written) would wait for
//! the megabytes of a flooded group. Therefore:
//! - While another group has small rounds, a group's rounds are limited to [`SHARED_ROUND_BYTES`], so that a sync waits
//!   for one such round at most. Otherwise a round may be larger.
//! - Before each of its syncs, a large round waits for the small rounds that are running.
//! - Only while no other group has small rounds do a backlog's lines go to the disk before the sync of their round.
//!
//! Invariants: a small round never waits. A large round waits only for rounds that began before it asked, so it continues
//! however many follow. Two large rounds never wait for each other. A group's rounds end in the order in which they began: so
//! a small one behind a large one of its group makes nobody wait, or rounds could wait for each other in a circle.
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
    /// Oldest first.
    running: Vec<RunningRound>,
    last_small: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunningRound {
    number: u64,
    is_small: bool,
}

/// The rounds that had begun at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SyncMark(u64);

impl DiskScheduler {
    pub(crate) fn join(&mut self) -> GroupSlot {
        self.groups.push(GroupRounds::default());
        GroupSlot(self.groups.len() - 1)
    }

    pub(crate) fn max_round_bytes(&self, slot: GroupSlot, now: Instant) -> usize {
        if self.others_have_small_rounds(slot, now) {
            SHARED_ROUND_BYTES
        } else {
            ROUND_BYTES
        }
    }

    /// Whether another group has small rounds now, or is likely to have the next soon.
    pub(crate) fn others_have_small_rounds(&self, slot: GroupSlot, now: Instant) -> bool {
        let has_small = |group: &GroupRounds| {
            let is_recent = |at: Instant| now.saturating_duration_since(at) < SMALL_ROUND_MEMORY;
            group.running.iter().any(|round| round.is_small) || group.last_small.is_some_and(is_recent)
        };
        self.others(slot).any(has_small)
    }

    /// A round without bytes has nothing to sync, so it does not count.
    pub(crate) fn begin(&mut self, slot: GroupSlot, bytes: usize) -> RunningRound {
        self.begun += 1;
        let round = RunningRound {
            number: self.begun,
            is_small: bytes <= SMALL_ROUND_BYTES,
        };
        if bytes > 0 {
            self.groups[slot.0].running.push(round);
        }
        round
    }

    /// A group's round has ended. Returns whether others may have waited for it.
    pub(crate) fn end(&mut self, slot: GroupSlot, ended: RunningRound, now: Instant) -> bool {
        let group = &mut self.groups[slot.0];
        let Some(index) = group.running.iter().position(|round| *round == ended) else {
            return false;
        };
        group.running.remove(index);
        if ended.is_small {
            group.last_small = Some(now);
        }
        ended.is_small
    }

    /// The rounds for which a group that is about to sync must wait.
    pub(crate) fn mark(&self) -> SyncMark {
        SyncMark(self.begun)
    }

    /// Whether a group's round that took `mark` may sync now.
    pub(crate) fn may_sync(&self, slot: GroupSlot, round: RunningRound, mark: SyncMark) -> bool {
        let goes_first = |group: &GroupRounds| {
            let first = group.running.first();
            first.is_some_and(|first| first.is_small && first.number <= mark.0)
        };
        round.is_small || !self.others(slot).any(goes_first)
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
pub(crate) struct RoundGuard {
    scheduler: GroupScheduler,
    round: RunningRound,
}

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

    pub(crate) fn others_have_small_rounds(&self) -> bool {
        self.shared
            .lock()
            .others_have_small_rounds(self.slot, Instant::now())
    }

    pub(crate) fn begin(&self, bytes: usize) -> RoundGuard {
        RoundGuard {
            round: self.shared.lock().begin(self.slot, bytes),
            scheduler: self.clone(),
        }
    }
}

impl RoundGuard {
    /// If the round is large: waits, before a sync, for the running small rounds of other groups.
    pub(crate) fn wait_for_small(&self) {
        let GroupScheduler { shared, slot } = &self.scheduler;
        let scheduler = shared.lock();
        let mark = scheduler.mark();
        let is_too_early = |scheduler: &mut DiskScheduler| !scheduler.may_sync(*slot, self.round, mark);
        drop(shared.0.1.wait_while(scheduler, is_too_early));
    }
}

impl Drop for RoundGuard {
    fn drop(&mut self) {
        let GroupScheduler { shared, slot } = &self.scheduler;
        if shared.lock().end(*slot, self.round, Instant::now()) {
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
        let small = scheduler.begin(quiet, 200);
        assert_eq!(scheduler.max_round_bytes(flooded, now), SHARED_ROUND_BYTES);
        assert_eq!(scheduler.max_round_bytes(quiet, now), ROUND_BYTES);
        scheduler.end(quiet, small, now);
        let at = |later| scheduler.max_round_bytes(flooded, now + later);
        let soon = at(SMALL_ROUND_MEMORY / 2);
        assert_eq!(soon, SHARED_ROUND_BYTES, "the next is likely to come");
        assert_eq!(at(SMALL_ROUND_MEMORY), ROUND_BYTES);
    }

    #[test]
    fn a_group_that_gets_only_repeats_limits_nobody() {
        let ((mut scheduler, quiet, flooded), now) = (two(), Instant::now());
        let of_repeats = scheduler.begin(quiet, 0);
        assert_eq!(scheduler.max_round_bytes(flooded, now), ROUND_BYTES);
        let large = scheduler.begin(flooded, LARGE);
        assert!(scheduler.may_sync(flooded, large, scheduler.mark()));
        scheduler.end(quiet, of_repeats, now);
        assert_eq!(scheduler.max_round_bytes(flooded, now), ROUND_BYTES);
    }

    #[test]
    fn large_rounds_do_not_limit_each_other() {
        let ((mut scheduler, one, other), now) = (two(), Instant::now());
        let of_one = scheduler.begin(one, LARGE);
        let of_other = scheduler.begin(other, LARGE);
        let mark = scheduler.mark();
        assert!(scheduler.may_sync(one, of_one, mark) && scheduler.may_sync(other, of_other, mark));
        scheduler.end(one, of_one, now);
        assert_eq!(scheduler.max_round_bytes(other, now), ROUND_BYTES);
    }

    #[test]
    fn a_large_round_waits_for_the_running_small_one_and_not_for_the_next() {
        let ((mut scheduler, quiet, flooded), now) = (two(), Instant::now());
        let large = scheduler.begin(flooded, LARGE);
        let small = scheduler.begin(quiet, SMALL_ROUND_BYTES);
        let mark = scheduler.mark();
        assert!(scheduler.may_sync(quiet, small, mark), "a small one never waits");
        assert!(!scheduler.may_sync(flooded, large, mark));
        scheduler.end(quiet, small, now);
        scheduler.begin(quiet, 200);
        assert!(scheduler.may_sync(flooded, large, mark), "however many follow");
    }

    #[test]
    fn groups_whose_small_rounds_follow_large_ones_do_not_wait_for_each_other() {
        let (mut scheduler, one, other) = two();
        let large = [one, other].map(|slot| scheduler.begin(slot, LARGE));
        let small = [one, other].map(|slot| scheduler.begin(slot, 200));
        let mark = scheduler.mark();
        assert!(scheduler.may_sync(one, large[0], mark) && scheduler.may_sync(other, large[1], mark));
        scheduler.end(one, large[0], Instant::now());
        assert!(
            !scheduler.may_sync(other, large[1], mark),
            "the small one is next"
        );
        assert!(scheduler.may_sync(one, small[0], mark));
    }

    #[test]
    fn a_large_round_continues_when_the_small_one_ends_even_by_a_panic() {
        let disk = SharedDiskScheduler::default();
        let (quiet, flooded) = (disk.join(), disk.join());
        let large = flooded.begin(usize::MAX);
        let small = quiet.begin(1);
        let (passed, seen) = channel();
        let waiting = thread::spawn(move || {
            large.wait_for_small();
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
    }

    #[derive(Debug, Clone)]
    enum Event {
        Begin(usize, bool),
        /// The oldest round of a group ends.
        End(usize),
        /// The oldest or the newest round of a group asks.
        Ask(usize, bool),
    }

    /// A round in the model. If it waits: the small rounds that had begun when it asked.
    struct ModelRound {
        running: RunningRound,
        ahead: Option<(SyncMark, Vec<RunningRound>)>,
    }

    proptest! {
        /// For any rounds: small ones never wait, a waiting one continues when every small round that is first of its group
        /// and was running when it asked has ended, and some first round can always go on.
        #[test]
        fn no_round_waits_for_a_later_one(events in prop::collection::vec(prop_oneof![
            (0_usize..4, any::<bool>()).prop_map(|(group, is_small)| Event::Begin(group, is_small)),
            (0_usize..4).prop_map(Event::End),
            (0_usize..4, any::<bool>()).prop_map(|(group, newest)| Event::Ask(group, newest)),
        ], 0..80)) {
            let (mut scheduler, now) = (DiskScheduler::default(), Instant::now());
            let slots: Vec<_> = (0..4).map(|_| scheduler.join()).collect();
            let mut groups: [Vec<ModelRound>; 4] = [const { Vec::new() }; 4];
            for event in events {
                match event {
                    Event::Begin(group, is_small) if groups[group].len() < 2 => {
                        let running = scheduler.begin(slots[group], if is_small { 1 } else { LARGE });
                        groups[group].push(ModelRound { running, ahead: None });
                    }
                    // A waiting round cannot end.
                    Event::End(group) if groups[group].first().is_some_and(|first| first.ahead.is_none()) => {
                        let ended = groups[group].remove(0).running;
                        scheduler.end(slots[group], ended, now);
                        let waits = groups.iter_mut().flatten().filter_map(|round| round.ahead.as_mut());
                        waits.for_each(|(_, ahead)| ahead.retain(|round| *round != ended));
                    }
                    Event::Ask(group, newest) if !groups[group].is_empty() => {
                        let others = groups.iter().zip(0..).filter(|(_, of)| *of != group);
                        let small = others.flat_map(|(rounds, _)| rounds.iter().map(|round| round.running));
                        let ahead = small.filter(|round| round.is_small).collect();
                        let at = if newest { groups[group].len() - 1 } else { 0 };
                        groups[group][at].ahead = Some((scheduler.mark(), ahead));
                    }
                    Event::Begin(..) | Event::End(_) | Event::Ask(..) => {}
                }
                let firsts: Vec<_> = groups.iter().filter_map(|rounds| rounds.first()).map(|first| first.running).collect();
                for (group, slot) in slots.iter().enumerate() {
                    for round in &mut groups[group] {
                        let Some((mark, ahead)) = &round.ahead else { continue };
                        let passes = scheduler.may_sync(*slot, round.running, *mark);
                        let waits = ahead.iter().any(|ahead| firsts.contains(ahead));
                        prop_assert_eq!(passes, round.running.is_small || !waits);
                        if passes {
                            round.ahead = None;
                        }
                    }
                }
                let mut first = groups.iter().filter_map(|rounds| rounds.first());
                prop_assert!(firsts.is_empty() || first.any(|first| first.ahead.is_none()));
            }
        }
    }
}
