//! The monitor's state: open alerts, hours with a summary, and the mails about them.
//!
//! A decision and its mail are one transaction, so a crash neither loses a mail nor queues it twice.

use jiff::Timestamp;
use logferry_protocol::names::SourceId;
use rusqlite::{Connection, Result as SqlResult, named_params};
use serde::Deserialize;

use crate::row::{self, millis};
use crate::{Ledger, LedgerError};

/// The reason of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertKind {
    /// The source made contact, but not within `stale_after`.
    Stale,
    /// The source is expected, and never made contact.
    Missing,
}

impl AlertKind {
    /// The kind's name in the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Missing => "missing",
        }
    }
}

/// An open alert about a source, whose mail is queued or sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The source.
    pub source: SourceId,
    /// The reason.
    pub kind: AlertKind,
    /// When the source last made contact, if ever.
    pub since: Option<Timestamp>,
    /// When the alert was raised.
    pub raised_at: Timestamp,
    /// Since when the source makes contact again, if it does.
    pub back_since: Option<Timestamp>,
}

/// A mail to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMail {
    /// Subject, without the configured prefix.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// The same as HTML, if there is one.
    pub html: Option<String>,
}

impl Ledger {
    /// The open alerts.
    pub fn alerts(&self) -> Result<Vec<Alert>, LedgerError> {
        let query = "SELECT * FROM alerts ORDER BY source";
        self.list("list alerts", query, [], |row| {
            Ok(Alert {
                source: row::text(row, "source")?,
                kind: row::variant(row, "kind")?,
                since: row::optional_time(row, "since")?,
                raised_at: row::time(row, "raised_at")?,
                back_since: row::optional_time(row, "back_since")?,
            })
        })
    }

    /// Raises alerts, and queues the mail about them.
    pub fn raise_alerts(
        &mut self,
        alerts: &[Alert],
        mail: &NewMail,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write("raise alerts", |sql| {
            for alert in alerts {
                sql.prepare_cached(
                    "INSERT OR REPLACE INTO alerts (source, kind, since, raised_at) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute((
                    alert.source.as_str(),
                    alert.kind.as_str(),
                    alert.since.map(millis),
                    millis(alert.raised_at),
                ))?;
            }
            queue(sql, mail, now)
        })
    }

    /// Records since when these silent sources are back, or that they are silent again.
    pub fn note_returns(&mut self, alerts: &[Alert]) -> Result<(), LedgerError> {
        self.write("note the return of sources", |sql| {
            for alert in alerts {
                sql.prepare_cached("UPDATE alerts SET back_since = ?2 WHERE source = ?1")?
                    .execute((alert.source.as_str(), alert.back_since.map(millis)))?;
            }
            Ok(())
        })
    }

    /// Clears alerts, and queues the mail about it.
    pub fn clear_alerts(
        &mut self,
        sources: &[SourceId],
        mail: &NewMail,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write("clear alerts", |sql| {
            for source in sources {
                sql.execute("DELETE FROM alerts WHERE source = ?1", [source.as_str()])?;
            }
            queue(sql, mail, now)
        })
    }

    /// The last hour (its first instant) whose summary is queued or sent.
    pub fn last_summary(&self) -> Result<Option<Timestamp>, LedgerError> {
        self.read("find the last summary", |sql| {
            sql.query_row("SELECT max(hour) AS hour FROM summaries", [], |row| {
                row::optional_time(row, "hour")
            })
        })
    }

    /// Notes that the hour that begins at `hour` gets no summary. The next hours to sum up are those after it.
    pub fn skip_summary(&mut self, hour: Timestamp, now: Timestamp) -> Result<(), LedgerError> {
        let change = "INSERT OR IGNORE INTO summaries (hour, queued_at) VALUES (?1, ?2)";
        self.execute("skip a summary", change, (millis(hour), millis(now)))
    }

    /// Queues the summary of the hour that begins at `hour`. False, without a change, if it was queued before.
    pub fn queue_summary(
        &mut self,
        hour: Timestamp,
        mail: &NewMail,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        self.write("queue a summary", |sql| {
            let is_new = sql.execute(
                "INSERT OR IGNORE INTO summaries (hour, queued_at) VALUES (?1, ?2)",
                (millis(hour), millis(now)),
            )? == 1;
            if is_new {
                queue(sql, mail, now)?;
            }
            Ok(is_new)
        })
    }
}

pub(crate) fn queue(sql: &Connection, mail: &NewMail, now: Timestamp) -> SqlResult<()> {
    sql.prepare_cached(
        "INSERT INTO outbox (created_at, subject, text, html, next_attempt) VALUES (:now, :subject, :text, :html, :now)",
    )?
    .execute(named_params! {
        ":now": millis(now),
        ":subject": mail.subject,
        ":text": mail.text,
        ":html": mail.html,
    })
    .map(drop)
}
