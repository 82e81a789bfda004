//! The monitor's state: hours with a summary, and the mails about them.
//!
//! A decision and its mail are one transaction, so a crash neither loses a mail nor queues it twice.

use jiff::Timestamp;
use rusqlite::{Connection, Result as SqlResult, named_params};

use crate::row::{self, millis};
use crate::{Ledger, LedgerError};

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

/// A mail about incidents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentMail {
    /// The mail.
    pub mail: NewMail,
    /// What it tells, as the monitor reads it, so that a later mail can tell it too.
    pub news: String,
}

impl Ledger {
    /// The last hour (its first instant) whose summary is queued or sent.
    pub fn last_summary(&self) -> Result<Option<Timestamp>, LedgerError> {
        self.read("find the last summary", |sql| {
            sql.query_row("SELECT max(hour) AS hour FROM summaries", [], |row| {
                row::optional_time(row, "hour")
            })
        })
    }
}

/// Puts a mail into the outbox. Returns its number.
pub(crate) fn queue(sql: &Connection, mail: &NewMail, now: Timestamp) -> SqlResult<i64> {
    sql.prepare_cached(
        "INSERT INTO outbox (created_at, subject, text, html, next_attempt) VALUES (:now, :subject, :text, :html, :now)
         RETURNING id",
    )?
    .query_row(
        named_params! {
            ":now": millis(now),
            ":subject": mail.subject,
            ":text": mail.text,
            ":html": mail.html,
        },
        |row| row.get(0),
    )
}
