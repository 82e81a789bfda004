//! The sender put together: the tail on a thread of its own, the wire and inotify as tasks, channels between them.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use logferry_config as config;
use logferry_durable::{Disk, DiskError, LockError, LockFile, RealDisk};
use logferry_telemetry::Readiness;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::CheckpointStore;
use crate::clock::Now;
use crate::counters::Counters;
use crate::files::RealFileSystem;
use crate::files::watcher::{self, WatchedFolders};
use crate::messages::SenderEvent;
use crate::relay_client;
use crate::relay_client::RelayConnections;
use crate::tail::Tailer;

/// At most so often the checkpoint is written: it is a hint, and each write is synced.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// Why a sender cannot run.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    /// Another sender uses the state folder.
    #[error("another sender works with this state folder")]
    Locked(#[source] LockError),
    /// The threads of the tail could not be started.
    #[error("the threads that read the logs cannot be started")]
    Thread(#[source] io::Error),
    /// The tail's thread ended though nobody asked it to.
    #[error("the thread that reads the logs has failed, see the messages before")]
    Failed,
}

/// Tails and ships the configured logs until `shutdown`; then stops within a few seconds, the relay dead or alive.
/// `ready` is set once the checkpoint is loaded and the folders were looked through, the relay dead or alive too.
///
/// Only a second sender on the same state folder is an error. Whatever else fails is said and tried again: an
/// unwritable state folder costs the checkpoint, not the lines.
pub async fn run(
    config: config::SenderSettings,
    counters: Arc<Counters>,
    ready: Readiness,
    shutdown: CancellationToken,
) -> Result<(), SenderError> {
    let _lock = lock(&config.state_dir)?;
    let (events, inbox) = mpsc::channel();
    let (cut, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let wire = relay_client::start(&config, &events, &cut, &mut tasks);
    let (stop_watch, watch_stopped) = UnixStream::pair().map_err(SenderError::Thread)?;
    let folders = watcher::start().map(|(inotify, folders)| {
        let (watch_events, rest) = (events.clone(), watcher::rest(config.chunk.max_delay));
        tasks.spawn_blocking(move || watcher::listen(inotify, &watch_events, &watch_stopped, rest));
        folders
    });
    // Ends with the thread: its sender is dropped there.
    let (ended, mut end) = tokio::sync::oneshot::channel();
    let tail_events = events.clone();
    let tail = std::thread::Builder::new()
        .name("tail".into())
        .spawn(move || {
            drive(&config, counters, &ready, folders, &wire, &tail_events, &inbox);
            let _ = ended.send(());
        })
        .map_err(SenderError::Thread)?;
    let result = tokio::select! {
        () = shutdown.cancelled() => {
            // The inbox is gone only if the thread failed, which the wait shows.
            let _ = events.send(SenderEvent::Stop);
            (&mut end).await
        }
        result = &mut end => result,
    };
    // Nobody waits for answers any more.
    cut.cancel();
    drop(stop_watch);
    while tasks.join_next().await.is_some() {}
    match (result, tail.join()) {
        (Ok(()), Ok(())) => Ok(()),
        _ => Err(SenderError::Failed),
    }
}

/// Makes and locks the state folder. If it cannot be written there is no lock, and no checkpoint that needs one.
fn lock(state_dir: &Path) -> Result<Option<LockFile>, SenderError> {
    let made: Result<(), DiskError> = RealDisk.create_dir_all(state_dir);
    if let Err(error) = made {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the state folder cannot be made, shipping goes on without"
        );
        return Ok(None);
    }
    match LockFile::acquire(&state_dir.join("lock")) {
        Ok(lock) => Ok(Some(lock)),
        Err(error @ LockError::Held { .. }) => Err(SenderError::Locked(error)),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the state folder cannot be locked, shipping goes on"
            );
            Ok(None)
        }
    }
}

/// The tail's thread.
fn drive(
    config: &config::SenderSettings,
    counters: Arc<Counters>,
    ready: &Readiness,
    mut folders: Option<WatchedFolders>,
    wire: &RelayConnections,
    events: &Sender<SenderEvent>,
    inbox: &Receiver<SenderEvent>,
) {
    let mut store = CheckpointStore::new(RealDisk, &config.state_dir);
    let (checkpoint, seed) = (store.load(), rand::random());
    let mut tail = Tailer::new(
        config,
        RealFileSystem,
        checkpoint.as_ref(),
        counters,
        events.clone(),
        seed,
        Now::read(),
    );
    let (mut saved, mut scanned) = (Instant::now(), None);
    loop {
        let now = Now::read();
        for job in tail.turn(now) {
            wire.dispatch(job);
        }
        if tail.is_stopped(now) {
            break;
        }
        if tail.last_scan() != scanned {
            scanned = tail.last_scan();
            ready.set();
            if let Some(folders) = &mut folders {
                let (paths, live_paths) = tail.places();
                folders.watch(&paths, &live_paths);
            }
        }
        let save_at = saved + CHECKPOINT_INTERVAL;
        if now.instant >= save_at
            && let Some(checkpoint) = tail.take_checkpoint()
        {
            tail.saved(store.save(&checkpoint), now);
            saved = now.instant;
        }
        let mut deadline = tail.deadline(now);
        if tail.has_checkpoint() {
            deadline = deadline.min(save_at);
        }
        match inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(event) => tail.handle(event, Now::read()),
            Err(RecvTimeoutError::Timeout) => {}
            // We hold a sender ourselves, so this cannot be; and with nobody to hear from there is nothing to do.
            Err(RecvTimeoutError::Disconnected) => break,
        }
        // What else has come is taken together.
        while let Ok(event) = inbox.try_recv() {
            tail.handle(event, Now::read());
        }
    }
    if let Some(checkpoint) = tail.take_checkpoint() {
        store.save(&checkpoint);
    }
}
