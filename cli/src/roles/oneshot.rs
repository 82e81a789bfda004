//! Single passes of the monitor and the housekeeper for cron, the test mail, and the probes of `check`.

use std::path::Path;

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use logferry_config::{
    HousekeeperSettings, MonitorSettings, OpenSearchSettings, RelayAddress, SenderSettings, Smtp,
};
use logferry_housekeeper::StepKind;
use logferry_monitor::{ComposedSummary, MonitorError, ProbedRecipients};
use logferry_opensearch::{OpenSearchClient, OpenSearchError, ServerFound};
use logferry_sender::{RelayFound, RelayProbeError};
use logferry_telemetry::{PresenceState, give_sign, presence};
use logferry_text::{Table, size};
use tokio::runtime::{Builder, Runtime};

use super::role::{Role, act_as_owner, load_for, missing_section};
use crate::output::console;
use crate::output::exit::{CommandOutcome, Failure, Result};

/// One check by the monitor, and one attempt for each mail in the outbox.
pub(crate) fn monitor(file: &Path) -> Result {
    let section = monitor_section(file)?;
    let passed = runtime()?.block_on(logferry_monitor::once(&section));
    // Also of a pass whose mails wait: the role is there, and `status` names these mails.
    if matches!(passed, Ok(()) | Err(MonitorError::Unsent { .. })) {
        note_pass(&section.data_dir, Role::Monitor);
    }
    passed?;
    Ok(CommandOutcome::Fine)
}

/// The housekeeper's section, with the rights of the folder's owner taken.
fn housekeeper_section(file: &Path) -> Result<HousekeeperSettings> {
    let config = load_for(file, Some(Role::Housekeeper))?;
    act_as_owner(&config, Some(Role::Housekeeper))?;
    config
        .housekeeper
        .ok_or_else(|| missing_section(file, Role::Housekeeper))
}

/// One pass of the housekeeper. It logs its changes.
pub(crate) fn housekeeper(file: &Path) -> Result {
    let section = housekeeper_section(file)?;
    let data_dir = section.data_dir.clone();
    logferry_housekeeper::once(&section, Timestamp::now())?;
    note_pass(&data_dir, Role::Housekeeper);
    Ok(CommandOutcome::Fine)
}

/// What one pass of the housekeeper would do now.
pub(crate) fn plan_housekeeping(file: &Path) -> Result {
    let section = housekeeper_section(file)?;
    let steps = logferry_housekeeper::dry_run(&section, Timestamp::now())?;
    let mut table = Table::new(["batch", "would be", "bytes"]);
    for step in &steps {
        let what = match step.kind {
            StepKind::Compress => "compressed",
            StepKind::Delete => "deleted",
            StepKind::DeleteEarly => "deleted before its age, as long as the disk is too full",
        };
        table.row([step.batch.clone(), what.to_owned(), size(step.bytes)]);
    }
    let nothing = "nothing is due\n";
    console::print(&if steps.is_empty() {
        nothing.to_owned()
    } else {
        table.section()
    })?;
    Ok(CommandOutcome::Fine)
}

/// Writes the ledger's file anew.
pub(crate) fn shrink_ledger(file: &Path) -> Result {
    let shrunk = logferry_housekeeper::shrink_ledger(&housekeeper_section(file)?)?;
    console::print(&format!(
        "the ledger was written anew in {:.1} s, from {} to {}; start the relay again\n",
        shrunk.took.as_secs_f64(),
        size(shrunk.before),
        size(shrunk.after)
    ))?;
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

/// Sends one mail to the recipients, or one message to a channel.
pub(crate) fn test_mail(file: &Path, channel: Option<&str>) -> Result {
    let section = monitor_section(file)?;
    let Some(name) = channel.filter(|name| *name != "mail") else {
        runtime()?.block_on(logferry_monitor::test_mail(&section))?;
        console::print(&format!(
            "mail server {}:{} accepted a mail to {}\n",
            section.smtp.host,
            section.smtp.port,
            section.smtp.to.join(", ")
        ))?;
        return Ok(CommandOutcome::Fine);
    };
    let Some(channel) = section.channels.iter().find(|channel| channel.name == name) else {
        let names: Vec<_> = section.channels.iter().map(|channel| &*channel.name).collect();
        let (file, names) = (file.display(), names.join(", "));
        return Err(Failure::Configuration(anyhow!(
            "{file}: there is no channel `{name}` in monitor.channels; there are: mail, {names}"
        )));
    };
    let sent = runtime()?.block_on(logferry_monitor::test_channel(&section, channel));
    sent.with_context(|| format!("channel {name}"))?;
    console::print(&format!("channel {name} took a test message\n"))?;
    Ok(CommandOutcome::Fine)
}

/// What each channel and the heartbeat's server say, with their names. Nothing is sent.
pub(crate) fn probe_channels(
    monitor: &MonitorSettings,
) -> anyhow::Result<Vec<(String, std::result::Result<String, String>)>> {
    runtime()?.block_on(async {
        let mut found = Vec::new();
        for channel in &monitor.channels {
            let probed = logferry_monitor::probe_channel(channel).await;
            found.push((format!("channel {}", channel.name), probed));
        }
        if let Some(heartbeat) = &monitor.heartbeat
            && let Some(probed) = logferry_monitor::probe_heartbeat(heartbeat).await
        {
            found.push(("heartbeat".to_owned(), probed));
        }
        Ok(found)
    })
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

/// Who answers as OpenSearch, if this login may write there. Nothing is written.
pub(crate) fn probe_opensearch(
    settings: &OpenSearchSettings,
) -> anyhow::Result<std::result::Result<ServerFound, OpenSearchError>> {
    let index = format!("{}-check", settings.index.prefix());
    let mut client = OpenSearchClient::new(settings.clone());
    block_on(client.probe(&index))
}

/// Waits for a future.
pub(crate) fn block_on<F: Future>(future: F) -> anyhow::Result<F::Output> {
    Ok(runtime()?.block_on(future))
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

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use super::*;

    #[test]
    fn pass_of_a_monitor_is_a_sign_though_its_mails_wait_and_none_if_the_ledger_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().display();
        let file = dir.path().join("logferry.yaml");
        // Nobody listens on this port of this host.
        let config = format!(
            "housekeeper: {{data_dir: {data_dir}}}\n\
             monitor: {{data_dir: {data_dir}, smtp: {{host: 127.0.0.1, port: 1, tls: none, from: a@example.com, to: [b@example.com]}}}}\n"
        );
        std::fs::write(&file, config).unwrap();
        let sign = |role: Role| presence(dir.path(), role.name(), Timestamp::now()).map(|sign| sign.state);
        {
            let mut ledger = logferry_ledger::Ledger::open_or_create(dir.path()).unwrap();
            let mail = logferry_ledger::NewMail {
                subject: "s".to_owned(),
                text: "t".to_owned(),
                html: None,
            };
            let hour = logferry_ledger::SummaryKey::Hour(Timestamp::UNIX_EPOCH);
            ledger
                .queue_summary_mail(hour, &mail, &[], Timestamp::now())
                .unwrap();
        }
        assert!(matches!(monitor(&file), Err(Failure::Work(_))));
        assert_eq!(sign(Role::Monitor), Some(PresenceState::Once));

        std::fs::write(dir.path().join("ledger.db"), "this is no database\n".repeat(100)).unwrap();
        assert!(matches!(housekeeper(&file), Err(Failure::Work(_))));
        assert_eq!(sign(Role::Housekeeper), None);
    }
}
