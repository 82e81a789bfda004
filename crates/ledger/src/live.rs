//! The batches in which something can happen now, for whoever follows them.

use rusqlite::OptionalExtension;

use crate::batches::{self, Batch, BatchId};
use crate::{Ledger, LedgerError};

impl Ledger {
    /// The batch that was opened last, if there is one.
    pub fn newest_batch(&self) -> Result<Option<BatchId>, LedgerError> {
        self.read("find the newest batch", |sql| {
            let id: Option<i64> = sql.query_row("SELECT max(id) FROM batches", [], |row| row.get(0))?;
            Ok(id.map(BatchId))
        })
    }

    /// The open batches of all groups, and every batch opened after `after` (all, if `None`), in the order of opening.
    pub fn live_batches(&self, after: Option<BatchId>) -> Result<Vec<Batch>, LedgerError> {
        self.read("list live batches", |sql| {
            sql.prepare_cached(
                "SELECT * FROM batches WHERE state = 'open' UNION SELECT * FROM batches WHERE id > ?1 ORDER BY id",
            )?
            .query_map([after.map_or(i64::MIN, |id| id.0)], Batch::from_row)?
            .collect()
        })
    }

    /// A batch by its number, if it is still there: one into which nothing ever came is discarded.
    pub fn batch(&self, id: BatchId) -> Result<Option<Batch>, LedgerError> {
        self.read("find a batch", |sql| batches::by_id(sql, id).optional())
    }
}
