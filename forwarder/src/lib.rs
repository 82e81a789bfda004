//! Plan, upload, verify, publish, archive: sealed batches reach every destination whole, once, under their own names.
//!
//! Invariants:
//! - **The ledger decides, the folder follows.** A batch changes its state in the ledger first and its folder second;
//!   a file found in the wrong folder is moved to where the ledger says it is.
//! - A file is published only if its size and CRC-32C are those that the ledger has for the batch, taken from the very
//!   bytes that were sent.
//! - A name that is taken at the destination is never written to. A file there with the same
//!   bytes is ours from before a crash, and is recorded; any other holds the batch back and is reported.
//! - Destinations do not wait for each other, and a batch that cannot be delivered does not hold up the others. A
//!   destination that cannot be reached costs no batch an attempt.
//!
//! Each destination has a worker, which plans and keeps the store, and sessions, which deliver: threads, each of
//! which reads, hashes and encrypts what it sends. A session has many batches in flight at once; the worker records what came of them in groups,
//! while the sessions go on. What decides (`plan`, `retry`, `publication`, `attempt`, `flight`) is free of sockets and
//! clocks. One process at a time delivers from a data folder, by a lock in it.

mod commands;
mod delivery_store;
mod error;
mod publish;
mod schedule;
mod session;
mod source;
mod ssh;
mod window_manifest;
mod worker;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::{Destination, ForwarderSettings};
use logferry_durable::{LockError, LockFile};
use logferry_ledger::LedgerError;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::delivery_store::DeliveryStore;
use crate::session::bandwidth::Bandwidth;
use crate::session::sftp_driver::SftpDriver;
use crate::source::compressed_staging;
use crate::worker::Worker;

pub use crate::commands::resend::{BatchAtDestination, ResendDue, ResendImpossible, ResendOutcome, resend};
pub use crate::commands::sidecars::{Sidecar, SidecarKind, sidecars};
pub use crate::commands::verify::{DeliveredFile, DeliveryDifference, VerifyProgress, verify};
pub use crate::delivery_store::DeliveryStoreError;
pub use crate::error::{DeliveryError, FailureScope, HostKeyError, LoginError};
pub use crate::ssh::{HostKeyScan, HostKeyStatus, StoreHostKeyError};

/// Name of the lock file in the data folder.
const LOCK_FILE: &str = "forwarder.lock";

/// How often to look for a ledger that the relay has not made yet.
const LEDGER_WAIT: Duration = Duration::from_millis(500);

/// The forwarder could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ForwarderError {
    /// Another forwarder works in this data folder.
    #[error("cannot have the data folder {} alone", .data_dir.display())]
    Lock {
        /// The data folder.
        data_dir: PathBuf,
        /// Who has it, or why the lock failed.
        #[source]
        source: LockError,
    },
    /// The ledger or the spool's folders cannot be used.
    #[error("cannot work in the data folder {}", .data_dir.display())]
    DeliveryStore {
        /// The data folder.
        data_dir: PathBuf,
        /// What failed.
        #[source]
        source: DeliveryStoreError,
    },
    /// A destination's worker ended by a defect.
    #[error("the worker of a destination ended unexpectedly: this is a defect, please report it")]
    Worker {
        /// How it ended.
        #[source]
        source: JoinError,
    },
}

/// Delivers sealed batches until `shutdown`. A ledger that is not there yet is waited for: the relay makes it.
///
/// What is under way at `shutdown` has a few seconds to finish; wherever it is cut off, the next start goes on from
/// there.
pub async fn run(config: ForwarderSettings, shutdown: CancellationToken) -> Result<(), ForwarderError> {
    let data_dir = config.data_dir.clone();
    let Some((_lock, store)) = open(&config, &shutdown).await? else {
        return Ok(());
    };
    let store = Arc::new(Mutex::new(store));
    let stop = shutdown.child_token();
    let mut workers = JoinSet::new();
    for destination in config.destinations {
        let worker = Worker::new(destination, &data_dir, config.interval, &store, stop.clone());
        workers.spawn_blocking(move || worker.run());
    }
    info!(data_dir = %data_dir.display(), destinations = workers.len(), "forwarder started");
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

/// Takes the lock and opens the ledger; `None` if `shutdown` came before there was one.
async fn open(
    config: &ForwarderSettings,
    shutdown: &CancellationToken,
) -> Result<Option<(LockFile, DeliveryStore)>, ForwarderError> {
    let data_dir = &config.data_dir;
    let mut told = false;
    loop {
        match DeliveryStore::open(data_dir, config.subscribers()) {
            Ok(mut store) => {
                let lock =
                    LockFile::acquire(&data_dir.join(LOCK_FILE)).map_err(|source| ForwarderError::Lock {
                        data_dir: data_dir.clone(),
                        source,
                    })?;
                // Only now: a file must not be moved under another forwarder.
                store
                    .reconcile(Timestamp::now())
                    .and_then(|()| tidy_outgoing(config, &store))
                    .map_err(|source| store_error(data_dir, source))?;
                return Ok(Some((lock, store)));
            }
            Err(DeliveryStoreError::Ledger(LedgerError::Missing { path })) => {
                if !told {
                    warn!(ledger = %path.display(), "there is no ledger yet, waiting for the relay to make it");
                    told = true;
                }
            }
            Err(source) => return Err(store_error(data_dir, source)),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(LEDGER_WAIT) => {}
        }
    }
}

/// Removes the compressed files that an earlier run left for what is delivered by now, or no longer compressed.
fn tidy_outgoing(config: &ForwarderSettings, store: &DeliveryStore) -> Result<(), DeliveryStoreError> {
    let mut wanted = HashSet::new();
    for destination in &config.destinations {
        let extension = destination.publish.compress.extension();
        for (batch, _) in store.waiting(&destination.name, &destination.filter)? {
            wanted.insert((
                destination.name.to_string(),
                format!("{}{extension}", batch.file_name()),
            ));
        }
    }
    let is_wanted =
        |destination: &str, name: &str| wanted.contains(&(destination.to_owned(), name.to_owned()));
    Ok(compressed_staging::remove_unneeded(&config.data_dir, is_wanted)?)
}

fn store_error(data_dir: &std::path::Path, source: DeliveryStoreError) -> ForwarderError {
    ForwarderError::DeliveryStore {
        data_dir: data_dir.to_owned(),
        source,
    }
}

/// Connects to a destination, logs in and looks whether its folder is there, as `logferry check --connect` does.
///
/// Blocks for up to a minute or two when the destination does not answer.
pub fn check_destination(destination: &Destination) -> Result<(), DeliveryError> {
    let bandwidth = Arc::new(Mutex::new(Bandwidth::new(None, Instant::now())));
    SftpDriver::open(destination, bandwidth, CancellationToken::new()).map(drop)
}
