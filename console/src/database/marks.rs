//! Pins, tickets and hidden lines. Each change is one transaction with its entry in the trail of actions.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::list_page::{ListCursor, ListPage};
use super::{ConsoleDb, actions, milliseconds, timestamp};
use crate::error::ConsoleError;

/// Bytes of a line that are kept with its mark.
const TEXT_MAX: usize = 16 << 10;

/// Characters of a note, and of the name of an assignee.
const NOTE_MAX: usize = 2000;
const ASSIGNEE_MAX: usize = 64;

/// A kind of mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MarkKind {
    Pin,
    Ticket,
    Hidden,
}

impl MarkKind {
    const fn column(self) -> &'static str {
        match self {
            Self::Pin => "is_pinned",
            Self::Ticket => "is_ticket",
            Self::Hidden => "is_hidden",
        }
    }

    const fn action(self, is_set: bool) -> &'static str {
        match (self, is_set) {
            (Self::Pin, true) => "pin",
            (Self::Pin, false) => "unpin",
            (Self::Ticket, true) => "open ticket",
            (Self::Ticket, false) => "remove ticket",
            (Self::Hidden, true) => "hide",
            (Self::Hidden, false) => "show again",
        }
    }
}

/// Which tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TicketChoice {
    All,
    /// Those that are not done.
    Open,
    Done,
}

impl MarkRow {
    /// Where the list of such lines goes on behind it.
    pub(crate) fn cursor(&self) -> ListCursor {
        ListCursor {
            ms: self.line.time_ms,
            name: self.line.line.clone(),
        }
    }
}

impl TicketRow {
    /// Where the list of tickets goes on behind it.
    pub(crate) fn cursor(&self) -> ListCursor {
        ListCursor {
            ms: milliseconds(self.ticket_changed_at),
            name: self.mark.line.line.clone(),
        }
    }
}

/// What is kept of a marked line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MarkedLine {
    /// Its id.
    pub(crate) line: String,
    pub(crate) time_ms: i64,
    pub(crate) source: String,
    pub(crate) log: Option<String>,
    pub(crate) level: Option<String>,
    pub(crate) text: Vec<u8>,
}

/// The marks of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct MarkSet {
    /// It stays on top.
    pub(crate) is_pinned: bool,
    /// It has a ticket.
    pub(crate) is_ticket: bool,
    /// It is hidden in the console; no file is touched.
    pub(crate) is_hidden: bool,
}

/// A marked line with its marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MarkRow {
    pub(crate) line: MarkedLine,
    pub(crate) marks: MarkSet,
    pub(crate) changed_at: Timestamp,
    pub(crate) changed_by: String,
}

/// How far a ticket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TicketStatus {
    Open,
    InProgress,
    Done,
}

impl TicketStatus {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::InProgress => "in_progress",
            Self::Done => "done",
        }
    }

    fn of(text: &str) -> Self {
        match text {
            "in_progress" => Self::InProgress,
            "done" => Self::Done,
            _ => Self::Open,
        }
    }
}

/// A ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TicketRow {
    pub(crate) mark: MarkRow,
    pub(crate) status: TicketStatus,
    pub(crate) note: String,
    pub(crate) assignee: Option<String>,
    pub(crate) opened_at: Timestamp,
    pub(crate) opened_by: String,
    pub(crate) ticket_changed_at: Timestamp,
}

/// What is written into a ticket. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TicketChange {
    pub(crate) status: Option<TicketStatus>,
    /// At most 2000 characters.
    pub(crate) note: Option<String>,
    /// At most 64 characters; empty: nobody.
    pub(crate) assignee: Option<String>,
}

impl TicketChange {
    /// Why it cannot be written, for people.
    pub(crate) fn check(&self) -> Result<(), String> {
        let is_wrong = |text: &Option<String>, most| {
            text.as_ref()
                .is_some_and(|text| text.chars().count() > most || text.contains('\0'))
        };
        if is_wrong(&self.note, NOTE_MAX) || is_wrong(&self.assignee, ASSIGNEE_MAX) {
            return Err(format!(
                "a note has at most {NOTE_MAX} characters and an assignee {ASSIGNEE_MAX}, and none of them is U+0000"
            ));
        }
        Ok(())
    }
}

impl ConsoleDb {
    /// Sets or clears a mark, or turns it over (`None`); returns the marks then.
    pub(crate) fn mark(
        &mut self,
        line: &MarkedLine,
        kind: MarkKind,
        is_set: Option<bool>,
        who: &str,
        now: Timestamp,
    ) -> Result<MarkSet, ConsoleError> {
        self.write("mark a line", |sql| {
            remove_cleared(sql, now)?;
            put_line(sql, line, who, now)?;
            let column = kind.column();
            let was: bool = sql.query_row(
                &format!("SELECT {column} FROM marks WHERE line = ?1"),
                [&line.line],
                |row| row.get(0),
            )?;
            let is = is_set.unwrap_or(!was);
            if is != was {
                sql.execute(
                    &format!(
                        "UPDATE marks SET {column} = ?2, changed_at = ?3, changed_by = ?4 WHERE line = ?1"
                    ),
                    params![line.line, is, milliseconds(now), who],
                )?;
                if kind == MarkKind::Ticket && is {
                    open_ticket(sql, &line.line, who, now)?;
                }
                actions::add(sql, who, kind.action(is), &line.line, "", now)?;
            }
            marks_of(sql, &line.line)
        })
    }

    /// Changes a ticket, and opens it if there is none.
    pub(crate) fn change_ticket(
        &mut self,
        line: &MarkedLine,
        change: &TicketChange,
        who: &str,
        now: Timestamp,
    ) -> Result<(), ConsoleError> {
        self.write("change a ticket", |sql| {
            put_line(sql, line, who, now)?;
            let is_new = !marks_of(sql, &line.line)?.is_ticket;
            sql.execute("UPDATE marks SET is_ticket = 1 WHERE line = ?1", [&line.line])?;
            open_ticket(sql, &line.line, who, now)?;
            let assignee = change.assignee.as_deref().map(str::trim);
            sql.execute(
                "UPDATE tickets SET status = coalesce(?2, status), note = coalesce(?3, note),
                    assignee = CASE WHEN ?4 IS NULL THEN assignee ELSE nullif(?4, '') END, changed_at = ?5
                 WHERE line = ?1",
                params![
                    line.line,
                    change.status.map(TicketStatus::as_str),
                    change.note,
                    assignee,
                    milliseconds(now)
                ],
            )?;
            let mut detail = Vec::new();
            detail.extend(change.status.map(|status| format!("status {}", status.as_str())));
            detail.extend(assignee.map(|name| format!("assignee {name}")));
            detail.extend(change.note.as_ref().map(|_| "note".to_owned()));
            let action = if is_new {
                MarkKind::Ticket.action(true)
            } else {
                "change ticket"
            };
            actions::add(sql, who, action, &line.line, &detail.join(", "), now)
        })
    }

    /// The marks of lines; none for a line that has none.
    pub(crate) fn marks(&self, lines: &[String]) -> Result<Vec<MarkSet>, ConsoleError> {
        self.read("read marks", |sql| {
            lines.iter().map(|line| marks_of(sql, line)).collect()
        })
    }

    /// The marks of all lines that have any, by line. People set them, so they are few beside lines.
    pub(crate) fn all_marks(&self) -> Result<HashMap<String, MarkSet>, ConsoleError> {
        self.read("read all marks", |sql| {
            let query = "SELECT line, is_pinned, is_ticket, is_hidden FROM marks
                         WHERE is_pinned = 1 OR is_ticket = 1 OR is_hidden = 1";
            let row = |row: &Row<'_>| {
                let marks = MarkSet {
                    is_pinned: row.get(1)?,
                    is_ticket: row.get(2)?,
                    is_hidden: row.get(3)?,
                };
                Ok((row.get(0)?, marks))
            };
            sql.prepare_cached(query)?.query_map([], row)?.collect()
        })
    }

    /// What is kept of a line that somebody marked.
    pub(crate) fn marked_line(&self, line: &str) -> Result<Option<MarkRow>, ConsoleError> {
        self.read("find a marked line", |sql| {
            let query = format!("SELECT {MARK_COLUMNS} FROM marks WHERE line = ?1");
            sql.prepare_cached(&query)?.query_row([line], mark_row).optional()
        })
    }

    /// The pinned lines, the newest line first.
    pub(crate) fn pinned(&self, page: &ListPage) -> Result<Vec<MarkRow>, ConsoleError> {
        self.marked("is_pinned = 1 AND is_hidden = 0", page)
    }

    /// The hidden lines, the newest line first.
    pub(crate) fn hidden(&self, page: &ListPage) -> Result<Vec<MarkRow>, ConsoleError> {
        self.marked("is_hidden = 1", page)
    }

    /// How many lines of each level are hidden, of lines since a time.
    pub(crate) fn hidden_by_level(&self, since_ms: i64) -> Result<Vec<(Option<String>, u64)>, ConsoleError> {
        self.read("count hidden lines", |sql| {
            let query =
                "SELECT level, count(*) FROM marks WHERE is_hidden = 1 AND time_ms >= ?1 GROUP BY level";
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
            sql.prepare_cached(query)?.query_map([since_ms], row)?.collect()
        })
    }

    fn marked(&self, condition: &str, page: &ListPage) -> Result<Vec<MarkRow>, ConsoleError> {
        self.read("list marked lines", |sql| {
            let query = format!(
                "SELECT {MARK_COLUMNS} FROM marks WHERE {condition} AND (time_ms, line) < (?1, ?2)
                 ORDER BY time_ms DESC, line DESC LIMIT ?3"
            );
            sql.prepare_cached(&query)?
                .query_map(page.values(), mark_row)?
                .collect()
        })
    }

    /// The tickets of a choice, those that changed last first.
    pub(crate) fn tickets(
        &self,
        choice: TicketChoice,
        page: &ListPage,
    ) -> Result<Vec<TicketRow>, ConsoleError> {
        let condition = match choice {
            TicketChoice::All => "1",
            TicketChoice::Open => "status <> 'done'",
            TicketChoice::Done => "status = 'done'",
        };
        self.read("list the tickets", |sql| {
            let query = format!(
                "SELECT {MARK_COLUMNS}, status, note, assignee, opened_at, opened_by, tickets.changed_at
                 FROM tickets JOIN marks USING (line) WHERE is_ticket = 1 AND is_hidden = 0 AND {condition}
                 AND (tickets.changed_at, line) < (?1, ?2) ORDER BY tickets.changed_at DESC, line DESC LIMIT ?3"
            );
            sql.prepare_cached(&query)?
                .query_map(page.values(), ticket_row)?
                .collect()
        })
    }

    /// The ticket of a line.
    pub(crate) fn ticket(&self, line: &str) -> Result<Option<TicketRow>, ConsoleError> {
        self.read("find a ticket", |sql| {
            let query = format!(
                "SELECT {MARK_COLUMNS}, status, note, assignee, opened_at, opened_by, tickets.changed_at
                 FROM tickets JOIN marks USING (line) WHERE is_ticket = 1 AND line = ?1"
            );
            sql.prepare_cached(&query)?
                .query_row([line], ticket_row)
                .optional()
        })
    }
}

const MARK_COLUMNS: &str = "marks.line, time_ms, source, log, level, text, is_pinned, is_ticket, is_hidden, \
                            marks.changed_at, changed_by";

/// Removes lines whose marks were cleared long ago, with their tickets.
fn remove_cleared(sql: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let kept_from = milliseconds(now).saturating_sub(actions::KEPT_MS);
    let cleared =
        "SELECT line FROM marks WHERE is_pinned = 0 AND is_ticket = 0 AND is_hidden = 0 AND changed_at < ?1";
    for table in ["tickets", "marks"] {
        sql.execute(
            &format!("DELETE FROM {table} WHERE line IN ({cleared})"),
            [kept_from],
        )?;
    }
    Ok(())
}

fn put_line(sql: &Connection, line: &MarkedLine, who: &str, now: Timestamp) -> rusqlite::Result<()> {
    let text = line.text.get(..TEXT_MAX).unwrap_or(&line.text);
    sql.execute(
        "INSERT OR IGNORE INTO marks (line, time_ms, source, log, level, text, changed_at, changed_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            line.line,
            line.time_ms,
            line.source,
            line.log,
            line.level,
            text,
            milliseconds(now),
            who
        ],
    )
    .map(drop)
}

/// A ticket that was removed comes back as it was.
fn open_ticket(sql: &Connection, line: &str, who: &str, now: Timestamp) -> rusqlite::Result<()> {
    sql.execute(
        "INSERT OR IGNORE INTO tickets (line, status, note, opened_at, opened_by, changed_at)
         VALUES (?1, 'open', '', ?2, ?3, ?2)",
        params![line, milliseconds(now), who],
    )
    .map(drop)
}

fn marks_of(sql: &Connection, line: &str) -> rusqlite::Result<MarkSet> {
    let mut query =
        sql.prepare_cached("SELECT is_pinned, is_ticket, is_hidden FROM marks WHERE line = ?1")?;
    let marks = query.query_row([line], |row| {
        Ok(MarkSet {
            is_pinned: row.get(0)?,
            is_ticket: row.get(1)?,
            is_hidden: row.get(2)?,
        })
    });
    Ok(marks.optional()?.unwrap_or_default())
}

fn mark_row(row: &Row<'_>) -> rusqlite::Result<MarkRow> {
    Ok(MarkRow {
        line: MarkedLine {
            line: row.get(0)?,
            time_ms: row.get(1)?,
            source: row.get(2)?,
            log: row.get(3)?,
            level: row.get(4)?,
            text: row.get(5)?,
        },
        marks: MarkSet {
            is_pinned: row.get(6)?,
            is_ticket: row.get(7)?,
            is_hidden: row.get(8)?,
        },
        changed_at: timestamp(row.get(9)?),
        changed_by: row.get(10)?,
    })
}

fn ticket_row(row: &Row<'_>) -> rusqlite::Result<TicketRow> {
    Ok(TicketRow {
        mark: mark_row(row)?,
        status: TicketStatus::of(&row.get::<_, String>(11)?),
        note: row.get(12)?,
        assignee: row.get(13)?,
        opened_at: timestamp(row.get(14)?),
        opened_by: row.get(15)?,
        ticket_changed_at: timestamp(row.get(16)?),
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn lines_whose_marks_were_cleared_long_ago_go_and_the_others_stay() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut db = ConsoleDb::open_or_create(dir.path()).expect("opened");
        let start: Timestamp = "2026-11-21T08:00:00Z".parse().expect("a time");
        let line = |name: &str| MarkedLine {
            line: name.to_owned(),
            time_ms: 0,
            source: "a".to_owned(),
            log: None,
            level: None,
            text: b"text".to_vec(),
        };
        let mark = |db: &mut ConsoleDb, name: &str, kind, is_set, days: i64| {
            let now = start + SignedDuration::from_hours(24 * days);
            db.mark(&line(name), kind, Some(is_set), "ann", now)
                .expect("marked");
        };
        mark(&mut db, "cleared@0", MarkKind::Ticket, true, 0);
        mark(&mut db, "cleared@0", MarkKind::Ticket, false, 0);
        mark(&mut db, "pinned@0", MarkKind::Pin, true, 0);
        let is_there = |db: &ConsoleDb, name| db.marked_line(name).expect("read").is_some();
        mark(&mut db, "other@0", MarkKind::Pin, true, 399);
        assert!(is_there(&db, "cleared@0") && is_there(&db, "pinned@0"));
        mark(&mut db, "other@0", MarkKind::Hidden, true, 401);
        assert!(!is_there(&db, "cleared@0") && is_there(&db, "pinned@0"));
    }

    #[test]
    fn a_note_that_is_too_long_or_has_a_zero_is_refused() {
        let check = |note: String| {
            let note = Some(note);
            TicketChange {
                note,
                ..TicketChange::default()
            }
            .check()
        };
        assert_eq!(check("x".repeat(NOTE_MAX)), Ok(()));
        assert!(check("x".repeat(NOTE_MAX + 1)).is_err() && check("\0".to_owned()).is_err());
    }
}
