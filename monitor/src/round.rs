//! One look at the ledger: decide, and put what people must be told into the outbox.

use std::error::Error;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::MonitorSettings;
use logferry_ledger::{BatchFilter, Ledger, LedgerError};
use logferry_telemetry::MonitorMetrics;

use crate::hours::{self, Hour};
use crate::judge::{Evidence, judge, roster};
use crate::letters;
use crate::summary::Summary;

/// Looks once. Alerts and summaries stand or fall each on their own, but all of them are tried.
pub(crate) fn look(
    ledger: &mut Ledger,
    config: &MonitorSettings,
    zone: &TimeZone,
    metrics: &MonitorMetrics,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let alerts = tell_of_silence(ledger, config, zone, metrics, now);
    if let Err(error) = &alerts {
        tracing::error!(error = error as &dyn Error, "cannot judge who is silent");
    }
    sum_up(ledger, config, zone, now).and(alerts)
}

fn tell_of_silence(
    ledger: &mut Ledger,
    config: &MonitorSettings,
    zone: &TimeZone,
    metrics: &MonitorMetrics,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let (sources, alerts) = (ledger.sources()?, ledger.alerts()?);
    let evidence = Evidence {
        sources: &sources,
        expected: &config.expected_sources,
        alerts: &alerts,
        stale_after: config.stale_after,
    };
    let verdict = judge(evidence, now);
    if !verdict.newly_silent.is_empty() {
        let mail = letters::silent(&verdict, config.stale_after, zone, now);
        ledger.raise_alerts(&verdict.newly_silent, &mail, now)?;
        for alert in &verdict.newly_silent {
            metrics.alerted();
            tracing::warn!(source = %alert.source, kind = alert.kind.as_str(), "source is silent");
        }
    }
    if !verdict.back.is_empty() {
        let sources: Vec<_> = verdict.back.iter().map(|alert| alert.source.clone()).collect();
        ledger.clear_alerts(&sources, &letters::back(&verdict, zone), now)?;
        for source in &sources {
            tracing::info!(%source, "source is back");
        }
    }
    Ok(())
}

fn sum_up(
    ledger: &mut Ledger,
    config: &MonitorSettings,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let last = ledger.last_summary()?.map(Hour::starting_at);
    let due = hours::due(last, config.summary.after, zone, now);
    if due.skipped > 0 {
        tracing::warn!(
            hours = due.skipped,
            "hours before the last day get no summary any more"
        );
    }
    for hour in due.hours {
        let sources = ledger.sources()?;
        let in_hour = BatchFilter {
            source: None,
            since: Some(hour.start()),
            until: Some(hour.end()),
        };
        let (batches, totals) = (ledger.batches(&in_hour)?, ledger.source_line_totals()?);
        let everyone = roster(&sources, &config.expected_sources);
        let mail = Summary::new(hour, everyone.into_keys(), &batches, &totals).mail(zone);
        if ledger.queue_summary(hour.start(), &mail, now)? {
            tracing::info!(summary = mail.subject, "hour is summed up");
        }
    }
    Ok(())
}
