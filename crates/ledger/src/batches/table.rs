//! The table of batches: opens, grows, seals, marks and finds them.

use jiff::Timestamp;
use logferry_protocol::names::{GroupName, LogName};
use rusqlite::{Connection, Error, OptionalExtension, Result as SqlResult, named_params, params_from_iter};

use super::batch::{Batch, BatchContents, BatchFilter, BatchId, BatchState, NewBatch};
use crate::row::{millis, signed};
use crate::{Ledger, LedgerError};

/// Most parts of a window. At this number its lines wait.
pub const PARTS_MAX: u32 = 999;

/// The highest part number that an expired, forgotten batch may have. No window ever had so many parts.
pub const FORGOTTEN_PARTS: u32 = 1000;

/// The open batches, and those with a number after a given one.
pub(super) const LIVE_BATCHES: &str =
    "SELECT * FROM batches WHERE state = 'open' UNION SELECT * FROM batches WHERE id > ?1 ORDER BY id";

impl Ledger {
    /// Opens the next part of a window: gives it the first free part number, and records it before its file exists.
    pub fn open_batch(&mut self, new: &NewBatch, now: Timestamp) -> Result<Batch, LedgerError> {
        self.write("open a batch", |sql| open(sql, new, now))
    }

    /// Opens the next part of each of these windows, as [`Self::open_batch`] does, all in one transaction.
    pub fn open_all(&mut self, new: &[NewBatch], now: Timestamp) -> Result<Vec<Batch>, LedgerError> {
        self.write("open batches", |sql| {
            new.iter().map(|new| open(sql, new, now)).collect()
        })
    }

    /// Seals a batch: it does not grow any more, and the forwarder may deliver it.
    ///
    /// The caller moves the file from `open/` to `ready/` *after* this; after a crash in between,
    /// the next relay or forwarder to start moves it.
    pub fn seal(&mut self, batch: BatchId, now: Timestamp) -> Result<(), LedgerError> {
        self.seal_batches([batch], now)
    }

    /// Seals batches as [`Self::seal`] does, all in one transaction. If one is not open, none is sealed:
    /// [`LedgerError::Conflict`].
    pub fn seal_batches(
        &mut self,
        batches: impl IntoIterator<Item = BatchId>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write("seal batches", |sql| {
            let mut seal = sql.prepare_cached(
                "UPDATE batches SET state = 'ready', sealed_at = ?2 WHERE id = ?1 AND state = 'open'",
            )?;
            for batch in batches {
                let sealed = seal.execute((batch.0, millis(now)))?;
                if sealed != 1 {
                    return Err(Error::StatementChangedRows(sealed));
                }
            }
            Ok(())
        })
    }

    /// Deletes the row of an open batch without committed lines.
    pub fn discard_empty_batch(&mut self, batch: BatchId) -> Result<(), LedgerError> {
        let change = "DELETE FROM batches WHERE id = ?1 AND state = 'open' AND lines = 0 AND bytes = 0";
        self.execute("discard an empty batch", change, [batch.0])
    }

    /// The open batches of a group.
    pub fn open_batches(&self, group: &GroupName) -> Result<Vec<Batch>, LedgerError> {
        let query = "SELECT * FROM batches WHERE state = 'open' AND grp = ?1 ORDER BY window_start, part";
        self.list("list open batches", query, [group.as_str()], Batch::from_row)
    }

    /// Whether a window has as many parts as it may have. `base_name`: the name of its first part, without `.log`.
    pub fn has_all_parts(&self, base_name: &str) -> Result<bool, LedgerError> {
        self.read("count the parts of a window", |sql| {
            let last: u32 = sql
                .prepare_cached("SELECT coalesce(max(part), 0) FROM batches WHERE base_name = ?1")?
                .query_row([base_name], |row| row.get(0))?;
            Ok(is_last_part(last))
        })
    }

    /// How many parts of a batch's window before it are sealed with less than so many bytes: lines came for the window
    /// after it had been taken for complete.
    pub fn sealed_parts_below(&self, batch: &Batch, bytes: u64) -> Result<u32, LedgerError> {
        self.read("count the parts of a window", |sql| {
            sql.prepare_cached(
                "SELECT count(*) FROM batches
                 WHERE base_name = ?1 AND part < ?2 AND window_start = ?3 AND state <> 'open' AND bytes < ?4",
            )?
            .query_row(
                (&batch.base_name, batch.part, batch.window.start, signed(bytes)),
                |row| row.get(0),
            )
        })
    }

    /// Whether a batch's window has a part after it, of the same group.
    pub fn has_later_part(&self, batch: &Batch) -> Result<bool, LedgerError> {
        let query = "SELECT 1 FROM batches WHERE base_name = ?1 AND part > ?2 AND window_start = ?3 AND grp = ?4 LIMIT 1";
        let group = batch.group.as_str();
        let values = (&batch.base_name, batch.part, batch.window.start, group);
        Ok(self.find("find a part", query, values, |_| Ok(()))?.is_some())
    }

    /// The batches in a state, oldest window first, whose files have not expired.
    pub fn batches_in(&self, state: BatchState) -> Result<Vec<Batch>, LedgerError> {
        self.list("list batches", in_state(state), [state.as_str()], Batch::from_row)
    }

    /// The batches that match the filter, oldest window first.
    pub fn batches(&self, filter: &BatchFilter) -> Result<Vec<Batch>, LedgerError> {
        let (condition, values) = filter.condition();
        let query = format!(
            "SELECT * FROM batches b WHERE {condition} ORDER BY window_start, source, base_name, part"
        );
        self.list("list batches", &query, params_from_iter(values), Batch::from_row)
    }

    /// The batch of that name (without `.log`).
    pub fn batch_named(&self, name: &str) -> Result<Option<Batch>, LedgerError> {
        // `NAME` is the first part of NAME; `NAME.2` is the second part of NAME, or the first of a window whose name
        // itself ends in `.2`.
        let part = split_part(name);
        self.read("find a batch", |sql| {
            let mut query = sql.prepare_cached("SELECT * FROM batches WHERE base_name = ?1 AND part = ?2")?;
            let first = query.query_row((name, 1), Batch::from_row).optional()?;
            match (first, part) {
                (None, Some(part)) => query.query_row(part, Batch::from_row).optional(),
                (first, _) => Ok(first),
            }
        })
    }

    /// Whether a later part of a window has this name (without `.log`).
    pub fn has_part_of_name(&self, name: &str) -> Result<bool, LedgerError> {
        let Some((base, part)) = split_part(name) else {
            return Ok(false);
        };
        let query = "SELECT 1 FROM batches WHERE base_name = ?1 AND part = ?2";
        Ok(self
            .find("find a part", query, (base, part), |_| Ok(()))?
            .is_some())
    }

    /// How many batches are in each state, in the order of [`BatchState::ALL`].
    pub fn count_by_state(&self) -> Result<[u64; 4], LedgerError> {
        // Nearly all are sent. To count all is the fastest that SQLite counts: by its smallest index.
        let query = "SELECT (SELECT count(*) FROM batches),
                (SELECT count(*) FROM batches WHERE state = 'open'),
                (SELECT count(*) FROM batches WHERE state = 'ready'),
                (SELECT count(*) FROM batches WHERE state = 'failed')";
        self.read("count batches", |sql| {
            sql.prepare_cached(query)?.query_row([], |row| {
                let [all, open, ready, failed]: [u64; 4] =
                    [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
                Ok([open, ready, all - (open + ready + failed).min(all), failed])
            })
        })
    }

    /// Records that a sent batch's file is now `.log.gz`.
    pub fn mark_compressed(&mut self, batch: BatchId, now: Timestamp) -> Result<(), LedgerError> {
        let change = "UPDATE batches SET compressed_at = ?2 WHERE id = ?1";
        self.execute("note a compression", change, (batch.0, millis(now)))
    }

    /// Records that a sent batch's file may be deleted. Call this before the deletion, so that a crash leaves a file too
    /// many. False if a resend of the batch is pending: then the file must stay.
    pub fn mark_expired(&mut self, batch: BatchId, now: Timestamp) -> Result<bool, LedgerError> {
        self.write("note an expiry", |sql| {
            sql.execute(
                "UPDATE batches SET expired_at = ?2 WHERE id = ?1 AND state = 'sent'
                 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE batch = ?1 AND asked_at IS NOT NULL)",
                (batch.0, millis(now)),
            )
            .map(|changed| changed == 1)
        })
    }

    /// The batch that was opened last.
    pub fn newest_batch(&self) -> Result<Option<BatchId>, LedgerError> {
        self.read("find the newest batch", |sql| {
            let id: Option<i64> = sql.query_row("SELECT max(id) FROM batches", [], |row| row.get(0))?;
            Ok(id.map(BatchId))
        })
    }

    /// Whether a batch that was opened after this one has lines; `None`: whether any has.
    pub fn has_lines_after(&self, batch: Option<BatchId>) -> Result<bool, LedgerError> {
        let after = batch.map_or(i64::MIN, |id| id.0);
        self.read("look for newer lines", |sql| {
            let newer = "SELECT EXISTS (SELECT 1 FROM batches WHERE id > ?1 AND bytes > 0)";
            sql.query_row(newer, [after], |row| row.get(0))
        })
    }

    /// The open batches of all groups, and every batch opened after `after` (all, if `None`), in the order of opening.
    pub fn live_batches(&self, after: Option<BatchId>) -> Result<Vec<Batch>, LedgerError> {
        let values = [after.map_or(i64::MIN, |id| id.0)];
        self.list("list live batches", LIVE_BATCHES, values, Batch::from_row)
    }

    /// A batch by its number. A batch that stayed empty may have been discarded.
    pub fn batch(&self, id: BatchId) -> Result<Option<Batch>, LedgerError> {
        self.read("find a batch", |sql| by_id(sql, id).optional())
    }
}

fn in_state(state: BatchState) -> &'static str {
    if state == BatchState::Sent {
        // Of millions of sent batches few have a file. The `+` keeps SQLite from the index of states, for that of files.
        "SELECT * FROM batches WHERE +state = ?1 AND expired_at IS NULL ORDER BY window_start, part, source"
    } else {
        "SELECT * FROM batches WHERE state = ?1 AND expired_at IS NULL ORDER BY window_start, part, source"
    }
}

/// Whether no further part may follow this one. In a rebuilt ledger the numbers begin after [`FORGOTTEN_PARTS`].
pub const fn is_last_part(part: u32) -> bool {
    match part.checked_sub(FORGOTTEN_PARTS) {
        Some(since_rebuild) if since_rebuild > 0 => since_rebuild >= PARTS_MAX,
        _ => part >= PARTS_MAX,
    }
}

fn open(sql: &Connection, new: &NewBatch, now: Timestamp) -> SqlResult<Batch> {
    let part = sql
        .prepare_cached(
            "SELECT coalesce(max(part),
                (SELECT max(last) FROM (SELECT ?4 AS last FROM rebuilt WHERE source = ?2 AND newest_window >= ?3
                    UNION ALL SELECT last_part FROM forgotten_sources WHERE source = ?2 AND newest_window >= ?3)),
                0) + 1
             FROM (SELECT part FROM batches WHERE base_name = ?1
                   UNION ALL SELECT part FROM given_names WHERE base_name = ?1)",
        )?
        .query_row(
            (
                &new.base_name,
                new.source.as_str(),
                new.window.start,
                FORGOTTEN_PARTS,
            ),
            |row| row.get(0),
        )?;
    let part = free_part(sql, &new.base_name, part)?;
    let id = insert(sql, new, part, now)?;
    by_id(sql, id)
}

/// The first part from `part` on whose file has a name that no batch was given. A part of another window has the same if
/// a log is named like a part: part 2 of `a_shop` is `a_shop.2`, and so is part 1 of `a_shop.2`.
fn free_part(sql: &Connection, base_name: &str, mut part: u32) -> SqlResult<u32> {
    let mut given = sql.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM batches WHERE base_name = ?1 AND part = ?2)
             OR EXISTS (SELECT 1 FROM given_names WHERE base_name = ?1 AND part = ?2)",
    )?;
    loop {
        let full;
        let like = if part == 1 {
            split_part(base_name)
        } else {
            full = format!("{base_name}.{part}");
            Some((full.as_str(), 1))
        };
        let Some(like) = like else { return Ok(part) };
        if !given.query_row(like, |row| row.get(0))? {
            return Ok(part);
        }
        part = part.saturating_add(1);
    }
}

/// The window's name and the part in the name of a later part.
fn split_part(name: &str) -> Option<(&str, u32)> {
    let (base, text) = name.rsplit_once('.')?;
    let part: u32 = text.parse().ok().filter(|part| *part > 1)?;
    // Parts are written without leading zeros and signs.
    (part.to_string() == text).then_some((base, part))
}

/// Inserts an open batch without lines.
pub(crate) fn insert(
    sql: &Connection,
    new: &NewBatch,
    part: u32,
    opened_at: Timestamp,
) -> SqlResult<BatchId> {
    sql.prepare_cached(
        "INSERT INTO batches (source, grp, log, window_start, window_seconds, utc_offset, base_name, part,
                              state, opened_at)
         VALUES (:source, :grp, :log, :start, :seconds, :utc_offset, :base_name, :part, 'open', :now)",
    )?
    .execute(named_params! {
        ":source": new.source.as_str(),
        ":grp": new.group.as_str(),
        ":log": new.log.as_ref().map(LogName::as_str),
        ":start": new.window.start,
        ":seconds": new.window.seconds,
        ":utc_offset": new.window.utc_offset,
        ":base_name": new.base_name,
        ":part": part,
        ":now": millis(opened_at),
    })?;
    Ok(BatchId(sql.last_insert_rowid()))
}

pub(crate) fn by_id(sql: &Connection, id: BatchId) -> SqlResult<Batch> {
    sql.prepare_cached("SELECT * FROM batches WHERE id = ?1")?
        .query_row([id.0], Batch::from_row)
}

/// Updates size and checksum of an open batch.
pub(crate) fn grow(sql: &Connection, id: BatchId, contents: BatchContents) -> SqlResult<usize> {
    sql.prepare_cached(
        "UPDATE batches SET lines = ?2, bytes = ?3, crc32c = ?4 WHERE id = ?1 AND state = 'open'",
    )?
    .execute((
        id.0,
        signed(contents.lines),
        signed(contents.bytes),
        contents.crc32c,
    ))
}

#[cfg(test)]
mod tests {
    use super::in_state;
    use crate::tests::{TestResult, ledger, new_batch, now};
    use crate::{BatchState, LedgerError, NewBatch};

    #[test]
    fn batches_in_a_state_are_found_without_reading_what_has_expired() -> TestResult {
        let (_dir, ledger) = ledger()?;
        for (state, index) in BatchState::ALL.into_iter().map(|state| match state {
            BatchState::Sent => (state, "batches_spooled"),
            _ => (state, "batches_by_state"),
        }) {
            let query = format!("EXPLAIN QUERY PLAN {}", in_state(state));
            let plan: Vec<String> = ledger.list("explain", &query, [state.as_str()], |row| row.get(3))?;
            assert!(plan.iter().any(|step| step.contains(index)), "{state}: {plan:?}");
        }
        Ok(())
    }

    #[test]
    fn batch_that_is_not_open_is_not_sealed_in_silence() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        let [gone, open] = [
            ledger.open_batch(&new_batch(), now())?,
            ledger.open_batch(&new_batch(), now())?,
        ];
        ledger.discard_empty_batch(gone.id)?;
        let sealed = ledger.seal_batches([open.id, gone.id], now());
        assert!(matches!(sealed, Err(LedgerError::Conflict { .. })), "{sealed:?}");
        assert_eq!(ledger.batch(open.id)?, Some(open), "all or none");
        Ok(())
    }

    #[test]
    fn no_two_batches_have_one_file_though_a_log_is_named_like_a_part() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        let of_log = |log: &str| NewBatch {
            log: log.parse().ok(),
            base_name: format!("a_{log}"),
            ..new_batch()
        };
        let logs = [
            "shop", "shop.2", "shop", "shop.4", "shop", "shop", "shop.3", "shop.02",
        ];
        let names: Vec<String> = ledger
            .open_all(&logs.map(of_log), now())?
            .iter()
            .map(crate::Batch::name)
            .collect();
        assert_eq!(
            names,
            [
                "a_shop",
                "a_shop.2",
                "a_shop.3",
                "a_shop.4",
                "a_shop.5",
                "a_shop.6",
                "a_shop.3.2",
                "a_shop.02"
            ]
        );
        for (name, log) in names.iter().zip(logs) {
            let found = ledger.batch_named(name)?.and_then(|batch| batch.log);
            assert_eq!(found, log.parse().ok(), "{name}");
        }
        Ok(())
    }
}
