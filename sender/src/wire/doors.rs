//! The relay's addresses, its doors: which one is in use, and whether the same relay is behind each. Pure.
//!
//! Exactly-once rests on one ledger: what was acknowledged at one door must be known at the next, above all a chunk
//! whose answer was lost. So all doors must lead to one ledger, and that is not taken on trust. The relay tells its
//! ledger's id with each answer to a question, and takes no chunk that names another one.
//!
//! Invariants:
//! - All connections use the same door; it is left only when it fails.
//! - A different ledger is followed only where it has taken the place of the known one: at its very address, or when
//!   that address is none of the relay's any more. Anywhere else it is another relay, and nothing is shipped there.

use std::net::SocketAddr;

use logferry_protocol::resolve::LedgerId;
use serde::{Deserialize, Serialize};

/// The ledger that lines are shipped to, and where it was last met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Home {
    pub(super) ledger: LedgerId,
    /// The configured address, as text.
    pub(super) door: String,
    /// What that led to.
    pub(super) address: SocketAddr,
}

/// Which door is in use, and which ledger is behind it.
#[derive(Debug)]
pub(super) struct Doors {
    count: usize,
    current: usize,
    home: Option<Home>,
}

/// What a relay is to a sender that knows a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meeting {
    /// There is nothing to note: the known ledger where it always was, or a relay that does not tell its ledger.
    Known,
    /// The known ledger at another address, or the first one ever met.
    Noted,
    /// Another ledger in the place of the known one.
    Replaced,
    /// Another ledger elsewhere. It is a relay of its own if the known one's address is still one of the relay's.
    Elsewhere,
}

impl Doors {
    /// `count` doors, the first of which is tried first, and what an earlier run has noted.
    pub(super) fn new(count: usize, home: Option<Home>) -> Self {
        Self {
            count,
            current: 0,
            home,
        }
    }

    /// The door to use.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// A door failed: the next one's turn, unless another connection has found out before.
    pub(super) fn failed(&mut self, door: usize) {
        if door == self.current {
            self.current = (door + 1) % self.count.max(1);
        }
    }

    /// The ledger that lines are shipped to.
    pub(super) fn home(&self) -> Option<&Home> {
        self.home.as_ref()
    }

    /// From now on lines are shipped there.
    pub(super) fn settle(&mut self, home: Home) {
        self.home = Some(home);
    }

    /// Judges a relay that has answered at `address`, and told its ledger if it is not an old one.
    pub(super) fn meet(&self, ledger: Option<LedgerId>, address: SocketAddr) -> Meeting {
        match (&self.home, ledger) {
            (None, None) => Meeting::Known,
            (None, Some(_)) => Meeting::Noted,
            (Some(home), Some(ledger)) if home.ledger == ledger => {
                if home.address == address {
                    Meeting::Known
                } else {
                    Meeting::Noted
                }
            }
            (Some(home), None) if home.address == address => Meeting::Known,
            (Some(home), Some(_)) if home.address == address => Meeting::Replaced,
            (Some(_), _) => Meeting::Elsewhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: LedgerId = LedgerId::new(1);
    const TWO: LedgerId = LedgerId::new(2);

    fn address(port: u16) -> SocketAddr {
        ([192, 0, 2, 10], port).into()
    }

    fn at_home() -> Doors {
        let home = Home {
            ledger: ONE,
            door: "http://192.0.2.10:1".into(),
            address: address(1),
        };
        Doors::new(2, Some(home))
    }

    #[test]
    fn doors_are_tried_in_turn_and_each_failure_counts_once() {
        let mut doors = Doors::new(3, None);
        let mut tried = Vec::new();
        for _ in 0..4 {
            let door = doors.current();
            tried.push(door);
            doors.failed(door);
            doors.failed(door);
        }
        assert_eq!(tried, [0, 1, 2, 0]);
    }

    #[test]
    fn the_known_ledger_is_at_home_behind_every_door() {
        assert_eq!(at_home().meet(Some(ONE), address(1)), Meeting::Known);
        assert_eq!(at_home().meet(Some(ONE), address(2)), Meeting::Noted);
        assert_eq!(Doors::new(1, None).meet(Some(ONE), address(1)), Meeting::Noted);
    }

    #[test]
    fn another_ledger_is_a_replacement_in_the_same_place_only() {
        assert_eq!(at_home().meet(Some(TWO), address(1)), Meeting::Replaced);
        assert_eq!(at_home().meet(Some(TWO), address(2)), Meeting::Elsewhere);
    }

    #[test]
    fn a_relay_that_does_not_tell_is_believed_in_the_same_place_only() {
        assert_eq!(Doors::new(1, None).meet(None, address(1)), Meeting::Known);
        assert_eq!(at_home().meet(None, address(1)), Meeting::Known);
        assert_eq!(at_home().meet(None, address(2)), Meeting::Elsewhere);
    }
}
