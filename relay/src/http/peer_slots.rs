//! How many of a group's connections one client may have, so that strangers do not take them all.
//!
//! A connection is *proven* when its client may send: by its address, if the group has a list and it is on it, else by the
//! first request that is authorized. Proven connections go first:
//!
//! - One client has a sixteenth of the connections that are not proven (at least eight), and three quarters of all.
//! - All that are not proven have half of the connections together. At that bound, and when no connection is left, the oldest
//!   one of the client that has most of them is closed for the new one. A sender proves itself with its first request, within
//!   a round trip; what stays unproven is idle, or is refused.
//! - Where the address decides, an address that is not on the list (a stranger) can only be refused. All strangers together
//!   get a sixteenth.
//!
//! An IPv6 client counts by its network of 64 bits.
//!
//! While a connection waits for a place and all are proven, each ends with its next response, and the one that is idle
//! longest ends at once: so 300 senders with five connections each take turns at 1,024 places. A proven connection never ends
//! inside a request.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// The network of an IPv6 address that one client has for itself.
const CLIENT_NETWORK: u128 = !0 << 64;

/// Unproven connections that one client may have in a small group: those of a sender that has just started.
const UNPROVEN_MIN: usize = 8;

/// A connection without request for less than this is not idle: a busy sender's next chunk is on its way.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// What is known of a client when it connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum PeerKind {
    /// Its address is on the list, and decides.
    Listed,
    /// Its address is not on the list, and decides.
    Stranger,
    /// Its first request will tell.
    Unknown,
}

/// The connections of a group, by client.
#[derive(Debug)]
pub(in crate::http) struct PeerSlots {
    places: usize,
    per_client: usize,
    unproven_per_client: usize,
    unproven: usize,
    for_strangers: usize,
    taken: Mutex<TakenSlots>,
}

#[derive(Debug, Default)]
struct TakenSlots {
    by_client: HashMap<IpAddr, ClientSlots>,
    unproven: usize,
    by_strangers: usize,
    /// All, with the one that waits for a place.
    connections: usize,
    /// The connections without a request, and since when.
    idle: HashMap<u64, (Instant, CancellationToken)>,
    /// Of the newest connection.
    number: u64,
}

#[derive(Debug, Default)]
struct ClientSlots {
    taken: usize,
    /// The connections that are not proven, oldest first; each is closed by its token.
    unproven: BTreeMap<u64, CancellationToken>,
}

/// One connection of a client; it counts until this is dropped.
#[derive(Debug)]
pub(in crate::http) struct PeerSlot {
    slots: Arc<PeerSlots>,
    client: IpAddr,
    is_stranger: bool,
    number: u64,
    closed: CancellationToken,
    ends: CancellationToken,
}

impl PeerSlots {
    /// For a group with at most `connections`.
    pub(in crate::http) fn new(connections: usize) -> Arc<Self> {
        Arc::new(Self {
            places: connections,
            // The connection that waits for a place counts, too.
            per_client: match connections / 4 {
                0 => connections + 1,
                quarter => connections - quarter,
            },
            unproven_per_client: (connections / 16).max(UNPROVEN_MIN),
            unproven: (connections / 2).max(UNPROVEN_MIN),
            for_strangers: (connections / 16).max(1),
            taken: Mutex::default(),
        })
    }

    /// Counts a connection; `None` if its client has too many. `is_full`: it waits until another one ends.
    pub(in crate::http) fn take(
        self: &Arc<Self>,
        peer: IpAddr,
        kind: PeerKind,
        is_full: bool,
    ) -> Option<PeerSlot> {
        let client = client_of(peer);
        let is_stranger = kind == PeerKind::Stranger;
        let mut taken = self.lock();
        let (of_client, unproven) = taken
            .by_client
            .get(&client)
            .map_or((0, 0), |slots| (slots.taken, slots.unproven.len()));
        let is_unproven = kind != PeerKind::Listed;
        if (is_stranger && taken.by_strangers >= self.for_strangers)
            || of_client >= self.per_client
            || (is_unproven && unproven >= self.unproven_per_client)
        {
            return None;
        }
        if is_full || (is_unproven && taken.unproven >= self.unproven) {
            taken.close_one();
        }
        let closed = CancellationToken::new();
        taken.number += 1;
        let number = taken.number;
        taken.connections += 1;
        taken.by_strangers += usize::from(is_stranger);
        taken.unproven += usize::from(is_unproven);
        let slots = taken.by_client.entry(client).or_default();
        slots.taken += 1;
        if is_unproven {
            slots.unproven.insert(number, closed.clone());
        }
        drop(taken);
        Some(PeerSlot {
            slots: Arc::clone(self),
            client,
            is_stranger,
            number,
            closed,
            ends: CancellationToken::new(),
        })
    }

    /// Ends the connection that is idle longest, if one is idle and another waits for its place.
    pub(in crate::http) fn end_idle(&self, now: Instant) {
        let mut taken = self.lock();
        if !taken.has_to_share(self.places) {
            return;
        }
        let longest = taken.idle.iter().min_by_key(|(_, (since, _))| *since);
        if let Some((&number, (since, _))) = longest
            && now.saturating_duration_since(*since) >= IDLE_AFTER
            && let Some((_, ends)) = taken.idle.remove(&number)
        {
            ends.cancel();
        }
    }

    /// The counts are whole between statements.
    fn lock(&self) -> MutexGuard<'_, TakenSlots> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TakenSlots {
    /// Whether a connection waits for a place that only a proven one can give.
    fn has_to_share(&self, places: usize) -> bool {
        // The one that waits may not be proven itself.
        self.connections > places && self.unproven <= 1
    }

    /// The oldest one of the client that has most of them.
    fn close_one(&mut self) {
        let clients = self.by_client.values_mut();
        let most = clients.max_by_key(|slots| slots.unproven.len());
        if let Some((_, connection)) = most.and_then(|slots| slots.unproven.pop_first()) {
            self.unproven -= 1;
            connection.cancel();
        }
    }

    fn is_proven(&mut self, client: IpAddr, number: u64) {
        let slots = self.by_client.get_mut(&client);
        let was_unproven = slots.is_some_and(|slots| slots.unproven.remove(&number).is_some());
        self.unproven -= usize::from(was_unproven);
    }
}

impl PeerSlot {
    /// The client may send: its connection is not closed for others.
    pub(in crate::http) fn prove(&self) {
        self.slots.lock().is_proven(self.client, self.number);
    }

    /// Cancelled when the connection is to be closed for another one, though it may be inside a request.
    pub(in crate::http) fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// Cancelled when the connection is to end for another one, after the request that it may have begun.
    pub(in crate::http) fn ends(&self) -> CancellationToken {
        self.ends.clone()
    }

    /// Its last request has its response, and no other has come.
    pub(in crate::http) fn note_idle(&self, now: Instant) {
        let idle = (now, self.ends.clone());
        self.slots.lock().idle.insert(self.number, idle);
    }

    /// It has a request.
    pub(in crate::http) fn note_busy(&self) {
        self.slots.lock().idle.remove(&self.number);
    }

    /// Whether another connection waits for its place.
    pub(in crate::http) fn is_wanted(&self) -> bool {
        self.slots.lock().has_to_share(self.slots.places)
    }
}

impl Drop for PeerSlot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.is_proven(self.client, self.number);
        taken.by_strangers -= usize::from(self.is_stranger);
        taken.connections -= 1;
        taken.idle.remove(&self.number);
        if let Some(of_client) = taken.by_client.get_mut(&self.client) {
            of_client.taken -= 1;
            if of_client.taken == 0 {
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
    use super::PeerKind::{Listed, Stranger, Unknown};
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// Those of 100 connections of an address that are let in.
    fn taken(slots: &Arc<PeerSlots>, peer: &str, kind: PeerKind) -> Vec<PeerSlot> {
        (0..100)
            .filter_map(|_| slots.take(ip(peer), kind, false))
            .collect()
    }

    fn open(slots: &[PeerSlot]) -> usize {
        slots.iter().filter(|slot| !slot.closed.is_cancelled()).count()
    }

    #[test]
    fn no_client_gets_all_connections_and_what_it_gives_back_is_free_again() {
        let slots = PeerSlots::new(16);
        let first = taken(&slots, "198.51.100.1", Listed);
        assert_eq!(first.len(), 12);
        assert_eq!(taken(&slots, "198.51.100.2", Listed).len(), 12, "each for itself");
        drop(first);
        assert_eq!(taken(&slots, "::ffff:198.51.100.1", Listed).len(), 12);
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
            .flat_map(|peer| taken(&slots, peer, Stranger))
            .collect();
        assert_eq!(strangers.len(), 4);
        assert_eq!(taken(&slots, "198.51.100.1", Listed).len(), 48);
        drop(strangers);
        assert_eq!(taken(&slots, "203.0.113.9", Stranger).len(), 4);
    }

    #[test]
    fn two_idle_clients_get_an_eighth_and_many_get_half() {
        let slots = PeerSlots::new(1024);
        let two = [
            taken(&slots, "203.0.113.1", Unknown),
            taken(&slots, "203.0.113.2", Unknown),
        ];
        assert_eq!(two.map(|slots| slots.len()), [64, 64]);
        let many: Vec<_> = (0..200)
            .flat_map(|number| taken(&slots, &format!("203.0.113.{number}"), Unknown))
            .collect();
        assert!(many.len() > 512);
        assert_eq!((open(&many), slots.lock().unproven), (512, 512));
        drop(many);
        let left = slots.lock();
        assert_eq!((left.unproven, left.by_client.len()), (0, 0));
    }

    #[test]
    fn the_oldest_unproven_connection_of_who_has_most_is_closed_first_and_a_proven_one_never() {
        let slots = PeerSlots::new(16);
        let sender = taken(&slots, "198.51.100.1", Unknown);
        assert_eq!(sender.len(), 8);
        sender[..6].iter().for_each(PeerSlot::prove);
        let stranger = taken(&slots, "203.0.113.1", Unknown);
        assert_eq!((stranger.len(), open(&stranger), open(&sender)), (12, 6, 8));
        assert!(stranger[..6].iter().all(|slot| slot.closed.is_cancelled()));
        let waiting = slots.take(ip("198.51.100.2"), Unknown, true).expect("a place");
        assert_eq!((open(&stranger), open(&sender)), (5, 8));
        waiting.prove();
        // Proving itself too late changes nothing.
        stranger[0].prove();
        let listed: Vec<_> = (0..12)
            .filter_map(|_| slots.take(ip("198.51.100.3"), Listed, true))
            .collect();
        assert_eq!((open(&stranger), open(&sender), slots.lock().unproven), (0, 6, 0));
        assert!(!waiting.closed.is_cancelled() && open(&listed) == 12);
    }

    #[test]
    fn a_client_with_a_network_of_ipv6_addresses_is_one_client() {
        let slots = PeerSlots::new(4);
        let first: Vec<_> = ["2001:db8::1", "2001:db8::2", "2001:db8::3"]
            .map(|peer| slots.take(ip(peer), Listed, false))
            .into();
        assert!(first.iter().all(Option::is_some));
        assert!(slots.take(ip("2001:db8::4"), Listed, false).is_none());
        assert!(slots.take(ip("2001:db8:0:1::4"), Listed, false).is_some());
    }

    #[test]
    fn while_a_connection_waits_the_one_that_is_idle_longest_ends() {
        let slots = PeerSlots::new(4);
        let places: Vec<_> = ["198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"]
            .into_iter()
            .filter_map(|peer| slots.take(ip(peer), Listed, false))
            .collect();
        let start = Instant::now();
        let ended = || -> Vec<_> { places.iter().map(|slot| slot.ends.is_cancelled()).collect() };
        for (slot, seconds) in places.iter().zip([3, 1, 2]) {
            slot.note_idle(start + Duration::from_secs(seconds));
        }
        places[1].note_busy();
        assert!(!places[0].is_wanted());
        let waiting = slots.take(ip("198.51.100.5"), Listed, true);
        assert!(waiting.is_some() && places[0].is_wanted());
        slots.end_idle(start + Duration::from_secs(2));
        assert_eq!(ended(), [false; 4], "a short pause");
        slots.end_idle(start + Duration::from_secs(4));
        assert_eq!(ended(), [false, false, true, false]);
        slots.end_idle(start + Duration::from_secs(4));
        slots.end_idle(start + Duration::from_mins(1));
        assert_eq!(ended(), [true, false, true, false], "the others have requests");
        drop(waiting);
        assert!(!places[0].is_wanted());
        let stranger = slots.take(ip("203.0.113.1"), Unknown, true).expect("a place");
        assert!(places[0].is_wanted(), "it may be a sender");
        let other = slots.take(ip("203.0.113.1"), Unknown, true);
        assert!(stranger.closed.is_cancelled() && places[0].is_wanted());
        drop((stranger, other, places));
        let left = slots.lock();
        assert_eq!((left.connections, left.idle.len()), (0, 0));
    }

    #[test]
    fn the_smallest_group_still_lets_one_client_in() {
        for connections in [1, 2] {
            let slots = PeerSlots::new(connections);
            // One of them waits for a place.
            assert_eq!(taken(&slots, "198.51.100.1", Listed).len(), connections + 1);
            assert_eq!(taken(&slots, "198.51.100.2", Unknown).len(), connections + 1);
            assert_eq!(taken(&slots, "203.0.113.1", Stranger).len(), 1);
        }
    }
}
