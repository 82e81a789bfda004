//! Sends the mails of the outbox, oldest first.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::Backoff;
use logferry_ledger::{Ledger, LedgerError, MailId, QueuedMail};
use logferry_telemetry::MonitorMetrics;
use tokio_util::sync::CancellationToken;

use super::smtp::{OutgoingMail, SmtpMailer};
use crate::error::{MonitorError, SendError};

/// Waits after the failures of a mail. A mail server that works again is used again within the longest one.
const RETRY: Backoff = Backoff {
    initial: Duration::from_secs(30),
    max: Duration::from_mins(15),
};

/// Time for a mail in flight to complete after a stop. A mail that is cut off could be sent a second time.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// The result of one pass over the outbox.
#[derive(Debug, Default)]
pub(crate) struct OutboxPass {
    /// How many mails stay in the outbox.
    pub(crate) failed: usize,
    /// Why the last of them was not sent.
    pub(crate) last_error: Option<SendError>,
}

/// Runs `work` with the ledger on a thread where blocking is allowed.
pub(crate) async fn with_ledger<T: Send + 'static>(
    data_dir: &Path,
    work: impl FnOnce(&mut Ledger) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, MonitorError> {
    let data_dir = data_dir.to_owned();
    let done = tokio::task::spawn_blocking(move || work(&mut Ledger::open(&data_dir)?)).await;
    Ok(done.map_err(MonitorError::Crashed)??)
}

/// The outbox of one ledger and the mailer that empties it.
#[derive(Debug)]
pub(crate) struct Outbox {
    data_dir: PathBuf,
    mailer: SmtpMailer,
    metrics: MonitorMetrics,
    /// Mails that the server took while the ledger could not be written (its disk may be full). They are recorded before
    /// anything else is sent, so that no mail is sent again and again.
    unrecorded: Vec<MailId>,
}

impl Outbox {
    pub(crate) fn new(data_dir: &Path, mailer: SmtpMailer, metrics: MonitorMetrics) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            mailer,
            metrics,
            unrecorded: Vec::new(),
        }
    }

    /// Tries each mail whose next attempt is due by then, once, until `stop`. After a refused mail the next one is tried;
    /// a server that cannot be reached ends the pass.
    pub(crate) async fn send(
        &mut self,
        due_by: Timestamp,
        stop: &CancellationToken,
    ) -> Result<OutboxPass, MonitorError> {
        self.record_sent().await?;
        let mails = with_ledger(&self.data_dir, move |ledger| ledger.due_mails(due_by)).await?;
        let mut pass = OutboxPass::default();
        for (index, mail) in mails.iter().enumerate() {
            if stop.is_cancelled() {
                break;
            }
            let outgoing = OutgoingMail {
                id: format!("logferry-{}-{}", mail.id, mail.created_at.as_millisecond()),
                written_at: mail.created_at,
                content: &mail.content,
                waiting_for: None,
            };
            let sent = tokio::select! {
                sent = self.mailer.send(&outgoing, Timestamp::now()) => sent,
                () = stop_grace(stop) => break,
            };
            match sent {
                Ok(_) => {
                    self.metrics.mailed();
                    tracing::info!(subject = mail.content.subject, "mail sent");
                    self.unrecorded.push(mail.id);
                    self.record_sent().await?;
                }
                Err(error) => {
                    self.record_failure(mail, &error).await?;
                    let concerns_all = !error.concerns_one_mail();
                    pass.last_error = Some(error);
                    if concerns_all {
                        pass.failed += mails.len() - index;
                        break;
                    }
                    pass.failed += 1;
                }
            }
        }
        Ok(pass)
    }

    async fn record_sent(&mut self) -> Result<(), MonitorError> {
        while let Some(mail) = self.unrecorded.last().copied() {
            let record = move |ledger: &mut Ledger| ledger.mail_sent(mail, Timestamp::now());
            with_ledger(&self.data_dir, record).await?;
            self.unrecorded.pop();
        }
        Ok(())
    }

    async fn record_failure(&self, mail: &QueuedMail, error: &SendError) -> Result<(), MonitorError> {
        let failures = mail.attempts.saturating_add(1);
        let wait = RETRY.wait(failures, 0.0);
        tracing::warn!(
            subject = mail.content.subject,
            attempts = failures,
            retry_seconds = wait.as_secs(),
            error = error as &dyn Error,
            "mail not sent; it stays in the outbox and is tried again"
        );
        let (mail, reason) = (mail.id, error.to_string());
        let next_attempt = Timestamp::now().checked_add(wait).unwrap_or(Timestamp::MAX);
        let record = move |ledger: &mut Ledger| ledger.mail_failed(mail, &reason, next_attempt);
        with_ledger(&self.data_dir, record).await
    }
}

/// Ends [`STOP_GRACE`] after `stop`.
async fn stop_grace(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_GRACE).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_to_a_quarter_of_an_hour() {
        let waits = [1, 2, 5, 6, 32, u32::MAX].map(|failures| RETRY.wait(failures, 0.0).as_secs());
        assert_eq!(waits, [30, 60, 480, 900, 900, 900]);
    }
}
