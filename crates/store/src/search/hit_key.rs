//! The order of hits, and how far a part reaches in it. Pure.

use std::cmp::Ordering;

/// The order of hits: by time; lines of one time by batch and offset, so that the order is the same in spool and store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HitKey {
    pub(crate) time_ms: i64,
    pub(crate) batch: String,
    pub(crate) offset: u64,
}

impl HitKey {
    /// Whether it is that of the line, or of a newer one.
    pub(super) fn is_at_or_after(&self, time_ms: i64, batch: &str, offset: u64) -> bool {
        self.compare(time_ms, batch, offset).is_ge()
    }

    /// Makes `newest` that of the line, if the line is newer.
    pub(super) fn raise(newest: &mut Option<Self>, time_ms: i64, batch: &str, offset: u64) {
        let Some(key) = newest else {
            let batch = batch.to_owned();
            *newest = Some(Self {
                time_ms,
                batch,
                offset,
            });
            return;
        };
        if key.compare(time_ms, batch, offset).is_lt() {
            (key.time_ms, key.offset) = (time_ms, offset);
            batch.clone_into(&mut key.batch);
        }
    }

    fn compare(&self, time_ms: i64, batch: &str, offset: u64) -> Ordering {
        (self.time_ms, self.batch.as_str(), self.offset).cmp(&(time_ms, batch, offset))
    }
}

/// Nothing of a part is newer than this line; if only the time is known, than any line of the time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartBound {
    pub(super) time_ms: i64,
    is_any_line: bool,
    batch: String,
    offset: u64,
}

impl PartBound {
    pub(super) fn of_time(time_ms: i64) -> Self {
        Self {
            time_ms,
            is_any_line: true,
            batch: String::new(),
            offset: 0,
        }
    }

    pub(super) fn of_line(key: HitKey) -> Self {
        Self {
            time_ms: key.time_ms,
            is_any_line: false,
            batch: key.batch,
            offset: key.offset,
        }
    }

    /// Whether the part may have this line.
    pub(super) fn may_have(&self, key: &HitKey) -> bool {
        let own = (self.time_ms, self.is_any_line, self.batch.as_str(), self.offset);
        own >= (key.time_ms, false, key.batch.as_str(), key.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_may_have_the_lines_up_to_its_bound() {
        let key = |time_ms, batch: &str, offset| HitKey {
            time_ms,
            batch: batch.to_owned(),
            offset,
        };
        let bound = PartBound::of_line(key(5, "b", 7));
        assert!(bound.may_have(&key(5, "b", 7)) && bound.may_have(&key(5, "a", 9)));
        assert!(!bound.may_have(&key(5, "b", 8)) && !bound.may_have(&key(6, "a", 0)));
        assert!(PartBound::of_time(5).may_have(&key(5, "z", 9)) && PartBound::of_time(5) > bound);
        let mut newest = None;
        for (time, batch, offset) in [(4, "z", 9), (5, "b", 7), (5, "a", 8)] {
            HitKey::raise(&mut newest, time, batch, offset);
        }
        assert_eq!(newest, Some(key(5, "b", 7)));
    }
}
