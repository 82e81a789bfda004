//! The relay: listens, admits, routes lines to windows, commits, seals.
//!
//! A request's way: [`http`] takes it in and checks it, [`admission`] says whose it is, [`split`] sorts its lines by
//! window, [`pipeline`] hands it to the group's thread, [`committer`] makes it durable and answers; [`sealing`]
//! closes batches. `sequence`, `split`, `seal`, `turns`, `adoption` and `admission` decide and touch nothing, as does the
//! crate `windows`.
//!
//! Invariants:
//! - A 200 means that every line of the chunk is on stable storage, once.
//! - Groups share nothing but the ledger and the disk, at which `turns` has large rounds make way for small ones: each has
//!   its port, memory, threads for requests and for commits, and metrics.

mod access;
mod admission;
mod adoption;
mod answered;
mod board;
mod body;
mod certificate;
#[cfg(test)]
mod commit_tests;
mod committer;
mod complaint;
mod connection;
mod encoding;
mod engine;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gate;
mod http;
mod notices;
mod open_batches;
mod pace;
mod pipeline;
mod rejection;
mod renewal;
mod report;
mod reporter;
mod seal;
mod sealing;
mod sequence;
mod split;
mod spool;
mod stream;
mod tls;
mod tokens;
mod turn;
mod turns;
mod upload;
mod uploads;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use jiff::Timestamp;
use logferry_config::GroupSettings;
use logferry_durable::{Disk, DiskError, LockError, LockFile, RealDisk};
use logferry_ledger::{BatchState, Ledger, LedgerError};
use logferry_protocol::names::GroupName;
use logferry_telemetry::{HealthEndpoint, HealthEndpointError, Metrics, Readiness};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, Keeper};
pub use crate::access::{Findings, check_files};
use crate::committer::Committer;
use crate::engine::Engine;
use crate::http::Listener;
use crate::pipeline::Pipeline;
pub use crate::renewal::FileError;
use crate::spool::{Spool, SpoolError};
use crate::turn::{SharedDisk, Turn};

/// The relay cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Its data folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another relay uses the data folder.
    #[error(transparent)]
    LockFile(#[from] LockError),
    /// Its ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file of TLS or of tokens cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
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
    Metrics(#[from] HealthEndpointError),
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
    listeners: Vec<(Listener, Engine)>,
    keeper: Keeper,
    committers: Vec<JoinHandle<()>>,
    _lock: LockFile,
}

impl Relay {
    /// Makes the spool agree with the ledger and binds every group's port.
    pub async fn bind(
        config: &logferry_config::RelaySettings,
        metrics: &Metrics,
    ) -> Result<Self, RelayError> {
        let disk = RealDisk;
        for state in BatchState::ALL {
            disk.create_dir_all(&config.data_dir.join(state.as_str()))?;
        }
        let lock = LockFile::acquire(&config.data_dir.join("relay.lock"))?;
        let spool = Spool::new(disk, &config.data_dir);
        let mut ledger = Ledger::open_or_create(&config.data_dir)?;
        ledger.forget_group_reports()?;
        spool.finish_seals(&ledger, None)?;
        let groups: Vec<_> = config.groups.iter().map(|group| group.name.clone()).collect();
        spool.seal_orphans(&mut ledger, &groups, Timestamp::now())?;
        let keeper = Keeper::load(config)?;
        let access = keeper.access();
        let mut relay = Self {
            listeners: Vec::new(),
            keeper,
            committers: Vec::new(),
            _lock: lock,
        };
        let disk_turns = SharedDisk::default();
        for group in &config.groups {
            let engine = Engine::start(&group.name).map_err(|source| RelayError::Thread {
                group: group.name.clone(),
                source,
            })?;
            let listener = engine
                .bind(group.listen)
                .await
                .map_err(|source| RelayError::Listen {
                    group: group.name.clone(),
                    address: group.listen,
                    source,
                })?;
            let ledger = ledger.reopen()?;
            let means = (access.clone(), spool.clone(), ledger, disk_turns.join());
            let listener = relay.add_group(config, group, listener, means, metrics)?;
            relay.listeners.push((listener, engine));
        }
        Ok(relay)
    }

    fn add_group(
        &mut self,
        config: &logferry_config::RelaySettings,
        group: &GroupSettings,
        listener: TcpListener,
        (access, spool, ledger, turn): (Access, Spool<RealDisk>, Ledger, Turn),
        metrics: &Metrics,
    ) -> Result<Listener, RelayError> {
        let ledger_id = ledger.id()?;
        let mut committer = Committer::start(group.name.clone(), config.batch.clone(), spool, ledger)?;
        committer.turn = turn;
        let metrics = metrics.relay(group.name.as_str());
        let started = Pipeline::start(committer, metrics.clone(), config.limits.min_free_disk);
        let (pipeline, thread) = started.map_err(|source| RelayError::Thread {
            group: group.name.clone(),
            source,
        })?;
        self.committers.push(thread);
        Ok(Listener::new(
            listener,
            Arc::new(group.clone()),
            config,
            access,
            ledger_id,
            pipeline,
            metrics,
        ))
    }

    /// The address that each group listens on, in the order of the configuration.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let addresses = self.listeners.iter().map(|(listener, _)| listener.address());
        addresses.flatten().collect()
    }

    /// Says at any time which groups take no lines and why, one line each; nothing if all do.
    fn troubles(&self) -> impl Fn() -> Option<String> + Send + Sync + 'static {
        let boards: Vec<_> = self
            .listeners
            .iter()
            .map(|(listener, _)| listener.board())
            .collect();
        move || {
            let troubles = boards.iter().filter_map(|(group, board)| {
                let trouble = board.trouble()?;
                Some(format!("group {group} takes no lines: {trouble}"))
            });
            let troubles: Vec<_> = troubles.collect();
            (!troubles.is_empty()).then(|| troubles.join("\n"))
        }
    }

    /// Answers requests until `shutdown`; then lets those under way finish, and returns when all is on disk.
    pub async fn serve(self, shutdown: CancellationToken) {
        let (mut tasks, mut engines) = (JoinSet::new(), Vec::new());
        tasks.spawn(self.keeper.keep(shutdown.clone()));
        for (listener, engine) in self.listeners {
            tasks.spawn_on(listener.serve(shutdown.clone()), engine.handle());
            engines.push(engine);
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
pub async fn run(
    config: logferry_config::RelaySettings,
    shutdown: CancellationToken,
) -> Result<(), RelayError> {
    let (metrics, ready, mut numbers) = (Metrics::process(), Readiness::default(), JoinSet::new());
    if let Some(address) = config.metrics {
        let endpoint = HealthEndpoint::bind(address).await?;
        numbers.spawn(endpoint.serve(metrics.clone(), ready.clone(), shutdown.clone()));
    }
    let relay = Relay::bind(&config, metrics).await?;
    for (group, address) in config.groups.iter().zip(relay.addresses()) {
        tracing::info!(group = %group.name, %address, "listening");
    }
    ready.set_unless(relay.troubles());
    relay.serve(shutdown).await;
    numbers.join_all().await;
    Ok(())
}
