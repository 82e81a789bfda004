//! Batches as a day's picture needs them: a day of 300 sources has 21,600.

use jiff::Timestamp;
use logferry_time_windows::Window;
use rusqlite::params_from_iter;

use super::batch::{BatchFilter, BatchState};
use crate::{Ledger, LedgerError, row};

/// What a picture shows of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchOutline {
    /// The source of its lines.
    pub source: String,
    /// The window of its lines.
    pub window: Window,
    /// Its state.
    pub state: BatchState,
    /// Its bytes.
    pub bytes: u64,
    /// When it was delivered to the last destination.
    pub sent_at: Option<Timestamp>,
}

impl Ledger {
    /// The batches that match the filter, in no order.
    pub fn outlines(&self, filter: &BatchFilter) -> Result<Vec<BatchOutline>, LedgerError> {
        let (condition, values) = filter.condition();
        let query = format!(
            "SELECT source, window_start, window_seconds, utc_offset, state, bytes, sent_at FROM batches b WHERE {condition}"
        );
        self.list("list batches", &query, params_from_iter(values), |row| {
            Ok(BatchOutline {
                source: row.get(0)?,
                window: Window {
                    start: row.get(1)?,
                    seconds: row.get(2)?,
                    utc_offset: row.get(3)?,
                },
                state: row::variant_at(row, 4)?,
                bytes: row.get(5)?,
                sent_at: row::optional_time_at(row, 6)?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::NewBatch;
    use crate::tests::{TestResult, ledger, new_batch, now};

    #[test]
    fn filter_takes_windows_that_reach_into_its_time() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        let window = |start| Window {
            start,
            ..new_batch().window
        };
        let first = new_batch().window.start;
        for (number, start) in [first, first + 1200, first + 2400].into_iter().enumerate() {
            let new = NewBatch {
                window: window(start),
                base_name: format!("b-{number}"),
                ..new_batch()
            };
            ledger.open_batch(&new, now())?;
        }
        let time = |second: i64| Timestamp::from_second(first + second).ok();
        let starts = |since, until| -> Result<Vec<_>, LedgerError> {
            let filter = BatchFilter {
                since,
                until,
                ..BatchFilter::default()
            };
            let (outlines, batches) = (ledger.outlines(&filter)?, ledger.batches(&filter)?);
            let starts: Vec<_> = outlines.iter().map(|it| it.window.start - first).collect();
            let others: Vec<_> = batches.iter().map(|it| it.window.start - first).collect();
            assert_eq!(starts, others);
            assert_eq!(ledger.spooled_batches(&filter, |_| true)?.len(), others.len());
            Ok(starts)
        };
        assert_eq!(starts(None, None)?, [0, 1200, 2400]);
        assert_eq!(starts(time(1199), None)?, [0, 1200, 2400]);
        assert_eq!(starts(time(1200), None)?, [1200, 2400]);
        assert_eq!(starts(time(1199), time(1200))?, [0]);
        assert_eq!(starts(None, time(1201))?, [0, 1200]);
        let later = now() + SignedDuration::from_hours(24);
        assert_eq!(starts(Some(later), None)?, [0; 0]);
        Ok(())
    }
}
