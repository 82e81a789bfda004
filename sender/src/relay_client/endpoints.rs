//! The relay's addresses, its endpoints: which one is in use, and whether the same relay is behind each. Pure.
//!
//! Exactly-once rests on one ledger: what was acknowledged at one endpoint must be known at the next, above all a chunk
//! whose answer was lost. So all endpoints must lead to one ledger, and that is not taken on trust. The relay tells its
//! ledger's id with each answer to a question, and takes no chunk that names another one.
//!
//! Invariants:
//! - All connections use the same endpoint; it is left only when it fails.
//! - A different ledger is followed only where it has taken the place of the known one: at its very address, or when
//!   that address is none of the relay's any more. Anywhere else it is another relay, and nothing is shipped there.

use std::net::SocketAddr;

use logferry_protocol::resolve::LedgerId;
use serde::{Deserialize, Serialize};

/// The ledger that lines are shipped to, and where it was last met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RelayIdentity {
    pub(super) ledger: LedgerId,
    /// The configured address, as text.
    #[serde(rename = "door")]
    pub(super) endpoint: String,
    /// What that led to.
    pub(super) address: SocketAddr,
}

/// Which endpoint is in use, and which ledger is behind it.
#[derive(Debug)]
pub(super) struct Endpoints {
    count: usize,
    current: usize,
    home: Option<RelayIdentity>,
}

/// What a relay is to a sender that knows a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LedgerMatch {
    /// There is nothing to note: the known ledger where it always was, or a relay that does not tell its ledger.
    Known,
    /// The known ledger at another address, or the first one ever met.
    Noted,
    /// Another ledger in the place of the known one.
    Replaced,
    /// Another ledger elsewhere. It is a relay of its own if the known one's address is still one of the relay's.
    Elsewhere,
}

impl Endpoints {
    /// `count` endpoints, the first of which is tried first, and what an earlier run has noted.
    pub(super) fn new(count: usize, home: Option<RelayIdentity>) -> Self {
        Self {
            count,
            current: 0,
            home,
        }
    }

    /// The endpoint to use.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// A endpoint failed: the next one's turn, unless another connection has found out before.
    pub(super) fn failed(&mut self, endpoint: usize) {
        if endpoint == self.current {
            self.current = (endpoint + 1) % self.count.max(1);
        }
    }

    /// The ledger that lines are shipped to.
    pub(super) fn home(&self) -> Option<&RelayIdentity> {
        self.home.as_ref()
    }

    /// From now on lines are shipped there.
    pub(super) fn set_identity(&mut self, home: RelayIdentity) {
        self.home = Some(home);
    }

    /// Judges a relay that has answered at `address`, and told its ledger if it is not an old one.
    pub(super) fn match_ledger(&self, ledger: Option<LedgerId>, address: SocketAddr) -> LedgerMatch {
        match (&self.home, ledger) {
            (None, None) => LedgerMatch::Known,
            (None, Some(_)) => LedgerMatch::Noted,
            (Some(home), Some(ledger)) if home.ledger == ledger => {
                if home.address == address {
                    LedgerMatch::Known
                } else {
                    LedgerMatch::Noted
                }
            }
            (Some(home), None) if home.address == address => LedgerMatch::Known,
            (Some(home), Some(_)) if home.address == address => LedgerMatch::Replaced,
            (Some(_), _) => LedgerMatch::Elsewhere,
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

    fn at_home() -> Endpoints {
        let home = RelayIdentity {
            ledger: ONE,
            endpoint: "http://192.0.2.10:1".into(),
            address: address(1),
        };
        Endpoints::new(2, Some(home))
    }

    #[test]
    fn doors_are_tried_in_turn_and_each_failure_counts_once() {
        let mut endpoints = Endpoints::new(3, None);
        let mut tried = Vec::new();
        for _ in 0..4 {
            let endpoint = endpoints.current();
            tried.push(endpoint);
            endpoints.failed(endpoint);
            endpoints.failed(endpoint);
        }
        assert_eq!(tried, [0, 1, 2, 0]);
    }

    #[test]
    fn the_known_ledger_is_at_home_behind_every_door() {
        assert_eq!(at_home().match_ledger(Some(ONE), address(1)), LedgerMatch::Known);
        assert_eq!(at_home().match_ledger(Some(ONE), address(2)), LedgerMatch::Noted);
        assert_eq!(
            Endpoints::new(1, None).match_ledger(Some(ONE), address(1)),
            LedgerMatch::Noted
        );
    }

    #[test]
    fn another_ledger_is_a_replacement_in_the_same_place_only() {
        assert_eq!(
            at_home().match_ledger(Some(TWO), address(1)),
            LedgerMatch::Replaced
        );
        assert_eq!(
            at_home().match_ledger(Some(TWO), address(2)),
            LedgerMatch::Elsewhere
        );
    }

    #[test]
    fn a_relay_that_does_not_tell_is_believed_in_the_same_place_only() {
        assert_eq!(
            Endpoints::new(1, None).match_ledger(None, address(1)),
            LedgerMatch::Known
        );
        assert_eq!(at_home().match_ledger(None, address(1)), LedgerMatch::Known);
        assert_eq!(at_home().match_ledger(None, address(2)), LedgerMatch::Elsewhere);
    }
}
