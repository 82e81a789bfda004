//! What is done once and then over: a round of the monitor or the housekeeper for cron, and a mail to try the mail server.

use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use logferry_config::MonitorSettings;
use tokio::runtime::{Builder, Runtime};

use crate::configuration;
use crate::exit::{self, Outcome, Result};
use crate::roles::{Role, missing};

/// One round of the monitor, with the mails that are due.
pub(crate) fn monitor(file: &Path) -> Result {
    let section = monitor_section(file)?;
    runtime()?.block_on(logferry_monitor::once(&section))?;
    Ok(Outcome::Fine)
}

/// One round of the housekeeper, which logs what it did.
pub(crate) fn housekeeper(file: &Path) -> Result {
    let section = configuration::load(file)?
        .housekeeper
        .ok_or_else(|| missing(file, Role::Housekeeper))?;
    logferry_housekeeper::once(&section, Timestamp::now())?;
    Ok(Outcome::Fine)
}

/// One mail to the recipients.
pub(crate) fn test_mail(file: &Path) -> Result {
    let section = monitor_section(file)?;
    runtime()?.block_on(logferry_monitor::test_mail(&section))?;
    exit::print(&format!(
        "{}:{} took a mail to {}\n",
        section.smtp.host,
        section.smtp.port,
        section.smtp.to.join(", ")
    ))?;
    Ok(Outcome::Fine)
}

fn monitor_section(file: &Path) -> Result<MonitorSettings> {
    configuration::load(file)?
        .monitor
        .ok_or_else(|| missing(file, Role::Monitor))
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")
}
