//! Reads what rules need from `index.db` and the ledger.

use std::path::Path;

use jiff::Timestamp;
use logferry_config::RuleSettings;
use logferry_inspection::status::has_all;
use logferry_ledger::{Ledger, LedgerError};
use logferry_numbers::{CounterId, IndexError, IndexMoment, IndexReader, SeriesKey};

use crate::arrived_lines::ArrivedLines;
use crate::index_progress::{FinishedMinutes, IndexProgress, finished_minutes, seconds, span_start};
use crate::minute_sums::{CounterColumn, RuleNumbers};

/// A source, group or log is evaluated while it has had lines within so many seconds: a week.
const LATELY_SECONDS: i64 = 7 * 86_400;

/// An open `index.db`, and what all rules need of it.
#[derive(Debug)]
pub struct RuleReader {
    reader: IndexReader,
    counters: Vec<(String, CounterId)>,
    lately: Vec<SeriesKey>,
    first_minute: Option<i64>,
    arrived: ArrivedLines,
    /// The minutes that may be looked at.
    pub finished: FinishedMinutes,
}

/// Why no rule can be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum RuleReadError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// `index.db` cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl RuleReader {
    /// Opens the index. What it has is compared with the ledger afterwards, so that it never seems to have more than it has.
    pub fn open(store_dir: &Path, ledger: &Ledger, now: Timestamp) -> Result<Self, RuleReadError> {
        let reader = IndexReader::open(store_dir)?;
        let progress = progress(&reader.moment()?, ledger)?;
        Ok(Self {
            counters: reader.counters()?,
            lately: reader.series_since(now.as_second().saturating_sub(LATELY_SECONDS))?,
            first_minute: reader.first_minute()?,
            arrived: ArrivedLines::of(&ledger.sources()?),
            finished: finished_minutes(progress, now.as_second()),
            reader,
        })
    }

    /// What a rule needs to be evaluated at each minute from `since` to `until`; `None`: its counter was never counted.
    pub fn numbers(
        &self,
        rule: &RuleSettings,
        since: i64,
        until: i64,
    ) -> Result<Option<RuleNumbers>, IndexError> {
        let Some(column) = CounterColumn::of(&rule.counter, &self.counters) else {
            return Ok(None);
        };
        let numbers = RuleNumbers::new(rule, &self.lately, self.first_minute);
        let mut numbers = numbers.with_arrived(self.arrived.clone());
        let from = span_start(since, rule.over);
        let back = rule.measure.baseline().map(seconds);
        // The earlier minutes come first. Where both overlap, they are one.
        let ranges = match back {
            None => vec![(from, until)],
            Some(back) if until.saturating_sub(back) >= from => vec![(from.saturating_sub(back), until)],
            Some(back) => vec![
                (from.saturating_sub(back), until.saturating_sub(back)),
                (from, until),
            ],
        };
        for (from, until) in ranges {
            self.reader.each_minute(from, until, |minute, key, counts| {
                numbers.add(rule, column, minute, key, counts);
            })?;
        }
        Ok(Some(numbers))
    }
}

fn progress(moment: &IndexMoment<'_>, ledger: &Ledger) -> Result<IndexProgress, RuleReadError> {
    Ok(IndexProgress {
        recorded_at: moment.state().recorded_at,
        lag_seconds: moment.state().lag.seconds,
        has_all: has_all::<RuleReadError>(moment, ledger)?,
    })
}
