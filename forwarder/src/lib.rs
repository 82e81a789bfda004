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
//! Each destination has a worker, which plans and keeps the books, and sessions, which deliver: threads, each of
//! which reads, hashes and encrypts what it sends. A session has many batches in flight at once; the worker records what came of them in groups,
//! while the sessions go on. What decides (`plan`, `retry`, `publication`, `attempt`, `flight`) is free of sockets and
//! clocks. One process at a time delivers from a data folder, by a lock in it.

mod attempt;
mod batch_file;
mod books;
mod companions;
mod door;
mod doubts;
mod error;
mod flight;
mod folders;
mod hashing;
mod letter;
mod manifest;
mod names;
mod original;
mod outgoing;
mod pace;
mod plan;
mod progress;
mod publication;
mod queue;
mod remote;
mod resend;
mod retry;
mod scribe;
mod session;
mod spool;
mod ssh;
mod verify;
mod watch;
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

use crate::books::Books;
use crate::pace::Pace;
use crate::remote::Remote;
use crate::worker::Worker;

pub use crate::books::BooksError;
pub use crate::companions::{Companion, Role, companions};
pub use crate::error::{Blame, DeliveryError};
pub use crate::resend::{Due, Gone, Pair, Resent, resend};
pub use crate::ssh::{HostKeyError, Introduction, KeepError, LoginError, Standing};
pub use crate::verify::{DeliveredFile, Difference, Progress, verify};

/// Name of the lock file in the data folder.
const LOCK_FILE: &str = "forwarder.lock";

/// How often to look for a ledger that the relay has not made yet.
const LEDGER_WAIT: Duration = Duration::from_millis(500);

/// The forwarder could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ForwarderError {
    /// Another forwarder works in this data folder.
    #[error("cannot have the data folder {} alone", .data_dir.display())]
    LockFile {
        /// The data folder.
        data_dir: PathBuf,
        /// Who has it, or why the lock failed.
        #[source]
        source: LockError,
    },
    /// The ledger or the spool's folders cannot be used.
    #[error("cannot work in the data folder {}", .data_dir.display())]
    Books {
        /// The data folder.
        data_dir: PathBuf,
        /// What failed.
        #[source]
        source: BooksError,
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
    let Some((_lock, books)) = open(&config, &shutdown).await? else {
        return Ok(());
    };
    let books = Arc::new(Mutex::new(books));
    let stop = shutdown.child_token();
    let mut workers = JoinSet::new();
    for destination in config.destinations {
        let worker = Worker::new(destination, &data_dir, config.interval, &books, stop.clone());
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
) -> Result<Option<(LockFile, Books)>, ForwarderError> {
    let data_dir = &config.data_dir;
    let mut told = false;
    loop {
        match Books::open(data_dir, config.subscribers()) {
            Ok(mut books) => {
                let lock = LockFile::acquire(&data_dir.join(LOCK_FILE)).map_err(|source| {
                    ForwarderError::LockFile {
                        data_dir: data_dir.clone(),
                        source,
                    }
                })?;
                // Only now: a file must not be moved under another forwarder.
                books
                    .reconcile(Timestamp::now())
                    .and_then(|()| tidy_outgoing(config, &books))
                    .map_err(|source| books_error(data_dir, source))?;
                return Ok(Some((lock, books)));
            }
            Err(BooksError::Ledger(LedgerError::Missing { path })) => {
                if !told {
                    warn!(ledger = %path.display(), "there is no ledger yet, waiting for the relay to make it");
                    told = true;
                }
            }
            Err(source) => return Err(books_error(data_dir, source)),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(LEDGER_WAIT) => {}
        }
    }
}

/// Removes the compressed files that an earlier run left for what is delivered by now, or no longer compressed.
fn tidy_outgoing(config: &ForwarderSettings, books: &Books) -> Result<(), BooksError> {
    let mut wanted = HashSet::new();
    for destination in &config.destinations {
        let extension = destination.publish.compress.extension();
        for (batch, _) in books.waiting(&destination.name, &destination.wants)? {
            wanted.insert((
                destination.name.to_string(),
                format!("{}{extension}", batch.file_name()),
            ));
        }
    }
    let is_wanted =
        |destination: &str, name: &str| wanted.contains(&(destination.to_owned(), name.to_owned()));
    Ok(outgoing::tidy(&config.data_dir, is_wanted)?)
}

fn books_error(data_dir: &std::path::Path, source: BooksError) -> ForwarderError {
    ForwarderError::Books {
        data_dir: data_dir.to_owned(),
        source,
    }
}

/// Connects to a destination, logs in and looks whether its folder is there, as `logferry check --connect` does.
///
/// Blocks for up to a minute or two when the destination does not answer.
pub fn check_destination(destination: &Destination) -> Result<(), DeliveryError> {
    let pace = Arc::new(Mutex::new(Pace::new(None, Instant::now())));
    Remote::open(destination, pace, CancellationToken::new()).map(drop)
}
