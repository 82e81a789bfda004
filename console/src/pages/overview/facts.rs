//! Reads what the overview shows, and keeps it for some seconds: many readers cost the disk as much as one.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use logferry_ledger::{BatchFilter, BatchOutline, DiskRecord, Ledger, LedgerError};
use logferry_numbers::{IndexReader, NumbersDimension, NumbersQuery};
use logferry_text::error_chain;

use super::day_counts::DayCounts;
use crate::answer::problem::Problem;
use crate::app::kept_read::{KeptAges, KeptRead};
use crate::app::state::AppState;
use crate::host::{ReadHost, blocking};

/// How often this is read while nobody looks: a visit is never the first after long, and a minute of charts of 300 sources is some
/// tenths of a second of work, most of it for older hours.
pub(crate) const READ_EVERY: Duration = Duration::from_mins(1);

/// What is older than fresh is shown once more, and read anew behind it: the page fetches its parts again after seconds. The
/// state of the pipeline, by which people judge, is not kept here.
const AGES: KeptAges = KeptAges {
    fresh: Duration::from_secs(4),
    usable: READ_EVERY.saturating_add(Duration::from_secs(30)),
};

/// What the charts of the overview show, as it was at one moment.
#[derive(Debug)]
pub(crate) struct OverviewFacts {
    pub(crate) read_at: Timestamp,
    /// The indexer's numbers, or why there are none.
    pub(crate) counts: Result<DayCounts, String>,
    /// The batches of the last 24 hours.
    pub(crate) batches: Vec<BatchOutline>,
    /// The disk in the last 24 hours, as the monitor saw it.
    pub(crate) disk: Vec<DiskRecord>,
}

/// The last look.
#[derive(Debug, Default)]
pub(crate) struct OverviewCache(Arc<KeptRead<OverviewFacts>>);

impl OverviewCache {
    /// What was read a moment ago, or is read now.
    pub(crate) async fn read(&self, state: &AppState) -> Result<Arc<OverviewFacts>, Problem> {
        let state = state.clone();
        self.0.get(AGES, |before| read(state, before)).await
    }
}

async fn read(state: AppState, before: Option<Arc<OverviewFacts>>) -> Result<OverviewFacts, Problem> {
    let now = Timestamp::now();
    let since = now.checked_sub(SignedDuration::from_hours(24)).unwrap_or(now);
    let filter = BatchFilter {
        since: Some(since),
        ..BatchFilter::default()
    };
    let read = move |ledger: &Ledger| -> Result<_, LedgerError> {
        Ok((ledger.outlines(&filter)?, ledger.disk_history(since)?))
    };
    let (batches, disk) = state.host.ledger(read).await?;
    let host = state.host.clone();
    let counts = blocking(move || Ok(day_counts(&host, before.as_deref(), now.as_second()))).await?;
    Ok(OverviewFacts {
        read_at: now,
        counts,
        batches,
        disk,
    })
}

fn day_counts(host: &ReadHost, before: Option<&OverviewFacts>, now: i64) -> Result<DayCounts, String> {
    let reader = IndexReader::open(host.store_dir()).map_err(|error| error_chain(&error))?;
    let known = before.and_then(|facts| facts.counts.as_ref().ok());
    let mut counts = known.cloned().unwrap_or_default();
    for (since, until) in counts.due(now) {
        let query = NumbersQuery {
            since: Some(since),
            until: Some(until),
            by: Some(NumbersDimension::Source),
            ..NumbersQuery::default()
        };
        let rows = reader.numbers(&query).map_err(|error| error_chain(&error))?;
        counts.add((since, until), &rows, now);
    }
    Ok(counts)
}
