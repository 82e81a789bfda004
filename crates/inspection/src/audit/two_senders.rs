//! Two live senders of one source.
//!
//! It is a warning: the relay takes a chunk only from the sender that knows the end of its stream, so no line is missing.
//! Lines that both disks had before one was copied can be there twice.

use jiff::Timestamp;
use logferry_ledger::{BatchFilter, Ledger, LedgerError, SenderRecord, live_together};
use logferry_protocol::names::SourceId;

use super::includes_source;
use super::report::{Discrepancy, DiscrepancyKind};

/// One warning for each source, while it has two live senders.
pub(super) fn warnings(
    ledger: &Ledger,
    filter: &BatchFilter,
    now: Timestamp,
) -> Result<Vec<Discrepancy>, LedgerError> {
    let senders = ledger.senders()?;
    let mut sources: Vec<&SourceId> = senders.iter().map(|sender| &sender.source).collect();
    sources.dedup();
    let included = sources
        .into_iter()
        .filter(|source| includes_source(filter, source.as_str()));
    let warnings = included.filter_map(|source| warning(source, &live_together(&senders, source, now)));
    Ok(warnings.collect())
}

fn warning(source: &SourceId, senders: &[&SenderRecord]) -> Option<Discrepancy> {
    if senders.is_empty() {
        return None;
    }
    let senders: Vec<_> = senders
        .iter()
        .map(|sender| format!("{} at {}", sender.id.short(), sender.address))
        .collect();
    let detail = format!(
        "several senders send for it now ({}); no line is missing, lines from before a copy of the logs can be there twice",
        senders.join(", ")
    );
    Some(Discrepancy::of_source(
        source,
        DiscrepancyKind::TwoSenders,
        detail,
    ))
}
