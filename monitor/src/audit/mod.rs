//! The audit behind `logferry audit`: compares the ledger with itself, with the spool and with the configuration.
//!
//! A further check is a file here that returns [`Discrepancy`]s; what one means is documented in `docs/`. The JSON of
//! `report.rs` is a contract. The audit only reads, and may run while the roles run. It checks a finding a second time
//! against a fresh read of the ledger, since a batch may move on between the read of its row and of its file.

mod deliveries;
mod gaps;
mod possible_duplicates;
mod report;
mod spool_files;
mod two_senders;

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use logferry_config::Subscriber;
use logferry_durable::RealDisk;
use logferry_ledger::{Batch, BatchFilter, BatchState, Ledger, LedgerError, SourceLineTotals};
use logferry_protocol::names::SourceId;
use logferry_spool::Spool;
use logferry_text::count;

use self::deliveries::DeliveryCheck;
pub use self::report::{
    Audit, AuditedBatch, AuditedDelivery, AuditedDestination, Discrepancy, DiscrepancyKind, Totals,
};
use crate::error::InspectionError;

/// Audits the batches that match the filter.
///
/// `subscribers` are the destinations configured now.
pub fn audit(
    data_dir: &Path,
    filter: &BatchFilter,
    subscribers: &[Subscriber],
) -> Result<Audit, InspectionError> {
    let (ledger, spool) = (Ledger::open(data_dir)?, Spool::new(RealDisk, data_dir));
    let totals = source_line_totals(&ledger, filter)?;
    let batches = ledger.batches(filter)?;
    let mut audited = Vec::new();
    for batch in &batches {
        audited.push(AuditedBatch::new(batch, ledger.deliveries(batch.id)?));
    }
    let mut discrepancies = Vec::new();
    if covers_all_times(filter) {
        discrepancies.extend(totals.iter().filter_map(differing_lines));
    }
    discrepancies.extend(doubled_names(&batches));
    for batch in &batches {
        discrepancies.extend(spool_files::damaged_file(&ledger, &spool, batch)?);
    }
    let deliveries = DeliveryCheck::new(&batches, &audited, subscribers, ledger.subscribed_since()?);
    discrepancies.extend(deliveries.missing());
    discrepancies.extend(spool_files::unknown_files(&ledger, &spool, filter)?);
    let (gaps, mut warnings) = gaps::gaps(&ledger, filter)?;
    warnings.extend(possible_duplicates::warnings(&ledger, filter)?);
    warnings.extend(two_senders::warnings(&ledger, filter, Timestamp::now())?);
    discrepancies.extend(gaps);
    warnings.extend(deliveries.unwanted());
    warnings.extend(deliveries.warnings());
    Ok(Audit {
        complete: discrepancies.is_empty(),
        totals: add_up(&totals, &batches, filter),
        destinations: deliveries.by_destination(),
        batches: audited,
        discrepancies,
        warnings,
    })
}

fn covers_all_times(filter: &BatchFilter) -> bool {
    filter.since.is_none() && filter.until.is_none()
}

fn includes_source(filter: &BatchFilter, source: &str) -> bool {
    let wanted = filter.source.as_ref();
    wanted.is_none_or(|wanted| wanted.as_str() == source)
}

/// Whether the filter includes this source and the time of an event there.
fn includes_event(filter: &BatchFilter, source: &SourceId, noticed_at: Timestamp) -> bool {
    includes_source(filter, source.as_str())
        && filter.since.is_none_or(|since| noticed_at >= since)
        && filter.until.is_none_or(|until| noticed_at < until)
}

fn source_line_totals(ledger: &Ledger, filter: &BatchFilter) -> Result<Vec<SourceLineTotals>, LedgerError> {
    let mut totals = ledger.source_line_totals()?;
    totals.retain(|totals| includes_source(filter, totals.source.as_str()));
    Ok(totals)
}

fn add_up(streams: &[SourceLineTotals], batches: &[Batch], filter: &BatchFilter) -> Totals {
    let lines_of = |batch: &Batch| batch.contents.lines;
    let lines_excluded = streams.iter().map(|totals| totals.lines_excluded).sum();
    let lines_sent: u64 = streams.iter().map(|totals| totals.lines_sent).sum();
    // If possible, from the same read of the ledger as the lines sent: lines keep coming while the batches are listed.
    let lines_received = if covers_all_times(filter) {
        streams.iter().map(|totals| totals.lines_batched).sum()
    } else {
        batches.iter().map(lines_of).sum()
    };
    let sent = batches.iter().filter(|batch| batch.state == BatchState::Sent);
    Totals {
        lines_read: lines_sent + lines_excluded,
        lines_excluded,
        lines_received,
        lines_delivered: sent.map(lines_of).sum(),
    }
}

fn differing_lines(totals: &SourceLineTotals) -> Option<Discrepancy> {
    let (sent, batched) = (totals.lines_sent, totals.lines_batched);
    (sent != batched).then(|| {
        let [sent, batched] = [sent, batched].map(count);
        let detail = format!("its streams sent {sent} lines, its batches hold {batched}");
        Discrepancy::of_source(&totals.source, DiscrepancyKind::LinesDiffer, detail)
    })
}

fn doubled_names(batches: &[Batch]) -> impl Iterator<Item = Discrepancy> {
    let mut seen = BTreeSet::new();
    let doubled = batches.iter().filter(move |batch| !seen.insert(batch.name()));
    doubled.map(|batch| {
        let detail = "another batch has the same name".to_owned();
        Discrepancy::of_batch(batch, DiscrepancyKind::NameDoubled, detail)
    })
}
