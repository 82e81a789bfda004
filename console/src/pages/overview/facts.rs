//! Reads what the overview shows, and keeps it for some seconds: many readers cost the disk as much as one.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use logferry_inspection::status::StatusReport;
use logferry_inspection::time::age;
use logferry_ledger::{Batch, BatchFilter};
use logferry_numbers::{IndexReader, NumbersDimension, NumbersQuery};
use logferry_text::error_chain;
use tokio::sync::Mutex;

use super::day_counts::DayCounts;
use crate::answer::problem::Problem;
use crate::app::state::AppState;
use crate::host::{ReadHost, blocking};

/// What is younger is shown as it is.
const FRESH: Duration = Duration::from_secs(4);

/// What is younger is shown while somebody else reads it anew.
const USABLE: Duration = Duration::from_secs(30);

/// What the overview shows, as it was at one moment.
#[derive(Debug)]
pub(crate) struct OverviewFacts {
    pub(crate) read_at: Timestamp,
    pub(crate) status: StatusReport,
    /// The indexer's numbers, or why there are none.
    pub(crate) counts: Result<DayCounts, String>,
    /// The batches of the last 24 hours.
    pub(crate) batches: Vec<Batch>,
}

/// The last look.
#[derive(Debug, Default)]
pub(crate) struct OverviewCache {
    kept: std::sync::Mutex<Option<Arc<OverviewFacts>>>,
    /// Held by the one who reads.
    reading: Mutex<()>,
}

impl OverviewCache {
    /// What was read a moment ago, or is read now.
    pub(crate) async fn read(&self, state: &AppState) -> Result<Arc<OverviewFacts>, Problem> {
        let guard = self.reading.try_lock();
        if let Some(kept) = self.younger_than(FRESH) {
            return Ok(kept);
        }
        let _guard = if let Ok(guard) = guard {
            guard
        } else {
            if let Some(kept) = self.younger_than(USABLE) {
                return Ok(kept);
            }
            let guard = self.reading.lock().await;
            if let Some(kept) = self.younger_than(FRESH) {
                return Ok(kept);
            }
            guard
        };
        let before = self.kept().clone();
        let facts = Arc::new(read(state, before).await?);
        *self.kept() = Some(Arc::clone(&facts));
        Ok(facts)
    }

    fn younger_than(&self, age_max: Duration) -> Option<Arc<OverviewFacts>> {
        let kept = self.kept().clone();
        kept.filter(|facts| age(facts.read_at, Timestamp::now()) < age_max)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Arc<OverviewFacts>>> {
        self.kept
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

async fn read(state: &AppState, before: Option<Arc<OverviewFacts>>) -> Result<OverviewFacts, Problem> {
    let now = Timestamp::now();
    let status = state.status_at(now).await?;
    let since = now.checked_sub(SignedDuration::from_hours(24)).unwrap_or(now);
    let filter = BatchFilter {
        since: Some(since),
        ..BatchFilter::default()
    };
    let batches = state.host.ledger(move |ledger| ledger.batches(&filter)).await?;
    let host = state.host.clone();
    let counts = blocking(move || Ok(day_counts(&host, before.as_deref(), now.as_second()))).await?;
    Ok(OverviewFacts {
        read_at: now,
        status,
        counts,
        batches,
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
