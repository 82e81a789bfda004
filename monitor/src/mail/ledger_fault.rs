//! The one mail that goes past the outbox: the monitor cannot use the ledger, so it sees nothing and can record nothing.
//!
//! It is sent once while that lasts, and once when it is over. Only memory knows of it: a monitor that is started again while the
//! ledger still cannot be used tells it again.

use std::error::Error;
use std::time::{Duration, Instant};

use logferry_config::Smtp;
use logferry_ledger::NewMail;
use logferry_text::duration;

use super::send_now;
use crate::error::MonitorError;

/// A disk that is full for a moment, or a long transaction, is no reason to wake anybody.
const TOLD_AFTER: Duration = Duration::from_mins(3);

/// Time for one attempt. The looks wait for it, and see nothing anyway.
const ATTEMPT_MAX: Duration = Duration::from_mins(1);

/// Since when the ledger cannot be used, and whether people know.
#[derive(Debug, Default)]
pub(crate) struct LedgerFault {
    since: Option<Instant>,
    is_told: bool,
}

impl LedgerFault {
    /// A look has failed. For how long the ledger has been unusable if people are to be told now.
    fn failed(&mut self, now: Instant) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        let lasted = now.saturating_duration_since(since);
        (lasted >= TOLD_AFTER && !self.is_told).then_some(lasted)
    }

    /// A look has worked. For how long the ledger was unusable if people were told.
    fn worked(&mut self, now: Instant) -> Option<Duration> {
        let since = self.since.filter(|_| self.is_told);
        since.map(|since| now.saturating_duration_since(since))
    }

    /// Takes note of a look that has failed, and tells people if it is time. An attempt that fails is made again at the next look.
    pub(crate) async fn note_failure(&mut self, error: &MonitorError, smtp: &Smtp, now: Instant) {
        let Some(lasted) = self.failed(now) else {
            return;
        };
        let text = format!(
            "The monitor cannot use the ledger for {}: {}\n\nUntil it can, nobody is told of anything else, and no summary is \
             sent. Look at the disk of data_dir and at `journalctl -u logferry-monitor`; `logferry fsck` compares ledger and \
             spool. Another mail says when it is over.\n",
            duration(lasted),
            logferry_text::error_chain(error)
        );
        self.is_told = send("critical: ledger", text, smtp).await;
    }

    /// Takes note of a look that has worked, and tells people that it is over if they knew.
    pub(crate) async fn note_success(&mut self, smtp: &Smtp, now: Instant) {
        if let Some(lasted) = self.worked(now) {
            let lasted = duration(lasted);
            let text = format!("The monitor can use the ledger again. It could not for {lasted}.\n");
            if !send(&format!("over: ledger after {lasted}"), text, smtp).await {
                // It is tried again at the next look.
                return;
            }
        }
        *self = Self::default();
    }
}

/// Sends a mail at once; false if it could not.
async fn send(subject: &str, text: String, smtp: &Smtp) -> bool {
    let content = NewMail {
        subject: subject.to_owned(),
        text,
        html: None,
    };
    // A recipient that is refused gets nothing by a repeat, which would be a second mail to all others.
    match tokio::time::timeout(ATTEMPT_MAX, send_now(smtp, "ledger", &content, &[])).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            tracing::error!(
                error = &error as &dyn Error,
                "cannot mail \"{subject}\" past the ledger; tried again at the next look"
            );
            false
        }
        Err(_) => {
            tracing::error!(
                "the mail server did not take \"{subject}\" within a minute; tried again at the next look"
            );
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
