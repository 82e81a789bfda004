//! Which rows are new, and which are to be marked.
//!
//! Pure: rows in, decisions out. Numbers of rows become visible out of order (they are given at INSERT, not at COMMIT), and come
//! back after TRUNCATE. So a row is known by its id *and* a hash of all that it says.
//!
//! Invariants:
//! - A row that is unchanged is new at most once between the time it is captured and the time it is marked.
//! - Only a row that says what was captured is marked.

use std::collections::{BTreeSet, VecDeque};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Rows that are read and captured at one time: their keys fit into a position.
pub(super) const ROUND_MAX: u32 = 500;

/// The id of a row as JSON, and the hash of the row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowKey {
    id: String,
    hash: String,
}

impl RowKey {
    /// `members`: all that the row says but whether it is sent.
    pub(super) fn new(id: &Value, members: &[(String, Value)]) -> Self {
        let mut digest = Sha256::new();
        for (name, value) in members {
            // Neither a name nor JSON has a NUL in it.
            digest.update(name.as_bytes());
            digest.update([0]);
            digest.update(value.to_string().as_bytes());
            digest.update([0]);
        }
        let hash = digest.finalize();
        let hash = logferry_text::hex(&hash[..8]);
        Self {
            id: id.to_string(),
            hash,
        }
    }
}

/// Rows with a column that says whether they are sent: those that are captured and not marked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MarkedProgress {
    pending: BTreeSet<RowKey>,
}

impl MarkedProgress {
    pub(super) fn of_position(position: Option<&Value>) -> Self {
        let pending = position.and_then(|position| position.get("pending")?.as_array());
        let keys = pending.into_iter().flatten().filter_map(key_of);
        Self {
            pending: keys.collect(),
        }
    }

    pub(super) fn position(&self) -> Value {
        let keys: Vec<Value> = self.pending.iter().map(|key| json!([key.id, key.hash])).collect();
        json!({ "pending": keys })
    }

    /// Whether a row that is not marked is captured already.
    pub(super) fn is_captured(&self, key: &RowKey) -> bool {
        self.pending.contains(key)
    }

    /// `unmarked`: all rows that are not marked, in a round that has read every one. What is not among them was marked, or is
    /// gone.
    pub(super) fn keep_only(&mut self, unmarked: &BTreeSet<RowKey>) {
        self.pending.retain(|key| unmarked.contains(key));
    }

    /// The `new` ones of the rows that are not marked are captured; it becomes durable with their records. What a row said before
    /// it changed is forgotten.
    pub(super) fn captured(&mut self, new: &[RowKey], unmarked: &BTreeSet<RowKey>) {
        let ids: BTreeSet<&String> = new.iter().map(|key| &key.id).collect();
        self.pending
            .retain(|key| unmarked.contains(key) || !ids.contains(&key.id));
        self.pending.extend(new.iter().cloned());
    }

    /// These rows are marked.
    pub(super) fn marked(&mut self, keys: &BTreeSet<RowKey>) {
        self.pending.retain(|key| !keys.contains(key));
    }
}

/// Rows that are followed by their id, since they may not be marked: the last ones that were captured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TrailingProgress {
    /// In the order of their ids, with the id itself.
    trail: VecDeque<(Value, RowKey)>,
}

/// Rows that are read again in each round, in case that one among them became visible late.
const TRAIL_MAX: usize = 400;

impl TrailingProgress {
    pub(super) fn of_position(position: Option<&Value>) -> Self {
        let trail = position.and_then(|position| position.get("trail")?.as_array());
        let entries = trail.into_iter().flatten().filter_map(|entry| {
            let id = entry.get(0)?.clone();
            let hash = entry.get(1)?.as_str()?.to_owned();
            let key = RowKey {
                id: id.to_string(),
                hash,
            };
            Some((id, key))
        });
        Self {
            trail: entries.collect(),
        }
    }

    pub(super) fn position(&self) -> Value {
        let trail: Vec<Value> = self.trail.iter().map(|(id, key)| json!([id, key.hash])).collect();
        json!({ "trail": trail })
    }

    /// Read rows with this id or a larger one; all if there is none.
    pub(super) fn floor(&self) -> Option<&Value> {
        self.trail.front().map(|(id, _)| id)
    }

    /// Rows from the floor on, by id: whether the table was emptied. None of the captured rows is there, and either an id came
    /// back with other contents, or there is no row at all. Rows that were only deleted leave larger ids behind.
    pub(super) fn has_begun_anew(&self, rows: &[RowKey]) -> bool {
        let is_there = |(_, key): &(Value, RowKey)| rows.contains(key);
        let came_back = |(_, key): &(Value, RowKey)| rows.iter().any(|row| row.id == key.id);
        !self.trail.is_empty()
            && !self.trail.iter().any(is_there)
            && (rows.is_empty() || self.trail.iter().any(came_back))
    }

    /// Rows from the floor on, by id: for each whether it is new.
    pub(super) fn new_rows(&self, rows: &[RowKey]) -> Vec<bool> {
        let known: BTreeSet<&RowKey> = self.trail.iter().map(|(_, key)| key).collect();
        rows.iter().map(|row| !known.contains(row)).collect()
    }

    /// The keys of the rows that are read again.
    pub(super) fn known(&self) -> BTreeSet<RowKey> {
        self.trail.iter().map(|(_, key)| key.clone()).collect()
    }

    /// Rows from the floor on, by id, are captured. `cut`: where further rows were left out, which the next floor must not be above.
    pub(super) fn captured(&mut self, rows: impl IntoIterator<Item = (Value, RowKey)>, cut: Option<usize>) {
        self.trail = rows.into_iter().collect();
        let over = self.trail.len().saturating_sub(TRAIL_MAX);
        let below = cut.map_or(over, |cut| cut.saturating_sub(1));
        self.trail.drain(..over.min(below));
    }
}

fn key_of(entry: &Value) -> Option<RowKey> {
    Some(RowKey {
        id: entry.get(0)?.as_str()?.to_owned(),
        hash: entry.get(1)?.as_str()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn key(id: u32, text: u32) -> RowKey {
        RowKey::new(
            &id.into(),
            &[("id".to_owned(), id.into()), ("message".to_owned(), text.into())],
        )
    }

    #[test]
    fn position_of_a_round_is_read_back_and_fits() {
        let mut marked = MarkedProgress::default();
        let uuid = |number: u32| Value::from(format!("0123456789abcdef0123456789abcdef{number:04}"));
        let keys: Vec<_> = (0..ROUND_MAX)
            .map(|number| RowKey::new(&uuid(number), &[]))
            .collect();
        marked.captured(&keys, &BTreeSet::new());
        let position = marked.position();
        assert!(
            position.to_string().len() < 64 << 10,
            "{}",
            position.to_string().len()
        );
        assert_eq!(MarkedProgress::of_position(Some(&position)), marked);
        let mut trailing = TrailingProgress::default();
        trailing.captured(
            (0..1000).map(|number| (uuid(number), RowKey::new(&uuid(number), &[]))),
            None,
        );
        let position = trailing.position();
        assert!(position.to_string().len() < 64 << 10);
        assert_eq!(TrailingProgress::of_position(Some(&position)), trailing);
        assert_eq!(trailing.floor(), Some(&uuid(600)));
    }

    #[test]
    fn id_that_came_back_with_other_contents_is_new() {
        let mut marked = MarkedProgress::default();
        marked.captured(&[key(1, 1)], &BTreeSet::new());
        assert!(marked.is_captured(&key(1, 1)));
        assert!(!marked.is_captured(&key(1, 2)));
    }

    #[test]
    fn table_that_was_emptied_begins_anew() {
        let mut trailing = TrailingProgress::default();
        assert!(!trailing.has_begun_anew(&[]));
        trailing.captured([(7.into(), key(7, 1)), (8.into(), key(8, 1))], None);
        assert!(!trailing.has_begun_anew(&[key(8, 1), key(9, 1)]));
        assert!(trailing.has_begun_anew(&[]));
        assert!(trailing.has_begun_anew(&[key(8, 2), key(9, 2)]));
        // Deleted by age.
        assert!(!trailing.has_begun_anew(&[key(9, 1), key(10, 1)]));
    }

    #[test]
    fn floor_stays_below_rows_that_were_left_out() {
        let mut trailing = TrailingProgress::default();
        // Row 3 was left out, and those after it were captured before.
        let rows = || {
            [1, 2]
                .into_iter()
                .chain(4..800_u32)
                .map(|id| (id.into(), key(id, id)))
        };
        trailing.captured(rows(), Some(2));
        assert_eq!(trailing.floor(), Some(&2.into()));
        assert!(trailing.position().to_string().len() < 64 << 10);
        trailing.captured(rows(), None);
        assert_eq!(trailing.floor(), Some(&400.into()));
    }

    #[derive(Debug, Clone)]
    enum Act {
        Insert(u8),
        /// A transaction that began before others ends after them.
        InsertLate(u8),
        Truncate,
        /// A round, of which so many steps come to pass: captured, marked, and known to be marked.
        Round(u8),
        Crash,
    }

    proptest! {
        /// A table that is written, emptied and read, with crashes after every step: each row that was ever visible in a round is
        /// captured once, and rows that are not captured are never marked.
        #[test]
        fn every_row_is_captured_once_and_marked_only_after_it(
            acts in vec(
                prop_oneof![
                    4 => (1..5_u8).prop_map(Act::Insert),
                    1 => (1..5_u8).prop_map(Act::InsertLate),
                    1 => Just(Act::Truncate),
                    5 => (0..4_u8).prop_map(Act::Round),
                    1 => Just(Act::Crash),
                ],
                0..60,
            )
        ) {
            // Id, text, whether it is marked. A text is unique.
            let mut table: Vec<(u32, u32, bool)> = Vec::new();
            let mut invisible = Vec::new();
            let (mut next_id, mut next_text) = (1, 0);
            let mut captured: Vec<u32> = Vec::new();
            let mut lost = BTreeSet::new();
            let mut durable = Value::Null;
            let mut progress = MarkedProgress::default();
            let all = acts.iter().cloned().chain([Act::Round(3), Act::Round(3)]);
            for act in all {
                match act {
                    Act::Insert(count) | Act::InsertLate(count) => {
                        let is_late = matches!(act, Act::InsertLate(_));
                        for _ in 0..count {
                            let rows = if is_late { &mut invisible } else { &mut table };
                            rows.push((next_id, next_text, false));
                            next_id += 1;
                            next_text += 1;
                        }
                        if !is_late {
                            table.append(&mut invisible);
                            table.sort_unstable();
                        }
                    }
                    Act::Truncate => {
                        // What was never read is gone with the table.
                        lost.extend(table.drain(..).map(|(_, text, _)| text).filter(|text| !captured.contains(text)));
                        next_id = 1;
                    }
                    Act::Crash => progress = MarkedProgress::of_position(Some(&durable)),
                    Act::Round(steps) => {
                        let unmarked: Vec<_> = table.iter().filter(|row| !row.2).map(|row| (row.0, row.1)).collect();
                        let keys: BTreeSet<_> = unmarked.iter().map(|(id, text)| key(*id, *text)).collect();
                        progress.keep_only(&keys);
                        let new: Vec<_> = unmarked.iter().filter(|(id, text)| !progress.is_captured(&key(*id, *text))).collect();
                        if steps == 0 {
                            progress = MarkedProgress::of_position(Some(&durable));
                            continue;
                        }
                        let new_keys: Vec<_> = new.iter().map(|(id, text)| key(*id, *text)).collect();
                        progress.captured(&new_keys, &keys);
                        captured.extend(new.iter().map(|(_, text)| *text));
                        durable = progress.position();
                        if steps > 1 {
                            for row in &mut table {
                                if keys.contains(&key(row.0, row.1)) {
                                    prop_assert!(captured.contains(&row.1), "marked and not captured");
                                    row.2 = true;
                                }
                            }
                        }
                        if steps > 2 {
                            progress.marked(&keys);
                        }
                    }
                }
            }
            let mut sorted = captured.clone();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(sorted.len(), captured.len(), "a row was captured twice");
            for (_, text, _) in &table {
                prop_assert!(captured.contains(text), "row {text} is missing");
            }
        }

        #[test]
        fn rows_that_become_visible_in_the_trail_are_captured_once(late in 1..300_u32, first in 1..300_u32) {
            let rows = |hidden: Option<u32>| (1..=300).filter(move |id| Some(*id) != hidden).map(|id| (Value::from(id), key(id, id)));
            let mut progress = TrailingProgress::default();
            progress.captured(rows(Some(late)).take(first as usize), None);
            let seen: Vec<RowKey> = rows(None).map(|(_, key)| key).collect();
            let new = progress.new_rows(&seen);
            let expected = seen.len() - progress.trail.len();
            prop_assert_eq!(new.iter().filter(|is_new| **is_new).count(), expected);
            progress.captured(rows(None), None);
            prop_assert!(progress.new_rows(&seen).iter().all(|is_new| !is_new));
        }
    }
}
