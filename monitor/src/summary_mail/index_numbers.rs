//! What the indexer has counted, for the mail: lines a minute of the last day, and the statuses.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use logferry_numbers::{IndexError, IndexReader, NumbersDimension, NumbersQuery};
use logferry_text::error_chain;

use crate::summary::period::SummaryPeriod;
use crate::time::later;

/// Steps of the picture: five minutes each.
pub(crate) const STEPS: usize = 288;
const STEP_SECONDS: i64 = 300;

/// One query is for so long. All minutes of a day with 300 sources would take 200 MB at once.
const QUERY_SECONDS: i64 = 3600;

/// Lines, and those of them that say 5xx.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StatusCount {
    pub(crate) lines: u64,
    pub(crate) server_errors: u64,
    /// Lines with any status: the share is of these.
    pub(crate) with_status: u64,
}

/// What the indexer knows of the last day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IndexNumbers {
    /// Lines of each source in each step of the 24 hours until the period's end.
    pub(crate) steps: BTreeMap<String, Vec<u64>>,
    /// Lines in each step of the day before.
    pub(crate) steps_before: Vec<u64>,
    /// Of each source in the period.
    pub(crate) statuses: BTreeMap<String, StatusCount>,
    /// Of all sources in the time that the period is compared with.
    pub(crate) compared: StatusCount,
}

/// The indexer's numbers, or why there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IndexFacts {
    Numbers(Box<IndexNumbers>),
    /// There is no indexer.
    Absent,
    /// Its numbers cannot be read.
    Unreadable(String),
}

impl IndexFacts {
    /// Reads what the mail of a period needs.
    pub(crate) fn read(store_dir: Option<&Path>, period: &SummaryPeriod, compared: &SummaryPeriod) -> Self {
        let Some(store_dir) = store_dir else {
            return Self::Absent;
        };
        match read(store_dir, period, compared) {
            Ok(numbers) => Self::Numbers(Box::new(numbers)),
            Err(IndexError::Missing { .. }) => Self::Absent,
            Err(error) => Self::Unreadable(error_chain(&error)),
        }
    }

    pub(crate) fn numbers(&self) -> Option<&IndexNumbers> {
        match self {
            Self::Numbers(numbers) => Some(numbers),
            Self::Absent | Self::Unreadable(_) => None,
        }
    }
}

fn read(
    store_dir: &Path,
    period: &SummaryPeriod,
    compared: &SummaryPeriod,
) -> Result<IndexNumbers, IndexError> {
    let reader = IndexReader::open(store_dir)?;
    let (from, until) = period.last_day();
    let mut numbers = IndexNumbers {
        steps_before: vec![0; STEPS],
        ..IndexNumbers::default()
    };
    for (since, until) in hours(from.min(period.start), until) {
        let rows = reader.numbers(&query(since, until, Some(NumbersDimension::Source)))?;
        for row in rows {
            let source = row.value.unwrap_or_default();
            if (period.start.as_second()..period.end.as_second()).contains(&row.start) {
                add(numbers.statuses.entry(source.clone()).or_default(), &row.counts);
            }
            let steps = numbers.steps.entry(source).or_insert_with(|| vec![0; STEPS]);
            add_step(steps, row.start - from.as_second(), row.counts.lines());
        }
    }
    let day = SignedDuration::from_hours(24);
    let (before, until) = (later(from, -day), later(until, -day));
    for (since, until) in hours(before.min(compared.start), until.max(compared.end)) {
        for row in reader.numbers(&query(since, until, None))? {
            if (compared.start.as_second()..compared.end.as_second()).contains(&row.start) {
                add(&mut numbers.compared, &row.counts);
            }
            add_step(
                &mut numbers.steps_before,
                row.start - before.as_second(),
                row.counts.lines(),
            );
        }
    }
    Ok(numbers)
}

fn query(since: i64, until: i64, by: Option<NumbersDimension>) -> NumbersQuery {
    NumbersQuery {
        since: Some(since),
        until: Some(until),
        by,
        ..NumbersQuery::default()
    }
}

/// The time in pieces of an hour.
fn hours(from: Timestamp, until: Timestamp) -> impl Iterator<Item = (i64, i64)> {
    let (from, until) = (from.as_second(), until.as_second());
    let starts = std::iter::successors(Some(from), |start| Some(start + QUERY_SECONDS));
    let starts = starts.take_while(move |start| *start < until);
    starts.map(move |start| (start, (start + QUERY_SECONDS).min(until)))
}

fn add(count: &mut StatusCount, counts: &logferry_numbers::Counts) {
    let statuses = counts.statuses().map(|(lines, _)| lines);
    count.lines += counts.lines();
    count.with_status += statuses.iter().sum::<u64>();
    let [.., server_errors] = statuses;
    count.server_errors += server_errors;
}

fn add_step(steps: &mut [u64], after_start: i64, lines: u64) {
    let index = usize::try_from(after_start.div_euclid(STEP_SECONDS));
    if let Some(step) = index.ok().and_then(|index| steps.get_mut(index)) {
        *step += lines;
    }
}
