//! Hits that wait until nothing newer can be found any more. Pure.
//!
//! Invariant: they are at most `limit`, and take at most [`HELD_BYTES_MAX`] bytes, or are one.

use std::collections::BTreeMap;

use super::hit::{Hit, SearchCursor};
use super::hit_key::{HitKey, PartBound};

/// Bytes of lines that wait. A page of more ends earlier.
const HELD_BYTES_MAX: usize = 20 << 20;

/// What a hit takes beside its line.
const HIT_BYTES: usize = 512;

/// The newest hits of a page.
#[derive(Debug)]
pub(super) struct PendingHits {
    /// Each with the number of the part in which it was found.
    hits: BTreeMap<HitKey, (Hit, usize)>,
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
        let floor = self.floor.as_ref();
        floor.is_none_or(|floor| !floor.is_at_or_after(time_ms, batch, offset))
    }

    /// Adds a hit that was found in this part. `left`: is told the hits that have no room any more, with their parts.
    pub(super) fn add(&mut self, hit: Hit, part: usize, mut left: impl FnMut(&HitKey, usize)) {
        let key = HitKey {
            time_ms: hit.time_ms,
            batch: hit.batch.clone(),
            offset: hit.offset,
        };
        self.bytes += bytes_of(&hit);
        if let Some((replaced, _)) = self.hits.insert(key, (hit, part)) {
            self.bytes -= bytes_of(&replaced);
        }
        while self.hits.len() > self.room || (self.bytes > HELD_BYTES_MAX && self.hits.len() > 1) {
            let Some((oldest, (hit, part))) = self.hits.pop_first() else {
                return;
            };
            self.bytes -= bytes_of(&hit);
            left(&oldest, part);
            self.floor = self.floor.take().max(Some(oldest));
        }
    }

    /// The newest hit, if it is newer than `bound`, that of what is not searched yet.
    pub(super) fn next(&mut self, bound: Option<&PartBound>) -> Option<Hit> {
        let newest = self.hits.last_entry()?;
        if bound.is_some_and(|bound| bound.may_have(newest.key())) {
            return None;
        }
        let (key, (hit, _)) = newest.remove_entry();
        self.bytes -= bytes_of(&hit);
        self.room -= 1;
        self.last_shown = Some(key);
        Some(hit)
    }

    /// Whether the page is full: nothing more can be shown on it.
    pub(super) fn is_full(&self, bound: Option<&PartBound>) -> bool {
        let is_below = |floor: &HitKey| bound.is_none_or(|bound| !bound.may_have(floor));
        self.room == 0 || (self.hits.is_empty() && self.floor.as_ref().is_some_and(is_below))
    }

    /// The hits that still wait, with their parts.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&HitKey, usize)> {
        self.hits.iter().map(|(key, (_, part))| (key, *part))
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

    fn add(pending: &mut PendingHits, hit: Hit) -> Vec<i64> {
        let mut left = Vec::new();
        pending.add(hit, 0, |key, _| left.push(key.time_ms));
        left
    }

    #[test]
    fn newest_hits_are_shown_once_nothing_newer_is_left() {
        let mut pending = PendingHits::new(2);
        let left: Vec<_> = [1, 3, 2].map(|time| add(&mut pending, hit(time, 1))).concat();
        assert_eq!(left, [1]);
        let bound = |time| Some(PartBound::of_time(time));
        assert!(!pending.has_room(1, "", 0) && pending.has_room(2, "", 0));
        assert_eq!(pending.next(bound(3).as_ref()), None);
        assert_eq!(pending.next(bound(2).as_ref()).map(|hit| hit.time_ms), Some(3));
        assert!(pending.next(bound(2).as_ref()).is_none() && !pending.is_full(bound(2).as_ref()));
        assert_eq!(
            pending.waiting().map(|(key, _)| key.time_ms).collect::<Vec<_>>(),
            [2]
        );
        assert_eq!(pending.next(bound(1).as_ref()).map(|hit| hit.time_ms), Some(2));
        assert!(pending.is_full(bound(1).as_ref()));
        assert_eq!(
            pending.cursor().map(|cursor| cursor.to_string()),
            Some("2,@0".to_owned())
        );
    }

    #[test]
    fn hit_that_is_found_twice_takes_its_room_once() {
        let mut pending = PendingHits::new(100);
        for _ in 0..40 {
            add(&mut pending, hit(1, 1 << 20));
        }
        assert_eq!(pending.bytes, bytes_of(&hit(1, 1 << 20)));
        add(&mut pending, hit(2, 1 << 20));
        assert!(!pending.has_left_out());
        assert_eq!(std::iter::from_fn(|| pending.next(None)).count(), 2);
        assert_eq!(pending.bytes, 0);
    }

    #[test]
    fn page_of_huge_lines_ends_early() {
        let mut pending = PendingHits::new(100);
        for time in 0..40 {
            add(&mut pending, hit(time, 1 << 20));
        }
        let shown = std::iter::from_fn(|| pending.next(None)).count();
        assert_eq!(shown, 19);
        assert!(pending.is_full(None) && !pending.is_full(Some(&PartBound::of_time(35))));
    }
}
