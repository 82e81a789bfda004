//! The state of a source, and the list of all sources that are watched.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use logferry_ledger::SourceRecord;
use logferry_protocol::names::SourceId;
use serde::Serialize;

use crate::time::age;

/// The state of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// New lines came within `stale_after`.
    Active,
    /// The sender made contact within `stale_after`, but its log has no new lines.
    Quiet,
    /// The last contact is older than `stale_after`.
    Stale,
    /// The source is expected and never made contact.
    Missing,
}

impl SourceState {
    /// The state's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Quiet => "quiet",
            Self::Stale => "stale",
            Self::Missing => "missing",
        }
    }

    /// Whether it is one of a source that is not heard, or never was.
    pub const fn is_silent(self) -> bool {
        matches!(self, Self::Stale | Self::Missing)
    }

    /// The state of a source with this record in the ledger, or with none.
    pub fn of(record: Option<&SourceRecord>, stale_after: Duration, now: Timestamp) -> Self {
        let is_fresh = |at| age(at, now) < stale_after;
        match record {
            None => Self::Missing,
            Some(record) if !is_fresh(record.last_contact) => Self::Stale,
            Some(record) if record.last_lines.is_some_and(is_fresh) => Self::Active,
            Some(_) => Self::Quiet,
        }
    }
}

/// Every source that ever made contact or is expected, with its record if it has one.
pub fn watched_sources<'a>(
    sources: &'a [SourceRecord],
    expected: &'a [SourceId],
) -> BTreeMap<&'a SourceId, Option<&'a SourceRecord>> {
    let expected = expected.iter().map(|source| (source, None));
    let known = sources.iter().map(|record| (&record.source, Some(record)));
    expected.chain(known).collect()
}
