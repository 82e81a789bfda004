//! The relay: listens, admits, routes lines to windows, commits, seals.
//!
//! A request's way: [`http`] takes it in and checks it, [`admission`] says whose it is, [`split`] sorts its lines by
//! window, [`pipeline`] hands it to the group's thread, [`committer`] makes it durable and answers; [`sealing`]
//! closes batches. `sequence`, `split`, `seal`, `adoption` and `admission` decide and touch nothing, as does the crate `windows`.
//!
//! Invariants:
//! - A 200 means that every line of the chunk is on stable storage, once.
//! - Groups share nothing but the ledger: each has its port, memory, committer thread and metrics.

mod admission;
mod adoption;
mod answered;
mod body;
#[cfg(test)]
mod commit_tests;
mod committer;
mod connection;
mod encoding;
pub mod follow;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http;
mod open_batches;
mod pipeline;
mod rejection;
mod seal;
mod sealing;
mod sequence;
mod split;
mod spool;
mod stream;
mod upload;
mod uploads;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use jiff::Timestamp;
use logferry_config::Group;
use logferry_durable::{Disk, DiskError, Lock, LockError, RealDisk};
use logferry_ledger::{BatchState, Ledger, LedgerError};
use logferry_protocol::names::GroupName;
use logferry_telemetry::{Endpoint, EndpointError, Metrics, Ready};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::committer::Committer;
use crate::http::Listener;
use crate::pipeline::Pipeline;
use crate::spool::{Spool, SpoolError};

/// The relay cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Its data folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another relay uses the data folder.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Its ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A port cannot be listened on.
    #[error("group {group} cannot listen on {address}: choose a free port, or stop what holds it")]
    Listen {
        /// The group.
        group: GroupName,
        /// Its address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The port for metrics cannot be listened on.
    #[error(transparent)]
    Metrics(#[from] EndpointError),
    /// A thread cannot be started.
    #[error("cannot start a thread for group {group}")]
    Thread {
        /// The group.
        group: GroupName,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl From<SpoolError> for RelayError {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::Disk(error) => Self::Disk(error),
            SpoolError::Ledger(error) => Self::Ledger(error),
        }
    }
}

/// A relay that has recovered and listens, but does not answer yet.
#[derive(Debug)]
pub struct Relay {
    listeners: Vec<Listener>,
    committers: Vec<JoinHandle<()>>,
    _lock: Lock,
}

impl Relay {
    /// Makes the spool agree with the ledger and binds every group's port.
    pub async fn bind(config: &logferry_config::Relay, metrics: &Metrics) -> Result<Self, RelayError> {
        let disk = RealDisk;
        for state in BatchState::ALL {
            disk.create_dir_all(&config.data_dir.join(state.as_str()))?;
        }
        let lock = Lock::acquire(&config.data_dir.join("relay.lock"))?;
        let spool = Spool::new(disk, &config.data_dir);
        spool.refuse_without_ledger()?;
        let mut ledger = Ledger::open_or_create(&config.data_dir)?;
        spool.finish_seals(&ledger, None)?;
        let groups: Vec<_> = config.groups.iter().map(|group| group.name.clone()).collect();
        spool.seal_orphans(&mut ledger, &groups, Timestamp::now())?;
        let mut relay = Self {
            listeners: Vec::new(),
            committers: Vec::new(),
            _lock: lock,
        };
        for group in &config.groups {
            let listener = TcpListener::bind(group.listen)
                .await
                .map_err(|source| RelayError::Listen {
                    group: group.name.clone(),
                    address: group.listen,
                    source,
                })?;
            relay.add_group(config, group, listener, spool.clone(), metrics)?;
        }
        Ok(relay)
    }

    fn add_group(
        &mut self,
        config: &logferry_config::Relay,
        group: &Group,
        listener: TcpListener,
        spool: Spool<RealDisk>,
        metrics: &Metrics,
    ) -> Result<(), RelayError> {
        let ledger = Ledger::open(&config.data_dir)?;
        let ledger_id = ledger.id()?;
        let committer = Committer::start(group.name.clone(), config.batch.clone(), spool, ledger)?;
        let metrics = metrics.relay(group.name.as_str());
        let started = Pipeline::start(committer, metrics.clone(), config.limits.min_free_disk);
        let (pipeline, thread) = started.map_err(|source| RelayError::Thread {
            group: group.name.clone(),
            source,
        })?;
        self.committers.push(thread);
        self.listeners.push(Listener::new(
            listener,
            Arc::new(group.clone()),
            config,
            ledger_id,
            pipeline,
            metrics,
        ));
        Ok(())
    }

    /// The address that each group listens on, in the order of the configuration.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(Listener::address).collect()
    }

    /// Answers requests until `shutdown`; then lets those under way finish, and returns when all is on disk.
    pub async fn serve(self, shutdown: CancellationToken) {
        let mut tasks = JoinSet::new();
        for listener in self.listeners {
            tasks.spawn(listener.serve(shutdown.clone()));
        }
        while tasks.join_next().await.is_some() {}
        // With the last listener its pipeline is gone, and the committers end when their queues are empty.
        let joined = tokio::task::spawn_blocking(move || {
            for committer in self.committers {
                if committer.join().is_err() {
                    tracing::error!(
                        "a committer thread ended by a bug; what it had not acknowledged is sent again"
                    );
                }
            }
        });
        let _ = joined.await;
    }
}

/// Runs the relay until `shutdown`, with its numbers on `config.metrics`.
pub async fn run(config: logferry_config::Relay, shutdown: CancellationToken) -> Result<(), RelayError> {
    let (metrics, ready, mut numbers) = (Metrics::process(), Ready::default(), JoinSet::new());
    if let Some(address) = config.metrics {
        let endpoint = Endpoint::bind(address).await?;
        numbers.spawn(endpoint.serve(metrics.clone(), ready.clone(), shutdown.clone()));
    }
    let relay = Relay::bind(&config, metrics).await?;
    for (group, address) in config.groups.iter().zip(relay.addresses()) {
        tracing::info!(group = %group.name, %address, "listening");
    }
    ready.set();
    relay.serve(shutdown).await;
    numbers.join_all().await;
    Ok(())
}
