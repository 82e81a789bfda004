//! The thread of the indexer, and its metrics page. It decides nothing.

use std::error::Error;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::IndexerSettings;
use logferry_durable::{Disk, LockError, LockFile, RealDisk};
use logferry_ledger::LedgerError;
use logferry_numbers::{FILE_NAME, IndexDb, IndexError};
use logferry_store::{StoreLimits, StoreOpened, StoreWriter};
use logferry_telemetry::{HealthEndpoint, Metrics, Readiness};
use logferry_text::error_chain;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::IndexerError;
use crate::opensearch::SinkThread;
use crate::reported_error::ReportedError;
use crate::round::IndexSession;

/// Name of the lock in the indexer's folder.
const LOCK_FILE: &str = "indexer.lock";

/// From the start of one round to the next, unless the indexer is behind. A line is found within this and a sync.
const ROUND_INTERVAL: Duration = Duration::from_millis(500);

/// Time between two passes that remove what is too old.
const RETENTION_INTERVAL: Duration = Duration::from_mins(1);

/// Wait after an error.
const RETRY_WAIT: Duration = Duration::from_secs(2);

/// Why `/healthz` says that the indexer does not work now; `None` if it does.
type Trouble = Arc<Mutex<Option<String>>>;

/// Runs the indexer until `stop`.
pub async fn run(config: IndexerSettings, stop: CancellationToken) -> Result<(), IndexerError> {
    let (ready, trouble) = (Readiness::default(), Trouble::default());
    *trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some("starting".to_owned());
    let beside = stop.child_token();
    let mut tasks = JoinSet::new();
    if let Some(address) = config.metrics {
        let endpoint = HealthEndpoint::bind(address).await?;
        tasks.spawn(endpoint.serve(Metrics::process().clone(), ready.clone(), beside.clone()));
    }
    let shown = Arc::clone(&trouble);
    ready.set_unless(move || shown.lock().unwrap_or_else(PoisonError::into_inner).clone());
    let (running, stopped) = channel::<()>();
    let (done, mut outcome) = oneshot::channel();
    let token = stop.clone();
    let work = move || {
        let thread = IndexerThread {
            config,
            stop: token,
            stopped,
            trouble,
        };
        let _ = done.send(thread.work());
    };
    thread::Builder::new()
        .name("indexer".to_owned())
        .spawn(work)
        .map_err(|error| IndexerError::Thread(error.to_string()))?;
    let ended = tokio::select! {
        ended = &mut outcome => ended,
        () = stop.cancelled() => {
            drop(running);
            outcome.await
        }
    };
    beside.cancel();
    tasks.join_all().await;
    ended.unwrap_or_else(|_| Err(IndexerError::Thread("it panicked".to_owned())))
}

struct IndexerThread {
    config: IndexerSettings,
    stop: CancellationToken,
    /// Its other end is dropped at the stop.
    stopped: Receiver<()>,
    trouble: Trouble,
}

impl IndexerThread {
    fn work(&self) -> Result<(), IndexerError> {
        // Of this thread only (nice(2), "C library/kernel differences").
        if let Err(error) = rustix::process::nice(crate::NICENESS) {
            tracing::debug!(
                error = &error as &dyn Error,
                "the indexer's thread keeps its priority"
            );
        }
        let store_dir = &self.config.store_dir;
        RealDisk.create_dir_all(store_dir)?;
        let _lock = lock(store_dir)?;
        let (data_dir, shown) = (self.config.data_dir.display(), store_dir.display());
        tracing::info!("indexer started: it reads {data_dir} and writes {shown}");
        let _sink = SinkThread::start(&self.config, &self.stop)?;
        let mut told = ReportedError::default();
        while !self.stop.is_cancelled() {
            let Err(error) = self.session(&mut told) else {
                break;
            };
            if !error.may_pass() {
                return Err(error);
            }
            let text = error_chain(&error);
            self.set_trouble(Some(text.clone()));
            if told.is_news(&text) {
                if matches!(error, IndexerError::Ledger(LedgerError::Missing { .. })) {
                    tracing::info!("waiting for the relay's first start: no ledger in {data_dir} yet");
                } else if matches!(error, IndexerError::LedgerReplaced { .. }) {
                    tracing::warn!("{error}");
                } else {
                    tracing::error!(
                        error = &error as &dyn Error,
                        "the indexer cannot work now; it tries again, and reads on where it was"
                    );
                }
            }
            if !self.sleep(RETRY_WAIT) {
                break;
            }
        }
        tracing::info!("indexer stopped");
        Ok(())
    }

    /// Opens everything and indexes until the stop, or the first error.
    fn session(&self, told: &mut ReportedError) -> Result<(), IndexerError> {
        let config = &self.config;
        let metrics = Metrics::process().indexer();
        let db = IndexDb::open_or_create(&config.store_dir)?;
        let state = db.state()?;
        let position = state.store_position.as_deref().map(str::parse).transpose();
        let position =
            position.map_err(|error| IndexError::damaged(config.store_dir.join(FILE_NAME), &error))?;
        let StoreOpened { writer, lost } = StoreWriter::open(
            RealDisk,
            &config.store_dir,
            position,
            Timestamp::now().as_millisecond(),
        )?;
        for lost in lost {
            tracing::warn!("{lost}");
        }
        let mut session = IndexSession::start(config, db, &state, writer, metrics.clone(), Timestamp::now())?;
        // The places of all batches in the spool.
        drop(state);
        let limits = StoreLimits {
            age: config.keep.age,
            max_bytes: config.keep.max_bytes,
        };
        let is_over = || self.stop.is_cancelled();
        let mut retention_at: Option<Instant> = None;
        while !is_over() {
            let (start, now) = (Instant::now(), Timestamp::now());
            let round = session.round(now, &is_over)?;
            self.set_trouble(round.trouble);
            if retention_at.is_none_or(|at| start >= at) {
                session.remove_expired(now)?;
                session.store().remove_expired(limits, now.as_millisecond())?;
                retention_at = Some(start + RETENTION_INTERVAL);
            }
            metrics.set_store(session.store().bytes(), session.store().frames());
            told.worked(Instant::now());
            if !round.has_more && !self.sleep(ROUND_INTERVAL.saturating_sub(start.elapsed())) {
                break;
            }
        }
        Ok(())
    }

    fn set_trouble(&self, text: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// Waits; false if the stop came first.
    fn sleep(&self, time: Duration) -> bool {
        self.stopped.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
    }
}

fn lock(store_dir: &Path) -> Result<LockFile, IndexerError> {
    LockFile::acquire(&store_dir.join(LOCK_FILE)).map_err(|error| match error {
        LockError::Held { holder, .. } => IndexerError::AlreadyRunning {
            store_dir: store_dir.to_owned(),
            holder,
        },
        error @ LockError::Io { .. } => IndexerError::Lock(error),
    })
}
