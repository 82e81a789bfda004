//! Batches that wait, and that no destination wants. Pure.

use std::collections::BTreeMap;

use logferry_config::Subscriber;
use logferry_ledger::{Batch, BatchState};
use logferry_protocol::names::SourceId;
use logferry_text::{count, count_of};

use super::report::{Discrepancy, DiscrepancyKind};
use crate::expected_deliveries::is_unwanted;

/// One warning for each source with such batches.
pub(super) fn warnings(undelivered: &[Batch], subscribers: &[Subscriber]) -> Vec<Discrepancy> {
    let mut by_source: BTreeMap<&SourceId, (u64, u64)> = BTreeMap::new();
    let is_waiting = |batch: &&Batch| matches!(batch.state, BatchState::Ready | BatchState::Failed);
    for batch in undelivered.iter().filter(is_waiting) {
        if is_unwanted(batch, subscribers) {
            let (batches, lines) = by_source.entry(&batch.source).or_default();
            *batches += 1;
            *lines += batch.contents.lines;
        }
    }
    let warning = |(source, (batches, lines)): (&SourceId, (u64, u64))| {
        let (batches, lines) = (count(batches), count_of(lines, "line"));
        let detail = format!(
            "no destination wants {batches} of its batches with {lines}; they wait in ready/ until one does"
        );
        Discrepancy::of_source(source, DiscrepancyKind::Unwanted, detail)
    };
    by_source.into_iter().map(warning).collect()
}
