//! What the monitor tells Prometheus after each look. Reads the ledger, changes nothing.

use jiff::Timestamp;
use logferry_config::MonitorSettings;
use logferry_ledger::{Ledger, LedgerError};
use logferry_telemetry::MonitorMetrics;

/// The channel of mails.
const MAIL: &str = "mail";

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
    metrics.set_pending(MAIL, ledger.mail_backlog()?.waiting);
    let lost = ledger.gaps()?.iter().map(logferry_ledger::GapRecord::bytes).sum();
    metrics.set_lost_bytes(DELETED, lost);
    metrics.looked(now.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64());
    Ok(())
}
