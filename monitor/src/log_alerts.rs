//! Decides which logs people must be mailed about, and puts those mails into the outbox.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::AlertHold;
use logferry_ledger::{Ledger, LedgerError};
use logferry_telemetry::MonitorMetrics;

use crate::alerts::log_alert_mail::{begun_mail, over_mail};
use crate::alerts::log_alert_rule::decide;

/// Queues the mails about logs that cannot be shipped, and about those that can be shipped again.
pub(crate) fn queue(
    ledger: &mut Ledger,
    hold: AlertHold,
    zone: &TimeZone,
    metrics: &MonitorMetrics,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let known = ledger.log_alerts()?;
    let decision = decide(&ledger.sources()?, known.clone(), hold, now);
    if decision.alerts == known && decision.over.is_empty() {
        return Ok(());
    }
    let begun = (!decision.begun.is_empty()).then(|| begun_mail(&decision.begun));
    let over = (!decision.over.is_empty()).then(|| over_mail(&decision.over, zone));
    let mails: Vec<_> = begun.into_iter().chain(over).collect();
    ledger.replace_log_alerts(&decision.alerts, &mails, now)?;
    for alert in &decision.begun {
        metrics.alerted();
        let (source, path, reason) = (&alert.source, &alert.path, &alert.reason);
        tracing::warn!(%source, path, reason, "source {source} does not ship {path}: {reason}");
    }
    for alert in &decision.over {
        let (source, path) = (&alert.source, &alert.path);
        tracing::info!(%source, path, "source {source} ships {path} again");
    }
    Ok(())
}
