//! What handlers work with.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use logferry_config::ConsoleSettings;
use logferry_inspection::status::StatusReport;
use logferry_telemetry::{ConsoleMetrics, Metrics};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::kept_audits::KeptAudits;
use super::kept_read::KeptRead;
use crate::access::login_throttle::LoginThrottle;
use crate::access::password;
use crate::access::rate_limit::RateLimiter;
use crate::database::{ConsoleDb, SharedDb};
use crate::host::ReadHost;
use crate::live::LiveHub;

/// Searches at one time. Each may read as fast as the disk gives.
const SEARCHES_MAX: usize = 4;

/// Exports at one time, beside searches: one lasts minutes, and must not be why nobody can search.
const EXPORTS_MAX: usize = 2;

/// Downloads of batches at one time: each has a thread, and a MiB of a slow reader.
const DOWNLOADS_MAX: usize = 8;

/// Everything that handlers share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct AppState(Arc<AppShared>);

/// See [`AppState`].
#[derive(Debug)]
pub(crate) struct AppShared {
    /// The configuration.
    pub(crate) settings: ConsoleSettings,
    /// `console.db`.
    pub(crate) database: SharedDb,
    /// Ledger, spool, numbers and store.
    pub(crate) host: ReadHost,
    pub(crate) metrics: ConsoleMetrics,
    /// Checks of passwords that run at one time.
    pub(crate) password_checks: Semaphore,
    /// Searches that run at one time.
    pub(crate) searches: Arc<Semaphore>,
    /// Exports that run at one time.
    pub(crate) exports: Arc<Semaphore>,
    /// Downloads that run at one time.
    pub(crate) downloads: Arc<Semaphore>,
    /// Audits of late.
    pub(crate) audits: KeptAudits,
    /// Lines as they become durable.
    pub(crate) live: Arc<LiveHub>,
    /// Cancelled when the console stops: streams end then.
    pub(crate) stop: CancellationToken,
    /// The present state of the pipeline.
    pub(crate) status: Arc<KeptRead<StatusReport>>,
    throttle: Mutex<LoginThrottle>,
    rates: Mutex<RateLimiter>,
}

impl AppState {
    pub(crate) fn new(settings: ConsoleSettings, db: ConsoleDb, stop: CancellationToken) -> Self {
        Self(Arc::new(AppShared {
            database: SharedDb::new(db),
            host: ReadHost::new(&settings),
            metrics: Metrics::process().console(),
            password_checks: Semaphore::new(password::CHECKS_MAX),
            searches: Arc::new(Semaphore::new(SEARCHES_MAX)),
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
            downloads: Arc::new(Semaphore::new(DOWNLOADS_MAX)),
            audits: KeptAudits::default(),
            live: LiveHub::new(Timestamp::now()),
            stop,
            status: Arc::default(),
            throttle: Mutex::default(),
            rates: Mutex::default(),
            settings,
        }))
    }
}

impl AppShared {
    pub(crate) fn throttle(&self) -> MutexGuard<'_, LoginThrottle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rates(&self) -> MutexGuard<'_, RateLimiter> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for AppState {
    type Target = AppShared;

    fn deref(&self) -> &AppShared {
        &self.0
    }
}
