//! One look at ledger and disk: decides what people must be mailed, puts those mails into the outbox, and notes the disk.

use std::error::Error;

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

/// Whether a look has left summaries for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SummaryProgress {
    /// All that were due are made.
    Complete,
    /// More summaries are due. Each look makes one at most: after a long stop there are dozens, and alerts do not wait for them,
    /// nor does a stop.
    SummariesLeft,
}

/// Queues the mail about incidents and the first summary that is due. An error in one does not keep the other from being tried.
pub(crate) fn tick(
    ledger: &mut Ledger,
    scope: LookScope<'_>,
    metrics: &MonitorMetrics,
) -> Result<SummaryProgress, LedgerError> {
    let LookScope {
        config, zone, now, ..
    } = scope;
    let incidents = incident_look::look(ledger, scope, metrics);
    if let Err(error) = &incidents {
        tracing::error!(
            error = error as &dyn Error,
            "cannot look for what is wrong; this is tried again in {}",
            duration(config.interval)
        );
    }
    let disk = note_disk(ledger, config, now);
    let outcome = queue_summary(ledger, config, zone, now)?;
    incidents.and(disk).map(|()| outcome)
}

/// Notes what is free, for the console. A disk that cannot be asked is the look's to tell.
fn note_disk(ledger: &mut Ledger, config: &MonitorSettings, now: Timestamp) -> Result<(), LedgerError> {
    disk_space(&config.data_dir).map_or(Ok(()), |space| {
        ledger.note_disk(space.free_bytes, space.total_bytes, now)
    })
}

/// A mail written so long after it was due says so.
const LATE_AFTER: SignedDuration = SignedDuration::from_mins(10);

fn queue_summary(
    ledger: &mut Ledger,
    config: &MonitorSettings,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<SummaryProgress, LedgerError> {
    // Without a record this is the first look.
    let trusted = ledger.clock()?.map_or(now, |clock| clock.trusted);
    let due = due_periods(ledger, config, zone, trusted)?;
    if due.is_empty() {
        return Ok(SummaryProgress::Complete);
    }
    let sources = ledger.sources()?;
    let first_contact = sources.iter().map(|source| source.first_seen).min();
    let mut due = due.into_iter();
    for (period, may_be_late) in due.by_ref() {
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
            break;
        }
    }
    Ok(match due.next() {
        Some(_) => SummaryProgress::SummariesLeft,
        None => SummaryProgress::Complete,
    })
}

/// The hours and days whose summary is due, each with whether it may be late.
fn due_periods(
    ledger: &Ledger,
    config: &MonitorSettings,
    zone: &TimeZone,
    trusted: Timestamp,
) -> Result<Vec<(SummaryPeriod, bool)>, LedgerError> {
    let last = ledger.last_summary()?.map(SummaryHour::starting_at);
    let due = due_hours(last, config.summary.after, zone, trusted);
    if due.skipped > 0 {
        tracing::warn!(
            hours = due.skipped,
            "the monitor was down for long: {} hours before the last day get no summary",
            due.skipped
        );
    }
    // The first summary of a new monitor is not late.
    let hours = due.hours.into_iter().map(SummaryHour::period);
    let mut periods: Vec<_> = hours.map(|period| (period, last.is_some())).collect();
    if config.summary.daily {
        let last = ledger.last_daily_summary()?;
        let days = due_days(last, config.summary.after, zone, trusted).into_iter();
        periods.extend(days.map(|period| (period, last.is_some())));
    }
    Ok(periods)
}
