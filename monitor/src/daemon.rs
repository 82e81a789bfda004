//! The monitor at work: looking and mailing side by side, so that a mail server that hangs never keeps it from
//! looking.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::MonitorSettings;
use logferry_durable::{LockError, LockFile};
use logferry_ledger::LedgerError;
use logferry_telemetry::{HealthEndpoint, Metrics, Readiness};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::error::MonitorError;
use crate::outbox::{Outbox, Which, with_ledger};
use crate::postman::{Letter, LetterId, Postman};
use crate::{letters, round};

/// Its lock keeps a second monitor away from the same data folder.
const LOCK_FILE: &str = "monitor.lock";

/// How often to look for a ledger that is not there yet: the relay makes it, and may be starting.
const LEDGER_WAIT: Duration = Duration::from_millis(500);

/// How often to look for mails whose time has come again; a new mail is sent at once.
const OUTBOX_INTERVAL: Duration = Duration::from_secs(10);

/// Watches every `interval` until `shutdown`, and mails.
///
/// A mail server that is away, and a ledger that is busy or cannot grow, are logged and tried again. A damaged or
/// foreign ledger ends it: a person must look. On `shutdown` a mail in flight is given 5 s.
pub async fn run(config: MonitorSettings, shutdown: CancellationToken) -> Result<(), MonitorError> {
    let postman = Postman::new(&config.smtp)?;
    let endpoint = match config.metrics {
        Some(addr) => Some(HealthEndpoint::bind(addr).await?),
        None => None,
    };
    let stop = shutdown.child_token();
    let ready = Readiness::default();
    let health = async {
        if let Some(endpoint) = endpoint {
            endpoint
                .serve(Metrics::process().clone(), ready.clone(), stop.clone())
                .await;
        }
    };
    let (outcome, ()) = tokio::join!(ending(work(config, postman, &ready, &stop), &stop), health);
    outcome
}

async fn work(
    config: MonitorSettings,
    postman: Postman,
    ready: &Readiness,
    stop: &CancellationToken,
) -> Result<(), MonitorError> {
    if !ledger_appears(&config.data_dir, stop).await {
        return Ok(());
    }
    let _lock = lock(&config.data_dir)?;
    tracing::info!(data_dir = %config.data_dir.display(), "monitor started");
    let new_mail = Notify::new();
    let outbox = Outbox::new(&config.data_dir, postman, Metrics::process().monitor());
    let mailing = mail(outbox, &new_mail, stop);
    let watching = watch(Arc::new(config), ready, &new_mail, stop);
    let (mailed, watched) = tokio::join!(ending(mailing, stop), ending(watching, stop));
    tracing::info!("monitor stopped");
    mailed.and(watched)
}

/// Lets the end of one part stop the others.
async fn ending<T>(part: impl Future<Output = T>, stop: &CancellationToken) -> T {
    let outcome = part.await;
    stop.cancel();
    outcome
}

/// Looks once and tries every mail in the outbox once; for cron.
///
/// A mail that could not be sent stays in the outbox for the next time, and is an error here.
pub async fn once(config: &MonitorSettings) -> Result<(), MonitorError> {
    let postman = Postman::new(&config.smtp)?;
    // The ledger first: where it is missing, so is the folder for the lock.
    with_ledger(&config.data_dir, |_| Ok(())).await?;
    let _lock = lock(&config.data_dir)?;
    look(&Arc::new(config.clone())).await?;
    let mut outbox = Outbox::new(&config.data_dir, postman, Metrics::process().monitor());
    let pass = outbox.send(Which::All, &CancellationToken::new()).await?;
    match pass.last_error {
        None => Ok(()),
        Some(source) => Err(MonitorError::Unsent {
            mails: pass.failed,
            source,
        }),
    }
}

/// Sends one mail to the recipients now, past the outbox; an error says what the mail server said.
pub async fn test_mail(config: &MonitorSettings) -> Result<(), MonitorError> {
    let now = Timestamp::now();
    let letter = Letter {
        id: LetterId::of_test(now),
        written_at: now,
        content: &letters::test(),
    };
    Ok(Postman::new(&config.smtp)?.send(&letter, now).await?)
}

fn lock(data_dir: &Path) -> Result<LockFile, MonitorError> {
    LockFile::acquire(&data_dir.join(LOCK_FILE)).map_err(|error| match error {
        LockError::Held { holder, .. } => MonitorError::AlreadyRunning {
            data_dir: data_dir.to_owned(),
            holder,
        },
        error @ LockError::Io { .. } => MonitorError::Lock(error),
    })
}

/// False if `shutdown` came first.
async fn ledger_appears(data_dir: &Path, shutdown: &CancellationToken) -> bool {
    let path = data_dir.join(logferry_ledger::FILE_NAME);
    let mut has_told = false;
    while !path.exists() {
        if !has_told {
            tracing::warn!(ledger = %path.display(), "there is no ledger yet, waiting for the relay to make it");
            has_told = true;
        }
        if shutdown
            .run_until_cancelled(tokio::time::sleep(LEDGER_WAIT))
            .await
            .is_none()
        {
            return false;
        }
    }
    !shutdown.is_cancelled()
}

async fn look(config: &Arc<MonitorSettings>) -> Result<(), MonitorError> {
    let shared = Arc::clone(config);
    with_ledger(&config.data_dir, move |ledger| {
        let metrics = Metrics::process().monitor();
        round::look(ledger, &shared, &TimeZone::system(), &metrics, Timestamp::now())
    })
    .await
}

async fn watch(
    config: Arc<MonitorSettings>,
    ready: &Readiness,
    new_mail: &Notify,
    stop: &CancellationToken,
) -> Result<(), MonitorError> {
    loop {
        match look(&config).await {
            Ok(()) => ready.set(),
            Err(error) => tolerate(error)?,
        }
        new_mail.notify_one();
        if stop
            .run_until_cancelled(tokio::time::sleep(config.interval))
            .await
            .is_none()
        {
            return Ok(());
        }
    }
}

async fn mail(mut outbox: Outbox, new_mail: &Notify, stop: &CancellationToken) -> Result<(), MonitorError> {
    loop {
        let news = tokio::time::timeout(OUTBOX_INTERVAL, new_mail.notified());
        if stop.run_until_cancelled(news).await.is_none() {
            return Ok(());
        }
        if let Err(error) = outbox.send(Which::Due, stop).await {
            tolerate(error)?;
        }
    }
}

/// Logs what may pass by itself; what does not is handed back.
fn tolerate(error: MonitorError) -> Result<(), MonitorError> {
    match error {
        MonitorError::Ledger(LedgerError::Sqlite { .. } | LedgerError::Missing { .. }) => {
            tracing::error!(
                error = &error as &dyn Error,
                "the ledger cannot be used, tried again"
            );
            Ok(())
        }
        lasting => Err(lasting),
    }
}
