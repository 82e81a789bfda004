//! Reads and writes incidents and their timelines.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, Result as SqlResult, Row, named_params};

use super::incident::{Incident, IncidentId, IncidentUpdate, TimelineEntry, covers};
use crate::alert_events::{AlertEvent, queue_events};
use crate::monitor::state::{IncidentMail, queue};
use crate::row::{self, millis, signed};
use crate::{Ledger, LedgerError};

/// Entries of one timeline that are kept, the newest.
pub const TIMELINE_MAX: u32 = 100;

impl Ledger {
    /// The incidents that are not closed, those included that do not count yet, and those closed at this time or later; oldest
    /// first.
    pub fn incidents(&self, closed_since: Timestamp) -> Result<Vec<Incident>, LedgerError> {
        let query = "SELECT * FROM incidents WHERE closed_at IS NULL OR closed_at >= ?1 ORDER BY id";
        self.list("list incidents", query, [millis(closed_since)], incident)
    }

    /// What happened in an incident, oldest first.
    pub fn timeline(&self, incident: IncidentId) -> Result<Vec<TimelineEntry>, LedgerError> {
        let query = "SELECT at, text FROM incident_timeline WHERE incident = ?1 ORDER BY id";
        self.list("read a timeline", query, [incident.0], |row| {
            Ok(TimelineEntry {
                at: row::time(row, "at")?,
                text: row.get("text")?,
            })
        })
    }

    /// Records what became of incidents, and queues the mail about it, and the events for other channels, each with its channel.
    ///
    /// `mail` gets the news of the mails that wait and that no server can have got, oldest first, and makes the one mail that
    /// takes their place; without one they stay.
    pub fn record_incidents(
        &mut self,
        updates: &[IncidentUpdate],
        mail: impl FnOnce(&[String]) -> Option<IncidentMail>,
        events: &[(String, AlertEvent)],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write("record incidents", |sql| {
            for update in updates {
                match (update.incident.id, update.is_dropped) {
                    (Some(id), true) => {
                        sql.prepare_cached("DELETE FROM incidents WHERE id = ?1")?
                            .execute([id.0])?;
                    }
                    (None, true) => {}
                    (id, false) => {
                        let id = put(sql, id, &update.incident)?;
                        for entry in &update.entries {
                            add_entry(sql, id, entry)?;
                        }
                    }
                }
            }
            let waiting = waiting_mails(sql)?;
            let news: Vec<_> = waiting.iter().map(|(_, news)| news.clone()).collect();
            if let Some(mail) = mail(&news) {
                replace(sql, &waiting, &mail, now)?;
            }
            queue_events(sql, events, now)
        })
    }

    /// Deletes closed incidents of the time before, and the oldest ones beyond `most`; at most `limit` of each kind. Returns how
    /// many.
    pub fn forget_incidents(
        &mut self,
        before: Timestamp,
        most: u64,
        limit: u32,
    ) -> Result<usize, LedgerError> {
        self.write("delete old incidents", |sql| {
            let old = sql.execute(
                "DELETE FROM incidents WHERE id IN
                    (SELECT id FROM incidents WHERE closed_at < ?1 ORDER BY closed_at LIMIT ?2)",
                (millis(before), limit),
            )?;
            let surplus = sql.execute(
                "DELETE FROM incidents WHERE id IN
                    (SELECT id FROM incidents WHERE closed_at IS NOT NULL ORDER BY closed_at DESC LIMIT ?2 OFFSET ?1)",
                (signed(most), limit),
            )?;
            Ok(old + surplus)
        })
    }
}

/// Adds an entry to the timelines of the open incidents that the subject covers. Returns how many those are.
pub(super) fn note_on_open(sql: &Connection, subject: &str, text: &str, at: Timestamp) -> SqlResult<u64> {
    let query = "SELECT id, subject FROM incidents WHERE closed_at IS NULL AND opened_at IS NOT NULL";
    let open: Vec<(i64, String)> = sql
        .prepare_cached(query)?
        .query_map([], |row| Ok((row.get("id")?, row.get("subject")?)))?
        .collect::<SqlResult<_>>()?;
    let mut noted = 0;
    for (id, _) in open.iter().filter(|(_, it)| covers(subject, it)) {
        let text = text.to_owned();
        add_entry(sql, *id, &TimelineEntry { at, text })?;
        noted += 1;
    }
    Ok(noted)
}

/// Most bytes of a mail's news that a later mail tells too. So a mail has a bound, however long the server is down.
const NEWS_MAX: u32 = 256 << 10;

/// The mails about incidents that no server can have got: they were never announced, and wait for all recipients.
fn waiting_mails(sql: &Connection) -> SqlResult<Vec<(i64, String)>> {
    let query = "SELECT id, news FROM outbox
        WHERE sent_at IS NULL AND length(news) <= ?1 AND unconfirmed = 0 AND waiting_for IS NULL ORDER BY id";
    let mut query = sql.prepare_cached(query)?;
    let rows = query.query_map([NEWS_MAX], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Queues a mail in the place of these. It is as old as the oldest of them, has failed as often, and is tried at once.
fn replace(sql: &Connection, old: &[(i64, String)], mail: &IncidentMail, now: Timestamp) -> SqlResult<()> {
    // First the new row: SQLite gives the number of a last row that was deleted once more, and a mail in flight is known by it.
    let new = queue(sql, &mail.mail, now)?;
    sql.prepare_cached("UPDATE outbox SET news = ?2 WHERE id = ?1")?
        .execute((new, &mail.news))?;
    for (old, _) in old {
        sql.prepare_cached(
            "UPDATE outbox SET created_at = min(outbox.created_at, old.created_at),
                attempts = max(outbox.attempts, old.attempts), last_error = coalesce(old.last_error, outbox.last_error)
             FROM (SELECT created_at, attempts, last_error FROM outbox WHERE id = ?2) AS old WHERE id = ?1",
        )?
        .execute((new, old))?;
        sql.prepare_cached("DELETE FROM outbox WHERE id = ?1")?
            .execute([old])?;
    }
    Ok(())
}

fn put(sql: &Connection, id: Option<IncidentId>, incident: &Incident) -> SqlResult<i64> {
    sql.prepare_cached(
        "INSERT INTO incidents (id, rule, subject, severity, text, advice, channels, clear_after_ms, since, opened_at,
            gone_since, closed_at, told, told_at, returns, relapses)
         VALUES (:id, :rule, :subject, :severity, :text, :advice, :channels, :clear_after_ms, :since, :opened_at, :gone_since,
            :closed_at, :told, :told_at, :returns, :relapses)
         ON CONFLICT (id) DO UPDATE SET severity = :severity, text = :text, advice = :advice, channels = :channels,
            clear_after_ms = :clear_after_ms, since = :since, opened_at = :opened_at, gone_since = :gone_since,
            closed_at = :closed_at, told = :told, told_at = :told_at, returns = :returns, relapses = :relapses
         RETURNING id",
    )?
    .query_row(
        named_params! {
            ":id": id.map(|id| id.0),
            ":rule": incident.rule,
            ":subject": incident.subject,
            ":severity": incident.severity.as_str(),
            ":text": incident.text,
            ":advice": incident.advice,
            // The name of a channel has no line end.
            ":channels": incident.channels.join("\n"),
            ":clear_after_ms": i64::try_from(incident.clear_after.as_millis()).unwrap_or(i64::MAX),
            ":since": millis(incident.since),
            ":opened_at": incident.opened_at.map(millis),
            ":gone_since": incident.gone_since.map(millis),
            ":closed_at": incident.closed_at.map(millis),
            ":told": incident.told.map(super::Severity::as_str),
            ":told_at": incident.told_at.map(millis),
            ":returns": incident.returns,
            ":relapses": incident.relapses,
        },
        |row| row.get(0),
    )
}

fn add_entry(sql: &Connection, incident: i64, entry: &TimelineEntry) -> SqlResult<()> {
    sql.prepare_cached("INSERT INTO incident_timeline (incident, at, text) VALUES (?1, ?2, ?3)")?
        .execute((incident, millis(entry.at), &entry.text))?;
    sql.prepare_cached(
        "DELETE FROM incident_timeline WHERE id IN
            (SELECT id FROM incident_timeline WHERE incident = ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2)",
    )?
    .execute((incident, TIMELINE_MAX))
    .map(drop)
}

fn incident(row: &Row<'_>) -> SqlResult<Incident> {
    let channels: String = row.get("channels")?;
    let clear_after_ms: i64 = row.get("clear_after_ms")?;
    Ok(Incident {
        id: Some(IncidentId(row.get("id")?)),
        rule: row.get("rule")?,
        subject: row.get("subject")?,
        severity: row::variant(row, "severity")?,
        text: row.get("text")?,
        advice: row.get("advice")?,
        channels: channels.lines().map(str::to_owned).collect(),
        clear_after: Duration::from_millis(u64::try_from(clear_after_ms).unwrap_or(0)),
        since: row::time(row, "since")?,
        opened_at: row::optional_time(row, "opened_at")?,
        gone_since: row::optional_time(row, "gone_since")?,
        closed_at: row::optional_time(row, "closed_at")?,
        told: row::optional_variant(row, "told")?,
        told_at: row::optional_time(row, "told_at")?,
        returns: row.get("returns")?,
        relapses: row.get("relapses")?,
    })
}
