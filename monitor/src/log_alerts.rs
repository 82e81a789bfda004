//! Decides which logs, and which files of this host's roles, people must be mailed about, and puts those mails into the outbox.

use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::AlertHold;
use logferry_ledger::{Ledger, LedgerError, LogAlert};
use logferry_telemetry::{MonitorMetrics, presence};

use crate::alerts::log_alert_mail::{begun_mail, over_mail};
use crate::alerts::log_alert_rule::{ProblemReport, decide, role_of};
use crate::alerts::role_alert_mail;

/// The roles whose signs are in the data folder.
const ROLES: [&str; 4] = ["relay", "forwarder", "monitor", "housekeeper"];

/// Queues the mails about logs that cannot be shipped and files that roles cannot use, and about those that are well again.
pub(crate) fn queue(
    ledger: &mut Ledger,
    data_dir: &Path,
    hold: AlertHold,
    zone: &TimeZone,
    metrics: &MonitorMetrics,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let known = ledger.log_alerts()?;
    let mut reports: Vec<_> = ledger.sources()?.iter().map(ProblemReport::of_source).collect();
    let signs = ROLES
        .into_iter()
        .filter_map(|role| Some((role, presence(data_dir, role, now)?)));
    reports.extend(signs.filter_map(|(role, sign)| ProblemReport::of_role(role, &sign)));
    let decision = decide(&reports, known.clone(), hold, now);
    if decision.alerts == known && decision.over.is_empty() {
        return Ok(());
    }
    let by_kind = |alerts: &[LogAlert]| -> (Vec<LogAlert>, Vec<LogAlert>) {
        alerts.iter().cloned().partition(|alert| role_of(alert).is_some())
    };
    let (files, logs) = by_kind(&decision.begun);
    let (usable_files, shipped_logs) = by_kind(&decision.over);
    let mails = [
        (!files.is_empty()).then(|| role_alert_mail::begun_mail(&files)),
        (!logs.is_empty()).then(|| begun_mail(&logs)),
        (!usable_files.is_empty()).then(|| role_alert_mail::over_mail(&usable_files, zone)),
        (!shipped_logs.is_empty()).then(|| over_mail(&shipped_logs, zone)),
    ];
    let mails: Vec<_> = mails.into_iter().flatten().collect();
    ledger.replace_log_alerts(&decision.alerts, &mails, now)?;
    decision.begun.iter().for_each(|_| metrics.alerted());
    // The roles have logged their files themselves.
    for alert in &logs {
        let (source, path, reason) = (&alert.source, &alert.path, &alert.reason);
        tracing::warn!(%source, path, reason, "source {source} does not ship {path}: {reason}");
    }
    for alert in &shipped_logs {
        let (source, path) = (&alert.source, &alert.path);
        tracing::info!(%source, path, "source {source} ships {path} again");
    }
    Ok(())
}
