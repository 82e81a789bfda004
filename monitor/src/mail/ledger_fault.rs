//! The one mail that goes past the outbox: the monitor cannot use the ledger, so it sees nothing and can record nothing.
//!
//! It is sent once while that lasts, and once when it is over. Only memory knows of it: a monitor that is started again while the
//! ledger still cannot be used tells it again. As with the outbox, a repeat is the same mail with the same `Message-ID`, and after
//! three attempts whose fate is unknown it counts as sent.

use std::error::Error;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::Smtp;
use logferry_ledger::NewMail;
use logferry_text::duration;

use super::message_id;
use super::outbox::UNCONFIRMED_MAX;
use super::smtp::{OutgoingMail, SmtpMailer};
use crate::error::{MonitorError, SendError};

/// A disk that is full for a moment, or a long transaction, is no reason to wake anybody.
const TOLD_AFTER: Duration = Duration::from_mins(3);

/// Time for one attempt. The looks wait for it, and see nothing anyway.
const ATTEMPT_MAX: Duration = Duration::from_mins(1);

/// Since when the ledger cannot be used, and whether people know.
#[derive(Debug, Default)]
pub(crate) struct LedgerFault {
    since: Option<Instant>,
    is_told: bool,
    /// The mail that is not sent yet: that it is over once people know of it, before that the fault itself.
    mail: Option<UnsentMail>,
}

/// A mail that stays the same over all attempts.
#[derive(Debug)]
struct UnsentMail {
    written_at: Timestamp,
    content: NewMail,
    /// Attempts after which nobody knows whether the server took it.
    unconfirmed: u32,
}

/// What became of an attempt.
#[derive(Debug)]
enum MailAttempt {
    Taken,
    NotTaken(MonitorError),
    Unknown(SendError),
    /// The time was over before the server was given the mail.
    TooSlow,
}

impl LedgerFault {
    /// A look has failed. For how long the ledger has been unusable if people are to be told now.
    fn failed(&mut self, now: Instant) -> Option<Duration> {
        if self.is_told
            && let Some(mail) = self.mail.take()
        {
            // It is not over. If people may have read that it is, this is a new fault to them.
            if mail.unconfirmed > 0 {
                *self = Self::default();
            }
        }
        let since = *self.since.get_or_insert(now);
        let lasted = now.saturating_duration_since(since);
        (lasted >= TOLD_AFTER && !self.is_told).then_some(lasted)
    }

    /// A look has worked. For how long the ledger was unusable if people were told, or may have been.
    fn worked(&mut self, now: Instant) -> Option<Duration> {
        if !self.is_told {
            let mail = self.mail.take();
            self.is_told = mail.is_some_and(|mail| mail.unconfirmed > 0);
        }
        let since = self.since.filter(|_| self.is_told);
        since.map(|since| now.saturating_duration_since(since))
    }

    /// Takes note of a look that has failed, and tells people if it is time. An attempt that fails is made again at the next look.
    pub(crate) async fn note_failure(&mut self, error: &MonitorError, smtp: &Smtp, now: Instant) {
        let Some(lasted) = self.failed(now) else {
            return;
        };
        let mail = self.mail.get_or_insert_with(|| {
            let text = format!(
                "The monitor cannot use the ledger for {}: {}\n\nUntil it can, nobody is told of anything else, and no summary is \
                 sent. Look at the disk of data_dir and at `journalctl -u logferry-monitor`; `logferry fsck` compares ledger and \
                 spool. Another mail says when it is over.\n",
                duration(lasted),
                logferry_text::error_chain(error)
            );
            UnsentMail::new("critical: ledger".to_owned(), text)
        });
        if mail.is_sent(smtp).await {
            self.is_told = true;
            self.mail = None;
        }
    }

    /// Takes note of a look that has worked, and tells people that it is over if they knew.
    pub(crate) async fn note_success(&mut self, smtp: &Smtp, now: Instant) {
        if let Some(lasted) = self.worked(now) {
            let mail = self.mail.get_or_insert_with(|| {
                let lasted = duration(lasted);
                let text = format!("The monitor can use the ledger again. It could not for {lasted}.\n");
                UnsentMail::new(format!("over: ledger after {lasted}"), text)
            });
            if !mail.is_sent(smtp).await {
                // It is tried again at the next look.
                return;
            }
        }
        *self = Self::default();
    }
}

impl UnsentMail {
    fn new(subject: String, text: String) -> Self {
        Self {
            written_at: Timestamp::now(),
            content: NewMail {
                subject,
                text,
                html: None,
            },
            unconfirmed: 0,
        }
    }

    /// Tries it; whether it is sent now, or counts as sent.
    async fn is_sent(&mut self, smtp: &Smtp) -> bool {
        let attempt = self.attempt(smtp).await;
        let subject = &self.content.subject;
        match attempt {
            MailAttempt::Taken => return true,
            MailAttempt::NotTaken(error) => tracing::error!(
                error = &error as &dyn Error,
                "cannot mail \"{subject}\" past the ledger; tried again at the next look"
            ),
            MailAttempt::TooSlow => tracing::error!(
                "the mail server did not take \"{subject}\" within a minute; tried again at the next look"
            ),
            MailAttempt::Unknown(error) => {
                self.unconfirmed += 1;
                if self.unconfirmed >= UNCONFIRMED_MAX {
                    tracing::warn!(
                        error = &error as &dyn Error,
                        "the mail server did not answer to \"{subject}\" itself in {UNCONFIRMED_MAX} attempts; it most likely has \
                         it, and it is not sent again"
                    );
                    return true;
                }
                tracing::error!(
                    error = &error as &dyn Error,
                    "nobody knows whether the mail server took \"{subject}\"; it is sent again with the same Message-ID at the next look"
                );
            }
        }
        false
    }

    async fn attempt(&self, smtp: &Smtp) -> MailAttempt {
        let mailer = match SmtpMailer::new(smtp) {
            Ok(mailer) => mailer,
            Err(error) => return MailAttempt::NotTaken(error),
        };
        let mail = OutgoingMail {
            id: message_id("ledger", self.written_at),
            written_at: self.written_at,
            content: &self.content,
            parts: &[],
            waiting_for: None,
        };
        let until = tokio::time::Instant::now() + ATTEMPT_MAX;
        let announced = match tokio::time::timeout_at(until, mailer.announce(&mail, Timestamp::now())).await {
            Ok(Ok(announced)) => announced,
            Ok(Err(error)) => return MailAttempt::NotTaken(error.into()),
            Err(_) => return MailAttempt::TooSlow,
        };
        // A recipient that is refused gets nothing by a repeat, which would be a second mail to all others.
        match tokio::time::timeout_at(until, announced.send()).await {
            Ok(Ok(_)) => MailAttempt::Taken,
            Ok(Err(error @ SendError::Unconfirmed { .. })) => MailAttempt::Unknown(error),
            Ok(Err(error)) => MailAttempt::NotTaken(error.into()),
            Err(_) => MailAttempt::Unknown(SendError::Unconfirmed {
                cause: Box::new(SendError::TimedOut {
                    server: format!("{}:{}", smtp.host, smtp.port),
                    awaited: "the mail",
                    seconds: ATTEMPT_MAX.as_secs(),
                }),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use logferry_embedded_servers::{MailRefusal, MailSink};
    use logferry_testkit::relay_host::RelayHost;

    use super::*;
    use crate::tests::settings::MonitoredHost as _;

    #[test]
    fn it_is_told_once_when_it_has_lasted_and_its_end_only_to_those_who_know() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut fault = LedgerFault::default();
        assert_eq!((fault.failed(at(0)), fault.failed(at(179))), (None, None));
        assert_eq!(fault.worked(at(179)), None, "nobody knew");
        assert_eq!(fault.failed(at(180)), Some(TOLD_AFTER));
        assert_eq!(
            fault.failed(at(240)),
            Some(at(240) - at(0)),
            "the attempt has failed"
        );
        fault.is_told = true;
        assert_eq!(fault.failed(at(300)), None);
        assert_eq!(fault.worked(at(360)), Some(Duration::from_mins(6)));
    }

    /// Looks, one a minute: whether each works.
    async fn look(
        fault: &mut LedgerFault,
        smtp: &Smtp,
        start: Instant,
        works: impl IntoIterator<Item = bool>,
    ) {
        for (minute, works) in (0..).zip(works) {
            let now = start + Duration::from_mins(minute);
            if works {
                fault.note_success(smtp, now).await;
            } else {
                let error = MonitorError::Heartbeat("the ledger is away".to_owned());
                fault.note_failure(&error, smtp, now).await;
            }
        }
    }

    fn headers(sink: &MailSink, name: &str) -> Vec<String> {
        let mails = sink.messages().into_iter();
        let texts = mails.map(|mail| String::from_utf8_lossy(&mail.data).into_owned());
        texts
            .filter_map(|text| {
                text.lines()
                    .find_map(|line| line.strip_prefix(name).map(str::to_owned))
            })
            .collect()
    }

    #[tokio::test]
    async fn a_mail_without_an_answer_is_sent_three_times_at_most_with_one_id() {
        let sink = MailSink::start().await.expect("a server");
        let smtp = RelayHost::new().config(sink.port()).smtp;
        sink.refuse_next(1, MailRefusal::Busy);
        sink.set_script(|script| script.take_silently(100));
        let (mut fault, start) = (LedgerFault::default(), Instant::now());
        look(&mut fault, &smtp, start, [false; 12]).await;
        let mut ids = headers(&sink, "Message-ID: ");
        assert_eq!(ids.len(), 3);
        ids.dedup();
        assert_eq!(ids.len(), 1, "{ids:?}");
        look(&mut fault, &smtp, start + Duration::from_mins(12), [true; 6]).await;
        let subjects = headers(&sink, "Subject: [logferry] ");
        assert_eq!(subjects[3..], ["over: ledger after 12 min"; 3]);
    }

    #[tokio::test]
    async fn those_who_may_know_of_it_are_told_that_it_is_over() {
        let sink = MailSink::start().await.expect("a server");
        let smtp = RelayHost::new().config(sink.port()).smtp;
        sink.set_script(|script| script.take_silently(1));
        let (mut fault, start) = (LedgerFault::default(), Instant::now());
        look(&mut fault, &smtp, start, [false, false, false, false, true, true]).await;
        let subjects = headers(&sink, "Subject: [logferry] ");
        assert_eq!(subjects, ["critical: ledger", "over: ledger after 4 min"]);
    }
}
