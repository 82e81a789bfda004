//! The monitor's process. Checking and mailing are two concurrent tasks, so that a mail server that hangs does not delay
//! the checks.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use logferry_config::MonitorSettings;
use logferry_durable::{LockError, LockFile};
use logferry_inspection::sign_off::SigningReach;
use logferry_ledger::{Ledger, NewMail};
use logferry_spool::MONITOR_LOCK;
use logferry_telemetry::{HealthEndpoint, Metrics, Readiness};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::channels::heartbeat;
use crate::error::MonitorError;
use crate::incident_look::{COUNTS_EVERY, LookScope};
use crate::mail::ledger_fault::LedgerFault;
use crate::mail::outbox::{Outbox, with_ledger};
use crate::mail::send_now;
use crate::mail::smtp::SmtpMailer;
use crate::tick::SummaryProgress;
use crate::time::clock_schedule::ClockSchedule;
use crate::{channels, gauges, requests, sign_off, tick, upkeep};

/// How often to check for a ledger that does not exist yet: the relay, which creates it, may be starting.
const LEDGER_WAIT: Duration = Duration::from_millis(500);

/// How often to check for mails to try again. A new mail is sent at once.
const OUTBOX_INTERVAL: Duration = Duration::from_secs(10);

/// Checks every `interval` and sends mails, until `shutdown`.
///
/// If the mail server cannot be reached, or the ledger is busy or cannot grow, this is logged and tried again. A damaged or
/// foreign ledger is an error: a person must repair it. After `shutdown`, a mail in flight has 5 s to complete.
pub async fn run(config: MonitorSettings, shutdown: CancellationToken) -> Result<(), MonitorError> {
    let mailer = SmtpMailer::new(&config.smtp)?;
    let endpoint = match config.metrics {
        Some(addr) => Some(HealthEndpoint::bind(addr).await?),
        None => None,
    };
    let stop = shutdown.child_token();
    let ready = Readiness::default();
    let health = async {
        if let Some(endpoint) = endpoint {
            let metrics = Metrics::process().clone();
            endpoint.serve(metrics, ready.clone(), stop.clone()).await;
        }
    };
    let (outcome, ()) = tokio::join!(work(config, mailer, &ready, &stop), health);
    outcome
}

async fn work(
    config: MonitorSettings,
    mailer: SmtpMailer,
    ready: &Readiness,
    stop: &CancellationToken,
) -> Result<(), MonitorError> {
    let _stop_health = stop.drop_guard_ref();
    if !wait_for_ledger(&config.data_dir, stop).await {
        return Ok(());
    }
    let _lock = lock(&config.data_dir)?;
    tracing::info!(data_dir = %config.data_dir.display(), "monitor started");
    let news = LookNews::default();
    let outbox = Outbox::new(&config.data_dir, mailer, Metrics::process().monitor());
    let mailing = mail(outbox, &news.mail, stop);
    let channels = channels::run(&config, news.channels.subscribe(), stop);
    let beating = heartbeat::run(&config, news.looked.subscribe(), stop);
    let watching = watch(Arc::new(config.clone()), ready, &news, stop);
    let asked = requests::run(&config, stop);
    let (mail_result, channels_result, (), watch_result, ()) =
        tokio::join!(mailing, channels, beating, watching, asked);
    tracing::info!("monitor stopped");
    mail_result.and(channels_result).and(watch_result)
}

/// Tells the tasks beside the looks that a look is over.
#[derive(Debug, Default)]
struct LookNews {
    /// There may be a new mail.
    mail: Notify,
    /// There may be a new message for a channel.
    channels: watch::Sender<()>,
    /// When the last look succeeded.
    looked: watch::Sender<Option<tokio::time::Instant>>,
}

/// Checks once and tries every mail in the outbox once; for cron.
///
/// A mail that cannot be sent stays in the outbox for the next time, and is an error here.
pub async fn once(config: &MonitorSettings) -> Result<(), MonitorError> {
    let mailer = SmtpMailer::new(&config.smtp)?;
    // The ledger before the lock: without a ledger there may be no folder for the lock either.
    with_ledger(&config.data_dir, |_| Ok(())).await?;
    let _lock = lock(&config.data_dir)?;
    // Cron has looked before.
    let mut scope = CheckScope {
        watched_for: Duration::MAX,
        // By cron no look may be the first one of its hour that a running monitor has.
        signing: SigningReach::All,
        counts_lines: true,
        now: Timestamp::now(),
    };
    let shared = Arc::new(config.clone());
    while check(&shared, scope).await? == SummaryProgress::SummariesLeft {
        (scope.signing, scope.counts_lines) = (SigningReach::Recent, false);
    }
    let mut outbox = Outbox::new(&config.data_dir, mailer, Metrics::process().monitor());
    let pass = outbox.send(Timestamp::MAX, &CancellationToken::new()).await?;
    let failed = channels::send_once(config).await?;
    heartbeat::give_once(config).await?;
    if let Some(source) = pass.last_error {
        let mails = pass.failed;
        return Err(MonitorError::Unsent { mails, source });
    }
    match failed.into_iter().next() {
        None => Ok(()),
        Some((channel, source)) => Err(MonitorError::Channel { channel, source }),
    }
}

/// Sends one mail to the recipients now, without the outbox. An error quotes the mail server.
pub async fn test_mail(config: &MonitorSettings) -> Result<(), MonitorError> {
    let text =
        "This is a test mail, sent by `logferry test-mail`. Alerts and hourly summaries come the same way.\n";
    let mail = NewMail {
        subject: "test mail".to_owned(),
        text: text.to_owned(),
        html: None,
    };
    send_now(&config.smtp, "test", &mail, &[]).await?.require_all()
}

fn lock(data_dir: &Path) -> Result<LockFile, MonitorError> {
    LockFile::acquire(&data_dir.join(MONITOR_LOCK)).map_err(|error| match error {
        LockError::Held { holder, .. } => MonitorError::AlreadyRunning {
            data_dir: data_dir.to_owned(),
            holder,
        },
        error @ LockError::Io { .. } => MonitorError::Lock(error),
    })
}

/// Waits; false if `shutdown` came first.
async fn sleep(time: Duration, shutdown: &CancellationToken) -> bool {
    let sleep = tokio::time::sleep(time);
    shutdown.run_until_cancelled(sleep).await.is_some()
}

/// Waits until the ledger exists; false if `shutdown` came first.
async fn wait_for_ledger(data_dir: &Path, shutdown: &CancellationToken) -> bool {
    let folder = data_dir.display();
    let mut is_logged = false;
    while Ledger::is_missing(data_dir) {
        if !is_logged {
            tracing::info!(%folder, "waiting for the relay's first start: no ledger in {folder} yet");
            is_logged = true;
        }
        if !sleep(LEDGER_WAIT, shutdown).await {
            return false;
        }
    }
    !shutdown.is_cancelled()
}

/// What one look is to do.
#[derive(Debug, Clone, Copy)]
struct CheckScope {
    /// For how long the monitor has watched.
    watched_for: Duration,
    signing: SigningReach,
    /// Whether the counts of all lines are due.
    counts_lines: bool,
    now: Timestamp,
}

async fn check(config: &Arc<MonitorSettings>, scope: CheckScope) -> Result<SummaryProgress, MonitorError> {
    let CheckScope {
        watched_for,
        signing,
        counts_lines,
        now,
    } = scope;
    let shared = Arc::clone(config);
    with_ledger(&config.data_dir, move |ledger| {
        let metrics = Metrics::process().monitor();
        // Alerts do not wait for the trusted time.
        let looked = upkeep::look(ledger, &upkeep::read_clocks(now));
        sign_off::sign(ledger, &shared, signing, now);
        let scope = LookScope {
            config: &shared,
            zone: &TimeZone::system(),
            watched_for,
            counts_lines,
            now,
        };
        let outcome = tick::tick(ledger, scope, &metrics)?;
        upkeep::forget_events(ledger, &shared.channels, looked?)?;
        gauges::set(ledger, &shared, &metrics, now)?;
        Ok(outcome)
    })
    .await
}

/// A clock that moved by so much more or less than the time that has passed was set, or this host was asleep.
const CLOCK_STEP: Duration = Duration::from_mins(1);

/// Since when the monitor sees what senders do. While the ledger cannot be used, as on a full disk, contacts are not recorded
/// there, so that all sources look silent afterwards. They look so too when this host's clock is set forward, or the host wakes
/// up, until they make contact again.
#[derive(Debug)]
struct WatchedTime {
    start: Instant,
    /// The last look, by both clocks.
    last: (Instant, Timestamp),
}

impl WatchedTime {
    fn since(start: Instant, wall: Timestamp) -> Self {
        Self {
            start,
            last: (start, wall),
        }
    }

    /// For how long the monitor has watched, at a look.
    fn until(&mut self, now: Instant, wall: Timestamp) -> Duration {
        let (last, last_wall) = self.last;
        let passed = now.saturating_duration_since(last);
        let by_wall = wall.duration_since(last_wall);
        let step = by_wall - SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
        if step.unsigned_abs() > CLOCK_STEP {
            self.start = now;
        }
        self.last = (now, wall);
        now.saturating_duration_since(self.start)
    }

    /// A look has failed.
    fn failed(&mut self, now: Instant) {
        self.start = now;
    }
}

async fn watch(
    config: Arc<MonitorSettings>,
    ready: &Readiness,
    news: &LookNews,
    stop: &CancellationToken,
) -> Result<(), MonitorError> {
    let _stop_mailing = stop.drop_guard_ref();
    let mut watched = WatchedTime::since(Instant::now(), Timestamp::now());
    let since = |every| ClockSchedule::since(Timestamp::now(), config.interval, every);
    let (mut signing, mut counts) = (since(sign_off::ALL_EVERY), since(COUNTS_EVERY));
    let mut fault = LedgerFault::default();
    loop {
        let now = Timestamp::now();
        let scope = CheckScope {
            watched_for: watched.until(Instant::now(), now),
            signing: if signing.is_due(now) {
                SigningReach::All
            } else {
                SigningReach::Recent
            },
            counts_lines: counts.is_due(now),
            now,
        };
        let mut wait = config.interval;
        match check(&config, scope).await {
            Ok(outcome) => {
                signing.looked(now);
                counts.looked(now);
                if outcome == SummaryProgress::SummariesLeft {
                    wait = Duration::ZERO;
                }
                ready.set();
                news.looked.send_replace(Some(tokio::time::Instant::now()));
                fault.note_success(&config.smtp, Instant::now()).await;
            }
            Err(error) => {
                let error = if_temporary(error)?;
                watched.failed(Instant::now());
                fault.note_failure(&error, &config.smtp, Instant::now()).await;
            }
        }
        news.mail.notify_one();
        news.channels.send_replace(());
        if stop.is_cancelled() || !sleep(wait, stop).await {
            return Ok(());
        }
    }
}

async fn mail(mut outbox: Outbox, new_mail: &Notify, stop: &CancellationToken) -> Result<(), MonitorError> {
    let _stop_watching = stop.drop_guard_ref();
    loop {
        let news = tokio::time::timeout(OUTBOX_INTERVAL, new_mail.notified());
        if stop.run_until_cancelled(news).await.is_none() {
            return Ok(());
        }
        if let Err(error) = outbox.send(Timestamp::now(), stop).await {
            if_temporary(error)?;
        }
    }
}

/// Logs an error that may pass by itself; any other ends the monitor.
fn if_temporary(error: MonitorError) -> Result<MonitorError, MonitorError> {
    if !error.is_temporary() {
        return Err(error);
    }
    tracing::error!(
        error = &error as &dyn Error,
        "cannot use the ledger now; this is tried again"
    );
    Ok(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_failed_begins_the_watch_anew() {
        let (start, wall) = (Instant::now(), Timestamp::now());
        let at = |second| {
            (
                start + Duration::from_secs(second),
                wall + Duration::from_secs(second),
            )
        };
        let mut watched = WatchedTime::since(start, wall);
        let until = |watched: &mut WatchedTime, second| {
            let (now, wall) = at(second);
            watched.until(now, wall)
        };
        assert_eq!(until(&mut watched, 300), Duration::from_mins(5));
        watched.failed(at(300).0);
        assert_eq!(
            until(&mut watched, 301),
            Duration::from_secs(1),
            "no source is silent yet"
        );
        assert_eq!(until(&mut watched, 600), Duration::from_mins(5));
    }

    #[test]
    fn a_clock_that_is_set_begins_the_watch_anew_and_one_that_drifts_does_not() {
        let (start, wall) = (Instant::now(), Timestamp::now());
        let mut watched = WatchedTime::since(start, wall);
        let mut until = |second: u64, offset: i64| {
            let wall = wall + Duration::from_secs(second) + SignedDuration::from_secs(offset);
            watched.until(start + Duration::from_secs(second), wall).as_secs()
        };
        assert_eq!(until(300, 0), 300);
        assert_eq!(until(330, 50), 330);
        assert_eq!(until(360, 3600), 0, "set forward, or asleep for an hour");
        assert_eq!(until(390, 3600), 30);
        assert_eq!(until(420, 0), 0, "set back");
        assert_eq!(until(720, 0), 300);
    }
}
