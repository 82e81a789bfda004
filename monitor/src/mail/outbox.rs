//! Sends the mails of the outbox: first those that were never tried, oldest first.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::Backoff;
use logferry_inspection::time::age;
use logferry_ledger::{Ledger, LedgerError, MAIL_WAIT_MAX, MailId, MailTaken, QueuedMail};
use logferry_telemetry::MonitorMetrics;
use logferry_text::{count_of, duration};
use tokio_util::sync::CancellationToken;

use super::smtp::{OutgoingMail, RecipientAnswers, SmtpMailer};
use crate::error::{MonitorError, SendError};

/// Waits after the failures of a mail, or of a channel. A server that works again is used again within the longest one.
pub(crate) const RETRY: Backoff = Backoff {
    initial: Duration::from_secs(30),
    max: MAIL_WAIT_MAX,
};

/// After so many attempts without an answer to the mail or the message itself, it counts as sent: the server most likely has it, and
/// each further attempt may be one more copy.
pub(crate) const UNCONFIRMED_MAX: u32 = 3;

/// A recipient that the server asks to try later is given up after so long and so many attempts (RFC 5321, 4.5.4.1: four or five
/// days): the others have got the mail.
const GIVE_UP_AFTER: Duration = Duration::from_hours(5 * 24);
const GIVE_UP_ATTEMPTS: u32 = 100;

/// Time for a mail, or a message of a channel, in flight to complete after a stop. A mail that is cut off could be sent a second time.
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
    unrecorded: Vec<(MailId, MailTaken)>,
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
            let sent = tokio::select! {
                sent = self.send_one(mail) => sent?,
                () = stop_grace(stop) => break,
            };
            if let Err(error) = sent {
                let concerns_all = !error.concerns_one_mail();
                pass.last_error = Some(error);
                if concerns_all {
                    pass.failed += mails.len() - index;
                    break;
                }
                pass.failed += 1;
            }
        }
        Ok(pass)
    }

    /// Sends a mail, and records what became of it.
    ///
    /// Before the mail itself is sent, the ledger counts the attempt. A crash until the outcome is recorded leaves the
    /// count, so not even a monitor that crashes each time sends a mail for ever.
    async fn send_one(&mut self, mail: &QueuedMail) -> Result<Result<(), SendError>, MonitorError> {
        let subject = &mail.content.subject;
        if mail.unconfirmed >= UNCONFIRMED_MAX {
            self.presume_sent(mail, "the monitor or the mail server broke off each time")
                .await?;
            return Ok(Ok(()));
        }
        if let Some(waiting) = &mail.waiting_for
            && !self.mailer.has_any(waiting)
        {
            return self.end_without_recipient(mail, waiting).await.map(Ok);
        }
        let id = mail.id;
        let parts = with_ledger(&self.data_dir, move |ledger| ledger.mail_parts(id)).await?;
        let outgoing = OutgoingMail {
            id: format!("logferry-{}-{}", mail.id, mail.created_at.as_millisecond()),
            written_at: mail.created_at,
            content: &mail.content,
            parts: &parts,
            waiting_for: mail.waiting_for.as_deref(),
        };
        let announced = match self.mailer.announce_or_answers(&outgoing, Timestamp::now()).await {
            Ok(Ok(announced)) => announced,
            Ok(Err(answers)) if mail.waiting_for.is_some() => return self.rest_refused(mail, &answers).await,
            Ok(Err(answers)) => return self.not_announced(mail, self.mailer.all_refused(&answers)).await,
            Err(error) => return self.not_announced(mail, error).await,
        };
        match with_ledger(&self.data_dir, move |ledger| ledger.mail_announced(id)).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::debug!(subject, "a later mail tells what mail \"{subject}\" tells");
                announced.withdraw();
                return Ok(Ok(()));
            }
            // A mail about a full disk must be sent although the ledger cannot grow.
            Err(error) => tracing::warn!(
                subject,
                error = &error as &dyn Error,
                "cannot count the attempt to send mail \"{subject}\" in the ledger; it is sent nevertheless"
            ),
        }
        let sent = announced.send().await;
        self.record_outcome(mail, sent).await
    }

    async fn not_announced(
        &self,
        mail: &QueuedMail,
        error: SendError,
    ) -> Result<Result<(), SendError>, MonitorError> {
        self.record_failure(mail, &error, mail.unconfirmed).await?;
        Ok(Err(error))
    }

    /// The recipients that a mail waited for are not in the configuration any more, and the others have got it.
    async fn end_without_recipient(
        &mut self,
        mail: &QueuedMail,
        waiting: &[String],
    ) -> Result<(), MonitorError> {
        let (subject, waiting) = (&mail.content.subject, waiting.join(", "));
        tracing::info!(
            subject,
            waiting,
            "mail \"{subject}\" waited only for {waiting}, no longer in monitor.smtp.to: it counts as sent"
        );
        let taken = taken(mail, &RecipientAnswers::default(), Timestamp::now());
        self.unrecorded.push((mail.id, taken));
        self.record_sent().await
    }

    /// The server refuses each recipient that a mail still waits for.
    async fn rest_refused(
        &mut self,
        mail: &QueuedMail,
        answers: &RecipientAnswers,
    ) -> Result<Result<(), SendError>, MonitorError> {
        let (subject, refused) = (&mail.content.subject, answers.refusals());
        let taken = MailTaken {
            // Nothing of it was sent this time.
            unconfirmed: mail.unconfirmed,
            ..taken(mail, answers, Timestamp::now())
        };
        let is_over = taken.waiting_for.is_empty();
        if is_over {
            tracing::warn!(
                subject,
                refused,
                "mail \"{subject}\" is given up for its last recipients: {refused}; if an address is wrong, correct \
                 monitor.smtp.to"
            );
        } else {
            tracing::warn!(
                subject,
                refused,
                "mail \"{subject}\" still waits for some recipients: {refused}; if an address is wrong, correct monitor.smtp.to"
            );
        }
        self.unrecorded.push((mail.id, taken));
        self.record_sent().await?;
        Ok(if is_over {
            Ok(())
        } else {
            Err(self.mailer.all_refused(answers))
        })
    }

    async fn record_outcome(
        &mut self,
        mail: &QueuedMail,
        sent: Result<RecipientAnswers, SendError>,
    ) -> Result<Result<(), SendError>, MonitorError> {
        let subject = &mail.content.subject;
        match sent {
            Ok(answers) => {
                self.metrics.mailed();
                let taken = taken(mail, &answers, Timestamp::now());
                if answers.refused.is_empty() {
                    tracing::info!(subject, "mail \"{subject}\" is sent");
                } else {
                    let refused = answers.refusals();
                    tracing::warn!(
                        subject,
                        refused,
                        "mail \"{subject}\" is sent, but not to all: {refused}; if an address is wrong, correct monitor.smtp.to"
                    );
                }
                self.unrecorded.push((mail.id, taken));
                self.record_sent().await?;
                Ok(Ok(()))
            }
            Err(error @ SendError::Unconfirmed { .. }) if mail.unconfirmed + 1 >= UNCONFIRMED_MAX => {
                self.presume_sent(mail, &error.to_string()).await?;
                Ok(Err(error))
            }
            Err(error) => {
                let is_unknown = matches!(error, SendError::Unconfirmed { .. });
                self.record_failure(mail, &error, mail.unconfirmed + u32::from(is_unknown))
                    .await?;
                Ok(Err(error))
            }
        }
    }

    async fn record_sent(&mut self) -> Result<(), MonitorError> {
        while let Some((mail, taken)) = self.unrecorded.last().cloned() {
            let record = move |ledger: &mut Ledger| ledger.mail_taken(mail, &taken, Timestamp::now());
            with_ledger(&self.data_dir, record).await?;
            self.unrecorded.pop();
        }
        Ok(())
    }

    async fn presume_sent(&self, mail: &QueuedMail, reason: &str) -> Result<(), MonitorError> {
        let subject = &mail.content.subject;
        tracing::warn!(
            subject,
            attempts = UNCONFIRMED_MAX,
            error = reason,
            "the mail server did not answer to mail \"{subject}\" itself in {UNCONFIRMED_MAX} attempts ({reason}); it most likely has \
             it, and it is not sent again"
        );
        let (mail, reason) = (mail.id, reason.to_owned());
        let record = move |ledger: &mut Ledger| ledger.mail_presumed_sent(mail, &reason, Timestamp::now());
        with_ledger(&self.data_dir, record).await
    }

    /// `unconfirmed`: the attempts so far after which the server may have the mail.
    async fn record_failure(
        &self,
        mail: &QueuedMail,
        error: &SendError,
        unconfirmed: u32,
    ) -> Result<(), MonitorError> {
        let failures = mail.attempts.saturating_add(1);
        let wait = RETRY.wait(failures, 0.0);
        let subject = &mail.content.subject;
        let attempts = failures;
        if matches!(error, SendError::Unconfirmed { .. }) {
            let more_attempts = UNCONFIRMED_MAX.saturating_sub(unconfirmed);
            tracing::warn!(
                subject,
                attempts,
                more_attempts,
                error = error as &dyn Error,
                "nobody knows whether the mail server took mail \"{subject}\"; it is sent again with the same Message-ID in {}, \
                 {more_attempts} more times at most",
                duration(wait)
            );
        } else {
            tracing::warn!(
                subject,
                attempts,
                error = error as &dyn Error,
                "mail \"{subject}\" is not sent, {}; it stays in the outbox and is tried again in {}",
                count_of(attempts.into(), "attempt"),
                duration(wait)
            );
        }
        let (mail, reason) = (mail.id, error.to_string());
        let next_attempt = Timestamp::now().checked_add(wait).unwrap_or(Timestamp::MAX);
        let record = move |ledger: &mut Ledger| ledger.mail_failed(mail, &reason, next_attempt, unconfirmed);
        with_ledger(&self.data_dir, record).await
    }
}

/// What a mail that the server took still waits for: the recipients that it asked to try later, unless it did so for days.
fn taken(mail: &QueuedMail, answers: &RecipientAnswers, now: Timestamp) -> MailTaken {
    let wait = RETRY.wait(mail.attempts.saturating_add(1), 0.0);
    let gives_up = mail.waiting_for.is_some()
        && mail.attempts >= GIVE_UP_ATTEMPTS
        && age(mail.created_at, now) >= GIVE_UP_AFTER;
    let (temporary, refused): (Vec<_>, Vec<_>) = answers
        .refused
        .iter()
        .partition(|(_, refusal)| refusal.is_temporary() && !gives_up);
    let refused = refused.into_iter();
    MailTaken {
        accepted: answers.accepted.clone(),
        refused: refused
            .map(|(to, refusal)| (to.clone(), refusal.reason.clone()))
            .collect(),
        waiting_for: temporary.into_iter().map(|(to, _)| to.clone()).collect(),
        next_attempt: now.checked_add(wait).unwrap_or(Timestamp::MAX),
        is_first: mail.waiting_for.is_none(),
        unconfirmed: 0,
    }
}

/// Ends [`STOP_GRACE`] after `stop`.
pub(crate) async fn stop_grace(stop: &CancellationToken) {
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
