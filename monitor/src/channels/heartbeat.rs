//! The heartbeat: a sign that others wait for. It is given only while the monitor's looks succeed, so it ends also when the
//! monitor runs and sees nothing.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;
use logferry_config::{HeartbeatSettings, HeartbeatTarget, MonitorSettings, Smtp};
use logferry_durable::SignFile;
use logferry_http_client::{HttpMethod, HttpRequest, send};
use logferry_ledger::NewMail;
use logferry_text::{duration, error_chain};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::delivery::accepted;
use crate::error::MonitorError;
use crate::mail::send_now;

/// Time limit of a sign.
const LIMIT: Duration = Duration::from_secs(30);

/// The looks that may fail one after the other before the heartbeat ends.
const LOOKS_MISSED_MAX: u32 = 3;

/// Gives the sign each `every` until `stop`. `looked`: when the last look succeeded.
pub(crate) async fn run(
    config: &MonitorSettings,
    mut looked: watch::Receiver<Option<Instant>>,
    stop: &CancellationToken,
) {
    let Some(heartbeat) = &config.heartbeat else {
        return;
    };
    // The first one comes after the first look.
    let first = looked.wait_for(Option::is_some);
    if !matches!(stop.run_until_cancelled(first).await, Some(Ok(_))) {
        return;
    }
    let fresh = config.interval.saturating_mul(LOOKS_MISSED_MAX);
    let mut was_failing = false;
    loop {
        let last = *looked.borrow_and_update();
        if last.is_none_or(|last| last.elapsed() > fresh) {
            // The sign that is due comes with the next look that succeeds, not a whole `every` later.
            match stop.run_until_cancelled(looked.changed()).await {
                Some(Ok(())) => continue,
                _ => return,
            }
        }
        let given = stop
            .run_until_cancelled(Box::pin(give(heartbeat, &config.smtp)))
            .await;
        let Some(given) = given else { return };
        log_change(heartbeat, given.as_ref().err(), &mut was_failing);
        let wait = tokio::time::sleep(heartbeat.every);
        if stop.run_until_cancelled(wait).await.is_none() {
            return;
        }
    }
}

/// Gives one sign after a look of `--once`. A mail at each of them would be too much.
pub(crate) async fn give_once(config: &MonitorSettings) -> Result<(), MonitorError> {
    match &config.heartbeat {
        Some(heartbeat) if !matches!(heartbeat.to, HeartbeatTarget::Mail(_)) => {
            let given = Box::pin(give(heartbeat, &config.smtp)).await;
            given.map_err(MonitorError::Heartbeat)
        }
        _ => Ok(()),
    }
}

fn log_change(heartbeat: &HeartbeatSettings, error: Option<&String>, was_failing: &mut bool) {
    match error {
        Some(error) if !std::mem::replace(was_failing, true) => tracing::warn!(
            error = %error,
            "the heartbeat is not given, so those who wait for it may think that the monitor is dead; it is tried again in {}",
            duration(heartbeat.every)
        ),
        None if std::mem::replace(was_failing, false) => tracing::info!("the heartbeat is given again"),
        _ => {}
    }
}

/// Gives one sign. The error is a sentence.
pub(crate) async fn give(heartbeat: &HeartbeatSettings, smtp: &Smtp) -> Result<(), String> {
    match &heartbeat.to {
        HeartbeatTarget::Url(endpoint) => {
            let request = HttpRequest {
                endpoint,
                method: HttpMethod::Get,
                key: None,
                body: Bytes::new(),
            };
            let answer = send(&request, LIMIT).await.map_err(|error| error.to_string())?;
            accepted(endpoint, answer).map_err(|error| error.to_string())
        }
        HeartbeatTarget::File(path) => {
            let (file, shown) = (path.clone(), path.display());
            let write = move || {
                let now = SystemTime::now();
                SignFile::at(&file).write(&format!("{:.0}\n", Timestamp::now()), now)
            };
            let written = tokio::task::spawn_blocking(write).await;
            let written = written.map_err(|error| error.to_string())?;
            written.map_err(|error| format!("cannot write {shown}: {error}; check monitor.heartbeat.file"))
        }
        HeartbeatTarget::Mail(to) => mail(to, heartbeat.every, smtp).await,
    }
}

async fn mail(to: &str, every: Duration, smtp: &Smtp) -> Result<(), String> {
    let every = duration(every);
    let content = NewMail {
        subject: "heartbeat".to_owned(),
        text: format!(
            "The monitor works. This mail comes every {every}; if it does not, the monitor, its host or the mail on the way is down.\n"
        ),
        html: None,
    };
    let smtp = Smtp {
        to: vec![to.to_owned()],
        ..smtp.clone()
    };
    let sent = tokio::time::timeout(LIMIT, send_now(&smtp, "heartbeat", &content, &[])).await;
    let sent = sent.map_err(|_| format!("the mail server did not take it within {} s", LIMIT.as_secs()))?;
    sent.map(drop).map_err(|error| error_chain(&error))
}
