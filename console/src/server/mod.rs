//! The port: connections, TLS, all routes and the layers around them, problems as pages.
//!
//! `run` starts everything. What every answer has (headers, limits) is in `security`.

mod connections;
mod error_pages;
mod router;
mod security;
mod tls;

use std::path::Path;
use std::sync::Arc;

use logferry_config::ConsoleSettings;
use logferry_durable::{Disk, LockError, LockFile, RealDisk};
use logferry_telemetry::{HealthEndpoint, Metrics, Readiness};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use self::tls::ConsoleCertificate;
use crate::app::state::AppState;
use crate::database::ConsoleDb;
use crate::error::ConsoleError;
use crate::live;
use crate::pages::PagesState;

/// Name of the lock in the console's folder.
const LOCK_FILE: &str = "console.lock";

/// Runs the console until `stop`.
pub async fn run(settings: ConsoleSettings, stop: CancellationToken) -> Result<(), ConsoleError> {
    let state_dir = settings.state_dir.clone();
    RealDisk.create_dir_all(&state_dir)?;
    let _lock = lock(&state_dir)?;
    let certificate = settings.tls.as_ref().map(ConsoleCertificate::load).transpose()?;
    let db = ConsoleDb::open_or_create(&state_dir)?;
    if !settings.open && db.users()?.is_empty() && db.tokens()?.is_empty() {
        tracing::warn!("nobody can log in to the console yet; run `logferry console user add NAME`");
    }
    let (ready, beside) = (Readiness::default(), stop.child_token());
    let mut tasks = JoinSet::new();
    if let Some(address) = settings.metrics {
        let endpoint = HealthEndpoint::bind(address).await?;
        tasks.spawn(endpoint.serve(Metrics::process().clone(), ready.clone(), beside.clone()));
    }
    let address = settings.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ConsoleError::Listen { address, source })?;
    serve(listener, settings, certificate, db, &ready, &stop).await?;
    beside.cancel();
    tasks.join_all().await;
    tracing::info!("console stopped");
    Ok(())
}

/// Serves on a port until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    settings: ConsoleSettings,
    certificate: Option<ConsoleCertificate>,
    db: ConsoleDb,
    ready: &Readiness,
    stop: &CancellationToken,
) -> Result<(), ConsoleError> {
    let address = listener.local_addr().unwrap_or(settings.listen);
    let scheme = if certificate.is_some() { "https" } else { "http" };
    tracing::info!("console started: {scheme}://{address}/");
    let state = AppState::new(settings, db, stop.clone());
    let follower = live::start(Arc::clone(&state.live), &state.settings)?;
    let outcomes = tokio::spawn(state.clone().take_outcomes());
    ready.set();
    let kept = Arc::<PagesState>::default();
    let overview = tokio::spawn(Arc::clone(&kept).keep_overview(state.clone()));
    let routes = router::router(state.clone(), kept);
    connections::serve(listener, certificate, routes, &state, stop).await;
    state.live.stop();
    let _ = tokio::task::spawn_blocking(move || follower.join()).await;
    let _ = outcomes.await;
    let _ = overview.await;
    Ok(())
}

fn lock(state_dir: &Path) -> Result<LockFile, ConsoleError> {
    LockFile::acquire(&state_dir.join(LOCK_FILE)).map_err(|error| match error {
        LockError::Held { holder, .. } => ConsoleError::AlreadyRunning {
            state_dir: state_dir.to_owned(),
            holder,
        },
        error @ LockError::Io { .. } => ConsoleError::Lock(error),
    })
}
