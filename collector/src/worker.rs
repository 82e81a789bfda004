//! Runs the collector: a thread for each capture, a task for each source, and one that tells how they are. It decides nothing.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::{CollectorSettings, CollectorSource, CollectorSourceKind};
use logferry_durable::{Disk, LockFile, RealDisk};
use logferry_protocol::names::LogName;
use logferry_telemetry::{CollectorMetrics, HealthEndpoint, Metrics, Readiness, StatusFile};
use logferry_text::error_chain;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::capture::{CaptureError, CaptureHandle, CaptureSettings, CaptureWriter};
use crate::error::CollectorError;
use crate::source::{
    ClientMemory, SourceAccount, SourceContext, SourceError, http, journal, mysql, syslog, tcp,
    windows_events,
};
use crate::state_file::{CollectedSource, CollectorState};

/// How often it is looked whether a source's state has changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How often the account is written if nothing changes; and how often the sender's is read.
const STATE_INTERVAL: Duration = Duration::from_secs(10);

/// Waits between two starts of a source that ends with an error: the first, and the longest.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(30);

/// A source that ran for so long begins again with the first wait.
const RETRY_RESET: Duration = Duration::from_mins(1);

/// Runs the collector until `stop`.
///
/// A disk that refuses and a source that is down are no errors: they are told and tried again.
pub async fn run(config: CollectorSettings, stop: CancellationToken) -> Result<(), CollectorError> {
    RealDisk
        .create_dir_all(&config.state_dir)
        .map_err(CollectorError::StateDir)?;
    let _lock =
        LockFile::acquire(&config.state_dir.join("collector.lock")).map_err(CollectorError::Locked)?;
    let ready = Readiness::default();
    let beside = CancellationToken::new();
    let mut tasks = JoinSet::new();
    if let Some(address) = config.metrics {
        let endpoint = HealthEndpoint::bind(address).await?;
        tasks.spawn(endpoint.serve(Metrics::process().clone(), ready.clone(), beside.clone()));
    }
    let (sources, threads) = open_captures(&config, &stop)?;
    let mut running = JoinSet::new();
    for source in &sources {
        running.spawn(keep_running(source.kind.clone(), source.context.clone()));
    }
    let told: Vec<_> = sources.iter().map(|source| source.context.clone()).collect();
    ready.set_unless(move || trouble(&told));
    let mut account = Account::new(&config, sources);
    account.tell(false);
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => {}
            _ = looks.tick() => account.look(),
        }
    }
    // The sources end what they have begun; then every handle is dropped, and the writers end what they have been given.
    while running.join_next().await.is_some() {}
    account.tell(true);
    drop(account);
    beside.cancel();
    // They hold what the health page asks for.
    drop(ready);
    tasks.join_all().await;
    let ended =
        tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
    let _ = ended.await;
    tracing::info!("collector stopped");
    Ok(())
}

/// A source with its capture.
struct OpenSource {
    kind: CollectorSourceKind,
    context: SourceContext,
}

fn open_captures(
    config: &CollectorSettings,
    stop: &CancellationToken,
) -> Result<(Vec<OpenSource>, Vec<JoinHandle<()>>), CollectorError> {
    let settings = CaptureSettings {
        state_dir: config.state_dir.clone(),
        sender_state_dir: config.sender_state_dir.clone(),
        rotate_max_bytes: config.rotate_max_bytes,
        min_free_disk: config.min_free_disk,
    };
    let bodies = config.sources.iter().map(|source| match &source.kind {
        CollectorSourceKind::Http(http) => http.max_body,
        _ => 0,
    });
    let memory = ClientMemory::new(bodies.max().unwrap_or(0));
    let (mut sources, mut threads) = (Vec::new(), Vec::new());
    for CollectorSource { name, kind } in &config.sources {
        let (capture, thread) = start_writer(&settings, name)?;
        threads.push(thread);
        sources.push(OpenSource {
            kind: kind.clone(),
            context: SourceContext {
                name: name.clone(),
                capture,
                status: SourceAccount::default(),
                memory: memory.of_source(),
                max_record: config.max_record,
                shutdown: stop.clone(),
            },
        });
    }
    Ok((sources, threads))
}

fn start_writer(
    settings: &CaptureSettings,
    name: &LogName,
) -> Result<(CaptureHandle, JoinHandle<()>), CollectorError> {
    let refused = |error: CaptureError| CollectorError::Capture {
        name: name.clone(),
        error,
    };
    let (handle, writer) = CaptureWriter::open(RealDisk, settings, name).map_err(refused)?;
    let thread = std::thread::Builder::new()
        .name(format!("capture-{name}"))
        .spawn(move || writer.run())
        .map_err(CollectorError::Thread)?;
    Ok((handle, thread))
}

/// Runs a source until the shutdown; again after an error, for ever.
async fn keep_running(kind: CollectorSourceKind, context: SourceContext) {
    // A source that reads from a position has none before its capture is open. One that is posted to says why not.
    if !matches!(kind, CollectorSourceKind::Http(_)) {
        tokio::select! {
            () = context.capture.opened() => {}
            () = context.shutdown.cancelled() => return,
        }
    }
    let mut wait = RETRY_FIRST;
    while !context.shutdown.is_cancelled() {
        let started = Instant::now();
        let Err(error) = run_source(&kind, &context).await else {
            break;
        };
        if context.shutdown.is_cancelled() {
            break;
        }
        if started.elapsed() >= RETRY_RESET {
            wait = RETRY_FIRST;
        }
        let reason = error_chain(error.as_ref());
        tracing::warn!(source = %context.name, %reason, retry_seconds = wait.as_secs(), "the source is down; it is tried again");
        context.status.failing(error.as_ref());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = context.shutdown.cancelled() => {}
        }
        wait = (wait * 2).min(RETRY_LONGEST);
    }
}

async fn run_source(kind: &CollectorSourceKind, context: &SourceContext) -> Result<(), SourceError> {
    match kind {
        CollectorSourceKind::Http(settings) => http::run(settings, context).await,
        CollectorSourceKind::Tcp(settings) => tcp::run(settings, context).await,
        CollectorSourceKind::Syslog(settings) => syslog::run(settings, context).await,
        CollectorSourceKind::Journal(settings) => journal::run(settings, context).await,
        CollectorSourceKind::Mysql(settings) => mysql::run(settings, context).await,
        CollectorSourceKind::WindowsEvents(settings) => windows_events::run(settings, context).await,
    }
}

/// What keeps the collector from taking records, for the health page.
fn trouble(sources: &[SourceContext]) -> Option<String> {
    sources.iter().find_map(|source| {
        let refusing = source.capture.report().refusing?;
        Some(format!("{}: {refusing}", source.name))
    })
}

/// What the collector tells of its sources: in its folder and as metrics.
struct Account {
    file: StatusFile<CollectorState>,
    sources: Vec<OpenSource>,
    metrics: CollectorMetrics,
    started_at: Timestamp,
    /// When it was told last, and the records of each source then.
    told: Option<(Instant, Vec<u64>)>,
    rates: Vec<f64>,
    states: Vec<(crate::state_file::CollectedState, Option<Timestamp>)>,
}

impl Account {
    fn new(config: &CollectorSettings, sources: Vec<OpenSource>) -> Self {
        Self {
            file: StatusFile::new(&config.state_dir),
            rates: vec![0.0; sources.len()],
            sources,
            metrics: Metrics::process().collector(),
            started_at: Timestamp::now(),
            told: None,
            states: Vec::new(),
        }
    }

    /// Tells if something has changed, or it is time.
    fn look(&mut self) {
        let is_due = self
            .told
            .as_ref()
            .is_none_or(|(told, _)| told.elapsed() >= STATE_INTERVAL);
        if is_due {
            for source in &self.sources {
                source.context.capture.remove_shipped();
            }
        }
        let states: Vec<_> = self
            .collected()
            .iter()
            .map(|it| (it.state, it.last_error_at))
            .collect();
        if is_due || states != self.states {
            self.tell(false);
        }
    }

    fn tell(&mut self, is_stopped: bool) {
        let now = Instant::now();
        let records: Vec<u64> = self
            .sources
            .iter()
            .map(|source| source.context.capture.report().records)
            .collect();
        let elapsed = self
            .told
            .as_ref()
            .map(|(told, before)| (now.duration_since(*told), before));
        if let Some((elapsed, before)) = elapsed
            && elapsed >= LOOK_INTERVAL / 2
        {
            let new = records
                .iter()
                .zip(before)
                .map(|(now, before)| now.saturating_sub(*before));
            #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
            let rates = new.map(|new| (new as f64 / elapsed.as_secs_f64() * 10.0).round() / 10.0);
            self.rates = rates.collect();
        }
        self.told = Some((now, records));
        let sources = self.collected();
        self.states = sources.iter().map(|it| (it.state, it.last_error_at)).collect();
        for source in &sources {
            source.show(&self.metrics);
        }
        self.file.save(&CollectorState {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            is_stopped,
            started_at: self.started_at,
            written_at: Timestamp::now(),
            sources,
        });
    }

    fn collected(&self) -> Vec<CollectedSource> {
        let sources = self.sources.iter().zip(&self.rates);
        let collected = sources.map(|(OpenSource { kind, context }, rate)| {
            let name = (context.name.clone(), kind.as_str());
            CollectedSource::of(name, context.status.report(), context.capture.report(), *rate)
        });
        collected.collect()
    }
}
