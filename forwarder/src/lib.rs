//! Plans, uploads, verifies, publishes, archives: every sealed batch reaches every destination that wants it whole, once,
//! under its own name.
//!
//! Invariants:
//! - **The ledger decides, the folder follows.** A batch's state is changed in the ledger first and its file moved second; a
//!   file in the wrong folder is moved to the folder of its batch's state.
//! - A file is published only if its size and CRC-32C are those in the ledger, computed from the bytes that were sent.
//! - A file at the destination that has a batch's name is never written to. If its bytes are the same, this forwarder
//!   published it before a crash, and it is recorded. If they differ, the batch is held back and reported.
//! - Destinations do not wait for each other, and a batch that cannot be delivered does not hold up others. A destination
//!   that is down costs no batch an attempt.
//!
//! Each destination has a worker, which plans and records, and sessions, which deliver. Each runs in a thread of its own;
//! a session reads, hashes and encrypts what it sends. A session has many items in flight at once; the worker records
//! the results in groups while the sessions continue. The deciding modules (`schedule::plan`, `schedule::retry`,
//! `publish`, `session::in_flight`) use no sockets and no clocks. A lock in the data folder allows one process at a time.

mod commands;
mod delivery_store;
mod error;
mod publish;
mod requests;
mod schedule;
mod session;
mod source;
mod ssh;
mod window_manifest;
mod worker;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::ForwarderSettings;
use logferry_durable::{LockError, LockFile};
use logferry_ledger::LedgerError;
use logferry_requests::RequestFolder;
use logferry_spool::FORWARDER_LOCK;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::delivery_store::DeliveryStore;
use crate::requests::RequestTaker;
use crate::source::compressed_staging;
use crate::worker::DestinationWorker;

pub use crate::commands::check::{check_destination, key_finding, known_hosts_finding};
pub use crate::commands::resend::{BatchAtDestination, ResendDue, ResendImpossible, ResendOutcome, resend};
pub use crate::commands::sidecars::{Sidecar, SidecarKind, sidecars};
pub use crate::commands::verify::{DeliveredFile, DeliveryDifference, VerifyProgress, verify};
pub use crate::delivery_store::DeliveryStoreError;
pub use crate::error::{DeliveryError, FailureScope, HostKeyError, HostKeyStatus, LoginError, ServerAddress};
pub use crate::ssh::{HostKeyScan, StoreHostKeyError};

/// How often to check whether the relay has created the ledger.
const LEDGER_WAIT: Duration = Duration::from_millis(500);

/// The forwarder could not start, or could not continue.
#[derive(Debug, thiserror::Error)]
pub enum ForwarderError {
    /// Another forwarder uses this data folder.
    #[error("cannot lock the data folder {}", .data_dir.display())]
    Lock {
        /// The data folder.
        data_dir: PathBuf,
        /// The process that has the lock, or why it failed.
        #[source]
        source: LockError,
    },
    /// The ledger or the spool's folders cannot be used.
    #[error("cannot use the data folder {}", .data_dir.display())]
    Store {
        /// The data folder.
        data_dir: PathBuf,
        /// The cause.
        #[source]
        source: DeliveryStoreError,
    },
    /// A destination's worker panicked.
    #[error("the worker of a destination ended unexpectedly: this is a defect, please report it")]
    Worker {
        /// How it ended.
        #[source]
        source: JoinError,
    },
}

/// Delivers sealed batches until `shutdown`. Waits for the ledger, which the relay creates.
///
/// Transfers have a few seconds to finish after `shutdown`; the next start resumes the others.
pub async fn run(config: ForwarderSettings, shutdown: CancellationToken) -> Result<(), ForwarderError> {
    let data_dir = config.data_dir.clone();
    let Some((_lock, store)) = open(&config, &shutdown).await? else {
        return Ok(());
    };
    let store = Arc::new(Mutex::new(store));
    let stop = shutdown.child_token();
    let subscribers = config.subscribers();
    let mut workers = JoinSet::new();
    for destination in config.destinations {
        let worker = DestinationWorker::new(destination, &data_dir, config.interval, &store, stop.clone());
        workers.spawn_blocking(move || worker.run());
    }
    info!(data_dir = %data_dir.display(), destinations = workers.len(), "forwarder started");
    if let Some(state_dir) = &config.console_dir {
        let taker = RequestTaker {
            folder: RequestFolder::of(state_dir),
            data_dir: data_dir.clone(),
            subscribers,
            store: Arc::clone(&store),
        };
        let stop = stop.clone();
        workers.spawn_blocking(move || taker.run(&stop));
    }
    let mut result = Ok(());
    while let Some(ended) = workers.join_next().await {
        if let Err(source) = ended {
            stop.cancel();
            result = result.and(Err(ForwarderError::Worker { source }));
        }
    }
    info!("forwarder stopped");
    result
}

/// Takes the lock and opens the ledger; `None` if `shutdown` came before it existed.
async fn open(
    config: &ForwarderSettings,
    shutdown: &CancellationToken,
) -> Result<Option<(LockFile, DeliveryStore)>, ForwarderError> {
    let data_dir = &config.data_dir;
    let store_error = |source| ForwarderError::Store {
        data_dir: data_dir.clone(),
        source,
    };
    let mut is_logged = false;
    loop {
        match DeliveryStore::open(data_dir, config.subscribers()) {
            Ok(mut store) => {
                let lock = LockFile::acquire(&data_dir.join(FORWARDER_LOCK)).map_err(|source| {
                    ForwarderError::Lock {
                        data_dir: data_dir.clone(),
                        source,
                    }
                })?;
                // Only under the lock: files must not be moved while another forwarder uses them.
                store
                    .reconcile(Timestamp::now())
                    .and_then(|()| remove_unneeded_staging(config, &mut store))
                    .map_err(store_error)?;
                return Ok(Some((lock, store)));
            }
            Err(DeliveryStoreError::Ledger(LedgerError::Missing { .. })) => {
                if !is_logged {
                    let folder = data_dir.display();
                    info!(%folder, "waiting for the relay's first start: no ledger in {folder} yet");
                    is_logged = true;
                }
            }
            Err(source) => return Err(store_error(source)),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(LEDGER_WAIT) => {}
        }
    }
}

/// Removes the compressed files of an earlier run that are no longer needed.
fn remove_unneeded_staging(
    config: &ForwarderSettings,
    store: &mut DeliveryStore,
) -> Result<(), DeliveryStoreError> {
    let mut wanted = HashSet::new();
    for destination in &config.destinations {
        let extension = destination.publish.compress.extension();
        for waiting in store.waiting(&destination.name, &destination.filter)? {
            wanted.insert((
                destination.name.to_string(),
                format!("{}{extension}", waiting.batch.file_name()),
            ));
        }
    }
    let is_wanted =
        |destination: &str, name: &str| wanted.contains(&(destination.to_owned(), name.to_owned()));
    Ok(compressed_staging::remove_unneeded(&config.data_dir, is_wanted)?)
}

/// Locks, also after another thread panicked: every change is complete under one lock.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
