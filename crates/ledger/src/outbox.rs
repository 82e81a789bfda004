//! The outbox: mails that are not sent yet, and the recipients that the mail server refuses.
//!
//! A mail that some recipients have got stays in the outbox for those that it still waits for. A mail about incidents that no
//! server can have got gives way to a later one, which tells its news too ([`Ledger::record_incidents`]).

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, Result as SqlResult};

use crate::monitor::state::NewMail;
use crate::row::{self, millis};
use crate::{Ledger, LedgerError};

/// The longest wait between two attempts for a mail. A next attempt further ahead was recorded before the clock was set back.
pub const MAIL_WAIT_MAX: Duration = Duration::from_mins(15);

/// The ledger's number of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MailId(i64);

impl MailId {
    /// The number.
    pub(crate) const fn number(self) -> i64 {
        self.0
    }
}

impl std::fmt::Display for MailId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A mail in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedMail {
    /// Its number; a message id made from it stays the same over all attempts.
    pub id: MailId,
    /// When it was queued.
    pub created_at: Timestamp,
    /// Subject and text.
    pub content: NewMail,
    /// Failed attempts so far.
    pub attempts: u32,
    /// Attempts after which nobody knows whether the server took it.
    pub unconfirmed: u32,
    /// The recipients that have not got it yet; `None`: all.
    pub waiting_for: Option<Vec<String>>,
}

/// What became of a mail that the server took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailTaken {
    /// The recipients that the server took it for.
    pub accepted: Vec<String>,
    /// Those that it refuses, with its reply. The mail is not tried for them again, later mails are.
    pub refused: Vec<(String, String)>,
    /// Those that the mail still waits for.
    pub waiting_for: Vec<String>,
    /// When it is tried for them.
    pub next_attempt: Timestamp,
    /// Whether all recipients of the configuration were tried. Then nobody counts as refused who is neither refused nor waited
    /// for.
    pub is_first: bool,
    /// After how many attempts so far the server may have it for those that it still waits for.
    pub unconfirmed: u32,
}

/// A recipient that the mail server refused last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRecipient {
    /// The address.
    pub recipient: String,
    /// The server's reply.
    pub reason: String,
    /// When it was first refused.
    pub since: Timestamp,
}

/// The mails that are not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailBacklog {
    /// How many there are.
    pub waiting: u64,
    /// How many of them were tried in vain.
    pub failing: u64,
    /// When the oldest was queued.
    pub oldest: Option<Timestamp>,
    /// Why the latest that was tried in vain was not sent.
    pub last_error: Option<String>,
}

/// By `+id`, SQLite sorts the due ones instead of reading all mails in the order of their numbers.
pub(crate) const DUE_MAILS: &str = "SELECT * FROM outbox
    WHERE sent_at IS NULL AND (next_attempt <= ?1 OR next_attempt > ?2) ORDER BY attempts > 0, +id";

impl Ledger {
    /// The mails that are not sent, in sum.
    pub fn mail_backlog(&self) -> Result<MailBacklog, LedgerError> {
        let query = "SELECT count(*) AS waiting, coalesce(sum(attempts > 0), 0) AS failing, min(created_at) AS oldest,
                (SELECT last_error FROM outbox WHERE sent_at IS NULL AND attempts > 0 ORDER BY id DESC LIMIT 1) AS last_error
            FROM outbox WHERE sent_at IS NULL";
        let backlog = self.find("count unsent mails", query, [], |row| {
            Ok(MailBacklog {
                waiting: row.get("waiting")?,
                failing: row.get("failing")?,
                oldest: row::optional_time(row, "oldest")?,
                last_error: row.get("last_error")?,
            })
        })?;
        Ok(backlog.unwrap_or_default())
    }

    /// The mails that are due: those that were never tried, then the others, each oldest first. So a new one does not wait behind
    /// many that the server does not take. One whose next attempt is further ahead than [`MAIL_WAIT_MAX`] is due too.
    pub fn due_mails(&self, now: Timestamp) -> Result<Vec<QueuedMail>, LedgerError> {
        let latest = now.checked_add(MAIL_WAIT_MAX).unwrap_or(Timestamp::MAX);
        self.list("list mails", DUE_MAILS, [millis(now), millis(latest)], |row| {
            let waiting_for: Option<String> = row.get("waiting_for")?;
            Ok(QueuedMail {
                id: MailId(row.get("id")?),
                created_at: row::time(row, "created_at")?,
                content: NewMail {
                    subject: row.get("subject")?,
                    text: row.get("text")?,
                    html: row.get("html")?,
                },
                attempts: row.get("attempts")?,
                unconfirmed: row.get("unconfirmed")?,
                waiting_for: waiting_for.map(|text| text.split(' ').map(str::to_owned).collect()),
            })
        })
    }

    /// Counts an attempt whose outcome is unknown until it is recorded. A crash leaves it so. False, without a change, if the mail is
    /// not in the outbox any more: a later one has taken its place.
    pub fn mail_announced(&mut self, mail: MailId) -> Result<bool, LedgerError> {
        let change = "UPDATE outbox SET unconfirmed = unconfirmed + 1 WHERE id = ?1 AND sent_at IS NULL";
        self.write("note that a mail is being sent", |sql| {
            Ok(sql.execute(change, [mail.0])? == 1)
        })
    }

    /// Records that the server took a mail for some or all recipients.
    pub fn mail_taken(&mut self, mail: MailId, taken: &MailTaken, now: Timestamp) -> Result<(), LedgerError> {
        self.write("note a sent mail", |sql| {
            note_refused(sql, taken, now)?;
            if taken.waiting_for.is_empty() {
                let change = "UPDATE outbox SET sent_at = ?2, last_error = NULL WHERE id = ?1";
                return sql.execute(change, (mail.0, millis(now))).map(drop);
            }
            // An address has no space.
            let waiting_for = taken.waiting_for.join(" ");
            sql.execute(
                "UPDATE outbox SET waiting_for = ?2, next_attempt = ?3, attempts = attempts + 1, unconfirmed = ?4,
                    last_error = 'the server asks to try some recipients later' WHERE id = ?1",
                (mail.0, waiting_for, millis(taken.next_attempt), taken.unconfirmed),
            )
            .map(drop)
        })
    }

    /// Records that the mail server did not accept a mail, and how many attempts remain without an answer.
    pub fn mail_failed(
        &mut self,
        mail: MailId,
        error: &str,
        next_attempt: Timestamp,
        unconfirmed: u32,
    ) -> Result<(), LedgerError> {
        let change =
            "UPDATE outbox SET attempts = attempts + 1, last_error = ?2, next_attempt = ?3, unconfirmed = ?4
            WHERE id = ?1";
        let values = (mail.0, error, millis(next_attempt), unconfirmed);
        self.execute("note a failed mail", change, values)
    }

    /// Ends a mail that the server most likely has, without an answer from it.
    pub fn mail_presumed_sent(
        &mut self,
        mail: MailId,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let change = "UPDATE outbox SET sent_at = ?2, last_error = ?3 WHERE id = ?1";
        self.execute("end a mail", change, (mail.0, millis(now), reason))
    }

    /// The recipients that the mail server refused last time.
    pub fn refused_recipients(&self) -> Result<Vec<RefusedRecipient>, LedgerError> {
        let query = "SELECT * FROM refused_recipients ORDER BY recipient";
        self.list("list refused recipients", query, [], |row| {
            Ok(RefusedRecipient {
                recipient: row.get("recipient")?,
                reason: row.get("reason")?,
                since: row::time(row, "since")?,
            })
        })
    }
}

fn note_refused(sql: &Connection, taken: &MailTaken, now: Timestamp) -> SqlResult<()> {
    for (recipient, reason) in &taken.refused {
        sql.prepare_cached(
            "INSERT INTO refused_recipients (recipient, reason, since) VALUES (?1, ?2, ?3)
             ON CONFLICT (recipient) DO UPDATE SET reason = excluded.reason",
        )?
        .execute((recipient, reason, millis(now)))?;
    }
    let known: Vec<String> = sql
        .prepare_cached("SELECT recipient FROM refused_recipients")?
        .query_map([], |row| row.get(0))?
        .collect::<SqlResult<_>>()?;
    for recipient in known {
        let is_refused = taken.refused.iter().any(|(refused, _)| *refused == recipient);
        // Asked to try later: it is not accepted.
        let is_refused = is_refused || taken.waiting_for.contains(&recipient);
        if !is_refused && (taken.is_first || taken.accepted.contains(&recipient)) {
            sql.execute("DELETE FROM refused_recipients WHERE recipient = ?1", [recipient])?;
        }
    }
    Ok(())
}
