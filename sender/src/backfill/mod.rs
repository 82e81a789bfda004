//! Ships old files once: the same chunks, questions and rules as for a log that is followed, but each file is taken for
//! finished, and nothing is kept on this side.
//!
//! Which stream a file is, and how far that is, the relay says. So what a sender or an earlier run has shipped of it,
//! whole or in part, under this name or another, compressed or not, is recognised; and a run that is cut off anywhere
//! is repeated without harm, also beside a sender that is at work.

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
use crate::relay_client;
use crate::relay_client::RelayConnections;

/// Why a backfill ended before its last file.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// The relay wants nothing from this host.
    #[error("nothing can be shipped to this relay")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It was told to.
    #[error("stopped before the end; run it again to go on from there")]
    Stopped,
    /// The thread that reads the files ended though it was not through.
    #[error("the thread that reads the files has failed, see the messages before")]
    Failed,
}

/// Ships the files of `plan`, or with `dry_run` only asks the relay and counts what would be shipped.
///
/// `tell` hears of each file's progress and end, on a thread of its own. As long as the relay cannot be reached, it is
/// tried again, until `stop`.
pub async fn backfill(
    config: config::SenderSettings,
    plan: BackfillPlan,
    dry_run: bool,
    tell: impl FnMut(BackfillEvent) + Send + 'static,
    stop: CancellationToken,
) -> Result<(), BackfillError> {
    let (events, inbox) = mpsc::channel();
    let (cut, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let wire = relay_client::start(&config, &events, &cut, &mut tasks);
    let home = events.clone();
    let mut driver = tokio::task::spawn_blocking(move || {
        let driver = BackfillDriver::new(&config, plan, dry_run, home, rand::random());
        drive(driver, &wire, &inbox, tell)
    });
    let ended = tokio::select! {
        ended = &mut driver => ended,
        () = stop.cancelled() => {
            // The inbox is gone only if the driver has ended, which the wait shows.
            let _ = events.send(SenderEvent::Stop);
            driver.await
        }
    };
    // Nobody waits for answers any more.
    cut.cancel();
    while tasks.join_next().await.is_some() {}
    ended.unwrap_or(Err(BackfillError::Failed))
}

fn drive(
    mut driver: BackfillDriver,
    wire: &RelayConnections,
    inbox: &Receiver<SenderEvent>,
    mut tell: impl FnMut(BackfillEvent),
) -> Result<(), BackfillError> {
    loop {
        let now = Now::read();
        for job in driver.turn(now) {
            wire.dispatch(job);
        }
        driver.take_news().into_iter().for_each(&mut tell);
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
            // The driver holds a sender itself, so this cannot be; and with nobody to hear from there is nothing to do.
            Err(RecvTimeoutError::Disconnected) => return Err(BackfillError::Failed),
        }
    }
}

#[cfg(test)]
mod tests;
