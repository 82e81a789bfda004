//! How far the indexer is, by its own record.

use jiff::Timestamp;
use logferry_numbers::{IndexReader, IndexState, SinkState};
use serde::Serialize;

use super::roles::WatchedRole;

/// The name of the role. Its folder has the index.
const INDEXER: &str = "indexer";

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
    /// How far lines are sent to OpenSearch; `None` if none ever were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opensearch: Option<SinkStatus>,
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
pub(super) fn status(roles: &[WatchedRole<'_>]) -> Option<IndexerStatus> {
    let role = roles
        .iter()
        .find(|role| role.name == INDEXER && role.is_configured)?;
    let reader = IndexReader::open(role.folder).ok()?;
    let (state, gaps) = (reader.state().ok()?, reader.gaps(i64::MIN).ok()?);
    Some(IndexerStatus {
        recorded_at: recorded_at(&state),
        lag_bytes: state.lag.bytes,
        lag_lines: state.lag.lines,
        lag_seconds: state.lag.seconds,
        gaps: gaps.len().try_into().unwrap_or(u64::MAX),
        gap_bytes: gaps.iter().map(|gap| gap.bytes).sum(),
        opensearch: reader.sink_state().ok()?.map(SinkStatus::new),
    })
}
