//! Reads what a mail about an hour or a day says: from the ledger, the spool and the indexer's numbers.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::MonitorSettings;
use logferry_ledger::{
    Batch, BatchFilter, Ledger, LedgerError, Silence, SourceLineTotals, SourceProgress, SourceRecord,
    SourceWindowSum,
};
use logferry_protocol::names::SourceId;
use logferry_text::error_chain;

use super::index_numbers::IndexFacts;
use crate::summary::period::{PeriodKind, SummaryPeriod};
use logferry_inspection::InspectionError;
use logferry_inspection::audit::{self, AuditScope, Discrepancy, FileCheck, Listing};
use logferry_inspection::status;

/// Days of the trend.
const TREND_DAYS: usize = 8;

/// Something that is wrong at the time of the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenIncident {
    /// Since when, if that is known.
    pub(crate) since: Option<Timestamp>,
    /// Whether somebody has said that it is no news.
    pub(crate) is_silenced: bool,
    /// What, and what to do.
    pub(crate) text: String,
}

/// The audit of the period's batches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AuditFacts {
    pub(crate) batches: u64,
    /// One sentence each.
    pub(crate) discrepancies: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// All that a mail says.
#[derive(Debug, Clone)]
pub(crate) struct SummaryFacts {
    pub(crate) period: SummaryPeriod,
    pub(crate) now: Timestamp,
    /// When it was due, if that is long ago.
    pub(crate) late_since: Option<Timestamp>,
    pub(crate) sources: Vec<SourceRecord>,
    pub(crate) expected: Vec<SourceId>,
    pub(crate) stale_after: std::time::Duration,
    /// With lines, of windows that begin in the period.
    pub(crate) batches: Vec<Batch>,
    pub(crate) compared_sums: Vec<SourceWindowSum>,
    /// Of windows that begin in the 24 hours before the period's end.
    pub(crate) last_day: Vec<Batch>,
    pub(crate) line_totals: Vec<SourceLineTotals>,
    pub(crate) progress: Vec<SourceProgress>,
    /// The days until this one, oldest first, with their lines and bytes; only for a day.
    pub(crate) days: Vec<(SummaryPeriod, u64, u64)>,
    pub(crate) index: IndexFacts,
    pub(crate) audit: AuditFacts,
    pub(crate) incidents: Vec<OpenIncident>,
    pub(crate) silences: Vec<Silence>,
}

impl SummaryFacts {
    /// Reads them.
    pub(crate) fn read(
        ledger: &Ledger,
        config: &MonitorSettings,
        period: SummaryPeriod,
        zone: &TimeZone,
        now: Timestamp,
    ) -> Result<Self, LedgerError> {
        let compared = period.compared(zone);
        let (from, until) = period.last_day();
        let last_day = ledger.batches_beginning(from.min(period.start), until)?;
        let in_period = last_day.iter().filter(|batch| {
            (period.start.as_second()..period.end.as_second()).contains(&batch.window.start)
                // A batch without lines was opened a moment ago.
                && batch.contents.lines > 0
        });
        Ok(Self {
            period,
            now,
            late_since: None,
            sources: ledger.sources()?,
            expected: config.expected_sources.clone(),
            stale_after: config.stale_after,
            batches: in_period.cloned().collect(),
            compared_sums: ledger.window_sums(compared.start, compared.end)?,
            last_day,
            line_totals: ledger.source_line_totals()?,
            progress: ledger.source_progress()?,
            days: days(ledger, period, zone)?,
            index: IndexFacts::read(
                // Without its folder there is no indexer.
                Some(config.store_dir.as_path()).filter(|folder| folder.exists()),
                &period,
                &compared,
            ),
            audit: audit(config, &period).unwrap_or_else(|error| AuditFacts {
                discrepancies: vec![format!("it could not be made: {}", error_chain(&error))],
                ..AuditFacts::default()
            }),
            incidents: open_incidents(ledger, now)?,
            silences: ledger.silences(now)?,
        })
    }
}

/// What is wrong now and people have been told, as the last look found it.
fn open_incidents(ledger: &Ledger, now: Timestamp) -> Result<Vec<OpenIncident>, LedgerError> {
    let open = status::open_incidents(ledger, now)?.into_iter();
    let told = open.map(|open| OpenIncident {
        since: Some(open.since),
        is_silenced: open.silenced_until.is_some(),
        text: match open.silenced_until {
            Some(_) => format!("{} (silenced)", open.text),
            None => format!("{}; {}", open.text, open.advice),
        },
    });
    Ok(told.collect())
}

fn audit(config: &MonitorSettings, period: &SummaryPeriod) -> Result<AuditFacts, InspectionError> {
    let filter = BatchFilter {
        source: None,
        since: Some(period.start),
        until: Some(period.end),
    };
    let scope = AuditScope {
        listing: Listing::Undelivered,
        files: FileCheck::Presence,
        ..AuditScope::of(&config.summary.destinations)
    };
    let audit = audit::audit(&config.data_dir, &filter, scope)?;
    let text = |found: &Discrepancy| {
        let subject = found.batch.as_deref().or(found.source.as_deref());
        subject.map_or_else(
            || found.detail.clone(),
            |subject| format!("{subject}: {}", found.detail),
        )
    };
    Ok(AuditFacts {
        batches: audit.sources.iter().map(|sums| sums.batches).sum(),
        discrepancies: audit.discrepancies.iter().map(text).collect(),
        warnings: audit.warnings.iter().map(text).collect(),
    })
}

fn days(
    ledger: &Ledger,
    period: SummaryPeriod,
    zone: &TimeZone,
) -> Result<Vec<(SummaryPeriod, u64, u64)>, LedgerError> {
    if period.kind != PeriodKind::Day {
        return Ok(Vec::new());
    }
    let mut days = Vec::new();
    let mut day = period;
    for _ in 0..TREND_DAYS {
        let sums = ledger.window_sums(day.start, day.end)?;
        let lines = sums.iter().map(|sum| sum.lines).sum();
        days.push((day, lines, sums.iter().map(|sum| sum.bytes).sum()));
        day = day.compared(zone);
    }
    days.reverse();
    Ok(days)
}
