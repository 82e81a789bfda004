//! Single passes of the monitor and the housekeeper for cron, the test mail, and the probes of `check`.

use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use logferry_config::{MonitorSettings, RelayAddress, SenderSettings, Smtp};
use logferry_monitor::{ComposedSummary, MonitorError, ProbedRecipients};
use logferry_sender::{RelayFound, RelayProbeError};
use logferry_telemetry::{PresenceState, give_sign, presence};
use tokio::runtime::{Builder, Runtime};

use super::role::{Role, act_as_owner, load_for, missing_section};
use crate::output::console;
use crate::output::exit::{CommandOutcome, Result};

/// One check by the monitor, and one attempt for each mail in the outbox.
pub(crate) fn monitor(file: &Path) -> Result {
    let section = monitor_section(file)?;
    runtime()?.block_on(logferry_monitor::once(&section))?;
    note_pass(&section.data_dir, Role::Monitor);
    Ok(CommandOutcome::Fine)
}

/// One pass of the housekeeper. It logs its changes.
pub(crate) fn housekeeper(file: &Path) -> Result {
    let config = load_for(file, Some(Role::Housekeeper))?;
    act_as_owner(&config, Some(Role::Housekeeper))?;
    let section = config
        .housekeeper
        .ok_or_else(|| missing_section(file, Role::Housekeeper))?;
    let data_dir = section.data_dir.clone();
    logferry_housekeeper::once(&section, Timestamp::now())?;
    note_pass(&data_dir, Role::Housekeeper);
    Ok(CommandOutcome::Fine)
}

/// Notes for `status` that the role made a pass, unless it runs as a daemon, too.
fn note_pass(data_dir: &Path, role: Role) {
    let now = Timestamp::now();
    let last = presence(data_dir, role.name(), now);
    if last.is_none_or(|last| last.state != PresenceState::Running) {
        let _ = give_sign(data_dir, role.name(), PresenceState::Once, now, &[]);
    }
}

/// Sends one mail to the recipients.
pub(crate) fn test_mail(file: &Path) -> Result {
    let section = monitor_section(file)?;
    runtime()?.block_on(logferry_monitor::test_mail(&section))?;
    console::print(&format!(
        "mail server {}:{} accepted a mail to {}\n",
        section.smtp.host,
        section.smtp.port,
        section.smtp.to.join(", ")
    ))?;
    Ok(CommandOutcome::Fine)
}

/// What a sender would be at each of its relay's addresses.
pub(crate) fn probe_relay(
    sender: &SenderSettings,
) -> anyhow::Result<Vec<(RelayAddress, std::result::Result<RelayFound, RelayProbeError>)>> {
    Ok(runtime()?.block_on(logferry_sender::probe_relay(sender)))
}

/// What the mail server says to sender and recipients. No mail is sent.
pub(crate) fn probe_mail_server(
    smtp: &Smtp,
) -> anyhow::Result<std::result::Result<ProbedRecipients, MonitorError>> {
    Ok(runtime()?.block_on(logferry_monitor::probe_mail(smtp)))
}

/// Sends a summary to the recipients now.
pub(crate) fn send_summary(config: &MonitorSettings, summary: &ComposedSummary) -> Result<()> {
    Ok(runtime()?.block_on(logferry_monitor::send_summary(config, summary))?)
}

/// The monitor's section, with the rights of the folder's owner taken.
pub(crate) fn monitor_section(file: &Path) -> Result<MonitorSettings> {
    let config = load_for(file, Some(Role::Monitor))?;
    act_as_owner(&config, Some(Role::Monitor))?;
    config.monitor.ok_or_else(|| missing_section(file, Role::Monitor))
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")
}
