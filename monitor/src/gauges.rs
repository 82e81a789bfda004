//! What the monitor tells Prometheus at each look. Reads the ledger, changes nothing.

use jiff::Timestamp;
use logferry_config::{MAIL_CHANNEL, MonitorSettings};
use logferry_ledger::{Incident, Ledger, LedgerError, Severity, SourceLineTotals};
use logferry_telemetry::MonitorMetrics;

use crate::certificate_expiry::CertificateFact;

/// Bytes that were deleted on their source before they were sent.
const DELETED: &str = "deleted";

/// Sets what waits for each channel, what is lost, and that a look has succeeded at `now`.
pub(crate) fn set(
    ledger: &Ledger,
    config: &MonitorSettings,
    metrics: &MonitorMetrics,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let backlogs = ledger.channel_backlogs()?;
    for channel in &config.channels {
        let backlog = backlogs.iter().find(|backlog| backlog.channel == channel.name);
        metrics.set_pending(&channel.name, backlog.map_or(0, |backlog| backlog.waiting));
    }
    metrics.set_pending(MAIL_CHANNEL, ledger.mail_backlog()?.waiting);
    let gaps = ledger.gaps()?;
    // The senders say how large they are.
    let lost = gaps
        .iter()
        .fold(0, |lost: u64, gap| lost.saturating_add(gap.bytes()));
    metrics.set_lost_bytes(DELETED, lost);
    if let Some(run) = ledger.housekeeper_run()? {
        let (began, duration) = (seconds(run.started_at), run.duration.as_secs_f64());
        metrics.set_housekeeper_run(began, duration, run.bytes_freed);
    }
    metrics.looked(seconds(now));
    Ok(())
}

/// Sets how many incidents are open.
pub(crate) fn set_incidents(metrics: &MonitorMetrics, open: &[&Incident]) {
    for severity in [Severity::Warning, Severity::Critical] {
        let open = open.iter().filter(|incident| incident.severity == severity);
        metrics.set_incidents(severity.as_str(), open.count());
    }
}

/// Sets when certificates expire, and for how many sources the counts differ. Of a setting the first counts.
pub(crate) fn set_findings(
    metrics: &MonitorMetrics,
    certificates: &[CertificateFact],
    totals: Option<&[SourceLineTotals]>,
) {
    let mut certificates: Vec<_> = certificates
        .iter()
        .filter_map(|fact| Some((fact.setting, fact.expires?)))
        .collect();
    // The earliest is set last.
    certificates.sort_by_key(|(_, expires)| std::cmp::Reverse(*expires));
    for (setting, expires) in certificates {
        metrics.set_certificate_expiry(setting, seconds(expires));
    }
    if let Some(totals) = totals {
        let differing = totals.iter().filter(|it| it.lines_sent != it.lines_batched);
        metrics.set_mismatches(differing.count());
    }
}

/// Seconds since 1970.
fn seconds(at: Timestamp) -> f64 {
    at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
}
