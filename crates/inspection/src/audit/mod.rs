//! The audit behind `logferry audit`: compares the ledger with itself, with the spool and with the configuration.
//!
//! A further check is a file here that returns [`Discrepancy`]s; what one means is documented in `docs/`. The JSON of
//! `report.rs` is a contract. The audit only reads, and may run while the roles run. It checks a finding a second time
//! against a fresh read of the ledger, since a batch may move on between the read of its row and of its file.

mod deliveries;
mod gaps;
mod page;
mod possible_duplicates;
mod report;
mod restores;
mod spool_files;
mod survey;
mod two_senders;
mod unwanted;
mod window_records;

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use logferry_config::Subscriber;
use logferry_durable::RealDisk;
use logferry_ledger::{Batch, BatchFilter, BatchId, Ledger, LedgerError, SignedRecord};
use logferry_protocol::chunk::LineCounts;
use logferry_protocol::names::SourceId;
use logferry_spool::Spool;
use logferry_text::{count, count_of, natural_order};

pub use self::page::{PageFacts, ReadBackResult, page};
pub use self::report::{
    Audit, AuditedBatch, AuditedDelivery, AuditedDestination, AuditedSource, Discrepancy, DiscrepancyKind,
    SignedWindows, Totals,
};
pub use self::spool_files::FileCheck;
use self::survey::Survey;
pub use self::window_records::RowCheck;
use crate::error::InspectionError;

/// What an audit looks at, beside the batches that match the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditScope<'a> {
    /// The destinations configured now.
    pub subscribers: &'a [Subscriber],
    /// The batches that the result lists.
    pub listing: Listing,
    /// What is looked at of the files in the spool.
    pub files: FileCheck,
    /// Whose rows are compared with the signed records.
    pub rows: RowCheck,
}

impl<'a> AuditScope<'a> {
    /// All batches are listed, all files read, and of signed windows a sample.
    pub const fn of(subscribers: &'a [Subscriber]) -> Self {
        Self {
            subscribers,
            listing: Listing::All,
            files: FileCheck::Contents,
            rows: RowCheck::Sample,
        }
    }
}

/// The batches that the result lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// All that match the filter.
    All,
    /// Those of them that are not delivered. This takes seconds for millions of batches.
    Undelivered,
}

/// Audits the batches that match the filter.
pub fn audit(data_dir: &Path, filter: &BatchFilter, scope: AuditScope<'_>) -> Result<Audit, InspectionError> {
    audit_ledger(&Ledger::open(data_dir)?, data_dir, filter, scope)
}

/// Audits as [`audit`] does, with a ledger that is open already; reading is enough.
pub fn audit_ledger(
    ledger: &Ledger,
    data_dir: &Path,
    filter: &BatchFilter,
    scope: AuditScope<'_>,
) -> Result<Audit, InspectionError> {
    let AuditScope {
        subscribers,
        listing,
        files,
        rows,
    } = scope;
    let spool = Spool::new(RealDisk, data_dir);
    // Lines keep coming: what is compared with each other is read at one moment.
    let moment = ledger.at_one_moment(|ledger| LedgerMoment::read(ledger, filter, subscribers, listing))?;
    let LedgerMoment {
        lines,
        survey,
        records,
        batches,
        undelivered,
    } = moment;
    let mut discrepancies = Vec::new();
    if covers_all_times(filter) {
        discrepancies.extend(lines.iter().filter_map(|lines| differing_lines(lines, &survey)));
    }
    discrepancies.extend(doubled_names(ledger, &survey.like_parts)?);
    for id in &survey.with_file {
        discrepancies.extend(spool_files::damaged_file(ledger, &spool, *id, files)?);
    }
    let (missing, deliveries): (Vec<_>, Vec<_>) = delivery_findings(ledger, &survey)?
        .into_iter()
        .partition(|found| found.kind == DiscrepancyKind::DeliveryMissing);
    discrepancies.extend(missing);
    discrepancies.extend(spool_files::unknown_files(ledger, &spool, filter)?);
    let (gaps, mut warnings) = gaps::gaps(ledger, filter)?;
    warnings.extend(possible_duplicates::warnings(ledger, filter)?);
    let now = Timestamp::now();
    warnings.extend(two_senders::warnings(ledger, filter, now)?);
    warnings.extend(restores::warnings(ledger, now)?);
    discrepancies.extend(gaps);
    let signed = window_records::check(ledger, data_dir, filter, &survey, &records, rows)?;
    discrepancies.extend(signed.discrepancies);
    warnings.extend(signed.warnings);
    warnings.extend(unwanted::warnings(&undelivered, subscribers));
    warnings.extend(deliveries);
    Ok(Audit {
        complete: discrepancies.is_empty(),
        totals: add_up(&lines, &survey),
        lines_read_of_all_times: !covers_all_times(filter),
        signed: signed.signed,
        sources: with_names(survey.sources),
        destinations: survey.destinations,
        batches,
        discrepancies,
        warnings,
    })
}

/// What the ledger says at one moment.
struct LedgerMoment {
    /// The lines of each source's streams.
    lines: Vec<(SourceId, LineCounts)>,
    survey: Survey,
    /// Of the windows that match the filter, and the record before each.
    records: Vec<SignedRecord>,
    /// The batches that the result lists.
    batches: Vec<AuditedBatch>,
    undelivered: Vec<Batch>,
}

impl LedgerMoment {
    fn read(
        ledger: &Ledger,
        filter: &BatchFilter,
        subscribers: &[Subscriber],
        listing: Listing,
    ) -> Result<Self, LedgerError> {
        let mut lines = ledger.lines_of_streams()?;
        lines.retain(|(source, _)| includes_source(filter, source.as_str()));
        let survey = survey::survey(ledger, filter, subscribers)?;
        let undelivered = survey
            .undelivered
            .iter()
            .filter_map(|id| ledger.batch(*id).transpose());
        let mut undelivered: Vec<_> = undelivered.collect::<Result<_, _>>()?;
        undelivered.sort_by_cached_key(|batch| (batch.window.start, batch.source.clone(), batch.name()));
        let listed = match listing {
            Listing::All => &ledger.batches(filter)?,
            Listing::Undelivered => &undelivered,
        };
        let batches = listed
            .iter()
            .map(|batch| Ok(AuditedBatch::new(batch, ledger.deliveries(batch.id)?)));
        let batches = batches.collect::<Result<_, LedgerError>>()?;
        Ok(Self {
            lines,
            survey,
            records: ledger.window_records(filter)?,
            batches,
            undelivered,
        })
    }
}

fn covers_all_times(filter: &BatchFilter) -> bool {
    filter.since.is_none() && filter.until.is_none()
}

/// Whether the filter includes some of this window.
fn includes_window(filter: &BatchFilter, (start, seconds): (i64, u32)) -> bool {
    let end = start.saturating_add(i64::from(seconds));
    filter.since.is_none_or(|since| end > since.as_second())
        && filter.until.is_none_or(|until| start < until.as_second())
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

fn add_up(streams: &[(SourceId, LineCounts)], survey: &Survey) -> Totals {
    let lines_excluded = streams.iter().map(|(_, lines)| lines.excluded).sum();
    let lines_sent: u64 = streams.iter().map(|(_, lines)| lines.sent).sum();
    Totals {
        lines_read: lines_sent + lines_excluded,
        lines_excluded,
        lines_received: survey.sources.values().map(|sums| sums.lines).sum(),
        lines_delivered: survey.sources.values().map(|sums| sums.delivered_lines).sum(),
    }
}

fn with_names(sources: BTreeMap<String, AuditedSource>) -> Vec<AuditedSource> {
    let named = |(source, sums)| AuditedSource { source, ..sums };
    let mut sources: Vec<_> = sources.into_iter().map(named).collect();
    sources.sort_by(|a, b| natural_order(&a.source, &b.source));
    sources
}

fn differing_lines((source, lines): &(SourceId, LineCounts), survey: &Survey) -> Option<Discrepancy> {
    let batched = survey.sources.get(source.as_str()).map_or(0, |sums| sums.lines);
    (lines.sent != batched).then(|| {
        let (sent, batched) = (count_of(lines.sent, "line"), count(batched));
        let detail = format!("its streams sent {sent}, its batches hold {batched}");
        Discrepancy::of_source(source, DiscrepancyKind::LinesDiffer, detail)
    })
}

/// The later parts of windows whose names the first parts of other windows have too.
fn doubled_names(ledger: &Ledger, like_parts: &[BatchId]) -> Result<Vec<Discrepancy>, LedgerError> {
    let mut doubled = Vec::new();
    for id in like_parts {
        let Some(batch) = ledger.batch(*id)? else { continue };
        if ledger.has_part_of_name(&batch.name())? {
            let detail = "another batch has the same name".to_owned();
            doubled.push(Discrepancy::of_batch(
                &batch,
                DiscrepancyKind::NameDoubled,
                detail,
            ));
        }
    }
    Ok(doubled)
}

fn delivery_findings(ledger: &Ledger, survey: &Survey) -> Result<Vec<Discrepancy>, LedgerError> {
    let mut found = Vec::new();
    for (id, (kind, detail)) in &survey.findings {
        if let Some(batch) = ledger.batch(*id)? {
            found.push(Discrepancy::of_batch(&batch, *kind, detail.clone()));
        }
    }
    Ok(found)
}
