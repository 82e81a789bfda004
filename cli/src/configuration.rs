//! Loads the configuration, and finds in it what several commands need.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use logferry_config::{Config, ForwarderSettings, Subscriber};
use logferry_protocol::names::DestinationName;

use crate::output::exit::{Failure, Result};

/// Reads and validates the configuration.
pub(crate) fn load(file: &Path) -> Result<Config> {
    logferry_config::load(file).map_err(Failure::configuration)
}

/// The relay host's data folder. The configuration is only valid if all its sections name the same one.
pub(crate) fn data_dir(file: &Path, config: &Config) -> Result<PathBuf> {
    let data_dir = config.data_dirs().next();
    data_dir.map(|(_, folder)| folder.to_owned()).ok_or_else(|| {
        let file = file.display();
        Failure::Configuration(anyhow!(
            "{file}: there is no relay, forwarder, monitor or housekeeper section; run this command with the relay host's \
             configuration"
        ))
    })
}

/// The configured destinations, each with the batches it wants.
pub(crate) fn subscribers(config: &Config) -> Vec<Subscriber> {
    let forwarder = config.forwarder.as_ref();
    forwarder.map_or_else(Vec::new, ForwarderSettings::subscribers)
}

/// The error for a destination that is not configured.
pub(crate) fn unknown_destination<'a>(
    name: &DestinationName,
    configured: impl Iterator<Item = &'a DestinationName>,
) -> Failure {
    let configured: Vec<_> = configured.map(DestinationName::as_str).collect();
    let configured = configured.join(", ");
    Failure::Configuration(anyhow!(
        "there is no destination {name}; the configuration has {configured}"
    ))
}
