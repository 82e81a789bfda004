//! One look at the ledger: decides what people must be mailed, and puts those mails into the outbox.

use std::error::Error;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::MonitorSettings;
use logferry_ledger::{BatchFilter, Ledger, LedgerError};
use logferry_telemetry::MonitorMetrics;
use logferry_text::duration;

use crate::incident_look::{self, LookScope};
use crate::status::watched_sources;
use crate::summary::hourly_summary::HourlySummary;
use crate::summary::summary_schedule::{SummaryHour, due_hours};

/// Queues the mails about incidents and the summaries that are due. An error in one does not keep the other from being tried. The
/// monitor has watched for so long.
pub(crate) fn tick(
    ledger: &mut Ledger,
    config: &MonitorSettings,
    zone: &TimeZone,
    metrics: &MonitorMetrics,
    watched_for: Duration,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let scope = LookScope {
        config,
        zone,
        watched_for,
        now,
    };
    let incidents = incident_look::look(ledger, scope, metrics);
    if let Err(error) = &incidents {
        tracing::error!(
            error = error as &dyn Error,
            "cannot look for what is wrong; this is tried again in {}",
            duration(config.interval)
        );
    }
    queue_summaries(ledger, config, zone, now).and(incidents)
}

fn queue_summaries(
    ledger: &mut Ledger,
    config: &MonitorSettings,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let last = ledger.last_summary()?.map(SummaryHour::starting_at);
    // Without a record this is the first look.
    let trusted = ledger.clock()?.map_or(now, |clock| clock.trusted);
    let due = due_hours(last, config.summary.after, zone, trusted);
    if due.skipped > 0 {
        tracing::warn!(
            hours = due.skipped,
            "the monitor was down for long: {} hours before the last day get no summary",
            due.skipped
        );
    }
    let sources = ledger.sources()?;
    let first_contact = sources.iter().map(|source| source.first_seen).min();
    for hour in due.hours {
        if first_contact.is_none_or(|first| first >= hour.end()) {
            // Before the first contact of any source there is nothing to sum up.
            ledger.skip_summary(hour.start(), now)?;
            continue;
        }
        let in_hour = BatchFilter {
            source: None,
            since: Some(hour.start()),
            until: Some(hour.end()),
        };
        let (batches, totals) = (ledger.batches(&in_hour)?, ledger.source_line_totals()?);
        let watched = watched_sources(&sources, &config.expected_sources);
        let mail = HourlySummary::new(hour, watched.into_keys(), &batches, &totals).mail(zone);
        if ledger.queue_summary(hour.start(), &mail, now)? {
            let subject = &mail.subject;
            tracing::info!(subject, "mail \"{subject}\" is queued");
        }
    }
    Ok(())
}
