//! How many requests a second one client's address may send.
//!
//! Pure. A client may save up requests of one second; beyond that it has to wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Most addresses that are remembered; those that have been quiet go first.
const ADDRESSES_MAX: usize = 65_536;

/// The limit, and what each address has left of it.
#[derive(Debug)]
pub(super) struct RateLimit {
    per_second: f64,
    left: HashMap<IpAddr, Allowance>,
}

#[derive(Debug, Clone, Copy)]
struct Allowance {
    requests: f64,
    at: Instant,
}

impl RateLimit {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            per_second: f64::from(per_second),
            left: HashMap::new(),
        }
    }

    /// Takes a request; else says how long the client has to wait.
    pub(super) fn take(&mut self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let most = self.per_second.max(1.0);
        if self.left.len() >= ADDRESSES_MAX && !self.left.contains_key(&client) {
            let second = Duration::from_secs(1);
            self.left
                .retain(|_, allowance| now.saturating_duration_since(allowance.at) < second);
        }
        let full = Allowance {
            requests: most,
            at: now,
        };
        let allowance = self.left.entry(client).or_insert(full);
        let passed = now.saturating_duration_since(allowance.at).as_secs_f64();
        let requests = (allowance.requests + passed * self.per_second).min(most);
        let is_taken = requests >= 1.0;
        *allowance = Allowance {
            requests: if is_taken { requests - 1.0 } else { requests },
            at: now,
        };
        if is_taken {
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - requests) / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_above_its_rate_waits_and_another_does_not() {
        let mut limit = RateLimit::new(10);
        let (one, other): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let start = Instant::now();
        let taken = (0..100).filter(|_| limit.take(one, start).is_ok()).count();
        assert_eq!(taken, 10);
        let wait = limit.take(one, start).expect_err("above");
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        assert!(limit.take(other, start).is_ok());
        let after = start + Duration::from_millis(101);
        assert!(limit.take(one, after).is_ok() && limit.take(one, after).is_err());
        let later = start + Duration::from_mins(1);
        let taken = (0..100).filter(|_| limit.take(one, later).is_ok()).count();
        assert_eq!(taken, 10, "no more than a second's requests are saved up");
    }

    #[test]
    fn quiet_addresses_are_forgotten_when_there_are_many() {
        let mut limit = RateLimit::new(1);
        let start = Instant::now();
        for number in 0..u32::try_from(ADDRESSES_MAX).expect("small") {
            assert!(limit.take(IpAddr::V4(number.into()), start).is_ok());
        }
        let later = start + Duration::from_secs(2);
        assert!(limit.take([203, 0, 113, 1].into(), later).is_ok());
        assert_eq!(limit.left.len(), 1);
    }
}
