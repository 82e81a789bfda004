//! How many of a group's connections one client may have, so that no client takes them all.
//!
//! An address that is not among the group's sources (a stranger) can only be refused, where the address decides. All
//! strangers together get few connections: the others are for the addresses on the list. Of these, and where the address
//! does not decide, one has at most three quarters. An IPv6 client counts by its network of 64 bits.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The network of an IPv6 address that one client has for itself.
const CLIENT_NETWORK: u128 = !0 << 64;

/// The connections of a group, by client.
#[derive(Debug)]
pub(super) struct PeerSlots {
    per_client: usize,
    for_strangers: usize,
    taken: Mutex<TakenSlots>,
}

#[derive(Debug, Default)]
struct TakenSlots {
    by_client: HashMap<IpAddr, usize>,
    by_strangers: usize,
}

/// One connection of a client; it counts until this is dropped.
#[derive(Debug)]
pub(super) struct PeerSlot {
    slots: Arc<PeerSlots>,
    client: IpAddr,
    is_stranger: bool,
}

impl PeerSlots {
    /// For a group with at most `connections`.
    pub(super) fn new(connections: usize) -> Arc<Self> {
        Arc::new(Self {
            per_client: connections - connections / 4,
            for_strangers: (connections / 16).max(1),
            taken: Mutex::default(),
        })
    }

    /// Counts a connection; `None` if its client has too many.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr, is_stranger: bool) -> Option<PeerSlot> {
        let client = client_of(peer);
        let mut taken = self.lock();
        if is_stranger && taken.by_strangers >= self.for_strangers {
            return None;
        }
        let of_client = taken.by_client.entry(client).or_default();
        if *of_client >= self.per_client {
            return None;
        }
        *of_client += 1;
        taken.by_strangers += usize::from(is_stranger);
        drop(taken);
        Some(PeerSlot {
            slots: Arc::clone(self),
            client,
            is_stranger,
        })
    }

    /// The counts are whole between statements.
    fn lock(&self) -> MutexGuard<'_, TakenSlots> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PeerSlot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.by_strangers -= usize::from(self.is_stranger);
        if let Some(of_client) = taken.by_client.get_mut(&self.client) {
            *of_client -= 1;
            if *of_client == 0 {
                taken.by_client.remove(&self.client);
            }
        }
    }
}

fn client_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & CLIENT_NETWORK).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// How many of 100 connections of an address are let in.
    fn taken(slots: &Arc<PeerSlots>, peer: &str, is_stranger: bool) -> Vec<PeerSlot> {
        (0..100)
            .filter_map(|_| slots.take(ip(peer), is_stranger))
            .collect()
    }

    #[test]
    fn no_client_gets_all_connections_and_what_it_gives_back_is_free_again() {
        let slots = PeerSlots::new(16);
        let first = taken(&slots, "198.51.100.1", false);
        assert_eq!(first.len(), 12);
        assert_eq!(taken(&slots, "198.51.100.2", false).len(), 12, "each for itself");
        drop(first);
        assert_eq!(taken(&slots, "::ffff:198.51.100.1", false).len(), 12);
        assert!(
            slots.lock().by_client.is_empty(),
            "nothing stays of clients that are gone"
        );
    }

    #[test]
    fn strangers_share_a_sixteenth_whatever_their_number() {
        let slots = PeerSlots::new(64);
        let strangers: Vec<_> = ["203.0.113.1", "203.0.113.2", "2001:db8::1"]
            .into_iter()
            .flat_map(|peer| taken(&slots, peer, true))
            .collect();
        assert_eq!(strangers.len(), 4);
        assert_eq!(taken(&slots, "198.51.100.1", false).len(), 48);
        drop(strangers);
        assert_eq!(taken(&slots, "203.0.113.9", true).len(), 4);
    }

    #[test]
    fn a_client_with_a_network_of_ipv6_addresses_is_one_client() {
        let slots = PeerSlots::new(4);
        let first: Vec<_> = ["2001:db8::1", "2001:db8::2", "2001:db8::3"]
            .map(|peer| slots.take(ip(peer), false))
            .into();
        assert!(first.iter().all(Option::is_some));
        assert!(slots.take(ip("2001:db8::4"), false).is_none());
        assert!(slots.take(ip("2001:db8:0:1::4"), false).is_some());
    }

    #[test]
    fn the_smallest_group_still_lets_one_client_in() {
        for connections in [1, 2] {
            let slots = PeerSlots::new(connections);
            assert_eq!(taken(&slots, "198.51.100.1", false).len(), connections);
            assert_eq!(taken(&slots, "203.0.113.1", true).len(), 1);
        }
    }
}
