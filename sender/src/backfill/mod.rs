//! Ships old files once. The chunks, questions and rules are those of a log that is tailed, but each file counts as
//! finished, and no state is kept on this host.
//!
//! The relay tells which stream a file is, and its committed offset. So bytes that a sender or an earlier run has shipped
//! are recognised, whole or in part, under this name or another, compressed or not. A run that is interrupted can be
//! repeated without harm, also while a sender is running.
//!
//! The texts of `report` and the choice of logs in `plan` may be changed here without looking elsewhere.

mod driver;
mod file;
mod plan;
mod report;

pub use self::plan::{BackfillPlan, BackfillPlanError};
pub use self::report::{BackfillEvent, FileOutcome, FileRefusal, FileReport};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Instant;

use logferry_config as config;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::backfill::driver::BackfillDriver;
use crate::clock::Now;
use crate::messages::SenderEvent;
use crate::relay_client::{self, ClientRole, RelayConnections};

/// Why a backfill ended before its last file.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// The relay accepts nothing from this host.
    #[error("nothing can be shipped to this relay")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It was stopped.
    #[error("stopped before the end; run it again to continue")]
    Stopped,
    /// The thread that reads the files ended before all were shipped.
    #[error("the thread that reads the files has failed; see the log messages before this one")]
    Failed,
}

/// Ships the files of `plan`, or with `dry_run` only asks the relay and counts the lines to ship.
///
/// `report` is called with each file's progress and end, on a thread of its own. While the relay cannot be reached,
/// requests are repeated, until `stop`.
pub async fn backfill(
    config: config::SenderSettings,
    plan: BackfillPlan,
    dry_run: bool,
    report: impl FnMut(BackfillEvent) + Send + 'static,
    stop: CancellationToken,
) -> Result<(), BackfillError> {
    let (events, inbox) = mpsc::channel();
    let (cut, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let relay = relay_client::start(&config, ClientRole::Command, &events, &cut, &mut tasks);
    let driver_events = events.clone();
    let mut driver = tokio::task::spawn_blocking(move || {
        let driver = BackfillDriver::new(&config, plan, dry_run, driver_events, rand::random());
        drive(driver, &relay, &inbox, report)
    });
    let ended = tokio::select! {
        ended = &mut driver => ended,
        () = stop.cancelled() => {
            // The send fails only if the driver has ended, which the next line notices.
            let _ = events.send(SenderEvent::Stop);
            driver.await
        }
    };
    // No answer is awaited any more.
    cut.cancel();
    while tasks.join_next().await.is_some() {}
    ended.unwrap_or(Err(BackfillError::Failed))
}

fn drive(
    mut driver: BackfillDriver,
    relay: &RelayConnections,
    inbox: &Receiver<SenderEvent>,
    mut report: impl FnMut(BackfillEvent),
) -> Result<(), BackfillError> {
    loop {
        let now = Now::read();
        for request in driver.run_due(now) {
            relay.send(request);
        }
        driver.take_events().into_iter().for_each(&mut report);
        if driver.is_over() {
            return driver.into_result();
        }
        let event = match driver.deadline(now) {
            Some(deadline) => inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match event {
            Ok(SenderEvent::Stop) => return Err(BackfillError::Stopped),
            Ok(event) => driver.handle(event, Now::read()),
            Err(RecvTimeoutError::Timeout) => {}
            // Impossible while the driver itself holds a sending end.
            Err(RecvTimeoutError::Disconnected) => return Err(BackfillError::Failed),
        }
    }
}

#[cfg(test)]
mod tests;
