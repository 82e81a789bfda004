//! The outbox of the channels beside the mail: events of incidents that a channel has not got yet.
//!
//! Events are kept, not messages: what waits for a channel becomes one message when it is tried, in which an incident that is over
//! meanwhile is told once. Invariants:
//! - **A message whose fate is unknown is sent again with the same events**, so with the same id and text. Its events are
//!   frozen ([`Ledger::message_announced`]) before the first byte is sent, and released only if nobody can have got them.
//! - Channels do not meet: each has its own waits, and its own row of attempts.

use jiff::Timestamp;
use rusqlite::{Connection, Result as SqlResult};
use serde::{Deserialize, Serialize};

use crate::row::{self, millis};
use crate::{Ledger, LedgerError};

/// The tables: the events, and how each channel answers.
pub(crate) const ALERT_EVENTS_STEP: &str = "CREATE TABLE alert_events (
    id         INTEGER PRIMARY KEY,
    channel    TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    event      TEXT NOT NULL,
    message    INTEGER,
    sent_at    INTEGER
) STRICT;
CREATE INDEX alert_events_waiting ON alert_events (channel, id) WHERE sent_at IS NULL;
CREATE INDEX alert_events_old ON alert_events (created_at);

CREATE TABLE channel_attempts (
    channel      TEXT PRIMARY KEY,
    attempts     INTEGER NOT NULL,
    unconfirmed  INTEGER NOT NULL,
    in_doubt     INTEGER NOT NULL DEFAULT 0,
    next_attempt INTEGER NOT NULL,
    last_error   TEXT
) STRICT, WITHOUT ROWID;";

/// What happened to an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertEventKind {
    /// It began.
    Began,
    /// It became worse.
    Worse,
    /// It is still open.
    Reminder,
    /// It is over.
    Over,
}

/// Something that people are to be told of an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertEvent {
    /// Names the incident: the same for all its events, and for no other incident.
    pub incident: String,
    /// What happened.
    pub kind: AlertEventKind,
    /// When.
    pub at: Timestamp,
    /// When the incident began.
    pub since: Timestamp,
    /// Its rule.
    pub rule: String,
    /// What it is about.
    pub subject: String,
    /// How bad it is: `warning` or `critical`.
    pub severity: String,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub advice: String,
}

/// An event that a channel has not got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedAlertEvent {
    /// Its number. Later events have greater ones.
    pub number: i64,
    /// The event.
    pub event: AlertEvent,
    /// The message that it is frozen in: the number of that message's first event.
    pub message: Option<i64>,
}

/// How a channel has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRecord {
    /// The channel.
    pub channel: String,
    /// Failed attempts since the last success.
    pub attempts: u32,
    /// Attempts of the frozen message after which nobody knows whether it was taken.
    pub unconfirmed: u32,
    /// When it is tried again.
    pub next_attempt: Timestamp,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// What waits for a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelBacklog {
    /// The channel.
    pub channel: String,
    /// How many events wait.
    pub waiting: u64,
    /// When the oldest was queued.
    pub oldest: Timestamp,
}

/// What is known of a message that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageOutcome {
    /// This attempt did not arrive. If none did before, the next message may have other events.
    NotTaken,
    /// The other side refused it, but may have kept it: it is repeated as it is.
    Refused,
    /// Its answer is missing: it is repeated as it is.
    Unknown,
}

impl Ledger {
    /// Queues events, each for a channel.
    pub fn queue_alert_events(
        &mut self,
        events: &[(String, AlertEvent)],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write("queue alerts for channels", |sql| queue_events(sql, events, now))
    }

    /// The channels for which events wait.
    pub fn channel_backlogs(&self) -> Result<Vec<ChannelBacklog>, LedgerError> {
        let query = "SELECT channel, count(*) AS waiting, min(created_at) AS oldest FROM alert_events WHERE sent_at IS NULL
            GROUP BY channel";
        self.list("count waiting alerts", query, [], |row| {
            Ok(ChannelBacklog {
                channel: row.get("channel")?,
                waiting: row.get("waiting")?,
                oldest: row::time(row, "oldest")?,
            })
        })
    }

    /// How the channels have answered, of those that were ever tried.
    pub fn channel_records(&self) -> Result<Vec<ChannelRecord>, LedgerError> {
        let query = "SELECT * FROM channel_attempts ORDER BY channel";
        self.list("list channels", query, [], |row| {
            Ok(ChannelRecord {
                channel: row.get("channel")?,
                attempts: row.get("attempts")?,
                unconfirmed: row.get("unconfirmed")?,
                next_attempt: row::time(row, "next_attempt")?,
                last_error: row.get("last_error")?,
            })
        })
    }

    /// The oldest events that a channel has not got, at most `limit`. Those that are frozen in a message come first, as they were
    /// queued first.
    pub fn waiting_events(&self, channel: &str, limit: u32) -> Result<Vec<QueuedAlertEvent>, LedgerError> {
        let query = "SELECT * FROM alert_events WHERE channel = ?1 AND sent_at IS NULL ORDER BY id LIMIT ?2";
        self.list("list alerts for a channel", query, (channel, limit), |row| {
            let event: String = row.get("event")?;
            let event = serde_json::from_str(&event).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
            })?;
            Ok(QueuedAlertEvent {
                number: row.get("id")?,
                event,
                message: row.get("message")?,
            })
        })
    }

    /// Freezes the channel's waiting events with numbers from `first` to `last` as one message, and counts an attempt whose outcome
    /// is unknown until it is recorded. A crash leaves it so.
    pub fn message_announced(&mut self, channel: &str, (first, last): (i64, i64)) -> Result<(), LedgerError> {
        self.write("note that a message is being sent", |sql| {
            sql.prepare_cached(
                "UPDATE alert_events SET message = ?2 WHERE channel = ?1 AND sent_at IS NULL AND id BETWEEN ?2 AND ?3",
            )?
            .execute((channel, first, last))?;
            sql.prepare_cached(
                "INSERT INTO channel_attempts (channel, attempts, unconfirmed, next_attempt) VALUES (?1, 0, 1, 0)
                 ON CONFLICT (channel) DO UPDATE SET unconfirmed = unconfirmed + 1",
            )?
            .execute([channel])
            .map(drop)
        })
    }

    /// Records that the channel has the message, or most likely has it (`doubt`).
    pub fn message_sent(
        &mut self,
        channel: &str,
        message: i64,
        doubt: Option<&str>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write("note a sent message", |sql| {
            sql.prepare_cached(
                "UPDATE alert_events SET sent_at = ?3 WHERE channel = ?1 AND message = ?2 AND sent_at IS NULL",
            )?
            .execute((channel, message, millis(now)))?;
            // No wait: a time of now would be one if the clock is set back.
            sql.prepare_cached(
                "UPDATE channel_attempts SET attempts = 0, unconfirmed = 0, in_doubt = 0, next_attempt = 0, last_error = ?2
                 WHERE channel = ?1",
            )?
            .execute((channel, doubt))
            .map(drop)
        })
    }

    /// Records that a message was not taken, or that nobody knows.
    pub fn message_failed(
        &mut self,
        channel: &str,
        message: i64,
        outcome: MessageOutcome,
        (error, next_attempt): (&str, Timestamp),
    ) -> Result<(), LedgerError> {
        self.write("note a failed message", |sql| {
            let (unconfirmed, in_doubt): (u32, bool) = sql.query_row(
                "SELECT unconfirmed, in_doubt FROM channel_attempts WHERE channel = ?1",
                [channel],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            // An earlier attempt may have been taken, though this one was not.
            let is_free = outcome == MessageOutcome::NotTaken && !in_doubt && unconfirmed <= 1;
            if is_free {
                sql.prepare_cached(
                    "UPDATE alert_events SET message = NULL WHERE channel = ?1 AND message = ?2 AND sent_at IS NULL",
                )?
                .execute((channel, message))?;
            }
            let unconfirmed = match outcome {
                MessageOutcome::Unknown => unconfirmed,
                MessageOutcome::NotTaken | MessageOutcome::Refused => unconfirmed.saturating_sub(1),
            };
            let change = "UPDATE channel_attempts SET attempts = attempts + 1, unconfirmed = ?2, in_doubt = ?3, next_attempt = ?4,
                last_error = ?5 WHERE channel = ?1";
            sql.prepare_cached(change)?
                .execute((channel, unconfirmed, !is_free, millis(next_attempt), error))
                .map(drop)
        })
    }

    /// Deletes events of the time before, and those that wait for a channel that there is no more; at most `limit` of each. Returns
    /// how many of them no channel has got.
    pub fn forget_alert_events(
        &mut self,
        before: Timestamp,
        channels: &[String],
        limit: u32,
    ) -> Result<u64, LedgerError> {
        let known = serde_json::to_string(channels).unwrap_or_default();
        self.write("delete old alerts", |sql| {
            let old = "SELECT id FROM alert_events WHERE created_at < ?1 ORDER BY created_at LIMIT ?2";
            let unsent: u64 = sql.query_row(
                &format!("SELECT count(*) FROM alert_events WHERE sent_at IS NULL AND id IN ({old})"),
                (millis(before), limit),
                |row| row.get(0),
            )?;
            sql.execute(
                &format!("DELETE FROM alert_events WHERE id IN ({old})"),
                (millis(before), limit),
            )?;
            let orphans = sql.execute(
                "DELETE FROM alert_events WHERE id IN (SELECT id FROM alert_events WHERE sent_at IS NULL
                    AND channel NOT IN (SELECT value FROM json_each(?1)) LIMIT ?2)",
                (&known, limit),
            )?;
            sql.execute(
                "DELETE FROM channel_attempts WHERE channel NOT IN (SELECT value FROM json_each(?1))",
                [&known],
            )?;
            Ok(unsent + u64::try_from(orphans).unwrap_or(0))
        })
    }
}

/// Queues events in an open transaction.
pub(crate) fn queue_events(
    sql: &Connection,
    events: &[(String, AlertEvent)],
    now: Timestamp,
) -> SqlResult<()> {
    let insert = "INSERT INTO alert_events (channel, created_at, event) VALUES (?1, ?2, ?3)";
    for (channel, event) in events {
        let text = serde_json::to_string(event)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        sql.prepare_cached(insert)?
            .execute((channel, millis(now), text))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{TestResult, ledger, now};

    fn event(incident: &str, kind: AlertEventKind) -> AlertEvent {
        AlertEvent {
            incident: incident.to_owned(),
            kind,
            at: now(),
            since: now(),
            rule: "stale".to_owned(),
            subject: "198.51.100.1".to_owned(),
            severity: "critical".to_owned(),
            text: "it is silent".to_owned(),
            advice: String::new(),
        }
    }

    #[test]
    fn events_of_a_message_without_an_answer_stay_together_and_later_ones_wait() -> TestResult {
        let (dir, mut ledger) = ledger()?;
        let events =
            [AlertEventKind::Began, AlertEventKind::Over].map(|kind| ("chat".to_owned(), event("a", kind)));
        ledger.queue_alert_events(&events[..1], now())?;
        let first = ledger.waiting_events("chat", 10)?;
        ledger.message_announced("chat", (first[0].number, first[0].number))?;
        ledger.queue_alert_events(&events[1..], now())?;
        drop(ledger);
        let mut ledger = Ledger::open(dir.path())?;
        let waiting = ledger.waiting_events("chat", 10)?;
        let frozen: Vec<_> = waiting.iter().map(|event| event.message).collect();
        assert_eq!(frozen, [Some(first[0].number), None], "after a crash");
        assert_eq!(ledger.channel_records()?[0].unconfirmed, 1);

        let message = first[0].number;
        ledger.message_failed("chat", message, MessageOutcome::NotTaken, ("no route", now()))?;
        assert!(
            ledger
                .waiting_events("chat", 10)?
                .iter()
                .all(|event| event.message.is_none())
        );
        let record = &ledger.channel_records()?[0];
        assert_eq!((record.attempts, record.unconfirmed), (1, 0));

        ledger.message_announced("chat", (message, waiting[1].number))?;
        ledger.message_sent("chat", message, None, now())?;
        assert_eq!(ledger.waiting_events("chat", 10)?, []);
        assert_eq!(ledger.channel_backlogs()?, []);
        let record = &ledger.channel_records()?[0];
        assert_eq!(
            (record.attempts, record.next_attempt),
            (0, Timestamp::UNIX_EPOCH),
            "due also if the clock is set back"
        );
        Ok(())
    }

    #[test]
    fn events_for_a_channel_that_is_gone_and_old_events_are_deleted() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        let events = ["chat", "gone"].map(|channel| (channel.to_owned(), event("a", AlertEventKind::Began)));
        ledger.queue_alert_events(&events, now())?;
        let before = Timestamp::UNIX_EPOCH;
        assert_eq!(ledger.forget_alert_events(before, &["chat".to_owned()], 10)?, 1);
        assert_eq!(ledger.channel_backlogs()?.len(), 1);
        assert_eq!(
            ledger.forget_alert_events(Timestamp::MAX, &["chat".to_owned()], 10)?,
            1
        );
        assert_eq!(ledger.channel_backlogs()?, []);
        Ok(())
    }
}
