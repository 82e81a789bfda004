//! The numbers of each source, those first that somebody must look at. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use logferry_ledger::{SourceLineTotals, SourceRecord};
use logferry_protocol::names::SourceId;

use super::facts::SummaryFacts;
use super::index_numbers::StatusCount;
use super::line_totals::LineTotals;
use logferry_inspection::status::{SourceState, watched_sources};

/// One source.
#[derive(Debug, Clone)]
pub(crate) struct SummarySource {
    pub(crate) source: String,
    pub(crate) group: String,
    pub(crate) state: SourceState,
    /// Whether somebody has said that its silence is no news.
    pub(crate) is_silenced: bool,
    pub(crate) totals: LineTotals,
    /// Lines in the time that it is compared with.
    pub(crate) lines_before: u64,
    /// Bytes on its disk that are not here; `None`: nobody knows.
    pub(crate) lag_bytes: Option<u64>,
    /// `None` without an indexer.
    pub(crate) statuses: Option<StatusCount>,
    /// Lines that its streams sent and that its batches hold, if these differ.
    pub(crate) difference: Option<(u64, u64)>,
}

impl SummarySource {
    /// Whether somebody must look at it.
    pub(crate) fn is_troubled(&self) -> bool {
        !self.totals.is_delivered() || self.difference.is_some() || self.is_silent()
    }

    const fn is_silent(&self) -> bool {
        self.state.is_silent() && !self.is_silenced
    }

    /// What is to be looked at, in a few words.
    pub(crate) fn note(&self) -> &'static str {
        if self.difference.is_some() {
            "counts differ"
        } else if self.totals.failed > 0 {
            "failed"
        } else if self.is_silent() {
            self.state.as_str()
        } else if self.totals.waiting > 0 {
            "waiting"
        } else if self.state.is_silent() {
            "silenced"
        } else {
            ""
        }
    }
}

/// Every source that is watched or has lines, those first that somebody must look at, then by lines.
pub(crate) fn source_rows(facts: &SummaryFacts) -> Vec<SummarySource> {
    let records = watched_sources(&facts.sources, &facts.expected);
    let mut rows: BTreeMap<&SourceId, SummarySource> = records
        .into_iter()
        .map(|(source, record)| (source, row(facts, source, record)))
        .collect();
    for batch in &facts.batches {
        let row = rows
            .entry(&batch.source)
            .or_insert_with(|| row(facts, &batch.source, None));
        row.totals.add(batch);
    }
    for sum in &facts.compared_sums {
        if let Some(row) = rows.get_mut(&sum.source) {
            row.lines_before = sum.lines;
        }
    }
    for totals in &facts.line_totals {
        let SourceLineTotals {
            source,
            lines_sent,
            lines_batched,
            ..
        } = totals;
        if lines_sent != lines_batched {
            let row = rows.entry(source).or_insert_with(|| row(facts, source, None));
            row.difference = Some((*lines_sent, *lines_batched));
        }
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.sort_by_key(|row| {
        (
            !row.is_troubled(),
            Reverse(row.totals.failed),
            Reverse(row.totals.lines()),
        )
    });
    rows
}

fn row(facts: &SummaryFacts, source: &SourceId, record: Option<&SourceRecord>) -> SummarySource {
    let numbers = facts.index.numbers();
    SummarySource {
        source: source.to_string(),
        group: record.map_or_else(String::new, |record| record.group.to_string()),
        state: SourceState::of(record, facts.stale_after, facts.now),
        is_silenced: facts
            .silences
            .iter()
            .any(|silence| silence.holds_for(source.as_str(), facts.now)),
        totals: LineTotals::default(),
        lines_before: 0,
        lag_bytes: record.and_then(SourceRecord::known_lag_bytes),
        statuses: numbers.map(|numbers| {
            let found = numbers.statuses.get(source.as_str());
            found.copied().unwrap_or_default()
        }),
        difference: None,
    }
}
