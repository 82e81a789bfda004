//! Running roles until they are told to stop: one by its own command, or all that are configured by `run`.

use std::path::Path;
use std::pin::Pin;

use anyhow::{Context, anyhow};
use logferry_config::Config;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::configuration;
use crate::exit::{Failure, Outcome, Result};
use crate::sender;
use crate::signals::{self, Request, Signals};

/// A role to run until it is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Sender,
    Relay,
    Forwarder,
    Monitor,
    Housekeeper,
}

/// A role at work.
type Work = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

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
    let config = load(file)?;
    serve(|stop| {
        role.work(&config, stop)
            .map(|work| vec![work])
            .ok_or_else(|| missing(file, role))
    })
}

/// Runs every role that is configured.
pub(crate) fn all(file: &Path) -> Result {
    let config = load(file)?;
    serve(|stop| {
        Ok(Role::ALL
            .iter()
            .filter_map(|role| role.work(&config, stop.clone()))
            .collect())
    })
}

fn load(file: &Path) -> Result<Config> {
    let config = configuration::load(file)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

fn serve(works: impl FnOnce(CancellationToken) -> Result<Vec<Work>>) -> Result {
    let runtime = Runtime::new().context("cannot start the async runtime")?;
    runtime.block_on(async {
        let signals = Signals::catch().context("cannot catch signals")?;
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        for work in works(stop.clone())? {
            running.spawn(work);
        }
        supervise(running, &stop, signals).await?;
        Ok(Outcome::Fine)
    })
}

/// Waits for all roles to end. The first that ends, and the first signal, stop the others; the first error is the cause
/// of what comes after it, and is the one that counts.
async fn supervise(
    mut running: JoinSet<anyhow::Result<()>>,
    stop: &CancellationToken,
    mut signals: Signals,
) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    loop {
        tokio::select! {
            ended = running.join_next() => match ended {
                None => return outcome,
                Some(ended) => {
                    outcome = outcome.and(ended.context("a role crashed").flatten());
                    begin_stop(stop);
                }
            },
            request = signals.next() => match request {
                Request::Stop => begin_stop(stop),
                Request::Reload => tracing::warn!("configuration is read at start; restart to apply changes"),
            },
        }
    }
}

fn begin_stop(stop: &CancellationToken) {
    if !stop.is_cancelled() {
        tracing::info!("stopping");
        stop.cancel();
        signals::watch_the_stop();
    }
}

pub(crate) fn missing(file: &Path, role: Role) -> Failure {
    let (file, name) = (file.display(), role.name());
    Failure::Configuration(anyhow!(
        "{file}: {name}: there is no such section; add one to run this role here"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A role that ends when it is told to.
    async fn obedient(stop: CancellationToken) -> anyhow::Result<()> {
        stop.cancelled().await;
        Ok(())
    }

    #[tokio::test]
    async fn role_that_fails_stops_the_others_and_its_error_counts() {
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(obedient(stop.clone()));
        running.spawn(async { Err(anyhow!("no disk")) });
        running.spawn({
            let stopped = obedient(stop.clone());
            async move { stopped.await.and(Err(anyhow!("later"))) }
        });
        let outcome = supervise(running, &stop, Signals::catch().unwrap()).await;
        assert_eq!(outcome.unwrap_err().to_string(), "no disk");
    }

    #[tokio::test]
    async fn clean_stop_is_no_error() {
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(obedient(stop.clone()));
        stop.cancel();
        assert!(supervise(running, &stop, Signals::catch().unwrap()).await.is_ok());
    }
}
