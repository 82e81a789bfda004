//! One look at the ledger: decides what people must be mailed, and puts those mails into the outbox.

use std::error::Error;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use logferry_config::MonitorSettings;
use logferry_ledger::{Ledger, LedgerError};
use logferry_telemetry::MonitorMetrics;
use logferry_text::duration;

use crate::alerts::alert_mail;
use crate::alerts::alert_rule::{self, AlertInput};
use crate::log_alerts;
use crate::summary::daily_schedule::due_days;
use crate::summary::period::{SummaryPeriod, later};
use crate::summary::summary_schedule::{SummaryHour, due_hours};
use crate::summary_mail::{SummaryFacts, compose, open_incidents};

/// Queues the alerts and summaries that are due. An error in one does not keep the other from being tried. The monitor has
/// watched for so long.
pub(crate) fn tick(
    ledger: &mut Ledger,
    config: &MonitorSettings,
    zone: &TimeZone,
    metrics: &MonitorMetrics,
    watched_for: Duration,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let alerts = queue_alerts(ledger, config, zone, metrics, watched_for, now);
    if let Err(error) = &alerts {
        tracing::error!(
            error = error as &dyn Error,
            "cannot check for silent sources; this is tried again in {}",
            duration(config.interval)
        );
    }
    let log_alerts = log_alerts::queue(ledger, &config.data_dir, config.hold, zone, metrics, now);
    if let Err(error) = &log_alerts {
        tracing::error!(
            error = error as &dyn Error,
            "cannot check for logs that are not shipped and files that roles cannot use; tried again"
        );
    }
    queue_summaries(ledger, config, zone, now)
        .and(alerts)
        .and(log_alerts)
}

fn queue_alerts(
    ledger: &mut Ledger,
    config: &MonitorSettings,
    zone: &TimeZone,
    metrics: &MonitorMetrics,
    watched_for: Duration,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let input = AlertInput {
        sources: &ledger.sources()?,
        expected: &config.expected_sources,
        alerts: &ledger.alerts()?,
        stale_after: config.stale_after,
        watched_for,
        hold: config.hold,
    };
    let decision = alert_rule::decide(input, now);
    if !decision.returning.is_empty() {
        ledger.note_returns(&decision.returning)?;
    }
    if !decision.newly_silent.is_empty() {
        let mail = alert_mail::silent_mail(&decision, config.stale_after, zone, now);
        ledger.raise_alerts(&decision.newly_silent, &mail, now)?;
        for alert in &decision.newly_silent {
            metrics.alerted();
            let (source, kind) = (&alert.source, alert.kind.as_str());
            tracing::warn!(%source, kind, "{}; a mail about it is queued", alert_mail::silence(alert, now));
        }
    }
    if !decision.back.is_empty() {
        let sources: Vec<_> = decision.back.iter().map(|alert| alert.source.clone()).collect();
        ledger.clear_alerts(&sources, &alert_mail::back_mail(&decision, zone), now)?;
        for source in &sources {
            tracing::info!(%source, "source {source} is back; a mail about it is queued");
        }
    }
    Ok(())
}

/// A mail written so long after it was due says so.
const LATE_AFTER: SignedDuration = SignedDuration::from_mins(10);

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
    // The first summary of a new monitor is not late.
    let with = |periods: Vec<SummaryPeriod>, may_be_late: bool| {
        let periods = periods.into_iter();
        periods.map(move |period| (period, may_be_late))
    };
    let hours = due.hours.into_iter().map(SummaryHour::period).collect();
    let mut periods: Vec<_> = with(hours, last.is_some()).collect();
    if config.summary.daily {
        let last = ledger.last_daily_summary()?;
        let days = due_days(last, config.summary.after, zone, trusted);
        periods.extend(with(days, last.is_some()));
    }
    if periods.is_empty() {
        return Ok(());
    }
    let sources = ledger.sources()?;
    let first_contact = sources.iter().map(|source| source.first_seen).min();
    for (period, may_be_late) in periods {
        if first_contact.is_none_or(|first| first >= period.end) {
            // Before the first contact of any source there is nothing to sum up.
            ledger.pass_over_summary(period.key(), now)?;
            continue;
        }
        let incidents = open_incidents(config, now);
        let mut facts = SummaryFacts::read(ledger, config, period, incidents, zone, now)?;
        let after = SignedDuration::try_from(config.summary.after).unwrap_or_default();
        let due_at = later(period.end, after);
        let is_late = may_be_late && trusted.duration_since(due_at) > LATE_AFTER;
        facts.late_since = is_late.then_some(due_at);
        let summary = compose(&facts, config, zone);
        if ledger.queue_summary_mail(period.key(), &summary.mail, &summary.parts, now)? {
            let subject = &summary.mail.subject;
            tracing::info!(subject, "mail \"{subject}\" is queued");
        }
    }
    Ok(())
}
