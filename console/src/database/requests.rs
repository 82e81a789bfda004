//! What was asked of roles of the relay host, and what became of it.

use jiff::Timestamp;
use logferry_requests::{ConsoleRequest, RequestedAction};
use rusqlite::{Params, Row, params};

use super::list_page::{ListCursor, ListPage};
use super::{ConsoleDb, actions, milliseconds, timestamp};
use crate::error::ConsoleError;

/// A request, perhaps with its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestRow {
    pub(crate) request: ConsoleRequest,
    pub(crate) outcome: Option<String>,
    pub(crate) ended_at: Option<Timestamp>,
}

impl RequestRow {
    /// Where the list of requests goes on behind it.
    pub(crate) fn cursor(&self) -> ListCursor {
        ListCursor {
            ms: milliseconds(self.request.at),
            name: self.request.id.clone(),
        }
    }
}

impl ConsoleDb {
    /// Records a request, before its file: what a crash leaves without a file gets one at the next start.
    pub(crate) fn add_request(&mut self, request: &ConsoleRequest) -> Result<(), ConsoleError> {
        let body = serde_json::to_string(&request.action).unwrap_or_default();
        let (action, subject) = action_words(&request.action);
        self.write("record a request", |sql| {
            let kept_from = milliseconds(request.at).saturating_sub(actions::KEPT_MS);
            sql.execute("DELETE FROM requests WHERE ended_at < ?1", [kept_from])?;
            sql.execute(
                "INSERT INTO requests (id, at, who, body) VALUES (?1, ?2, ?3, ?4)",
                params![request.id, milliseconds(request.at), request.who, body],
            )?;
            actions::add(
                sql,
                &request.who,
                action,
                &subject,
                &format!("asked for as {}", request.id),
                request.at,
            )
        })
    }

    /// Records what became of a request.
    pub(crate) fn end_request(
        &mut self,
        request: &ConsoleRequest,
        outcome: &str,
        now: Timestamp,
    ) -> Result<(), ConsoleError> {
        let (action, subject) = action_words(&request.action);
        self.write("record the outcome of a request", |sql| {
            let update = "UPDATE requests SET outcome = ?2, ended_at = ?3 WHERE id = ?1 AND outcome IS NULL";
            if sql.execute(update, params![request.id, outcome, milliseconds(now)])? > 0 {
                let detail = format!("{}: {outcome}", request.id);
                actions::add(sql, &request.who, action, &subject, &detail, now)?;
            }
            Ok(())
        })
    }

    /// The requests without an outcome, the oldest first.
    pub(crate) fn open_requests(&self) -> Result<Vec<RequestRow>, ConsoleError> {
        self.requests_where("outcome IS NULL ORDER BY at, id LIMIT 1000", [])
    }

    /// The requests, the newest first.
    pub(crate) fn requests(&self, page: &ListPage) -> Result<Vec<RequestRow>, ConsoleError> {
        let condition = "(at, id) < (?1, ?2) ORDER BY at DESC, id DESC LIMIT ?3";
        self.requests_where(condition, page.values())
    }

    fn requests_where(&self, condition: &str, values: impl Params) -> Result<Vec<RequestRow>, ConsoleError> {
        self.read("list requests", |sql| {
            let query =
                format!("SELECT id, at, who, body, outcome, ended_at FROM requests WHERE {condition}");
            let rows = sql
                .prepare_cached(&query)?
                .query_map(values, request_row)?
                .collect::<Result<Vec<_>, _>>()?;
            Ok(rows.into_iter().flatten().collect())
        })
    }
}

/// `None`: it was written by a later version.
fn request_row(row: &Row<'_>) -> rusqlite::Result<Option<RequestRow>> {
    let body: String = row.get(3)?;
    let Ok(action) = serde_json::from_str(&body) else {
        return Ok(None);
    };
    Ok(Some(RequestRow {
        request: ConsoleRequest {
            id: row.get(0)?,
            at: timestamp(row.get(1)?),
            who: row.get(2)?,
            action,
        },
        outcome: row.get(4)?,
        ended_at: row.get::<_, Option<i64>>(5)?.map(timestamp),
    }))
}

/// The word of an action and its subject, in the trail.
fn action_words(action: &RequestedAction) -> (&'static str, String) {
    match action {
        RequestedAction::Retry { batches } => ("retry", batches.join(" ")),
        RequestedAction::Resend { batches, .. } => ("resend", batches.join(" ")),
        RequestedAction::Silence {
            subject, seconds: 0, ..
        } => ("end silence", subject.clone()),
        RequestedAction::Silence { subject, .. } => ("silence", subject.clone()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn requests_that_ended_long_ago_go_and_open_ones_stay() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut db = ConsoleDb::open_or_create(dir.path()).expect("opened");
        let start: Timestamp = "2026-11-21T08:00:00Z".parse().expect("a time");
        let request = |id: &str, days: i64| ConsoleRequest {
            id: id.to_owned(),
            at: start + SignedDuration::from_hours(24 * days),
            who: "ann".to_owned(),
            action: RequestedAction::Retry {
                batches: vec!["a".to_owned()],
            },
        };
        let (ended, open) = (request("ended", 0), request("open", 0));
        db.add_request(&ended).expect("added");
        db.add_request(&open).expect("added");
        db.end_request(&ended, "done", start).expect("ended");
        let ids = |db: &ConsoleDb| -> Vec<_> {
            let page = ListPage {
                limit: 10,
                after: None,
            };
            let rows = db.requests(&page).expect("listed");
            rows.into_iter().map(|row| row.request.id).collect()
        };
        db.add_request(&request("later", 399)).expect("added");
        assert_eq!(ids(&db), ["later", "open", "ended"]);
        db.add_request(&request("latest", 401)).expect("added");
        assert_eq!(ids(&db), ["latest", "later", "open"]);
    }
}
