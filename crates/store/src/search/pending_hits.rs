//! Hits that wait until nothing newer can be found any more. Pure.
//!
//! Invariant: they are at most `limit`, and take at most [`HELD_BYTES_MAX`] bytes, or are one.

use std::collections::BTreeMap;

use super::hit::{Hit, HitKey, SearchCursor};

/// Bytes of lines that wait. A page of more ends earlier.
const HELD_BYTES_MAX: usize = 12 << 20;

/// What a hit takes beside its line.
const HIT_BYTES: usize = 512;

/// The newest hits of a page.
#[derive(Debug)]
pub(super) struct PendingHits {
    hits: BTreeMap<HitKey, Hit>,
    bytes: usize,
    /// Hits that the page still has room for, those that wait included.
    room: usize,
    /// Hits at or below it were left out: the page ends before them.
    floor: Option<HitKey>,
    last_shown: Option<HitKey>,
}

impl PendingHits {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            hits: BTreeMap::new(),
            bytes: 0,
            room: limit,
            floor: None,
            last_shown: None,
        }
    }

    /// Whether a hit of this name would stay on the page.
    pub(super) fn has_room(&self, time_ms: i64, batch: &str, offset: u64) -> bool {
        self.floor.as_ref().is_none_or(|floor| {
            (time_ms, batch, offset) > (floor.time_ms, floor.batch.as_str(), floor.offset)
        })
    }

    pub(super) fn add(&mut self, hit: Hit) {
        let key = HitKey {
            time_ms: hit.time_ms,
            batch: hit.batch.clone(),
            offset: hit.offset,
        };
        self.bytes += bytes_of(&hit);
        if let Some(replaced) = self.hits.insert(key, hit) {
            self.bytes -= bytes_of(&replaced);
        }
        while self.hits.len() > self.room || (self.bytes > HELD_BYTES_MAX && self.hits.len() > 1) {
            let Some((oldest, hit)) = self.hits.pop_first() else {
                return;
            };
            self.bytes -= bytes_of(&hit);
            self.floor = self.floor.take().max(Some(oldest));
        }
    }

    /// The newest hit, if it is newer than `bound`, the newest time of what is not searched yet.
    pub(super) fn next(&mut self, bound: Option<i64>) -> Option<Hit> {
        let newest = self.hits.last_entry()?;
        if bound.is_some_and(|bound| newest.key().time_ms <= bound) {
            return None;
        }
        let (key, hit) = newest.remove_entry();
        self.bytes -= bytes_of(&hit);
        self.room -= 1;
        self.last_shown = Some(key);
        Some(hit)
    }

    /// Whether the page is full: nothing more can be shown on it.
    pub(super) fn is_full(&self, bound: Option<i64>) -> bool {
        let ends_at_floor = self.hits.is_empty()
            && self
                .floor
                .as_ref()
                .is_some_and(|floor| bound.is_none_or(|bound| bound < floor.time_ms));
        self.room == 0 || ends_at_floor
    }

    /// Where the next page begins, if a hit was shown.
    pub(super) fn cursor(&self) -> Option<SearchCursor> {
        self.last_shown.clone().map(SearchCursor::behind)
    }

    /// Whether hits were left out: there are more than those of the page.
    pub(super) fn has_left_out(&self) -> bool {
        self.floor.is_some()
    }
}

fn bytes_of(hit: &Hit) -> usize {
    let fields = hit
        .fields
        .iter()
        .map(|(name, value)| name.len() + value.len() + 64);
    HIT_BYTES + hit.line.len() + fields.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(time_ms: i64, len: usize) -> Hit {
        Hit {
            time_ms,
            line: vec![b'x'; len],
            ..Hit::default()
        }
    }

    #[test]
    fn newest_hits_are_shown_once_nothing_newer_is_left() {
        let mut pending = PendingHits::new(2);
        for time in [1, 3, 2] {
            pending.add(hit(time, 1));
        }
        assert!(!pending.has_room(1, "", 0) && pending.has_room(2, "", 0));
        assert_eq!(pending.next(Some(3)), None);
        assert_eq!(pending.next(Some(2)).map(|hit| hit.time_ms), Some(3));
        assert!(pending.next(Some(2)).is_none() && !pending.is_full(Some(2)));
        assert_eq!(pending.next(Some(1)).map(|hit| hit.time_ms), Some(2));
        assert!(pending.is_full(Some(1)));
        assert_eq!(
            pending.cursor().map(|cursor| cursor.to_string()),
            Some("2,@0".to_owned())
        );
    }

    #[test]
    fn hit_that_is_found_twice_takes_its_room_once() {
        let mut pending = PendingHits::new(100);
        for _ in 0..40 {
            pending.add(hit(1, 1 << 20));
        }
        assert_eq!(pending.bytes, bytes_of(&hit(1, 1 << 20)));
        pending.add(hit(2, 1 << 20));
        assert!(!pending.has_left_out());
        assert_eq!(std::iter::from_fn(|| pending.next(None)).count(), 2);
        assert_eq!(pending.bytes, 0);
    }

    #[test]
    fn page_of_huge_lines_ends_early() {
        let mut pending = PendingHits::new(100);
        for time in 0..40 {
            pending.add(hit(time, 1 << 20));
        }
        let shown = std::iter::from_fn(|| pending.next(None)).count();
        assert_eq!(shown, 11);
        assert!(pending.is_full(None) && !pending.is_full(Some(35)));
    }
}
