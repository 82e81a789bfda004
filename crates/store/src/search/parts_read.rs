//! What the pages before have left of the parts that they read, so that a page reads again only what it shows lines of. Pure.
//!
//! Frames whose lines are of the same times, and lines without times, are read on each page otherwise: the pages of very many
//! hits would cost the square of their number.
//!
//! Invariants:
//! - It is a help, never an answer: with nothing remembered a search reads more, and finds the same.
//! - It holds for one query, and only for cursors behind the one that it came with.

use std::collections::BTreeMap;

use super::hit_key::HitKey;
use crate::segment::SegmentFile;

/// With more parts all are forgotten: it bounds the memory, to about 10 MiB.
pub(super) const PARTS_MAX: usize = 1 << 16;

/// A part that was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PartName {
    /// A frame: its file, and its first byte there.
    Frame((u64, SegmentFile), u64),
    /// Lines of a batch in the spool: the batch's name, and the first byte there.
    Piece(String, u64),
}

/// What is left of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartRest {
    /// The first byte behind it.
    pub(super) end: u64,
    /// No line of it is older.
    pub(super) oldest_ms: i64,
    /// The newest line that may be a hit and was not shown. `None`: nothing is left.
    pub(super) newest_left: Option<HitKey>,
}

/// What is left of all of them.
#[derive(Debug, Clone, Default)]
pub(super) struct PartsRead(BTreeMap<PartName, PartRest>);

impl PartsRead {
    pub(super) fn get(&self, name: &PartName) -> Option<&PartRest> {
        self.0.get(name)
    }

    /// The bytes `from..to` of a batch, cut into what was read as a piece, with its rest, and what was not.
    pub(super) fn pieces(&self, batch: &str, from: u64, to: u64) -> Vec<(u64, u64, Option<&PartRest>)> {
        let mut pieces = Vec::new();
        let mut at = from;
        for (start, rest) in self.pieces_of(batch) {
            if rest.end <= at || start >= to {
                continue;
            }
            if start > at {
                pieces.push((at, start, None));
            }
            let end = rest.end.min(to);
            pieces.push((start.max(at), end, Some(rest)));
            at = end;
        }
        if at < to {
            pieces.push((at, to, None));
        }
        pieces
    }

    fn pieces_of(&self, batch: &str) -> impl Iterator<Item = (u64, &PartRest)> {
        let first = PartName::Piece(batch.to_owned(), 0);
        let last = PartName::Piece(batch.to_owned(), u64::MAX);
        self.0.range(first..=last).map(|(name, rest)| match name {
            PartName::Piece(_, start) => (*start, rest),
            PartName::Frame(..) => (0, rest),
        })
    }

    /// These bytes of a batch are read anew, perhaps in other pieces.
    pub(super) fn forget_pieces(&mut self, batch: &str, from: u64, to: u64) {
        let overlaps = |(start, rest): &(u64, &PartRest)| *start < to && rest.end > from;
        let starts: Vec<u64> = self
            .pieces_of(batch)
            .filter(overlaps)
            .map(|(start, _)| start)
            .collect();
        for start in starts {
            self.0.remove(&PartName::Piece(batch.to_owned(), start));
        }
    }

    /// Adds what a page has read. Parts without a line of `newest_ms`, where the next page begins, or older are forgotten.
    pub(super) fn add(&mut self, read: impl IntoIterator<Item = (PartName, PartRest)>, newest_ms: i64) {
        self.0.extend(read);
        self.0.retain(|_, rest| rest.oldest_ms <= newest_ms);
        if self.0.len() > PARTS_MAX {
            self.0.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(end: u64, oldest_ms: i64) -> PartRest {
        PartRest {
            end,
            oldest_ms,
            newest_left: None,
        }
    }

    #[test]
    fn batch_is_cut_into_what_was_read_and_what_was_not() {
        let mut read = PartsRead::default();
        let piece = |batch: &str, start| PartName::Piece(batch.to_owned(), start);
        let frame = PartName::Frame((1, SegmentFile::Frames), 0);
        let parts = [
            (piece("b", 10), rest(20, 0)),
            (piece("b", 30), rest(40, 0)),
            (piece("a", 0), rest(99, 0)),
            (frame.clone(), rest(9, 5)),
        ];
        read.add(parts, 7);
        let ranges = |from, to| -> Vec<_> {
            let pieces = read.pieces("b", from, to).into_iter();
            pieces
                .map(|(from, to, rest)| (from, to, rest.is_some()))
                .collect()
        };
        assert_eq!(
            ranges(15, 45),
            [(15, 20, true), (20, 30, false), (30, 40, true), (40, 45, false)]
        );
        assert_eq!(ranges(20, 30), [(20, 30, false)]);
        assert_eq!(ranges(32, 35), [(32, 35, true)]);
        let mut other = read.clone();
        other.forget_pieces("b", 19, 30);
        assert!(other.get(&piece("b", 10)).is_none() && other.get(&piece("b", 30)).is_some());
        assert!(other.get(&frame).is_some());
        other.add([], 4);
        assert!(other.get(&frame).is_none(), "all of it is newer than the cursor");
    }
}
