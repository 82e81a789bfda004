//! Loads the configuration, and finds in it what several commands need.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use logferry_config::{Config, ConfigError, ForwarderSettings, Subscriber};
use logferry_ledger::Ledger;
use logferry_protocol::names::{DestinationName, GroupName, LogName, SourceId};
use logferry_text::nearest;

use crate::output::exit::{Failure, Result};
use crate::owner;

/// Reads and validates the configuration.
pub(crate) fn load(file: &Path) -> Result<Config> {
    logferry_config::load(file).map_err(failure)
}

/// The failure of a configuration that was not read; an ordinary user is told who may read it.
pub(crate) fn failure(error: ConfigError) -> Failure {
    let advice = match &error {
        ConfigError::Read { file, source } => owner::advice(file, source),
        ConfigError::Invalid { .. } => None,
    };
    let file = |error: &ConfigError| match error {
        ConfigError::Read { file, .. } | ConfigError::Invalid { file, .. } => file.display().to_string(),
    };
    match advice {
        Some(advice) => Failure::Configuration(anyhow!("{}: {advice}", file(&error))),
        None => Failure::configuration(error),
    }
}

/// The relay host's data folder. The configuration is only valid if all its sections name the same one. From here on the
/// process has the rights of the folder's owner.
pub(crate) fn data_dir(file: &Path, config: &Config) -> Result<PathBuf> {
    let Some((_, data_dir)) = config.data_dirs().next() else {
        let file = file.display();
        return Err(Failure::Configuration(anyhow!(
            "{file}: there is no relay, forwarder, monitor, housekeeper, indexer or console section; run this command with the relay host's \
             configuration"
        )));
    };
    owner::act_as_owner(&[data_dir])?;
    Ok(data_dir.to_owned())
}

/// The configured destinations, each with the batches it wants.
pub(crate) fn subscribers(config: &Config) -> Vec<Subscriber> {
    let forwarder = config.forwarder.as_ref();
    forwarder.map_or_else(Vec::new, ForwarderSettings::subscribers)
}

/// Refuses a source that the ledger does not have and the configuration does not name.
pub(crate) fn require_source(config: &Config, ledger: &Ledger, source: Option<&SourceId>) -> Result<()> {
    let Some(source) = source else { return Ok(()) };
    let recorded = ledger.sources()?;
    let mut known: BTreeSet<String> = recorded.iter().map(|known| known.source.to_string()).collect();
    let groups = config.relay.iter().flat_map(|relay| &relay.groups);
    known.extend(groups.flat_map(|group| group.sources.single()));
    let expected = config
        .monitor
        .iter()
        .flat_map(|monitor| &monitor.expected_sources);
    known.extend(expected.map(SourceId::to_string));
    require("source", source.as_str(), &known)
}

/// Refuses a group that neither the ledger nor the configuration has.
pub(crate) fn require_group(config: &Config, ledger: &Ledger, group: Option<&GroupName>) -> Result<()> {
    let Some(group) = group else { return Ok(()) };
    let recorded = ledger.sources()?;
    let mut known: BTreeSet<String> = recorded.iter().map(|known| known.group.to_string()).collect();
    let groups = config.relay.iter().flat_map(|relay| &relay.groups);
    known.extend(groups.map(|group| group.name.to_string()));
    require("group", group.as_str(), &known)
}

/// Refuses a log that neither the ledger nor the configuration has, nor the index. `indexed`: the logs that the index has.
pub(crate) fn require_log(
    config: &Config,
    ledger: &Ledger,
    indexed: Vec<String>,
    log: Option<&LogName>,
) -> Result<()> {
    let Some(log) = log else { return Ok(()) };
    let mut known: BTreeSet<String> = indexed.into_iter().collect();
    known.extend(ledger.logs()?.iter().map(LogName::to_string));
    known.extend(config.formats.logs().map(LogName::to_string));
    require("log", log.as_str(), &known)
}

/// Refuses a name that is not known.
pub(crate) fn require(thing: &str, name: &str, known: &BTreeSet<String>) -> Result<()> {
    if known.contains(name) {
        return Ok(());
    }
    let near = nearest_known(name, known.iter().map(String::as_str));
    Err(Failure::Configuration(anyhow!(
        "there is no {thing} {name}; {near}"
    )))
}

/// The end of a message on a name that is not known.
pub(crate) fn nearest_known<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    nearest(name, known).map_or_else(
        || "none is known yet".to_owned(),
        |near| format!("the nearest known one is {near}"),
    )
}

/// The error for a destination that is not configured.
pub(crate) fn unknown_destination<'a>(
    name: &DestinationName,
    configured: impl Iterator<Item = &'a DestinationName>,
) -> Failure {
    let configured: Vec<_> = configured.map(DestinationName::as_str).collect();
    let near = nearest_known(name.as_str(), configured.iter().copied());
    let configured = configured.join(", ");
    Failure::Configuration(anyhow!(
        "there is no destination {name}; the configuration has {configured}; {near}"
    ))
}
