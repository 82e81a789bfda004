//! The roles, and running them until they are told to stop: one by its own command, or all that are configured by `run`.

use std::path::Path;
use std::pin::Pin;

use anyhow::{Context, anyhow};
use logferry_config::Config;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::exit::{Failure, Outcome, Result};
use crate::sender;
use crate::signals::Signals;
use crate::supervisor::{Supervisor, Which};

/// A role to run until it is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Sender,
    Relay,
    Forwarder,
    Monitor,
    Housekeeper,
}

/// A role at work.
pub(crate) type Work = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

impl Role {
    pub(crate) const ALL: [Self; 5] = [
        Self::Sender,
        Self::Relay,
        Self::Forwarder,
        Self::Monitor,
        Self::Housekeeper,
    ];

    /// The role's name, which is its section's too.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Relay => "relay",
            Self::Forwarder => "forwarder",
            Self::Monitor => "monitor",
            Self::Housekeeper => "housekeeper",
        }
    }

    /// Whether the role's section is in the configuration.
    pub(crate) fn is_in(self, config: &Config) -> bool {
        match self {
            Self::Sender => config.sender.is_some(),
            Self::Relay => config.relay.is_some(),
            Self::Forwarder => config.forwarder.is_some(),
            Self::Monitor => config.monitor.is_some(),
            Self::Housekeeper => config.housekeeper.is_some(),
        }
    }

    /// Whether the role's section is another one in `new`.
    pub(crate) fn differs(self, old: &Config, new: &Config) -> bool {
        match self {
            Self::Sender => old.sender != new.sender,
            Self::Relay => old.relay != new.relay,
            Self::Forwarder => old.forwarder != new.forwarder,
            Self::Monitor => old.monitor != new.monitor,
            Self::Housekeeper => old.housekeeper != new.housekeeper,
        }
    }

    /// The role's work, where its section is in the configuration.
    pub(crate) fn work(self, config: &Config, stop: CancellationToken) -> Option<Work> {
        Some(match self {
            Self::Sender => self.named(sender::run(config.sender.clone()?, stop)),
            Self::Relay => self.named(logferry_relay::run(config.relay.clone()?, stop)),
            Self::Forwarder => self.named(logferry_forwarder::run(config.forwarder.clone()?, stop)),
            Self::Monitor => self.named(logferry_monitor::run(config.monitor.clone()?, stop)),
            Self::Housekeeper => self.named(logferry_housekeeper::run(config.housekeeper.clone()?, stop)),
        })
    }

    /// Puts the role's name to its error.
    fn named<E>(self, work: impl Future<Output = std::result::Result<(), E>> + Send + 'static) -> Work
    where
        E: Into<anyhow::Error>,
    {
        Box::pin(async move { work.await.map_err(|error| error.into().context(self.name())) })
    }
}

/// Runs one role.
pub(crate) fn one(file: &Path, role: Role) -> Result {
    serve(file, Which::One(role))
}

/// Runs every role that is configured.
pub(crate) fn all(file: &Path) -> Result {
    serve(file, Which::Configured)
}

fn serve(file: &Path, which: Which) -> Result {
    // Dropped last, after what the runtime still has to end: until then it watches the stop.
    let mut supervisor = Supervisor::new(file, which, Role::work)?;
    let runtime = Runtime::new().context("cannot start the async runtime")?;
    runtime.block_on(async {
        let mut signals = Signals::catch().context("cannot catch signals")?;
        supervisor.run(&mut signals).await
    })?;
    Ok(Outcome::Fine)
}

pub(crate) fn missing(file: &Path, role: Role) -> Failure {
    let (file, name) = (file.display(), role.name());
    Failure::Configuration(anyhow!(
        "{file}: {name}: there is no such section; add one to run this role here"
    ))
}
