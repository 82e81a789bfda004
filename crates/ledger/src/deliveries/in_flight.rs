//! The batches that are just on their way: how far they are, for people to look at. Nothing is decided by it.

use jiff::Timestamp;
use logferry_protocol::names::DestinationName;

use crate::batches::BatchId;
use crate::row::{self, millis, signed};
use crate::{Ledger, LedgerError};

/// How far a batch is on its way to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferRecord {
    /// The batch.
    pub batch: BatchId,
    /// Bytes of it that are done.
    pub bytes_done: u64,
    /// Its size in bytes.
    pub bytes_total: u64,
    /// How fast it gets on at present; 0 until that is known.
    pub bytes_per_second: u64,
}

impl Ledger {
    /// Notes what is on its way to a destination, in place of what was.
    pub fn record_transfers(
        &mut self,
        destination: &DestinationName,
        batches: &[TransferRecord],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write("note what is in flight", |sql| {
            sql.execute(
                "DELETE FROM in_flight WHERE destination = ?1",
                [destination.as_str()],
            )?;
            let mut insert = sql.prepare_cached(
                "INSERT OR REPLACE INTO in_flight
                     (destination, batch, bytes_done, bytes_total, bytes_per_second, noted_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for it in batches {
                insert.execute((
                    destination.as_str(),
                    it.batch.0,
                    signed(it.bytes_done),
                    signed(it.bytes_total),
                    signed(it.bytes_per_second),
                    millis(now),
                ))?;
            }
            Ok(())
        })
    }

    /// What is on its way to a destination, with the names of the batches, as far as it was noted at `since` or later:
    /// what is older was left by a forwarder that was killed.
    pub fn transfers(
        &self,
        destination: &DestinationName,
        since: Timestamp,
    ) -> Result<Vec<TransferRecord>, LedgerError> {
        self.read("list what is in flight", |sql| {
            sql.prepare_cached(
                "SELECT * FROM in_flight WHERE destination = ?1 AND noted_at >= ?2 ORDER BY batch",
            )?
            .query_map((destination.as_str(), millis(since)), |row| {
                Ok(TransferRecord {
                    batch: BatchId(row.get("batch")?),
                    bytes_done: row::count(row, "bytes_done")?,
                    bytes_total: row::count(row, "bytes_total")?,
                    bytes_per_second: row::count(row, "bytes_per_second")?,
                })
            })?
            .collect()
        })
    }
}
