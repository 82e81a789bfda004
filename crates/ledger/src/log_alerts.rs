//! The monitor's state on logs that senders cannot ship: paths that find nothing, folders and files that they cannot read.
//!
//! A decision and its mails are one transaction, so a crash neither loses a mail nor queues it twice.

use jiff::Timestamp;
use logferry_protocol::names::SourceId;

use crate::monitor_state::{NewMail, queue};
use crate::row::{self, millis};
use crate::{Ledger, LedgerError};

/// A path that the sender of a source reported, or has ceased to report a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogAlert {
    /// The source.
    pub source: SourceId,
    /// The path or glob of a log, or a folder or file, on the source.
    pub path: String,
    /// What is wrong with it, in the sender's words.
    pub reason: String,
    /// When the monitor first saw it.
    pub since: Timestamp,
    /// When its mail was queued; `None`: it has not lasted long enough.
    pub raised_at: Option<Timestamp>,
    /// Since when it is not reported any more; `None`: it is.
    pub gone_since: Option<Timestamp>,
}

impl Ledger {
    /// The paths with a problem that was not over at the monitor's last look.
    pub fn log_alerts(&self) -> Result<Vec<LogAlert>, LedgerError> {
        let query = "SELECT * FROM log_alerts ORDER BY source, path";
        self.list("list alerts on logs", query, [], |row| {
            Ok(LogAlert {
                source: row::text(row, "source")?,
                path: row.get("path")?,
                reason: row.get("reason")?,
                since: row::time(row, "since")?,
                raised_at: row::optional_time(row, "raised_at")?,
                gone_since: row::optional_time(row, "gone_since")?,
            })
        })
    }

    /// Records these as all of them, and queues the mails about what has changed.
    pub fn replace_log_alerts(
        &mut self,
        alerts: &[LogAlert],
        mails: &[NewMail],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write("record alerts on logs", |sql| {
            sql.execute("DELETE FROM log_alerts", [])?;
            let mut insert = sql.prepare_cached(
                "INSERT OR REPLACE INTO log_alerts (source, path, reason, since, raised_at, gone_since)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for alert in alerts {
                insert.execute((
                    alert.source.as_str(),
                    &alert.path,
                    &alert.reason,
                    millis(alert.since),
                    alert.raised_at.map(millis),
                    alert.gone_since.map(millis),
                ))?;
            }
            mails.iter().try_for_each(|mail| queue(sql, mail, now))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn alerts_on_logs_outlive_a_restart_and_their_mails_are_queued_with_them() -> Result<(), Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        let now: Timestamp = "2026-11-29T06:00:00Z".parse()?;
        let alert = LogAlert {
            source: "198.51.100.1".parse()?,
            path: "/log/acces.log".to_owned(),
            reason: "there is no such file yet".to_owned(),
            since: now,
            raised_at: Some(now),
            gone_since: None,
        };
        let mail = NewMail {
            subject: "logs not shipped".to_owned(),
            text: "text".to_owned(),
            html: None,
        };
        let mut ledger = Ledger::open_or_create(dir.path())?;
        ledger.replace_log_alerts(std::slice::from_ref(&alert), &[mail], now)?;
        drop(ledger);
        let mut ledger = Ledger::open(dir.path())?;
        assert_eq!(ledger.log_alerts()?, [alert]);
        assert_eq!(ledger.due_mails(now)?.len(), 1);
        ledger.replace_log_alerts(&[], &[], now)?;
        assert_eq!(ledger.log_alerts()?, []);
        Ok(())
    }
}
