//! Whose turn it is at the disk that all groups share. Pure: it is told which rounds begin and end, and when.
//!
//! A sync waits for what was given to the disk before it. So a group whose rounds are small, a log as it is written, would
//! wait for the megabytes of one that is flooded or has a backlog. Therefore:
//! - While another group has small rounds, a group's rounds are cut to [`SHARED_ROUND_BYTES`]: nobody waits longer than
//!   for one of them. Alone, or among groups that all have much to store, a round may be as large as before.
//! - A round that is not small lets the small ones go first that are under way, before each of its syncs.
//!
//! Invariants: a small round never waits. A large one waits only for rounds that began before it asked, so it goes on
//! however many follow, and two large ones never wait for each other.

use std::time::{Duration, Instant};

/// Up to so many bytes a round is small: its sync takes hardly longer than that of a single line.
const SMALL_ROUND_BYTES: usize = 128 << 10;

/// Most bytes of a round while others have small ones.
const SHARED_ROUND_BYTES: usize = 256 << 10;

/// Most bytes of a round otherwise: enough to make the syncs few, not so much that a receipt waits long.
const ROUND_BYTES: usize = 32 << 20;

/// A group that had a small round so long ago is likely to have another soon; a sender waits a second for company.
const LATELY: Duration = Duration::from_secs(3);

/// A group's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat(usize);

/// The rounds of all groups.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    seats: Vec<Group>,
    /// Small rounds begun so far; the number of the newest.
    begun: u64,
}

#[derive(Debug, Default)]
struct Group {
    round: Round,
    last_small: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// None is under way.
    #[default]
    Idle,
    /// With its number.
    Small(u64),
    Large,
}

/// The small rounds that had begun at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Turns {
    /// One group more.
    pub(crate) fn join(&mut self) -> Seat {
        self.seats.push(Group::default());
        Seat(self.seats.len() - 1)
    }

    /// How many bytes a group's next round may have.
    pub(crate) fn round_bytes(&self, seat: Seat, now: Instant) -> usize {
        let has_small = |group: &Group| {
            let lately = |at: Instant| now.saturating_duration_since(at) < LATELY;
            matches!(group.round, Round::Small(_)) || group.last_small.is_some_and(lately)
        };
        if self.others(seat).any(has_small) {
            SHARED_ROUND_BYTES
        } else {
            ROUND_BYTES
        }
    }

    /// A group begins a round of so many bytes.
    pub(crate) fn begin(&mut self, seat: Seat, bytes: usize) {
        let round = if bytes <= SMALL_ROUND_BYTES {
            self.begun += 1;
            Round::Small(self.begun)
        } else {
            Round::Large
        };
        self.set(seat, |group| group.round = round);
    }

    /// The round is over. Returns whether others may have waited for it.
    pub(crate) fn end(&mut self, seat: Seat, now: Instant) -> bool {
        let mut was_small = false;
        self.set(seat, |group| {
            was_small = matches!(group.round, Round::Small(_));
            group.round = Round::Idle;
            if was_small {
                group.last_small = Some(now);
            }
        });
        was_small
    }

    /// What a group that is about to sync has to wait for.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.begun)
    }

    /// Whether a group that took `mark` may sync now.
    pub(crate) fn may_pass(&self, seat: Seat, mark: Mark) -> bool {
        let is_large = |group: &Group| group.round == Round::Large;
        let goes_first = |group: &Group| matches!(group.round, Round::Small(number) if number <= mark.0);
        !self.seats.get(seat.0).is_some_and(is_large) || !self.others(seat).any(goes_first)
    }

    fn others(&self, seat: Seat) -> impl Iterator<Item = &Group> {
        let all = self.seats.iter().enumerate();
        all.filter(move |(number, _)| *number != seat.0)
            .map(|(_, group)| group)
    }

    fn set(&mut self, seat: Seat, change: impl FnOnce(&mut Group)) {
        if let Some(group) = self.seats.get_mut(seat.0) {
            change(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LARGE: usize = SMALL_ROUND_BYTES + 1;

    fn two() -> (Turns, Seat, Seat) {
        let mut turns = Turns::default();
        let (quiet, flooded) = (turns.join(), turns.join());
        (turns, quiet, flooded)
    }

    #[test]
    fn rounds_are_cut_while_another_group_has_small_ones_and_not_because_of_ones_own() {
        let ((mut turns, quiet, flooded), now) = (two(), Instant::now());
        assert_eq!(turns.round_bytes(flooded, now), ROUND_BYTES);
        turns.begin(quiet, 200);
        assert_eq!(turns.round_bytes(flooded, now), SHARED_ROUND_BYTES);
        assert_eq!(turns.round_bytes(quiet, now), ROUND_BYTES);
        turns.end(quiet, now);
        let at = |later| turns.round_bytes(flooded, now + later);
        assert_eq!(at(LATELY / 2), SHARED_ROUND_BYTES, "the next is likely to come");
        assert_eq!(at(LATELY), ROUND_BYTES);
    }

    #[test]
    fn groups_that_all_have_much_to_store_are_left_alone() {
        let ((mut turns, one, other), now) = (two(), Instant::now());
        turns.begin(one, LARGE);
        turns.begin(other, LARGE);
        let mark = turns.mark();
        assert!(turns.may_pass(one, mark) && turns.may_pass(other, mark));
        turns.end(one, now);
        assert_eq!(turns.round_bytes(other, now), ROUND_BYTES);
    }

    #[test]
    fn a_large_round_lets_the_small_one_under_way_go_first_and_not_the_next() {
        let ((mut turns, quiet, flooded), now) = (two(), Instant::now());
        turns.begin(flooded, LARGE);
        turns.begin(quiet, SMALL_ROUND_BYTES);
        let mark = turns.mark();
        assert!(turns.may_pass(quiet, mark), "a small one never waits");
        assert!(!turns.may_pass(flooded, mark));
        turns.end(quiet, now);
        turns.begin(quiet, 200);
        assert!(turns.may_pass(flooded, mark), "however many follow");
    }

    #[derive(Debug, Clone)]
    enum Event {
        Begin(usize, bool),
        End(usize),
        Ask(usize),
    }

    proptest! {
        /// Whatever rounds begin and end: small ones never wait, and whoever waits goes on once every round that was under
        /// way when it asked is over.
        #[test]
        fn nobody_waits_for_what_began_later(events in prop::collection::vec(prop_oneof![
            (0_usize..4, any::<bool>()).prop_map(|(group, is_small)| Event::Begin(group, is_small)),
            (0_usize..4).prop_map(Event::End),
            (0_usize..4).prop_map(Event::Ask),
        ], 0..80)) {
            let (mut turns, now) = (Turns::default(), Instant::now());
            let seats: Vec<_> = (0..4).map(|_| turns.join()).collect();
            // Of each group: its round, if any; and if it waits, its mark and whom it waits for.
            let mut rounds = [None; 4];
            let mut waits: [Option<(Mark, Vec<usize>)>; 4] = [const { None }; 4];
            for event in events {
                match event {
                    Event::Begin(group, is_small) if rounds[group].is_none() => {
                        turns.begin(seats[group], if is_small { 1 } else { LARGE });
                        rounds[group] = Some(is_small);
                    }
                    // Whoever waits does not end its round.
                    Event::End(group) if waits[group].is_none() => {
                        turns.end(seats[group], now);
                        rounds[group] = None;
                        waits.iter_mut().flatten().for_each(|(_, ahead)| ahead.retain(|of| *of != group));
                    }
                    Event::Ask(group) if rounds[group].is_some() && waits[group].is_none() => {
                        let small = |of: &usize| *of != group && rounds[*of] == Some(true);
                        let ahead = (0..4).filter(|of| rounds[group] == Some(false) && small(of)).collect();
                        waits[group] = Some((turns.mark(), ahead));
                    }
                    Event::Begin(..) | Event::End(_) | Event::Ask(_) => {}
                }
                for (group, wait) in waits.iter_mut().enumerate() {
                    if let Some((mark, ahead)) = wait {
                        let passes = turns.may_pass(seats[group], *mark);
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
