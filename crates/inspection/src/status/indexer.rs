//! How far the indexer is, by its own record.

use std::time::Duration;

use jiff::Timestamp;
use logferry_ledger::{Batch, BatchId, Ledger, LedgerError};
use logferry_numbers::{IndexGap, IndexReader, IndexState, SinkState};
use serde::Serialize;

use super::roles::WatchedRole;
use crate::time::{age, clamped_timestamp};

/// The name of the role. Its folder has the index.
const INDEXER: &str = "indexer";

/// A gap is news for so long. The index keeps it.
const GAP_SHOWN: Duration = Duration::from_hours(24);

/// How far the indexer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IndexerStatus {
    /// When it recorded what it had read.
    pub recorded_at: Option<Timestamp>,
    /// Durable bytes that it had not read then.
    pub lag_bytes: u64,
    /// Durable lines that it had not read then.
    pub lag_lines: u64,
    /// For how long the oldest of them had waited.
    pub lag_seconds: u64,
    /// Stretches of batches that are in neither numbers nor search.
    pub gaps: u64,
    /// Bytes in them.
    pub gap_bytes: u64,
    /// Those of them that were noticed within the last 24 hours.
    pub recent_gaps: u64,
    /// Bytes in those.
    pub recent_gap_bytes: u64,
    /// Whether it has read all that is durable now.
    pub has_all: bool,
    /// How far lines are sent to OpenSearch; `None` if none ever were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opensearch: Option<SinkStatus>,
}

impl IndexerStatus {
    /// Whether lines wait for it, and it has recorded nothing for so long. It may run all the same, and fail each time.
    pub fn is_stuck(&self, limit: Duration, now: Timestamp) -> bool {
        !self.has_all && self.recorded_at.is_none_or(|at| age(at, now) >= limit)
    }
}

/// How far lines are sent to OpenSearch, by the sink's own record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkStatus {
    /// When it recorded what it had sent.
    pub recorded_at: Option<Timestamp>,
    /// Durable bytes that it had not sent then.
    pub lag_bytes: u64,
    /// Durable lines that it had not sent then.
    pub lag_lines: u64,
    /// For how long the oldest of them had waited.
    pub lag_seconds: u64,
    /// Lines that are in an index.
    pub documents: u64,
    /// Lines that the server refused; they are set aside.
    pub refused: u64,
    /// Stretches of batches that were gone before they were sent.
    pub gaps: u64,
    /// Bytes in them.
    pub gap_bytes: u64,
    /// Why it waits for the server.
    pub trouble: Option<String>,
}

impl SinkStatus {
    fn new(state: SinkState) -> Self {
        let SinkState {
            index,
            totals,
            trouble,
        } = state;
        Self {
            recorded_at: recorded_at(&index),
            lag_bytes: index.lag.bytes,
            lag_lines: index.lag.lines,
            lag_seconds: index.lag.seconds,
            documents: totals.documents,
            refused: totals.refused,
            gaps: totals.gaps,
            gap_bytes: totals.gap_bytes,
            trouble,
        }
    }
}

fn recorded_at(state: &IndexState) -> Option<Timestamp> {
    state.recorded_at.and_then(|at| Timestamp::from_second(at).ok())
}

/// `None` if there is no index yet, or it cannot be read now: the status of everything else counts more.
pub(super) fn status(
    ledger: &Ledger,
    roles: &[WatchedRole<'_>],
    now: Timestamp,
) -> Result<Option<IndexerStatus>, LedgerError> {
    let is_indexer = |role: &&WatchedRole<'_>| role.name == INDEXER && role.is_configured;
    let Some(record) = roles.iter().find(is_indexer).and_then(read) else {
        return Ok(None);
    };
    let IndexRecord { state, gaps, sink } = record;
    let recent = gaps.iter();
    let recent = recent.filter(|gap| age(clamped_timestamp(gap.noticed_at), now) <= GAP_SHOWN);
    Ok(Some(IndexerStatus {
        recorded_at: recorded_at(&state),
        lag_bytes: state.lag.bytes,
        lag_lines: state.lag.lines,
        lag_seconds: state.lag.seconds,
        gaps: gaps.len().try_into().unwrap_or(u64::MAX),
        gap_bytes: gaps.iter().map(|gap| gap.bytes).sum(),
        recent_gaps: recent.clone().count().try_into().unwrap_or(u64::MAX),
        recent_gap_bytes: recent.map(|gap| gap.bytes).sum(),
        has_all: has_all(ledger, &state)?,
        opensearch: sink.map(SinkStatus::new),
    }))
}

/// What the index says of itself.
struct IndexRecord {
    state: IndexState,
    gaps: Vec<IndexGap>,
    sink: Option<SinkState>,
}

fn read(role: &WatchedRole<'_>) -> Option<IndexRecord> {
    let reader = IndexReader::open(role.folder).ok()?;
    Some(IndexRecord {
        state: reader.state().ok()?,
        gaps: reader.gaps(i64::MIN).ok()?,
        sink: reader.sink_state().ok()?,
    })
}

/// Whether the index has all that the ledger has. The index must be read first, so that it never seems to have more than it has.
pub fn has_all(ledger: &Ledger, state: &IndexState) -> Result<bool, LedgerError> {
    if state.lag.bytes > 0 || state.ledger.as_deref() != Some(ledger.id()?.to_string().as_str()) {
        return Ok(false);
    }
    let is_read = |batch: &Batch| {
        let read = state
            .batches
            .get(&batch.name())
            .map_or(0, |progress| progress.bytes);
        batch.contents.bytes <= read
    };
    // A batch that was sealed since the index was written is neither open nor newer than what the index knows.
    for (name, _) in state.batches.iter().filter(|(_, progress)| !progress.is_read) {
        if ledger.batch_named(name)?.is_some_and(|batch| !is_read(&batch)) {
            return Ok(false);
        }
    }
    let newest = state.newest_batch.map(BatchId::of_number);
    Ok(ledger.live_batches(newest)?.iter().all(is_read))
}
