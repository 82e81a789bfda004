//! How far the indexer is, by its own record.

use jiff::Timestamp;
use logferry_numbers::IndexReader;
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
}

/// `None` if there is no index yet, or it cannot be read now: the status of everything else counts more.
pub(super) fn status(roles: &[WatchedRole<'_>]) -> Option<IndexerStatus> {
    let role = roles
        .iter()
        .find(|role| role.name == INDEXER && role.is_configured)?;
    let reader = IndexReader::open(role.folder).ok()?;
    let (state, gaps) = (reader.state().ok()?, reader.gaps(i64::MIN).ok()?);
    Some(IndexerStatus {
        recorded_at: state.recorded_at.and_then(|at| Timestamp::from_second(at).ok()),
        lag_bytes: state.lag.bytes,
        lag_lines: state.lag.lines,
        lag_seconds: state.lag.seconds,
        gaps: gaps.len().try_into().unwrap_or(u64::MAX),
        gap_bytes: gaps.iter().map(|gap| gap.bytes).sum(),
    })
}
