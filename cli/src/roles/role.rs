//! The roles: their names, their sections of the configuration, and the future that runs each.

use std::path::Path;
use std::pin::Pin;

use anyhow::anyhow;
use logferry_config::Config;
use tokio_util::sync::CancellationToken;

use super::sender_role;
use crate::configuration;
use crate::output::exit::{Failure, Result};
use crate::owner;

/// A role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Sender,
    Relay,
    Forwarder,
    Monitor,
    Housekeeper,
    Indexer,
    Collector,
    Console,
}

/// Runs a role until its token is cancelled.
pub(crate) type RoleFuture = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

impl Role {
    pub(crate) const ALL: [Self; 8] = [
        Self::Sender,
        Self::Relay,
        Self::Forwarder,
        Self::Monitor,
        Self::Housekeeper,
        Self::Indexer,
        Self::Collector,
        Self::Console,
    ];

    /// The name of the role and of its section.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Relay => "relay",
            Self::Forwarder => "forwarder",
            Self::Monitor => "monitor",
            Self::Housekeeper => "housekeeper",
            Self::Indexer => "indexer",
            Self::Collector => "collector",
            Self::Console => "console",
        }
    }

    /// The systemd unit that runs only this role.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Sender => "logferry-sender.service",
            Self::Relay => "logferry-relay.service",
            Self::Forwarder => "logferry-forwarder.service",
            Self::Monitor => "logferry-monitor.service",
            Self::Housekeeper => "logferry-housekeeper.service",
            Self::Indexer => "logferry-indexer.service",
            Self::Collector => "logferry-collector.service",
            Self::Console => "logferry-console.service",
        }
    }

    /// What of this host the role uses, for people.
    pub(crate) const fn needs(self) -> &'static str {
        match self {
            Self::Sender => "its logs, folder and secrets",
            Self::Relay => "its folder, certificates and tokens",
            Self::Forwarder => "the spool, its keys and passwords",
            Self::Monitor => "the spool and its secrets",
            Self::Housekeeper => "the spool",
            Self::Indexer => "its folder and the spool",
            Self::Collector => "its folder, ports and keys",
            Self::Console => "the spool, the index and its folder",
        }
    }

    /// Whether the role's section is in the configuration.
    pub(crate) fn is_in(self, config: &Config) -> bool {
        self.folder(config).is_some()
    }

    /// The folder in which the role keeps its files; `None` if its section is not in the configuration.
    pub(crate) fn folder(self, config: &Config) -> Option<&Path> {
        let folder = match self {
            Self::Sender => &config.sender.as_ref()?.state_dir,
            Self::Relay => &config.relay.as_ref()?.data_dir,
            Self::Forwarder => &config.forwarder.as_ref()?.data_dir,
            Self::Monitor => &config.monitor.as_ref()?.data_dir,
            Self::Housekeeper => &config.housekeeper.as_ref()?.data_dir,
            Self::Indexer => &config.indexer.as_ref()?.store_dir,
            Self::Collector => &config.collector.as_ref()?.state_dir,
            Self::Console => &config.console.as_ref()?.state_dir,
        };
        Some(folder)
    }

    /// Whether the role's section changed from `old` to `new`.
    pub(crate) fn differs(self, old: &Config, new: &Config) -> bool {
        match self {
            Self::Sender => old.sender != new.sender,
            Self::Relay => old.relay != new.relay,
            Self::Forwarder => old.forwarder != new.forwarder,
            Self::Monitor => old.monitor != new.monitor,
            Self::Housekeeper => old.housekeeper != new.housekeeper,
            Self::Indexer => old.indexer != new.indexer,
            Self::Collector => old.collector != new.collector,
            Self::Console => old.console != new.console,
        }
    }

    /// The future that runs the role; `None` if its section is not in the configuration.
    pub(crate) fn future(self, config: &Config, stop: CancellationToken) -> Option<RoleFuture> {
        Some(match self {
            Self::Sender => self.with_name(sender_role::run(config.sender.clone()?, stop)),
            Self::Relay => self.with_name(logferry_relay::run(config.relay.clone()?, stop)),
            Self::Forwarder => self.with_name(logferry_forwarder::run(config.forwarder.clone()?, stop)),
            Self::Monitor => self.with_name(logferry_monitor::run(config.monitor.clone()?, stop)),
            Self::Housekeeper => self.with_name(logferry_housekeeper::run(config.housekeeper.clone()?, stop)),
            Self::Indexer => self.with_name(logferry_indexer::run(config.indexer.clone()?, stop)),
            Self::Collector => self.with_name(logferry_collector::run(config.collector.clone()?, stop)),
            Self::Console => self.with_name(logferry_console::run(config.console.clone()?, stop)),
        })
    }

    /// Adds the role's name to its error.
    fn with_name<E>(
        self,
        future: impl Future<Output = std::result::Result<(), E>> + Send + 'static,
    ) -> RoleFuture
    where
        E: Into<anyhow::Error>,
    {
        Box::pin(async move { future.await.map_err(|error| error.into().context(self.name())) })
    }
}

/// Takes the rights of the owner of the role's folder, as [`owner::act_as_owner`] says; `None`: of the folders of all roles.
pub(crate) fn act_as_owner(config: &Config, only: Option<Role>) -> Result<()> {
    let roles = Role::ALL.into_iter();
    let roles = roles.filter(|role| only.is_none_or(|only| only == *role));
    owner::act_as_owner(&roles.filter_map(|role| role.folder(config)).collect::<Vec<_>>())
}

/// Reads the configuration for one role, which must have a section; `None`: for all roles that have one.
///
/// Problems in the sections of other roles are warnings then.
pub(crate) fn load_for(file: &Path, role: Option<Role>) -> Result<Config> {
    let Some(role) = role else {
        return configuration::load(file);
    };
    let config = logferry_config::load_for(file, role.name()).map_err(configuration::failure)?;
    if role.is_in(&config) {
        return Ok(config);
    }
    Err(missing_section(file, role))
}

/// The error for a role without a section.
pub(crate) fn missing_section(file: &Path, role: Role) -> Failure {
    let (file, name) = (file.display(), role.name());
    Failure::Configuration(anyhow!(
        "{file}: {name}: there is no such section; add it to run this role here"
    ))
}
