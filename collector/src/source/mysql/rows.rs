//! Rows as they were read, of which no more are in memory than a round may have.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use mysql_async::{Row, Value as SqlValue};
use serde_json::Value;

use super::progress::RowKey;

/// A row as it was read.
#[derive(Debug, Clone)]
pub(super) struct TableRow {
    pub(super) key: RowKey,
    pub(super) id: Value,
    /// The id as the server wants it back.
    pub(super) sql_id: SqlValue,
    /// All columns but the one that says whether it is sent.
    pub(super) members: Vec<(String, Value)>,
}

/// Rows of one round.
pub(super) struct UnmarkedRows {
    pub(super) rows: Vec<TableRow>,
    /// Whether all that were asked for fit into a round.
    pub(super) fits: bool,
    /// Whether there are no more rows that are not marked.
    pub(super) is_all: bool,
}

/// Bytes of the rows of a round, which are in memory; the last row may go over it.
pub(super) const ROUND_BYTES: usize = if cfg!(test) { 1 << 20 } else { 32 << 20 };

/// Bytes of a row as it came.
pub(super) fn len_of(row: &Row) -> usize {
    let values = (0..row.len()).filter_map(|at| row.as_ref(at));
    let bytes = values.map(|value| match value {
        SqlValue::Bytes(bytes) => bytes.len(),
        _ => 8,
    });
    bytes.sum()
}

/// Rows of one round that are followed by their id.
pub(super) struct FollowedRows {
    /// By id. From `cut` on only those that were captured before.
    pub(super) rows: Vec<TableRow>,
    /// Where new rows were left out, if there were more than a round may have.
    pub(super) cut: Option<usize>,
    /// Captured rows that were not seen yet.
    unseen: BTreeSet<RowKey>,
    read: usize,
    bytes: usize,
}

impl FollowedRows {
    /// `known`: the keys of captured rows.
    pub(super) fn new(known: BTreeSet<RowKey>) -> Self {
        Self {
            rows: Vec::new(),
            cut: None,
            unseen: known,
            read: 0,
            bytes: 0,
        }
    }

    /// The next row, of so many bytes. Breaks if no further one is needed.
    ///
    /// A captured row that was not read would be forgotten, and captured again. So new rows are left out only from memory as long
    /// as a captured one may follow.
    pub(super) fn add(&mut self, mut row: TableRow, len: usize) -> ControlFlow<()> {
        self.read += 1;
        if self.unseen.remove(&row.key) {
            row.members = Vec::new();
            self.rows.push(row);
        } else if self.bytes < ROUND_BYTES {
            self.bytes += len;
            self.rows.push(row);
        } else if self.cut.is_none() {
            self.cut = Some(self.rows.len());
        }
        if self.cut.is_some() && self.unseen.is_empty() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Whether captured rows may follow after the `limit` that was asked for.
    pub(super) fn is_short(&self, limit: u32) -> bool {
        !self.unseen.is_empty() && self.read >= limit as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u32) -> TableRow {
        let members = vec![("id".to_owned(), Value::from(id))];
        TableRow {
            key: RowKey::new(&id.into(), &members),
            id: id.into(),
            sql_id: id.into(),
            members,
        }
    }

    #[test]
    fn new_rows_have_a_bound_and_captured_ones_are_all_seen() {
        let mut followed = FollowedRows::new([row(1).key, row(5).key].into());
        let large = ROUND_BYTES / 2;
        for id in [1, 2, 3, 4] {
            assert!(followed.add(row(id), large).is_continue(), "{id}");
        }
        assert!(followed.add(row(5), large).is_break());
        let read: Vec<_> = followed
            .rows
            .iter()
            .map(|row| (row.id.clone(), row.members.len()))
            .collect();
        assert_eq!(read, [(1.into(), 0), (2.into(), 1), (3.into(), 1), (5.into(), 0)]);
        assert_eq!(followed.cut, Some(3));
        assert!(!followed.is_short(5));
    }

    #[test]
    fn captured_rows_that_were_not_reached_are_told() {
        let mut followed = FollowedRows::new([row(1).key, row(5).key].into());
        for id in [1, 2, 3] {
            assert!(followed.add(row(id), 1).is_continue(), "{id}");
        }
        assert!(followed.is_short(3) && !followed.is_short(4));
    }
}
