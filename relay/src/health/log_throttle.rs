//! Limits repeated log messages: each key is logged at most once a minute, with the number of events in between.
//!
//! Pure. Invariants:
//! - No event is lost: each is logged, or is in a number that is logged later.
//! - Memory is bounded: at most [`KEYS_MAX`] keys have an entry at a time. All others share one.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Shortest time between two messages about a key.
const LOG_INTERVAL: Duration = Duration::from_mins(1);
/// Most keys with an entry of their own. A group has fewer sources; more are the work of an attacker.
const KEYS_MAX: usize = 1024;

/// The events of each key. `T` describes an event.
#[derive(Debug)]
pub(crate) struct LogThrottle<K, T> {
    /// By key. `None` is the entry that all keys above the limit share.
    entries: HashMap<Option<K>, ThrottleEntry<T>>,
}

#[derive(Debug)]
struct ThrottleEntry<T> {
    silent_until: Instant,
    suppressed: u64,
    /// The latest suppressed event.
    latest: Option<T>,
    /// A message was logged, and not yet that the condition is over.
    is_open: bool,
}

/// An event to be logged now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ThrottledEvent<T> {
    /// The latest event.
    pub(crate) latest: T,
    /// The number of further events since the last message about the key.
    pub(crate) suppressed: u64,
}

impl<K, T> Default for LogThrottle<K, T> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash, T> LogThrottle<K, T> {
    /// Records an event at `now`. Returns it if it is to be logged now.
    pub(crate) fn record(&mut self, key: K, event: T, now: Instant) -> Option<ThrottledEvent<T>> {
        let mut key = Some(key);
        if self.entries.len() >= KEYS_MAX && !self.entries.contains_key(&key) {
            key = None;
        }
        let entry = self.entries.entry(key).or_insert(ThrottleEntry {
            silent_until: now,
            suppressed: 0,
            latest: None,
            is_open: false,
        });
        if entry.silent_until > now {
            entry.suppressed += 1;
            entry.latest = Some(event);
            return None;
        }
        entry.silent_until = now + LOG_INTERVAL;
        entry.latest = None;
        entry.is_open = true;
        let suppressed = std::mem::take(&mut entry.suppressed);
        Some(ThrottledEvent {
            latest: event,
            suppressed,
        })
    }

    /// The condition of a key is over. Returns whether to log that: only if its last begin was logged.
    pub(crate) fn is_end_to_log(&mut self, key: K) -> bool {
        let entry = self.entries.get_mut(&Some(key));
        entry.is_some_and(|entry| std::mem::take(&mut entry.is_open))
    }

    /// The suppressed events that are to be logged at `now`, because the minute of their key is over. To be called
    /// regularly.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<ThrottledEvent<T>> {
        let mut overdue = Vec::new();
        self.entries.retain(|_, entry| {
            if entry.silent_until > now {
                return true;
            }
            // An entry without a suppressed event is no longer needed.
            let Some(latest) = entry.latest.take() else {
                return false;
            };
            entry.silent_until = now + LOG_INTERVAL;
            let suppressed = std::mem::take(&mut entry.suppressed).saturating_sub(1);
            overdue.push(ThrottledEvent { latest, suppressed });
            true
        });
        overdue
    }
}

impl<T> ThrottledEvent<T> {
    /// The number of suppressed events, as a field of the log; none if there are none.
    pub(crate) fn unsaid(&self) -> Option<u64> {
        Some(self.suppressed).filter(|&number| number > 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn logged<T>(latest: T, suppressed: u64) -> ThrottledEvent<T> {
        ThrottledEvent { latest, suppressed }
    }

    #[test]
    fn the_first_is_logged_at_once_and_the_rest_as_a_count() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut throttle = LogThrottle::default();
        assert_eq!(throttle.record("a", 1, at(0)), Some(logged(1, 0)));
        assert_eq!(throttle.record("a", 2, at(1)), None);
        assert_eq!(throttle.record("a", 3, at(59)), None);
        assert_eq!(throttle.record("b", 4, at(59)), Some(logged(4, 0)));
        assert_eq!(throttle.overdue(at(59)), []);
        assert_eq!(throttle.overdue(at(60)), [logged(3, 1)]);
        assert_eq!(throttle.record("a", 5, at(61)), None, "a minute from then on");
        assert_eq!(throttle.record("a", 6, at(120)), Some(logged(6, 1)));
        assert_eq!(throttle.overdue(at(180)), []);
        assert!(throttle.entries.is_empty());
    }

    #[test]
    fn keys_above_the_limit_share_an_entry() {
        let now = Instant::now();
        let mut throttle = LogThrottle::default();
        let logged = (0..10_000).filter(|key| throttle.record(*key, (), now).is_some());
        assert_eq!(logged.count(), KEYS_MAX + 1);
        assert_eq!(throttle.entries.len(), KEYS_MAX + 1);
        let unlogged = 10_000 - KEYS_MAX as u64 - 1;
        let overdue = throttle.overdue(now + LOG_INTERVAL);
        let suppressed: Vec<_> = overdue.into_iter().map(|event| event.suppressed).collect();
        assert_eq!(suppressed, [unlogged - 1]);
    }

    #[test]
    fn a_fault_that_comes_and_goes_is_logged_once_a_minute() {
        let (mut throttle, start) = (LogThrottle::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(throttle.record("a", (), at(0)), Some(logged((), 0)));
        assert!(throttle.is_end_to_log("a"));
        assert_eq!(throttle.record("a", (), at(1)), None);
        assert!(!throttle.is_end_to_log("a"), "its return was not logged");
        assert_eq!(throttle.record("a", (), at(59)), None);
        assert_eq!(throttle.record("a", (), at(60)), Some(logged((), 2)));
        assert_eq!(throttle.record("a", (), at(120)), Some(logged((), 0)));
        assert!(throttle.is_end_to_log("a"));
        assert!(!throttle.is_end_to_log("a"));
    }

    proptest! {
        #[test]
        fn every_event_is_logged_or_counted_and_no_key_twice_in_a_minute(
            events in prop::collection::vec((0..40_u64, prop::option::of(0..4_u8)), 0..200),
        ) {
            let (start, mut seconds) = (Instant::now(), 0);
            let mut throttle = LogThrottle::default();
            let mut happened = HashMap::<u8, u64>::new();
            let mut logged = HashMap::<u8, (u64, Option<u64>)>::new();
            let mut tell = |event: ThrottledEvent<u8>, seconds: u64| {
                let (count, before) = logged.entry(event.latest).or_default();
                *count += event.suppressed + 1;
                let before = before.replace(seconds);
                before.is_none_or(|before| seconds - before >= LOG_INTERVAL.as_secs())
            };
            for (passed, event) in events {
                seconds += passed;
                let now = start + Duration::from_secs(seconds);
                if let Some(subject) = event {
                    *happened.entry(subject).or_default() += 1;
                    if let Some(event) = throttle.record(subject, subject, now) {
                        prop_assert!(tell(event, seconds));
                    }
                } else {
                    for event in throttle.overdue(now) {
                        prop_assert!(tell(event, seconds));
                    }
                }
            }
            seconds += LOG_INTERVAL.as_secs();
            for event in throttle.overdue(start + Duration::from_secs(seconds)) {
                prop_assert!(tell(event, seconds));
            }
            let logged: HashMap<_, _> = logged.into_iter().map(|(subject, (count, _))| (subject, count)).collect();
            prop_assert_eq!(logged, happened);
        }
    }
}
