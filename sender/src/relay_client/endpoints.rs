//! Which of the relay's addresses is in use, and whether the same relay answers at each. Pure.
//!
//! Exactly-once depends on one ledger. A chunk that was acknowledged at one address must be known at the next, above all
//! a chunk whose answer was lost. So all addresses must lead to one ledger, and the sender verifies it: the relay sends
//! its ledger's id with each answer to a question, and refuses chunks that name another ledger.
//!
//! Invariants:
//! - All connections use the same endpoint. It is left only when it fails.
//! - A different ledger is accepted only if it has replaced the known one: at the same network address, or when that
//!   address is not one of the relay's any more. Anywhere else it is another relay, and nothing is shipped to it.

use std::net::SocketAddr;

use logferry_protocol::resolve::LedgerId;

use crate::relay_client::relay_identity::RelayIdentity;

#[derive(Debug)]
pub(super) struct Endpoints {
    count: usize,
    /// The endpoint in use.
    pub(super) current: usize,
    pub(super) identity: Option<RelayIdentity>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LedgerMatch {
    /// The known ledger at its address, or a relay that does not tell its ledger. Nothing has to be saved.
    Known,
    /// The known ledger at another address, or the first ledger ever.
    New,
    /// Another ledger at the address of the known one.
    Replaced,
    /// Another ledger at another address. It is a different relay if the known one's address is still in use.
    Other,
}

impl Endpoints {
    /// `count` endpoints, of which the first is tried first, and the relay that an earlier process has saved.
    pub(super) fn new(count: usize, identity: Option<RelayIdentity>) -> Self {
        Self {
            count,
            current: 0,
            identity,
        }
    }

    /// An endpoint failed: the next one is used, unless another connection has noticed the failure before.
    pub(super) fn failed(&mut self, endpoint: usize) {
        if endpoint == self.current {
            self.current = (endpoint + 1) % self.count.max(1);
        }
    }

    /// Compares a relay that has answered at `address` with the known one. Old relays do not tell their ledger.
    pub(super) fn match_ledger(&self, ledger: Option<LedgerId>, address: SocketAddr) -> LedgerMatch {
        let known = self.identity.as_ref();
        let same_address = known.is_some_and(|known| known.address == address);
        match (known, ledger) {
            (None, None) => LedgerMatch::Known,
            (None, Some(_)) => LedgerMatch::New,
            (Some(known), Some(ledger)) if known.ledger == ledger && !same_address => LedgerMatch::New,
            (Some(known), Some(ledger)) if known.ledger == ledger => LedgerMatch::Known,
            (Some(_), None) if same_address => LedgerMatch::Known,
            (Some(_), Some(_)) if same_address => LedgerMatch::Replaced,
            (Some(_), _) => LedgerMatch::Other,
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

    fn known() -> Endpoints {
        let identity = RelayIdentity {
            ledger: ONE,
            endpoint: "http://192.0.2.10:1".into(),
            address: address(1),
        };
        Endpoints::new(2, Some(identity))
    }

    #[test]
    fn endpoints_are_tried_in_turn_and_each_failure_counts_once() {
        let mut endpoints = Endpoints::new(3, None);
        let mut tried = Vec::new();
        for _ in 0..4 {
            let endpoint = endpoints.current;
            tried.push(endpoint);
            endpoints.failed(endpoint);
            endpoints.failed(endpoint);
        }
        assert_eq!(tried, [0, 1, 2, 0]);
    }

    #[test]
    fn another_ledger_or_none_is_accepted_only_at_the_address_of_the_known_one() {
        let first = || Endpoints::new(1, None);
        for (endpoints, ledger, port, expected) in [
            (known(), Some(ONE), 1, LedgerMatch::Known),
            (known(), Some(ONE), 2, LedgerMatch::New),
            (known(), Some(TWO), 1, LedgerMatch::Replaced),
            (known(), Some(TWO), 2, LedgerMatch::Other),
            (known(), None, 1, LedgerMatch::Known),
            (known(), None, 2, LedgerMatch::Other),
            (first(), Some(ONE), 1, LedgerMatch::New),
            (first(), None, 1, LedgerMatch::Known),
        ] {
            let matched = endpoints.match_ledger(ledger, address(port));
            assert_eq!(matched, expected, "{ledger:?} at port {port}");
        }
    }
}
