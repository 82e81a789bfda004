//! Transfers in progress, for display only. No decision depends on them.

use jiff::Timestamp;
use logferry_protocol::names::DestinationName;

use crate::batches::BatchId;
use crate::row::{millis, signed};
use crate::{Ledger, LedgerError};

/// The progress of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferRecord {
    /// The batch.
    pub batch: BatchId,
    /// Bytes transferred.
    pub bytes_done: u64,
    /// Its size in bytes.
    pub bytes_total: u64,
    /// The current rate; 0 until it is known.
    pub bytes_per_second: u64,
}

impl Ledger {
    /// Replaces the transfers in progress of a destination.
    pub fn record_transfers(
        &mut self,
        destination: &DestinationName,
        batches: &[TransferRecord],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write("record transfers in progress", |sql| {
            sql.execute(
                "DELETE FROM in_flight WHERE destination = ?1",
                [destination.as_str()],
            )?;
            let mut insert = sql.prepare_cached(
                "INSERT OR REPLACE INTO in_flight
                     (destination, batch, bytes_done, bytes_total, bytes_per_second, noted_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for transfer in batches {
                insert.execute((
                    destination.as_str(),
                    transfer.batch.0,
                    signed(transfer.bytes_done),
                    signed(transfer.bytes_total),
                    signed(transfer.bytes_per_second),
                    millis(now),
                ))?;
            }
            Ok(())
        })
    }

    /// The transfers in progress of a destination that were recorded at `since` or later. Older ones are left from a
    /// forwarder that was killed.
    pub fn transfers(
        &self,
        destination: &DestinationName,
        since: Timestamp,
    ) -> Result<Vec<TransferRecord>, LedgerError> {
        let query = "SELECT * FROM in_flight WHERE destination = ?1 AND noted_at >= ?2 ORDER BY batch";
        let values = (destination.as_str(), millis(since));
        self.list("list transfers in progress", query, values, |row| {
            Ok(TransferRecord {
                batch: BatchId(row.get("batch")?),
                bytes_done: row.get("bytes_done")?,
                bytes_total: row.get("bytes_total")?,
                bytes_per_second: row.get("bytes_per_second")?,
            })
        })
    }
}
