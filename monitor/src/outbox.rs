//! Sends what is in the outbox, oldest first.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use logferry_ledger::{Ledger, LedgerError, MailId, QueuedMail};
use logferry_telemetry::MonitorMetrics;
use tokio_util::sync::CancellationToken;

use crate::error::{MonitorError, SendError};
use crate::postman::{Letter, LetterId, Postman};

/// Wait after the first failure of a mail; it doubles up to [`RETRY_MAX`].
const RETRY_INITIAL: SignedDuration = SignedDuration::from_secs(30);

/// A mail server that is back is used again within this.
const RETRY_MAX: SignedDuration = SignedDuration::from_mins(15);

/// A mail in flight is given so long after the word to stop; cut off, it might be sent a second time.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Which mails to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those not sent, unless they failed a moment ago.
    Due,
    /// All that are not sent.
    All,
}

/// What came of one pass over the outbox.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    /// Mails that stay.
    pub(crate) failed: usize,
    /// Why the last of them does.
    pub(crate) last_error: Option<SendError>,
}

/// Runs `work` on a ledger of its own, where blocking is allowed.
pub(crate) async fn with_ledger<T: Send + 'static>(
    data_dir: &Path,
    work: impl FnOnce(&mut Ledger) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, MonitorError> {
    let data_dir = data_dir.to_owned();
    let done = tokio::task::spawn_blocking(move || work(&mut Ledger::open(&data_dir)?)).await;
    Ok(done.map_err(MonitorError::Broken)??)
}

/// The outbox and the postman that empties it.
#[derive(Debug)]
pub(crate) struct Outbox {
    data_dir: PathBuf,
    postman: Postman,
    metrics: MonitorMetrics,
    /// Taken by the server while the ledger could not note it (its disk may be full): noted before anything else is
    /// sent, so that such a mail is not sent over and over.
    unnoted: Vec<MailId>,
}

impl Outbox {
    pub(crate) fn new(data_dir: &Path, postman: Postman, metrics: MonitorMetrics) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            postman,
            metrics,
            unnoted: Vec::new(),
        }
    }

    /// Tries the mails once each, until `stop`. A mail that is refused lets the next one try; a server that is away
    /// ends the pass.
    pub(crate) async fn send(
        &mut self,
        which: Which,
        stop: &CancellationToken,
    ) -> Result<Pass, MonitorError> {
        self.note_sent().await?;
        let horizon = match which {
            Which::Due => Timestamp::now(),
            Which::All => Timestamp::MAX,
        };
        let mails = with_ledger(&self.data_dir, move |ledger| ledger.due_mails(horizon)).await?;
        let mut pass = Pass::default();
        for (index, mail) in mails.iter().enumerate() {
            if stop.is_cancelled() {
                break;
            }
            let letter = Letter {
                id: LetterId::of(mail),
                written_at: mail.created_at,
                content: &mail.content,
            };
            let sent = tokio::select! {
                sent = self.postman.send(&letter, Timestamp::now()) => sent,
                () = grace(stop) => break,
            };
            match sent {
                Ok(()) => {
                    self.metrics.mailed();
                    tracing::info!(subject = mail.content.subject, "mail is sent");
                    self.unnoted.push(mail.id);
                    self.note_sent().await?;
                }
                Err(error) => {
                    self.note_failed(mail, &error).await?;
                    let about_the_mail = error.is_about_the_mail();
                    pass.last_error = Some(error);
                    if !about_the_mail {
                        pass.failed += mails.len() - index;
                        break;
                    }
                    pass.failed += 1;
                }
            }
        }
        Ok(pass)
    }

    async fn note_sent(&mut self) -> Result<(), MonitorError> {
        while let Some(mail) = self.unnoted.last().copied() {
            with_ledger(&self.data_dir, move |ledger| {
                ledger.mail_sent(mail, Timestamp::now())
            })
            .await?;
            self.unnoted.pop();
        }
        Ok(())
    }

    async fn note_failed(&self, mail: &QueuedMail, error: &SendError) -> Result<(), MonitorError> {
        let pause = retry_after(mail.attempts);
        tracing::warn!(
            subject = mail.content.subject,
            attempts = mail.attempts.saturating_add(1),
            retry_seconds = pause.as_secs(),
            error = error as &dyn Error,
            "mail is not sent, it stays in the outbox"
        );
        let (mail, reason) = (mail.id, error.to_string());
        let next_attempt = Timestamp::now().checked_add(pause).unwrap_or(Timestamp::MAX);
        with_ledger(&self.data_dir, move |ledger| {
            ledger.mail_failed(mail, &reason, next_attempt)
        })
        .await
    }
}

/// The wait after a failure that came after so many others.
fn retry_after(failed_before: u32) -> SignedDuration {
    let doubled = 2_i32.checked_pow(failed_before).unwrap_or(i32::MAX);
    RETRY_INITIAL.saturating_mul(doubled).min(RETRY_MAX)
}

/// Ends some time after `stop`.
async fn grace(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_GRACE).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_to_a_quarter_of_an_hour() {
        assert_eq!(
            [0, 1, 4, 5, 31, u32::MAX].map(|failed| retry_after(failed).as_secs()),
            [30, 60, 480, 900, 900, 900]
        );
    }
}
