//! Lists batches without holding the rows of all: the table keeps a row of each batch that ever was.

use jiff::Timestamp;
use rusqlite::{Params, params_from_iter};

use super::batch::{Batch, BatchFilter, BatchId};
use super::table::LIVE_BATCHES;
use crate::row::{self, millis};
use crate::{Ledger, LedgerError};

/// What tells whether more of a batch must be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpooledSize {
    /// Its number. A ledger that was restored may give it again,
    pub id: BatchId,
    /// but not at the same time.
    pub opened_at: Timestamp,
    /// Bytes of its lines.
    pub bytes: u64,
}

/// What a reader that goes from look to look has to know of the ledger, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveBatches {
    /// The open batches of all groups, and every batch opened after the one that was asked for, in the order of opening.
    pub batches: Vec<Batch>,
    /// The newest batch. It is older than the one that was asked for if that was empty and was discarded: its number is then
    /// given again.
    pub newest: Option<BatchId>,
}

impl Ledger {
    /// What [`Self::live_batches`] lists, and the newest batch of the same moment. To go on after `newest` leaves no batch out.
    pub fn look_at_live_batches(&self, after: Option<BatchId>) -> Result<LiveBatches, LedgerError> {
        self.read("list live batches", |sql| {
            let moment = sql.unchecked_transaction()?;
            let newest: Option<i64> =
                moment.query_row("SELECT max(id) FROM batches", [], |row| row.get(0))?;
            let newest = newest.map(BatchId);
            let mut query = moment.prepare_cached(LIVE_BATCHES)?;
            // What is opened after a batch that was discarded may have its number.
            let after = after.min(newest).map_or(i64::MIN, |id| id.0);
            let batches = query.query_map([after], Batch::from_row)?;
            Ok(LiveBatches {
                batches: batches.collect::<Result<_, _>>()?,
                newest,
            })
        })
    }

    /// The batches that match the filter, whose files have not expired, and that `wanted` takes. In no order.
    pub fn spooled_batches(
        &self,
        filter: &BatchFilter,
        wanted: impl FnMut(&mut Batch) -> bool,
    ) -> Result<Vec<Batch>, LedgerError> {
        let (condition, values) = filter.condition();
        let query = format!("SELECT * FROM batches b WHERE expired_at IS NULL AND {condition}");
        self.sift(&query, params_from_iter(values), wanted)
    }

    /// The same, without reading more of those that `is_known`.
    pub fn spooled_batches_unless(
        &self,
        filter: &BatchFilter,
        mut is_known: impl FnMut(&SpooledSize) -> bool,
        mut wanted: impl FnMut(&mut Batch) -> bool,
    ) -> Result<Vec<Batch>, LedgerError> {
        let (condition, values) = filter.condition();
        let query =
            format!("SELECT id, opened_at, bytes FROM batches b WHERE expired_at IS NULL AND {condition}");
        self.read("list batches", |sql| {
            // One moment for all statements: a batch that changes its state meanwhile is there once.
            let moment = sql.unchecked_transaction()?;
            let mut query = moment.prepare_cached(&query)?;
            let mut by_id = moment.prepare_cached("SELECT * FROM batches WHERE id = ?1")?;
            let mut rows = query.query(params_from_iter(values))?;
            let mut batches = Vec::new();
            while let Some(row) = rows.next()? {
                let size = SpooledSize {
                    id: BatchId(row.get(0)?),
                    opened_at: row::time(row, "opened_at")?,
                    bytes: row.get(2)?,
                };
                if is_known(&size) {
                    continue;
                }
                let mut batch = by_id.query_row([size.id.0], Batch::from_row)?;
                if wanted(&mut batch) {
                    batches.push(batch);
                }
            }
            Ok(batches)
        })
    }

    /// The batches that `wanted` takes: of those whose files have not expired, and of those that were opened after the batch
    /// `after` or after `opened_after`. In no order.
    pub fn spooled_or_new_batches(
        &self,
        after: Option<BatchId>,
        opened_after: Option<Timestamp>,
        wanted: impl FnMut(&mut Batch) -> bool,
    ) -> Result<Vec<Batch>, LedgerError> {
        let query = "SELECT * FROM batches WHERE expired_at IS NULL OR id > ?1 OR opened_at > ?2";
        let values = (
            after.map_or(i64::MAX, |id| id.0),
            opened_after.map_or(i64::MAX, millis),
        );
        self.sift(query, values, wanted)
    }

    fn sift(
        &self,
        query: &str,
        values: impl Params,
        mut wanted: impl FnMut(&mut Batch) -> bool,
    ) -> Result<Vec<Batch>, LedgerError> {
        self.read("list batches", |sql| {
            let mut query = sql.prepare_cached(query)?;
            let mut rows = query.query(values)?;
            let mut batches = Vec::new();
            while let Some(row) = rows.next()? {
                let mut batch = Batch::from_row(row)?;
                if wanted(&mut batch) {
                    batches.push(batch);
                }
            }
            Ok(batches)
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::BatchState;
    use crate::tests::{ledger, new_batch, now};

    #[test]
    fn batches_in_the_spool_are_found_without_reading_the_whole_table() {
        let (_dir, ledger) = ledger().expect("a ledger");
        for since in [None, Some(now())] {
            let filter = BatchFilter {
                since,
                ..BatchFilter::default()
            };
            let (condition, values) = filter.condition();
            let query = format!(
                "EXPLAIN QUERY PLAN SELECT * FROM batches b WHERE expired_at IS NULL AND {condition}"
            );
            let plan: Option<String> = ledger
                .find("explain", &query, params_from_iter(values), |row| row.get(3))
                .expect("a plan");
            let plan = plan.unwrap_or_default();
            assert!(plan.contains("batches_spooled"), "{plan}");
        }
    }

    #[test]
    fn known_batches_are_not_read_until_they_grow() {
        let (_dir, mut ledger) = ledger().expect("a ledger");
        let batch = ledger.open_batch(&new_batch(), now()).expect("opened");
        let list = |ledger: &Ledger, known: Option<u64>| {
            let is_known = |size: &SpooledSize| {
                (size.id, size.opened_at) == (batch.id, batch.opened_at) && Some(size.bytes) <= known
            };
            let listed = ledger.spooled_batches_unless(&BatchFilter::default(), is_known, |_| true);
            listed.expect("listed")
        };
        assert_eq!(list(&ledger, None), std::slice::from_ref(&batch));
        assert_eq!(list(&ledger, Some(0)), []);
        let sql = "UPDATE batches SET bytes = 7, lines = 1";
        ledger.connection.execute(sql, []).expect("changed");
        assert_eq!(list(&ledger, Some(0))[0].contents.bytes, 7);
        assert_eq!(list(&ledger, Some(7)), []);
        ledger.seal(batch.id, now()).expect("sealed");
        assert_eq!(list(&ledger, None).len(), 1);
    }

    #[test]
    fn expired_batches_are_listed_only_if_they_are_newer_than_asked() {
        let (_dir, mut ledger) = ledger().expect("a ledger");
        let opened: Vec<_> = (0..4)
            .map(|minute| {
                let at = now() + SignedDuration::from_mins(minute);
                let batch = ledger.open_batch(&new_batch(), at).expect("opened");
                ledger.seal(batch.id, at).expect("sealed");
                batch.id
            })
            .collect();
        // Two of them were delivered and deleted.
        let sql = &ledger.connection;
        let expire = "UPDATE batches SET state = 'sent', expired_at = 1 WHERE id IN (?1, ?2)";
        sql.execute(expire, (opened[0].0, opened[2].0)).expect("expired");
        let ids = |batches: Vec<Batch>| batches.iter().map(|batch| batch.id).collect::<Vec<_>>();
        let all = ledger.spooled_batches(&BatchFilter::default(), |_| true);
        assert_eq!(ids(all.expect("read")), [opened[1], opened[3]]);
        let some = ledger.spooled_batches(&BatchFilter::default(), |batch| batch.id == opened[3]);
        assert_eq!(ids(some.expect("read")), [opened[3]]);
        let new = |after, opened_after| {
            let listed =
                ledger.spooled_or_new_batches(after, opened_after, |batch| batch.state == BatchState::Sent);
            ids(listed.expect("read"))
        };
        assert_eq!(new(None, None), []);
        assert_eq!(new(Some(opened[0]), None), [opened[2]]);
        assert_eq!(new(None, Some(now() + SignedDuration::from_mins(1))), [opened[2]]);
        assert_eq!(new(None, Some(now() + SignedDuration::from_mins(2))), []);
    }
}
