//! Starting and stopping the relay: recovery, ports, threads.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;

use jiff::Timestamp;
use logferry_config::GroupSettings;
use logferry_durable::{DiskError, LockError, LockFile, RealDisk, open_files_max};
use logferry_ledger::{BatchState, Ledger, LedgerError};
use logferry_protocol::names::GroupName;
use logferry_spool::{RELAY_LOCK, Spool};
use logferry_telemetry::{HealthEndpoint, HealthEndpointError, Metrics, Readiness};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::auth::{CredentialFileError, CredentialsReloader};
use crate::chunk::{Moment, RelayBodies};
use crate::commit::{
    CommitError, CommitQueue, CommitThreadError, Committer, GroupScheduler, SharedDiskScheduler,
    finish_seals, seal_orphans,
};
use crate::http::{GroupListener, GroupRuntime, ServedLedger};
use crate::ledger_check::check_ledger;
use crate::senders::SharedSenders;

/// The relay cannot start or continue.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another relay uses the data folder.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A TLS or token file cannot be used.
    #[error(transparent)]
    File(#[from] CredentialFileError),
    /// The port of a group cannot be bound.
    #[error("group {group} cannot listen on {address}: choose a free port, or stop the program that uses it")]
    Listen {
        /// The group.
        group: GroupName,
        /// Its address.
        address: SocketAddr,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The port for metrics cannot be bound.
    #[error(transparent)]
    Metrics(#[from] HealthEndpointError),
    /// A thread cannot be started.
    #[error("cannot start a thread for group {group}")]
    Thread {
        /// The group.
        group: GroupName,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

/// The batch files that each of so many groups may keep open: together an eighth of what this process may open.
/// Twice as many may be in each round that waits for its sync or is staged, and connections need the rest.
fn files_of_a_group(groups: usize) -> usize {
    open_files_max() / 8 / groups.max(1)
}

impl From<CommitError> for RelayError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Disk(error) => Self::Disk(error),
            CommitError::Ledger(error) => Self::Ledger(error),
        }
    }
}

/// A relay that has recovered and bound its ports, but does not respond yet.
#[derive(Debug)]
pub struct RelayServer {
    listeners: Vec<(GroupListener, GroupRuntime)>,
    credentials: CredentialsReloader,
    senders: SharedSenders,
    bodies: RelayBodies,
    commit_threads: Vec<JoinHandle<()>>,
    _lock: LockFile,
}

impl RelayServer {
    /// Makes the spool agree with the ledger, and binds the port of every group.
    pub async fn bind(
        config: &logferry_config::RelaySettings,
        metrics: &Metrics,
    ) -> Result<Self, RelayError> {
        let spool = Spool::new(RealDisk, &config.data_dir);
        spool.create_state_folders(&BatchState::ALL)?;
        let lock = LockFile::acquire(&config.data_dir.join(RELAY_LOCK))?;
        let mut ledger = Ledger::open_or_create(&config.data_dir)?;
        // What the last process wrote there may not be on the disk. A power cut after files were cut back or sealed by it would
        // leave them ahead of the ledger. From here on it is durable.
        ledger.overwrite_stale_wal()?;
        ledger.forget_group_reports()?;
        if let Err(error) = ledger.reserve_wal() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the ledger's write-ahead log is not made longer in advance, so commits take longer for a while"
            );
        }
        finish_seals(&spool, &ledger, None)?;
        let groups: Vec<_> = config.groups.iter().map(|group| group.name.clone()).collect();
        seal_orphans(&spool, &mut ledger, &groups, Timestamp::now())?;
        let mut relay = Self {
            listeners: Vec::new(),
            credentials: CredentialsReloader::load(config)?,
            senders: SharedSenders::load(ledger.senders()?),
            bodies: RelayBodies::new(
                config.limits.max_in_flight_total,
                config.limits.max_chunk,
                groups.len(),
            ),
            commit_threads: Vec::new(),
            _lock: lock,
        };
        let schedulers = SharedDiskScheduler::default();
        for group in &config.groups {
            let runtime = GroupRuntime::start(&group.name).map_err(|source| thread_error(group, source))?;
            let listener = runtime.bind(group.listen).await;
            let listener = listener.map_err(|source| RelayError::Listen {
                group: group.name.clone(),
                address: group.listen,
                source,
            })?;
            let storage = (spool.clone(), ledger.reopen()?, schedulers.join());
            let listener = relay.start_group(config, group, listener, storage, metrics)?;
            relay.listeners.push((listener, runtime));
        }
        Ok(relay)
    }

    fn start_group(
        &mut self,
        config: &logferry_config::RelaySettings,
        group: &GroupSettings,
        listener: TcpListener,
        (spool, ledger, scheduler): (Spool<RealDisk>, Ledger, GroupScheduler),
        metrics: &Metrics,
    ) -> Result<GroupListener, RelayError> {
        let served = ServedLedger {
            id: ledger.id()?,
            is_rebuilt: ledger.rebuilt_at()?.is_some(),
            restored: (ledger.restores()?.last()).map_or(0, |last| last.restored_at.as_millisecond()),
        };
        let mut committer = Committer::start(
            group.name.clone(),
            config.batch.clone(),
            spool,
            ledger,
            Moment::now(),
        )?;
        committer.open.limit_files(files_of_a_group(config.groups.len()));
        let metrics = metrics.relay(group.name.as_str());
        let started = CommitQueue::start(committer, scheduler, metrics.clone(), config.limits.min_free_disk);
        let (commits, thread) = started.map_err(|error| match error {
            CommitThreadError::Ledger(error) => RelayError::Ledger(error),
            CommitThreadError::Thread(source) => thread_error(group, source),
        })?;
        self.commit_threads.push(thread);
        Ok(GroupListener::new(
            listener,
            Arc::new(group.clone()),
            config,
            (self.credentials.credentials(), self.senders.clone(), &self.bodies),
            served,
            commits,
            metrics,
        ))
    }

    /// The address of each group's port, in the order of the configuration.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let addresses = self.listeners.iter().map(|(listener, _)| listener.address());
        addresses.flatten().collect()
    }

    /// A function that tells which groups accept no lines and why, one line each; `None` if all accept lines.
    fn faults(&self) -> impl Fn() -> Option<String> + Send + Sync + 'static {
        let groups: Vec<_> = self
            .listeners
            .iter()
            .map(|(listener, _)| listener.status())
            .collect();
        move || {
            let faults = groups.iter().filter_map(|(group, status)| {
                let fault = status.fault()?;
                Some(format!("group {group} takes no lines: {fault}"))
            });
            let faults: Vec<_> = faults.collect();
            (!faults.is_empty()).then(|| faults.join("\n"))
        }
    }

    /// Responds to requests until `shutdown`. Then lets running requests finish, and returns when all lines are on disk.
    pub async fn serve(self, shutdown: CancellationToken) {
        let (mut tasks, mut runtimes) = (JoinSet::new(), Vec::new());
        tasks.spawn(self.credentials.run(shutdown.clone()));
        for (listener, runtime) in self.listeners {
            tasks.spawn_on(listener.serve(shutdown.clone()), runtime.handle());
            runtimes.push(runtime);
        }
        while tasks.join_next().await.is_some() {}
        // The last listener has dropped its queue, so the commit threads end when their queues are empty.
        let joined = tokio::task::spawn_blocking(move || {
            for thread in self.commit_threads {
                if thread.join().is_err() {
                    tracing::error!(
                        "a commit thread ended by a bug; senders post unacknowledged chunks again"
                    );
                }
            }
        });
        let _ = joined.await;
    }
}

fn thread_error(group: &GroupSettings, source: io::Error) -> RelayError {
    RelayError::Thread {
        group: group.name.clone(),
        source,
    }
}

/// Runs the relay until `shutdown`, or until its ledger turns out to be damaged, with its metrics on `config.metrics`.
pub async fn run(
    config: logferry_config::RelaySettings,
    shutdown: CancellationToken,
) -> Result<(), RelayError> {
    let (metrics, ready, mut endpoints) = (Metrics::process(), Readiness::default(), JoinSet::new());
    let stop = shutdown.child_token();
    if let Some(address) = config.metrics {
        let endpoint = HealthEndpoint::bind(address).await?;
        endpoints.spawn(endpoint.serve(metrics.clone(), ready.clone(), stop.clone()));
    }
    let relay = RelayServer::bind(&config, metrics).await?;
    for (group, address) in config.groups.iter().zip(relay.addresses()) {
        let name = &group.name;
        tracing::info!(group = %name, %address, "group {name}: listening on {address}");
    }
    ready.set_unless(relay.faults());
    let damage = check_ledger(&config.data_dir)?;
    let mut serving = pin!(relay.serve(stop.clone()));
    let result = tokio::select! {
        () = &mut serving => Ok(()),
        Ok(error) = damage => {
            // What is acknowledged is on disk. The senders keep the rest.
            stop.cancel();
            serving.await;
            Err(error.into())
        }
    };
    endpoints.join_all().await;
    result
}
