//! Runs the sender: the tailer on a thread of its own, the relay client and inotify as tasks, with channels between them.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use logferry_config as config;
use logferry_durable::{Disk, LockError, LockFile, RealDisk};
use logferry_telemetry::{Readiness, SenderMetrics, StatusFile};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::captures::{self, ShippedReport, with_captures};
use crate::checkpoint::CheckpointStore;
use crate::clock::Now;
use crate::files::RealFileSystem;
use crate::files::watcher::{self, WatchedFolders};
use crate::messages::SenderEvent;
use crate::relay_client::{self, ClientRole, RelayConnections};
use crate::tail::Tailer;

/// The lock of the sender in its state folder.
pub(crate) const LOCK_FILE: &str = "lock";

/// Least time between two checkpoints: a checkpoint is a hint, and each write is synced.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// How often the sender's account of itself is written.
const STATE_INTERVAL: Duration = Duration::from_secs(10);

/// Least time between two accounts when something in it begins or ends.
const STATE_GAP: Duration = Duration::from_secs(1);

/// Why a sender cannot run.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    /// Another sender uses the state folder.
    #[error("another sender uses this state folder; stop it, or set another sender.state_dir")]
    Locked(#[source] LockError),
    /// A thread could not be started.
    #[error("the threads that read the logs cannot be started")]
    Thread(#[source] io::Error),
    /// The thread that reads the logs ended without a stop.
    #[error("the thread that reads the logs has failed; see the log messages before this one")]
    Failed,
}

/// Tails and ships the configured logs until `shutdown`, then stops within a few seconds. `ready` is set once the
/// checkpoint is loaded and the folders were searched. Neither depends on the relay being reachable.
///
/// Only a second sender on the same state folder is an error. Other failures are logged and tried again: an unwritable
/// state folder costs the checkpoint, not the lines.
pub async fn run(
    config: config::SenderSettings,
    metrics: SenderMetrics,
    ready: Readiness,
    shutdown: CancellationToken,
) -> Result<(), SenderError> {
    let _lock = lock(&config.state_dir)?;
    while !shutdown.is_cancelled() {
        let settings = with_captures(config.clone());
        let stop = shutdown.child_token();
        let follow = follow(settings.clone(), metrics.clone(), ready.clone(), stop.clone());
        let mut follow = std::pin::pin!(follow);
        tokio::select! {
            ended = &mut follow => ended?,
            () = captures::changed(&settings, &stop) => {
                if !shutdown.is_cancelled() {
                    tracing::info!("the collector has a new source; its captures are shipped from now on");
                }
                stop.cancel();
                follow.await?;
            }
        }
    }
    Ok(())
}

/// Tails and ships these logs until `shutdown`.
async fn follow(
    config: config::SenderSettings,
    metrics: SenderMetrics,
    ready: Readiness,
    shutdown: CancellationToken,
) -> Result<(), SenderError> {
    let (events, inbox) = mpsc::channel();
    let (cut, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let relay = relay_client::start(&config, ClientRole::Sender, &events, &cut, &mut tasks);
    let (stop_watch, watch_stopped) = UnixStream::pair().map_err(SenderError::Thread)?;
    let folders = watcher::start().map(|(inotify, folders)| {
        let (watch_events, pause) = (events.clone(), watcher::pause(config.chunk.max_delay));
        tasks.spawn_blocking(move || watcher::listen(inotify, &watch_events, &watch_stopped, pause));
        folders
    });
    // Dropped without a value if the thread panics.
    let (ended, mut end) = tokio::sync::oneshot::channel();
    let tail_events = events.clone();
    let tail = std::thread::Builder::new()
        .name("tail".into())
        .spawn(move || {
            run_tailer(&config, metrics, &ready, folders, &relay, &tail_events, &inbox);
            let _ = ended.send(());
        })
        .map_err(SenderError::Thread)?;
    let result = tokio::select! {
        () = shutdown.cancelled() => {
            // The send fails only if the thread has ended, which the next line notices.
            let _ = events.send(SenderEvent::Stop);
            (&mut end).await
        }
        result = &mut end => result,
    };
    // No answer is awaited any more.
    cut.cancel();
    drop(stop_watch);
    while tasks.join_next().await.is_some() {}
    match (result, tail.join()) {
        (Ok(()), Ok(())) => Ok(()),
        _ => Err(SenderError::Failed),
    }
}

/// Makes and locks the state folder. If it is not writable there is no lock, and no checkpoint that needs one.
fn lock(state_dir: &Path) -> Result<Option<LockFile>, SenderError> {
    if let Err(error) = RealDisk.create_dir_all(state_dir) {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the state folder cannot be created; shipping continues without a checkpoint"
        );
        return Ok(None);
    }
    match LockFile::acquire(&state_dir.join(LOCK_FILE)) {
        Ok(lock) => Ok(Some(lock)),
        Err(error @ LockError::Held { .. }) => Err(SenderError::Locked(error)),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the state folder cannot be locked; shipping continues without the lock"
            );
            Ok(None)
        }
    }
}

fn save_before_sending(tailer: &mut Tailer<RealFileSystem>, store: &mut CheckpointStore<RealDisk>, now: Now) {
    if tailer.must_save()
        && let Some(checkpoint) = tailer.take_checkpoint()
    {
        tailer.saved(store.save(&checkpoint), now);
    }
}

/// Watches the folders of the logs that the last search found.
fn watch(folders: &mut Option<WatchedFolders>, tailer: &Tailer<RealFileSystem>) {
    if let Some(folders) = folders {
        let (paths, live_paths) = tailer.watched_paths();
        folders.watch(&paths, &live_paths);
    }
}

fn run_tailer(
    config: &config::SenderSettings,
    metrics: SenderMetrics,
    ready: &Readiness,
    mut folders: Option<WatchedFolders>,
    relay: &RelayConnections,
    events: &Sender<SenderEvent>,
    inbox: &Receiver<SenderEvent>,
) {
    let mut store = CheckpointStore::new(RealDisk, &config.state_dir);
    let mut shipped = ShippedReport::new(config);
    let (checkpoint, seed) = (store.load(), rand::random());
    let mut tailer = Tailer::new(
        config,
        RealFileSystem,
        checkpoint.as_ref(),
        metrics,
        events.clone(),
        seed,
        Now::read(),
    );
    let state_file = StatusFile::new(&config.state_dir);
    let (now, mut scanned) = (Instant::now(), None);
    let (mut saved, mut state_saved, mut state_due) = (now, now, now);
    // The first search may take a while: until then it says that a sender runs.
    state_file.save(&tailer.state(Now::read()));
    loop {
        let now = Now::read();
        let requests = tailer.run_due(now);
        // A crash before this leaves no trace of a first start, which the next start then is. A crash after it leaves the
        // ends that this one saw.
        save_before_sending(&mut tailer, &mut store, now);
        for request in requests {
            relay.send(request);
        }
        // One is on its way while the next is read.
        while let Some(request) = tailer.next_chunk(now) {
            save_before_sending(&mut tailer, &mut store, now);
            relay.send(request);
        }
        if tailer.is_stopped(now) {
            break;
        }
        if tailer.last_scan != scanned {
            scanned = tailer.last_scan;
            ready.set();
            watch(&mut folders, &tailer);
        }
        if tailer.take_news() {
            state_due = state_due.min((state_saved + STATE_GAP).max(now.instant));
        }
        if now.instant >= state_due && tailer.last_scan.is_some() {
            state_file.save(&tailer.state(now));
            (state_saved, state_due) = (now.instant, now.instant + STATE_INTERVAL);
        }
        let save_at = saved + CHECKPOINT_INTERVAL;
        if now.instant >= save_at
            && let Some(checkpoint) = tailer.take_checkpoint()
        {
            tailer.saved(store.save(&checkpoint), now);
            shipped.save(&checkpoint, &config.state_dir);
            saved = now.instant;
        }
        let mut deadline = tailer.deadline(now);
        if tailer.has_checkpoint() {
            deadline = deadline.min(save_at);
        }
        match inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(event) => tailer.handle(event, Now::read()),
            Err(RecvTimeoutError::Timeout) => {}
            // Impossible while `events` is held here.
            Err(RecvTimeoutError::Disconnected) => break,
        }
        // All events that have come are handled before the next work.
        while let Ok(event) = inbox.try_recv() {
            tailer.handle(event, Now::read());
        }
    }
    if let Some(checkpoint) = tailer.last_checkpoint(Now::read()) {
        store.save(&checkpoint);
        shipped.save(&checkpoint, &config.state_dir);
    }
    state_file.save(&tailer.state(Now::read()));
}
