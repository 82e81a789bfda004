//! How often one may try a password. Pure: the time is an argument.
//!
//! Wrong passwords are counted by address and by user. After [`FREE_TRIES`] each wrong one doubles the wait, up to
//! [`WAIT_MAX`]. A right password does not shorten the wait of others: the count of a user is kept by address too, so nobody can
//! lock a user out from elsewhere, but only slow it down to one try a [`USER_WAIT_MAX`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Wrong passwords before the first wait.
const FREE_TRIES: u32 = 5;
/// The first wait.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// The longest wait of an address.
const WAIT_MAX: Duration = Duration::from_mins(15);
/// The longest wait of a user name, whoever tries.
const USER_WAIT_MAX: Duration = Duration::from_secs(5);
/// After so long without a wrong password all is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(1);
/// Entries of each kind. Above it the one that is quiet for longest goes.
const ENTRIES_MAX: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

/// The wrong passwords of late.
#[derive(Debug, Default)]
pub(crate) struct LoginThrottle {
    by_address: HashMap<IpAddr, Failures>,
    by_user: HashMap<String, Failures>,
}

impl LoginThrottle {
    /// How long this address has to wait before it may try; `None`: it may now.
    pub(crate) fn wait(&self, address: IpAddr, user: &str, now: Instant) -> Option<Duration> {
        let address = self.by_address.get(&network(address));
        let address = address.and_then(|failures| failures.wait(WAIT_MAX, now));
        let user = self.by_user.get(user);
        address.max(user.and_then(|failures| failures.wait(USER_WAIT_MAX, now)))
    }

    /// Counts a wrong password.
    pub(crate) fn failed(&mut self, address: IpAddr, user: &str, now: Instant) {
        count(&mut self.by_address, network(address), now);
        count(&mut self.by_user, user.to_owned(), now);
    }

    /// A right password: the address is known again.
    pub(crate) fn succeeded(&mut self, address: IpAddr, user: &str) {
        self.by_address.remove(&network(address));
        self.by_user.remove(user);
    }
}

/// One who has an IPv6 address has its whole /64 (RFC 4291, section 2.5.4).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
    }
}

impl Failures {
    fn wait(&self, most: Duration, now: Instant) -> Option<Duration> {
        let over = self.count.checked_sub(FREE_TRIES)?;
        let wait = WAIT_MIN.saturating_mul(1_u32.checked_shl(over).unwrap_or(u32::MAX));
        let until = self.last + wait.min(most);
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

fn count<K: std::hash::Hash + Eq + Clone>(failures: &mut HashMap<K, Failures>, key: K, now: Instant) {
    failures.retain(|_, it| now.saturating_duration_since(it.last) < FORGOTTEN_AFTER);
    if failures.len() >= ENTRIES_MAX && !failures.contains_key(&key) {
        let quietest = failures.iter().min_by_key(|(_, it)| it.last);
        if let Some(quietest) = quietest.map(|(key, _)| key.clone()) {
            failures.remove(&quietest);
        }
    }
    let entry = failures.entry(key).or_insert(Failures { count: 0, last: now });
    entry.count = entry.count.saturating_add(1);
    entry.last = now;
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn each_wrong_password_after_the_fifth_doubles_the_wait() {
        let (mut throttle, now) = (LoginThrottle::default(), Instant::now());
        for _ in 0..4 {
            throttle.failed(HERE, "ops", now);
        }
        assert_eq!(throttle.wait(HERE, "ops", now), None);
        for seconds in [1, 2, 4, 8] {
            throttle.failed(HERE, "ops", now);
            assert_eq!(
                throttle.wait(HERE, "other", now),
                Some(Duration::from_secs(seconds))
            );
        }
        for _ in 0..60 {
            throttle.failed(HERE, "ops", now);
        }
        assert_eq!(throttle.wait(HERE, "ops", now), Some(WAIT_MAX));
        assert_eq!(
            throttle.wait(HERE, "other", now + WAIT_MAX),
            None,
            "the wait is over"
        );
    }

    #[test]
    fn nobody_locks_a_user_out_from_another_address() {
        let (mut throttle, now) = (LoginThrottle::default(), Instant::now());
        for _ in 0..100 {
            throttle.failed(HERE, "ops", now);
        }
        let elsewhere: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(throttle.wait(elsewhere, "ops", now), Some(USER_WAIT_MAX));
        assert_eq!(throttle.wait(elsewhere, "ops", now + USER_WAIT_MAX), None);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one() {
        let (mut throttle, now) = (LoginThrottle::default(), Instant::now());
        for host in 0..20 {
            throttle.failed(format!("2001:db8::{host}").parse().unwrap(), "a", now);
        }
        assert!(
            throttle
                .wait("2001:db8::ffff".parse().unwrap(), "b", now)
                .is_some()
        );
        assert_eq!(throttle.wait("2001:db8:0:1::1".parse().unwrap(), "b", now), None);
    }

    #[test]
    fn memory_is_bounded_and_the_loudest_stay() {
        let (mut throttle, now) = (LoginThrottle::default(), Instant::now());
        for number in 0..ENTRIES_MAX + 50 {
            let at = now + Duration::from_millis(u64::try_from(number).unwrap());
            throttle.failed(HERE, &format!("user {number}"), at);
        }
        assert_eq!(throttle.by_user.len(), ENTRIES_MAX);
        assert!(throttle.wait(HERE, "x", now).is_some());
    }
}
