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
use logferry_text::{count_of, duration, error_chain, size};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock_check::{ClockCheck, ClockState};
use crate::error::IndexerError;
use crate::free_space::LeftFree;
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
        let (mut told, mut clock) = (ReportedError::default(), ClockCheck::default());
        while !self.stop.is_cancelled() {
            let Err(error) = self.session(&mut told, &mut clock) else {
                break;
            };
            if !error.may_pass() {
                return Err(error);
            }
            let text = error_chain(&error);
            self.set_trouble(Some(text.clone()));
            if told.is_news(&error, &text, Instant::now()) {
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
    fn session(&self, told: &mut ReportedError, clock: &mut ClockCheck) -> Result<(), IndexerError> {
        let config = &self.config;
        let metrics = Metrics::process().indexer();
        let db = IndexDb::open_or_create(&config.store_dir)?;
        let state = db.state()?;
        let position = state.store_position.as_deref().map(str::parse).transpose();
        let position =
            position.map_err(|error| IndexError::damaged(config.store_dir.join(FILE_NAME), &error))?;
        let StoreOpened { mut writer, lost } = StoreWriter::open(
            RealDisk,
            &config.store_dir,
            position,
            Timestamp::now().as_millisecond(),
        )?;
        for lost in lost {
            tracing::warn!("{lost}");
        }
        // Before anything is written: on a full disk every round fails until this has made room.
        clock.begin(state.believed_at.or(state.recorded_at), Instant::now());
        let is_believed = look(clock, Timestamp::now(), Instant::now());
        self.remove_old_lines(&mut writer, is_believed, Timestamp::now())?;
        let mut session = IndexSession::start(config, db, &state, writer, metrics.clone(), Timestamp::now())?;
        let is_over = || self.stop.is_cancelled();
        let mut retention_at = Instant::now();
        while !is_over() {
            let (start, now) = (Instant::now(), Timestamp::now());
            let is_believed = look(clock, now, start);
            session.believed_before = clock.believed_before();
            let round = session.round(now, &is_over)?;
            self.set_trouble(round.trouble);
            if start >= retention_at {
                self.remove_old_lines(session.store(), is_believed, now)?;
                session.tidy(now, is_believed)?;
                retention_at = start + RETENTION_INTERVAL;
            }
            metrics.set_store(session.store().bytes(), session.store().frames());
            told.worked(Instant::now());
            if !round.has_more && !self.sleep(ROUND_INTERVAL.saturating_sub(start.elapsed())) {
                break;
            }
        }
        Ok(())
    }

    /// Removes the lines that are too old or too many. On a clock that is not believed nothing is removed by its age.
    fn remove_old_lines(
        &self,
        store: &mut StoreWriter<RealDisk>,
        is_clock_believed: bool,
        now: Timestamp,
    ) -> Result<(), IndexerError> {
        let (keep, left_free) = (self.config.keep, LeftFree::of(&self.config));
        let limits = StoreLimits {
            age: is_clock_believed.then_some(keep.age),
            max_bytes: keep.max_bytes,
            min_free: left_free.bytes,
        };
        let removed = store.remove_expired(limits, now.as_millisecond())?;
        if removed.for_space > 0 {
            let purpose = if left_free.is_for_relay {
                "the relay can go on taking lines"
            } else {
                "new lines can be indexed"
            };
            tracing::warn!(
                "the disk of {} has less than {} free: the oldest lines for the search were removed before their time ({}), so \
                 that {purpose}; make space there, or set a smaller indexer.keep.max_bytes",
                self.config.store_dir.display(),
                size(limits.min_free),
                count_of(removed.for_space, "segment")
            );
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

/// Whether the clock is believed.
fn look(clock: &mut ClockCheck, now: Timestamp, at: Instant) -> bool {
    let state = clock.look(now.as_second(), at);
    if let ClockState::WentAhead(seconds) = state {
        let ahead = duration(Duration::from_secs(seconds.unsigned_abs()));
        tracing::info!(
            "the clock is {ahead} ahead of the last record: in the next hour nothing is removed from the index by its age, \
             in case the clock is wrong"
        );
    }
    state == ClockState::Believed
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use logferry_config::parse;
    use logferry_numbers::{IndexChange, NumbersKept};
    use logferry_store::{LineOrigin, LineRecord};

    use super::*;

    /// A thread without a relay, and its folder.
    fn thread(dir: &Path) -> IndexerThread {
        let text = format!(
            "indexer: {{data_dir: {0}/data, store_dir: {0}/index}}",
            dir.display()
        );
        let config = parse(&text, Path::new("c.yaml"), &|_| None).expect("valid");
        let mut config = config.indexer.expect("a section");
        config.keep.age = Duration::from_hours(1);
        config.min_free_disk = 0;
        IndexerThread {
            config,
            stop: CancellationToken::new(),
            stopped: channel().1,
            trouble: Trouble::default(),
        }
    }

    const KEPT: NumbersKept = NumbersKept {
        minutes: Duration::from_hours(1),
        hours: Duration::from_hours(1),
        gaps: Duration::from_hours(1),
    };

    /// Makes a closed segment, and a recorded position behind it. Returns the segment's file.
    fn closed_segment(thread: &IndexerThread) -> PathBuf {
        let store_dir = &thread.config.store_dir;
        let mut db = IndexDb::open_or_create(store_dir).expect("made");
        let opened = StoreWriter::open(RealDisk, store_dir, None, 1000);
        let mut writer = opened.expect("opened").writer;
        let (source, group) = ("a".parse().expect("a name"), "web-1".parse().expect("a name"));
        let record = LineRecord {
            origin: LineOrigin {
                source: &source,
                group: &group,
                log: None,
                batch: "b",
                format: "text",
            },
            offset: 0,
            time_ms: 1000,
            level: None,
            status: None,
            line: b"x\n",
        };
        writer.append(&record).expect("added");
        writer.sync(1000).expect("synced");
        let position = writer.sync(1000 + 7 * 3_600_000).expect("synced");
        assert_eq!(position.segment, 1);
        let mut change = IndexChange {
            store_position: position.to_string(),
            ..IndexChange::default()
        };
        let now = Timestamp::now().as_second();
        db.record(&mut change, KEPT, now).expect("recorded");
        store_dir.join("segments/0000000000.frames")
    }

    #[test]
    fn old_lines_are_removed_before_anything_else_can_fail() {
        let dir = tempfile::tempdir().expect("a folder");
        let thread = thread(dir.path());
        RealDisk.create_dir_all(&thread.config.store_dir).expect("made");
        let frames = closed_segment(&thread);
        assert!(RealDisk.len(&frames).expect("read").is_some());
        let (mut told, mut clock) = (ReportedError::default(), ClockCheck::default());
        // There is no ledger: as on a full disk, no round comes to its end.
        thread.session(&mut told, &mut clock).expect_err("no relay");
        assert_eq!(RealDisk.len(&frames).expect("read"), None);
    }

    #[test]
    fn clock_that_went_ahead_removes_nothing_by_age() {
        let dir = tempfile::tempdir().expect("a folder");
        let thread = thread(dir.path());
        RealDisk.create_dir_all(&thread.config.store_dir).expect("made");
        let frames = closed_segment(&thread);
        let (mut told, mut clock) = (ReportedError::default(), ClockCheck::default());
        let last_week = Timestamp::now().as_second() - 7 * 86_400;
        clock.begin(Some(last_week), Instant::now());
        thread.session(&mut told, &mut clock).expect_err("no relay");
        assert!(RealDisk.len(&frames).expect("read").is_some());
        let mut thread = thread;
        thread.config.keep.max_bytes = 0;
        thread.session(&mut told, &mut clock).expect_err("no relay");
        assert_eq!(RealDisk.len(&frames).expect("read"), None, "by size");
    }

    #[test]
    fn clock_that_was_doubted_is_doubted_after_a_restart_though_its_time_was_recorded() {
        let dir = tempfile::tempdir().expect("a folder");
        let thread = thread(dir.path());
        let store_dir = &thread.config.store_dir;
        RealDisk.create_dir_all(store_dir).expect("made");
        let mut db = IndexDb::open_or_create(store_dir).expect("made");
        let last_week = Timestamp::now().as_second() - 7 * 86_400;
        db.remove_expired(&[], KEPT, last_week).expect("removed");
        drop(db);
        let frames = closed_segment(&thread);
        let (mut told, mut clock) = (ReportedError::default(), ClockCheck::default());
        thread.session(&mut told, &mut clock).expect_err("no relay");
        assert!(RealDisk.len(&frames).expect("read").is_some());
    }
}
