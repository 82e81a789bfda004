//! The hourly and the daily mail: which are queued, what is attached to them, and the sums that they show.
//!
//! A summary, its mail and the mail's parts are one transaction. The parts of a mail go when it is sent (triggers of the
//! schema), so that pictures do not stay in the ledger.

use jiff::Timestamp;
use logferry_protocol::names::SourceId;

use crate::batches::Batch;
use crate::monitor::state::queue;
use crate::outbox::MailId;
use crate::row::{self, millis};
use crate::{Ledger, LedgerError, NewMail};

/// A picture in a mail, or a file attached to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailPart {
    /// The file's name.
    pub name: String,
    /// Its MIME type.
    pub content_type: String,
    /// The id by which the HTML shows it; `None`: it is attached.
    pub content_id: Option<String>,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// The time that a summary is about, by its first instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SummaryKey {
    /// An hour.
    Hour(Timestamp),
    /// A day of the local calendar.
    Day(Timestamp),
}

impl SummaryKey {
    /// The statement that notes it, unless it is noted, and its first instant.
    fn note(self) -> (&'static str, Timestamp) {
        match self {
            Self::Hour(start) => (
                "INSERT OR IGNORE INTO summaries (hour, queued_at) VALUES (?1, ?2)",
                start,
            ),
            Self::Day(start) => (
                "INSERT OR IGNORE INTO daily_summaries (day, queued_at) VALUES (?1, ?2)",
                start,
            ),
        }
    }
}

/// The lines of one source in some windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceWindowSum {
    /// The source.
    pub source: SourceId,
    /// Its batches that have lines.
    pub batches: u64,
    /// Their lines.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Ledger {
    /// Queues a summary with its parts. False, without a change, if it was queued before.
    pub fn queue_summary_mail(
        &mut self,
        summary: SummaryKey,
        mail: &NewMail,
        parts: &[MailPart],
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let (note, start) = summary.note();
        self.write("queue a summary", |sql| {
            if sql.execute(note, (millis(start), millis(now)))? == 0 {
                return Ok(false);
            }
            let id = queue(sql, mail, now)?;
            let mut add = sql.prepare_cached(
                "INSERT INTO mail_parts (mail, position, name, content_type, content_id, content)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for (position, part) in (0_i64..).zip(parts) {
                let MailPart {
                    name,
                    content_type,
                    content_id,
                    content,
                } = part;
                add.execute((id, position, name, content_type, content_id, content))?;
            }
            Ok(true)
        })
    }

    /// The parts of a mail that is not sent yet.
    pub fn mail_parts(&self, mail: MailId) -> Result<Vec<MailPart>, LedgerError> {
        let query = "SELECT * FROM mail_parts WHERE mail = ?1 ORDER BY position";
        self.list("list the parts of a mail", query, [mail.number()], |row| {
            Ok(MailPart {
                name: row.get("name")?,
                content_type: row.get("content_type")?,
                content_id: row.get("content_id")?,
                content: row.get("content")?,
            })
        })
    }

    /// Notes that a time gets no summary.
    pub fn pass_over_summary(&mut self, summary: SummaryKey, now: Timestamp) -> Result<(), LedgerError> {
        let (note, start) = summary.note();
        self.execute("skip a summary", note, (millis(start), millis(now)))
    }

    /// The last day (its first instant) whose summary is queued or sent.
    pub fn last_daily_summary(&self) -> Result<Option<Timestamp>, LedgerError> {
        let query = "SELECT max(day) AS day FROM daily_summaries";
        let last = self.find("find the last daily summary", query, [], |row| {
            row::optional_time(row, "day")
        })?;
        Ok(last.flatten())
    }

    /// The batches whose windows begin in this time, oldest first.
    pub fn batches_beginning(&self, from: Timestamp, until: Timestamp) -> Result<Vec<Batch>, LedgerError> {
        let query = "SELECT * FROM batches WHERE window_start >= ?1 AND window_start < ?2
            ORDER BY window_start, source, base_name, part";
        let span = (from.as_second(), until.as_second());
        self.list("list the batches of some windows", query, span, Batch::from_row)
    }

    /// The sums of each source over the windows that begin in this time.
    pub fn window_sums(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<SourceWindowSum>, LedgerError> {
        let query =
            "SELECT source, count(*) AS batches, sum(lines) AS lines, sum(bytes) AS bytes FROM batches
            WHERE window_start >= ?1 AND window_start < ?2 AND lines > 0 GROUP BY source ORDER BY source";
        let span = (from.as_second(), until.as_second());
        self.list("add up some windows", query, span, |row| {
            Ok(SourceWindowSum {
                source: row::text(row, "source")?,
                batches: row.get("batches")?,
                lines: row.get("lines")?,
                bytes: row.get("bytes")?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{TestResult, ledger, now};

    #[test]
    fn a_summary_is_queued_once_with_its_parts_which_go_when_it_is_sent() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        let mail = NewMail {
            subject: "s".to_owned(),
            text: "t".to_owned(),
            html: None,
        };
        let parts = [("a.png", Some("a@logferry")), ("b.csv", None)].map(|(name, id)| MailPart {
            name: name.to_owned(),
            content_type: "image/png".to_owned(),
            content_id: id.map(str::to_owned),
            content: vec![0, 255, 10],
        });
        for key in [SummaryKey::Hour(now()), SummaryKey::Day(now())] {
            assert!(ledger.queue_summary_mail(key, &mail, &parts, now())?);
            assert!(!ledger.queue_summary_mail(key, &mail, &parts, now())?);
        }
        assert_eq!(ledger.last_summary()?, Some(now()));
        assert_eq!(ledger.last_daily_summary()?, Some(now()));
        let due = ledger.due_mails(Timestamp::MAX)?;
        assert_eq!(due.len(), 2);
        assert_eq!(ledger.mail_parts(due[0].id)?, parts);
        ledger.mail_presumed_sent(due[0].id, "sent", now())?;
        assert_eq!(ledger.mail_parts(due[0].id)?, []);
        assert_eq!(ledger.mail_parts(due[1].id)?, parts);
        ledger.forget_before(Timestamp::MAX, 10)?;
        assert_eq!(ledger.mail_parts(due[1].id)?, [], "a mail that is given up");
        Ok(())
    }
}
