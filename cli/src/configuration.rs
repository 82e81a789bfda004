//! Loading the configuration, and what the commands that look at the relay host need of it.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use logferry_config::{Config, ForwarderSettings, Subscriber};

use crate::exit::{Failure, Result};

/// Reads and judges the configuration.
pub(crate) fn load(file: &Path) -> Result<Config> {
    logferry_config::load(file).map_err(Failure::configuration)
}

/// The relay host's data folder. Sections that name it agree on it, which the configuration has checked.
pub(crate) fn data_dir(file: &Path, config: &Config) -> Result<PathBuf> {
    let relay = config.relay.as_ref().map(|section| &section.data_dir);
    let forwarder = config.forwarder.as_ref().map(|section| &section.data_dir);
    let monitor = config.monitor.as_ref().map(|section| &section.data_dir);
    let housekeeper = config.housekeeper.as_ref().map(|section| &section.data_dir);
    relay
        .or(forwarder)
        .or(monitor)
        .or(housekeeper)
        .cloned()
        .ok_or_else(|| {
            let file = file.display();
            Failure::Configuration(anyhow!(
                "{file}: there is no relay, forwarder, monitor or housekeeper section; \
             run this command with the configuration of the relay host"
            ))
        })
}

/// The configured destinations, and what each wants.
pub(crate) fn subscribers(config: &Config) -> Vec<Subscriber> {
    config
        .forwarder
        .as_ref()
        .map(ForwarderSettings::subscribers)
        .unwrap_or_default()
}
