//! What the sources lost before it could be sent.

use jiff::Timestamp;
use logferry_ledger::{BatchFilter, GapRecord, Ledger, LedgerError};
use logferry_protocol::names::LogName;
use logferry_protocol::stream::{Offset, StreamId};
use serde::Serialize;

use super::{Discrepancy, DiscrepancyKind, rfc3339};
use crate::words::count;

/// Bytes of a log that are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The log.
    pub log: LogName,
    /// The stream.
    pub stream: StreamId,
    /// Where its file was on the source.
    pub path: String,
    /// The first byte that is missing, or would be.
    pub from: Offset,
    /// At least the bytes before this one are missing; `None` if none is known to be.
    pub until: Option<Offset>,
    /// When that was found.
    #[serde(serialize_with = "rfc3339")]
    pub noticed_at: Timestamp,
}

/// The losses, and the files that went before they were known to be read to their ends.
///
/// With `since` or `until` in the filter, those that were noticed in that time.
pub(super) fn gaps(
    ledger: &Ledger,
    filter: &BatchFilter,
) -> Result<(Vec<Discrepancy>, Vec<Discrepancy>), LedgerError> {
    let mut gaps = ledger.gaps()?;
    gaps.retain(|gap| {
        filter.source.as_ref().is_none_or(|source| *source == gap.source)
            && filter.since.is_none_or(|since| gap.noticed_at >= since)
            && filter.until.is_none_or(|until| gap.noticed_at < until)
    });
    let (lost, perhaps): (Vec<_>, Vec<_>) = gaps.into_iter().partition(|gap| gap.until.is_some());
    Ok((
        lost.into_iter().map(discrepancy).collect(),
        perhaps.into_iter().map(discrepancy).collect(),
    ))
}

fn discrepancy(gap: GapRecord) -> Discrepancy {
    let (path, from) = (&gap.path, count(gap.from.get()));
    let (kind, detail) = match gap.until {
        Some(until) => (
            DiscrepancyKind::Gap,
            format!(
                "{path} was deleted or truncated before it was sent: its bytes {from} to {} are lost",
                count(until.get())
            ),
        ),
        None => (
            DiscrepancyKind::Unfinished,
            format!(
                "{path} was gone before it was known to be read to its end; what was seen of it, {from} bytes, is here"
            ),
        ),
    };
    Discrepancy {
        kind,
        source: Some(gap.source.to_string()),
        batch: None,
        detail,
        gap: Some(Gap {
            log: gap.log,
            stream: gap.stream,
            path: gap.path,
            from: gap.from,
            until: gap.until,
            noticed_at: gap.noticed_at,
        }),
    }
}
