//! One look at ledger and disk: decides what people must be mailed, puts those mails into the outbox, and notes the disk.

use std::error::Error;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use logferry_config::MonitorSettings;
use logferry_durable::disk_space;
use logferry_ledger::{Ledger, LedgerError};
use logferry_telemetry::MonitorMetrics;
use logferry_text::duration;

use crate::incident_look::{self, LookScope};
use crate::summary::daily_schedule::due_days;
use crate::summary::period::SummaryPeriod;
use crate::summary::summary_schedule::{SummaryHour, due_hours};
use crate::summary_mail::{SummaryFacts, compose};
use crate::time::later;

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
    let disk = note_disk(ledger, config, now);
    queue_summaries(ledger, config, zone, now)
        .and(incidents)
        .and(disk)
}

/// Notes what is free, for the console. A disk that cannot be asked is the look's to tell.
fn note_disk(ledger: &mut Ledger, config: &MonitorSettings, now: Timestamp) -> Result<(), LedgerError> {
    disk_space(&config.data_dir).map_or(Ok(()), |space| {
        ledger.note_disk(space.free_bytes, space.total_bytes, now)
    })
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
        let mut facts = SummaryFacts::read(ledger, config, period, zone, now)?;
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
