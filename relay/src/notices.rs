//! Log lines that a client can cause at will: each subject is spoken of at most once a minute, with a count of what was
//! not told in between.
//!
//! Pure. Invariants:
//! - Nothing is forgotten: each occurrence is told, or is in a count that is told later.
//! - Memory is bounded: beyond [`SUBJECTS_MAX`] subjects at a time, all others are spoken of as one.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How long a subject is not spoken of again.
const SILENCE: Duration = Duration::from_mins(1);
/// How many subjects are told apart. A group has fewer sources; whoever makes more up is hostile.
const SUBJECTS_MAX: usize = 1024;

/// What was told when. `T` is what there is to tell of a subject.
#[derive(Debug)]
pub(crate) struct Notices<K, T> {
    /// The last one of each subject; under `None`, of all for which there was no room.
    subjects: HashMap<Option<K>, Silence<T>>,
}

#[derive(Debug)]
struct Silence<T> {
    until: Instant,
    untold: u64,
    last: Option<T>,
}

/// Something to be told now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Notice<T> {
    /// The latest of them.
    pub(crate) last: T,
    /// How many there were since the subject was spoken of last, this one not counted.
    pub(crate) more: u64,
}

impl<K, T> Default for Notices<K, T> {
    fn default() -> Self {
        Self {
            subjects: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash, T> Notices<K, T> {
    /// It happened again at `now`; what is to be told of it, if anything.
    pub(crate) fn note(&mut self, subject: K, what: T, now: Instant) -> Option<Notice<T>> {
        let mut subject = Some(subject);
        if self.subjects.len() >= SUBJECTS_MAX && !self.subjects.contains_key(&subject) {
            subject = None;
        }
        let silence = self.subjects.entry(subject).or_insert(Silence {
            until: now,
            untold: 0,
            last: None,
        });
        if silence.until > now {
            silence.untold += 1;
            silence.last = Some(what);
            return None;
        }
        silence.until = now + SILENCE;
        silence.last = None;
        let more = std::mem::take(&mut silence.untold);
        Some(Notice { last: what, more })
    }

    /// What is still to be told at `now` of subjects whose minute is over. Call it from time to time.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<Notice<T>> {
        let mut overdue = Vec::new();
        self.subjects.retain(|_, silence| {
            if silence.until > now {
                return true;
            }
            // What was told last is not untold: without something new the subject is forgotten.
            let Some(last) = silence.last.take() else {
                return false;
            };
            silence.until = now + SILENCE;
            let more = std::mem::take(&mut silence.untold).saturating_sub(1);
            overdue.push(Notice { last, more });
            true
        });
        overdue
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_rest_as_a_count() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut notices = Notices::default();
        let told = |last, more| Some(Notice { last, more });
        assert_eq!(notices.note("a", 1, at(0)), told(1, 0));
        assert_eq!(notices.note("a", 2, at(1)), None);
        assert_eq!(notices.note("a", 3, at(59)), None);
        assert_eq!(notices.note("b", 4, at(59)), told(4, 0));
        assert_eq!(notices.overdue(at(59)), []);
        assert_eq!(notices.overdue(at(60)), [Notice { last: 3, more: 1 }]);
        assert_eq!(notices.note("a", 5, at(61)), None, "a minute from then on");
        assert_eq!(notices.note("a", 6, at(120)), told(6, 1));
        assert_eq!(notices.overdue(at(180)), []);
        assert!(notices.subjects.is_empty());
    }

    #[test]
    fn made_up_subjects_share_a_line() {
        let now = Instant::now();
        let mut notices = Notices::default();
        let told = (0..10_000).filter(|subject| notices.note(*subject, (), now).is_some());
        assert_eq!(told.count(), SUBJECTS_MAX + 1);
        assert_eq!(notices.subjects.len(), SUBJECTS_MAX + 1);
        let untold = 10_000 - SUBJECTS_MAX as u64 - 1;
        let overdue = notices.overdue(now + SILENCE);
        assert_eq!(
            overdue,
            [Notice {
                last: (),
                more: untold - 1
            }]
        );
    }

    proptest! {
        #[test]
        fn each_is_told_or_counted_and_none_twice_in_a_minute(
            events in prop::collection::vec((0..40_u64, prop::option::of(0..4_u8)), 0..200),
        ) {
            let (start, mut seconds) = (Instant::now(), 0);
            let mut notices = Notices::default();
            let mut happened = HashMap::<u8, u64>::new();
            let mut told = HashMap::<u8, (u64, Option<u64>)>::new();
            let mut tell = |notice: Notice<u8>, seconds: u64| {
                let (count, before) = told.entry(notice.last).or_default();
                *count += notice.more + 1;
                let before = before.replace(seconds);
                before.is_none_or(|before| seconds - before >= SILENCE.as_secs())
            };
            for (passed, event) in events {
                seconds += passed;
                let now = start + Duration::from_secs(seconds);
                if let Some(subject) = event {
                    *happened.entry(subject).or_default() += 1;
                    if let Some(notice) = notices.note(subject, subject, now) {
                        prop_assert!(tell(notice, seconds));
                    }
                } else {
                    for notice in notices.overdue(now) {
                        prop_assert!(tell(notice, seconds));
                    }
                }
            }
            seconds += SILENCE.as_secs();
            for notice in notices.overdue(start + Duration::from_secs(seconds)) {
                prop_assert!(tell(notice, seconds));
            }
            let told: HashMap<_, _> = told.into_iter().map(|(subject, (count, _))| (subject, count)).collect();
            prop_assert_eq!(told, happened);
        }
    }
}
