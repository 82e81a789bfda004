//! One pass over the batches and their deliveries, for sums over millions of them. Borrows the rows: nothing is allocated
//! for a batch.

use jiff::Timestamp;
use logferry_time_windows::Window;
use rusqlite::{Result as SqlResult, Row, params_from_iter};

use super::batch::{BatchFilter, BatchId, BatchState};
use crate::{Ledger, LedgerError, row};

/// A batch, as the row says.
#[derive(Debug, Clone, Copy)]
pub struct ScannedBatch<'a> {
    /// Its number.
    pub id: BatchId,
    /// The source of its lines.
    pub source: &'a str,
    /// The group of that source.
    pub group: &'a str,
    /// The log, if the name template distinguishes logs.
    pub log: Option<&'a str>,
    /// The window of its lines.
    pub window: Window,
    /// The name of the window's first part, without `.log`.
    pub base_name: &'a str,
    /// 1 for the first file of the window, 2 for the next.
    pub part: u32,
    /// Its state.
    pub state: BatchState,
    /// Its lines.
    pub lines: u64,
    /// Its bytes.
    pub bytes: u64,
    /// When it was delivered to the last destination.
    pub sent_at: Option<Timestamp>,
    /// Whether its file may have been deleted.
    pub is_expired: bool,
}

/// A completed delivery of the scanned batch.
#[derive(Debug, Clone, Copy)]
pub struct ScannedDelivery<'a> {
    /// The destination.
    pub destination: &'a str,
    /// When it was delivered.
    pub delivered_at: Timestamp,
    /// Whether that was presumed and never proved.
    pub is_presumed: bool,
    /// When it was last published once more on request.
    pub resent_at: Option<Timestamp>,
}

/// What a scan tells, in this order: a batch, then each of its completed deliveries, then the next batch.
#[derive(Debug, Clone, Copy)]
pub enum Scanned<'a> {
    /// The next batch.
    Batch(ScannedBatch<'a>),
    /// A delivery of the batch before.
    Delivery(ScannedDelivery<'a>),
}

impl Ledger {
    /// Visits the batches that match the filter, in no order, each with its completed deliveries.
    pub fn scan_batches(
        &self,
        filter: &BatchFilter,
        mut visit: impl FnMut(Scanned<'_>),
    ) -> Result<(), LedgerError> {
        self.read("read all batches", |sql| {
            let (condition, values) = filter.condition();
            let mut query = sql.prepare_cached(&query_for(filter, &condition))?;
            let mut rows = query.query(params_from_iter(values))?;
            let mut last = None;
            while let Some(row) = rows.next()? {
                // The rows of one batch follow each other: its deliveries are looked up for it.
                let id = BatchId(row.get(0)?);
                if last != Some(id) {
                    visit(Scanned::Batch(batch(row, id)?));
                    last = Some(id);
                }
                if let Some(delivery) = delivery(row)? {
                    visit(Scanned::Delivery(delivery));
                }
            }
            Ok(())
        })
    }

    /// When each destination received its first batch.
    pub fn first_deliveries(&self) -> Result<Vec<(String, Timestamp)>, LedgerError> {
        let query = "SELECT destination, min(delivered_at) AS first FROM deliveries
                     WHERE delivered_at IS NOT NULL GROUP BY destination";
        self.list("find the first deliveries", query, [], |row| {
            Ok((row.get("destination")?, row::time(row, "first")?))
        })
    }
}

/// Without a source, the table is read as it lies: an index would only lead to each row by a detour.
fn query_for(filter: &BatchFilter, condition: &str) -> String {
    let index = match (&filter.source, filter.since) {
        (None, None) => "NOT INDEXED",
        _ => "",
    };
    format!(
        "SELECT b.id, b.source, b.grp, b.log, b.window_start, b.window_seconds, b.utc_offset, b.base_name, b.part,
                b.state, b.lines, b.bytes, b.sent_at, b.expired_at IS NOT NULL,
                d.destination, d.delivered_at, d.presumed, d.resent_at
         FROM batches b {index} LEFT JOIN deliveries d ON d.batch = b.id AND d.delivered_at IS NOT NULL
         WHERE {condition}"
    )
}

fn batch<'a>(row: &'a Row<'_>, id: BatchId) -> SqlResult<ScannedBatch<'a>> {
    Ok(ScannedBatch {
        id,
        source: row.get_ref(1)?.as_str()?,
        group: row.get_ref(2)?.as_str()?,
        log: row.get_ref(3)?.as_str_or_null()?,
        window: Window {
            start: row.get(4)?,
            seconds: row.get(5)?,
            utc_offset: row.get(6)?,
        },
        base_name: row.get_ref(7)?.as_str()?,
        part: row.get(8)?,
        state: row::variant_at(row, 9)?,
        lines: row.get(10)?,
        bytes: row.get(11)?,
        sent_at: row::optional_time_at(row, 12)?,
        is_expired: row.get(13)?,
    })
}

fn delivery<'a>(row: &'a Row<'_>) -> SqlResult<Option<ScannedDelivery<'a>>> {
    let (destination, delivered_at) = (
        row.get_ref(14)?.as_str_or_null()?,
        row::optional_time_at(row, 15)?,
    );
    let Some((destination, delivered_at)) = destination.zip(delivered_at) else {
        return Ok(None);
    };
    Ok(Some(ScannedDelivery {
        destination,
        delivered_at,
        is_presumed: row.get(16)?,
        resent_at: row::optional_time_at(row, 17)?,
    }))
}
