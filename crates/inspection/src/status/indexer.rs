//! How far the indexer is, by its own record.

use std::time::Duration;

use jiff::Timestamp;
use logferry_ledger::{BatchId, Ledger, LedgerError};
use logferry_numbers::{IndexError, IndexMoment, IndexReader, IndexState, SinkState};
use serde::Serialize;

use super::roles::WatchedRole;
use crate::time::{age, clamped_timestamp};

/// The name of the role. Its folder has the index.
const INDEXER: &str = "indexer";

/// A gap is news for so long. The index keeps it.
const GAP_SHOWN: Duration = Duration::from_hours(24);

/// An indexer reads within seconds what comes. After this time it is shown to stand still.
const STANDS_STILL_AFTER: Duration = Duration::from_mins(1);

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

    /// Whether it is stuck for so long that this is shown, which is before anybody is told.
    pub fn stands_still(&self, now: Timestamp) -> bool {
        self.is_stuck(STANDS_STILL_AFTER, now)
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
    let Some(role) = roles.iter().find(is_indexer) else {
        return Ok(None);
    };
    match read(role, ledger, now) {
        Ok(status) => Ok(Some(status)),
        Err(Unread::Index) => Ok(None),
        Err(Unread::Ledger(error)) => Err(error),
    }
}

/// What cannot be read.
enum Unread {
    Ledger(LedgerError),
    Index,
}

impl From<LedgerError> for Unread {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<IndexError> for Unread {
    fn from(_: IndexError) -> Self {
        Self::Index
    }
}

fn read(role: &WatchedRole<'_>, ledger: &Ledger, now: Timestamp) -> Result<IndexerStatus, Unread> {
    progress(&IndexReader::open(role.folder)?, ledger, now)
}

/// How far the indexer is that writes this index.
pub fn progress<E: From<LedgerError> + From<IndexError>>(
    reader: &IndexReader,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<IndexerStatus, E> {
    let sink = reader.sink_state()?;
    let moment = reader.moment()?;
    let gaps = moment.gaps(i64::MIN)?;
    let recent = gaps.iter();
    let recent = recent.filter(|gap| age(clamped_timestamp(gap.noticed_at), now) <= GAP_SHOWN);
    let state = moment.state();
    Ok(IndexerStatus {
        recorded_at: recorded_at(state),
        lag_bytes: state.lag.bytes,
        lag_lines: state.lag.lines,
        lag_seconds: state.lag.seconds,
        gaps: gaps.len().try_into().unwrap_or(u64::MAX),
        gap_bytes: gaps.iter().map(|gap| gap.bytes).sum(),
        recent_gaps: recent.clone().count().try_into().unwrap_or(u64::MAX),
        recent_gap_bytes: recent.map(|gap| gap.bytes).sum(),
        has_all: has_all::<E>(&moment, ledger)?,
        opensearch: sink.map(SinkStatus::new),
    })
}

/// Whether the index has all that the ledger has. The moment is of before, so it never seems to have more than it has.
pub fn has_all<E: From<LedgerError> + From<IndexError>>(
    moment: &IndexMoment<'_>,
    ledger: &Ledger,
) -> Result<bool, E> {
    let state = moment.state();
    if state.lag.bytes > 0 {
        return Ok(false);
    }
    if state.ledger.as_deref() != Some(ledger.id()?.to_string().as_str()) {
        // The indexer records first when it has seen a batch. Where there is none, nothing waits for it.
        return Ok(ledger.newest_batch()?.is_none());
    }
    // A batch that was sealed since the index was written is neither open nor newer than what the index knows.
    for (name, place) in moment.unread_places()? {
        let batch = ledger.batch_named(&name)?;
        if batch.is_some_and(|batch| batch.contents.bytes > place.bytes) {
            return Ok(false);
        }
    }
    let newest = state.newest_batch.map(BatchId::of_number);
    Ok(!ledger.has_lines_after(newest)?)
}
