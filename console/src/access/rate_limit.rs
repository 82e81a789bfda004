//! How many requests an address may send. Pure: the time is an argument.
//!
//! The generic cell rate algorithm (ITU-T I.371, annex A): each address has a time until which its requests are paid for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Requests of one address in a second, over time.
const PER_SECOND: u32 = 100;
/// Requests at once: a page with its assets and streams, some tabs.
const BURST: u32 = 200;
/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 10_000;

/// The requests of late, by address.
#[derive(Debug, Default)]
pub(crate) struct RateLimiter {
    paid_until: HashMap<IpAddr, Instant>,
}

impl RateLimiter {
    /// Counts a request; how long to wait if it is one too many.
    pub(crate) fn take(&mut self, address: IpAddr, now: Instant) -> Option<Duration> {
        let cost = Duration::from_secs(1) / PER_SECOND;
        if self.paid_until.len() >= ADDRESSES_MAX && !self.paid_until.contains_key(&address) {
            self.paid_until.retain(|_, until| *until > now);
            if self.paid_until.len() >= ADDRESSES_MAX {
                return Some(cost);
            }
        }
        let until = self.paid_until.entry(address).or_insert(now);
        let start = (*until).max(now);
        let ahead = start.duration_since(now);
        if ahead > cost * BURST {
            return Some(ahead.saturating_sub(cost * BURST));
        }
        *until = start + cost;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn burst_is_taken_and_then_the_rate_counts() {
        let (mut limiter, now) = (RateLimiter::default(), Instant::now());
        let taken = (0..1000).filter(|_| limiter.take(HERE, now).is_none()).count();
        assert_eq!(taken, usize::try_from(BURST).unwrap() + 1);
        let second = now + Duration::from_secs(1);
        let taken = (0..1000).filter(|_| limiter.take(HERE, second).is_none()).count();
        assert_eq!(taken, usize::try_from(PER_SECOND).unwrap());
    }

    #[test]
    fn memory_is_bounded() {
        let (mut limiter, now) = (RateLimiter::default(), Instant::now());
        let address = |number: u32| IpAddr::V4(number.into());
        for number in 0..20_000 {
            limiter.take(address(number), now);
        }
        assert_eq!(limiter.paid_until.len(), ADDRESSES_MAX);
        let later = now + Duration::from_secs(1);
        assert_eq!(limiter.take(address(30_000), later), None);
        assert_eq!(limiter.paid_until.len(), 1);
    }
}
