//! `/tickets`: tickets, pinned and hidden lines, and who did what. Its forms work without a script.

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::html;
use super::parts::frame::{Frame, Tab};
use super::parts::links::query_text;
use super::parts::times;
use crate::answer::problem::Problem;
use crate::answer::visible_text::visible;
use crate::app::state::AppState;
use crate::database::{
    ActionRow, ListPage, MarkKind, MarkRow, TicketChange, TicketChoice, TicketRow, TicketStatus,
};
use crate::login::principal::{Actor, Reader};

/// Rows of each list.
const SHOWN_MAX: usize = 500;

/// Entries of the trail.
const ACTIONS_SHOWN: usize = 100;

const STATUSES: [(TicketStatus, &str); 3] = [
    (TicketStatus::Open, "open"),
    (TicketStatus::InProgress, "in progress"),
    (TicketStatus::Done, "done"),
];

/// What the address chooses.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TicketsShown {
    /// `open`, `done` or `all`.
    show: String,
    /// Only tickets behind this cursor.
    after: String,
}

/// A ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TicketView {
    line: String,
    batch: String,
    class: &'static str,
    status: &'static str,
    time: String,
    source: String,
    text: String,
    note_shown: String,
    /// As its field has it, so that saving changes nothing.
    note: String,
    assignee: String,
    opened_by: String,
    opened_at: String,
    search: String,
}

/// A line that somebody pinned or hid.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MarkedView {
    line: String,
    time: String,
    source: String,
    text: String,
    changed_by: String,
    changed_at: String,
}

/// A list of such lines.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MarkedList {
    title: &'static str,
    /// What its button does, as the address has it and in words.
    action: &'static str,
    verb: &'static str,
    nothing: &'static str,
    lines: Vec<MarkedView>,
}

/// An entry of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ActionView {
    at: String,
    who: String,
    action: String,
    subject: String,
    detail: String,
}

#[derive(Template)]
#[template(path = "tickets.html")]
struct TicketsPage {
    frame: Frame,
    show: String,
    statuses: [&'static str; 3],
    tickets: Vec<TicketView>,
    /// Where the older tickets begin, in an address.
    older: Option<String>,
    lists: [MarkedList; 2],
    actions: Vec<ActionView>,
    may_act: bool,
}

/// The page.
pub(crate) async fn show(
    State(state): State<AppState>,
    Reader(principal): Reader,
    Query(choice): Query<TicketsShown>,
) -> Result<Response, Problem> {
    let (which, show) = match choice.show.as_str() {
        "all" => (TicketChoice::All, "all"),
        "done" => (TicketChoice::Done, "done"),
        _ => (TicketChoice::Open, "open"),
    };
    let page = ListPage {
        limit: SHOWN_MAX,
        after: choice.after.parse().ok(),
    };
    let read = state.database.run(move |db| {
        let first = ListPage::first(SHOWN_MAX);
        Ok((
            db.tickets(which, &page)?,
            db.pinned(&first)?,
            db.hidden(&first)?,
            db.actions(None, None, ACTIONS_SHOWN)?,
        ))
    });
    let (tickets, pinned, hidden, actions) = read.await?;
    let last = tickets.last().filter(|_| tickets.len() >= SHOWN_MAX);
    html(&TicketsPage {
        frame: Frame::of(&state, &principal, Tab::Tickets).await,
        show: show.to_owned(),
        statuses: STATUSES.map(|(_, name)| name),
        tickets: tickets.iter().map(TicketView::new).collect(),
        older: last.map(|last| query_text(&last.cursor().to_string())),
        lists: [
            MarkedList {
                title: "Pinned lines",
                action: "pin",
                verb: "Unpin",
                nothing: "No line is pinned.",
                lines: pinned.iter().map(MarkedView::new).collect(),
            },
            MarkedList {
                title: "Hidden lines",
                action: "unhide",
                verb: "Show again",
                nothing: "No line is hidden. Hiding changes no file; a hidden line is shown again here.",
                lines: hidden.iter().map(MarkedView::new).collect(),
            },
        ],
        actions: actions.into_iter().map(ActionView::new).collect(),
        may_act: principal.may_act(),
    })
}

/// What the form of a ticket says.
#[derive(Debug, Deserialize)]
pub(crate) struct TicketForm {
    line: String,
    status: String,
    note: String,
    assignee: String,
}

/// Changes a ticket.
pub(crate) async fn change(
    State(state): State<AppState>,
    Actor(principal): Actor,
    Form(form): Form<TicketForm>,
) -> Result<Response, Problem> {
    let status = STATUSES.iter().find(|(_, name)| *name == form.status);
    let (status, _) = status.ok_or_else(|| Problem::bad_request("this is no status of a ticket"))?;
    let change = TicketChange {
        status: Some(*status),
        note: Some(form.note),
        assignee: Some(form.assignee),
    };
    change.check().map_err(Problem::bad_request)?;
    let changed = state.database.run(move |db| {
        let Some(row) = db.marked_line(&form.line)? else {
            return Ok(false);
        };
        db.change_ticket(&row.line, &change, &principal.name, Timestamp::now())?;
        Ok(true)
    });
    found(changed.await?)?;
    Ok(Redirect::to("/tickets?done=Saved").into_response())
}

/// The line of a form.
#[derive(Debug, Deserialize)]
pub(crate) struct LineForm {
    line: String,
}

/// Shows a hidden line again.
pub(crate) async fn unhide(
    State(state): State<AppState>,
    Actor(principal): Actor,
    Form(form): Form<LineForm>,
) -> Result<Response, Problem> {
    clear(&state, form.line, MarkKind::Hidden, principal.name).await?;
    Ok(Redirect::to("/tickets?done=Shown+again").into_response())
}

/// Takes a pin away.
pub(crate) async fn unpin(
    State(state): State<AppState>,
    Actor(principal): Actor,
    Form(form): Form<LineForm>,
) -> Result<Response, Problem> {
    clear(&state, form.line, MarkKind::Pin, principal.name).await?;
    Ok(Redirect::to("/tickets?done=Not+pinned+any+more").into_response())
}

async fn clear(state: &AppState, line: String, kind: MarkKind, who: String) -> Result<(), Problem> {
    let cleared = state.database.run(move |db| {
        let Some(row) = db.marked_line(&line)? else {
            return Ok(false);
        };
        db.mark(&row.line, kind, Some(false), &who, Timestamp::now())?;
        Ok(true)
    });
    found(cleared.await?)
}

fn found(is_found: bool) -> Result<(), Problem> {
    if is_found {
        return Ok(());
    }
    Err(Problem::not_found(
        "nobody has marked this line; open /tickets anew",
    ))
}

impl TicketView {
    fn new(row: &TicketRow) -> Self {
        let line = &row.mark.line;
        let class = match row.status {
            TicketStatus::Open => "warn",
            TicketStatus::InProgress => "calm",
            TicketStatus::Done => "well",
        };
        let status = STATUSES.iter().find(|(status, _)| *status == row.status);
        let at = of_line(line.time_ms);
        let [from, until] =
            [-60, 60].map(|seconds| at.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(at));
        let batch = line.line.rsplit_once('@').map_or("", |(batch, _)| batch);
        Self {
            batch: query_text(batch),
            line: line.line.clone(),
            class,
            status: status.map_or("open", |(_, name)| name),
            time: times::full(at),
            source: line.source.clone(),
            text: visible(&line.text),
            note_shown: visible(row.note.as_bytes()),
            note: row.note.clone(),
            assignee: row.assignee.clone().unwrap_or_default(),
            opened_by: row.opened_by.clone(),
            opened_at: times::full(row.opened_at),
            search: format!(
                "/search?q=source%3A{}&since={from:.0}&until={until:.0}",
                query_text(&line.source)
            ),
        }
    }
}

impl MarkedView {
    fn new(row: &MarkRow) -> Self {
        Self {
            line: row.line.line.clone(),
            time: times::full(of_line(row.line.time_ms)),
            source: row.line.source.clone(),
            text: visible(&row.line.text).chars().take(300).collect(),
            changed_by: row.changed_by.clone(),
            changed_at: times::full(row.changed_at),
        }
    }
}

impl ActionView {
    fn new(row: ActionRow) -> Self {
        Self {
            at: times::full(row.at),
            who: row.who,
            action: row.action,
            subject: visible(row.subject.as_bytes()),
            detail: visible(row.detail.as_bytes()),
        }
    }
}

fn of_line(time_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(time_ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{MarkSet, MarkedLine};

    #[test]
    fn note_of_a_ticket_turns_no_text() {
        let now = Timestamp::UNIX_EPOCH;
        let ticket = TicketRow {
            mark: MarkRow {
                line: MarkedLine {
                    line: "a@0".to_owned(),
                    time_ms: 0,
                    source: "a".to_owned(),
                    log: None,
                    level: None,
                    text: Vec::new(),
                },
                marks: MarkSet::default(),
                changed_at: now,
                changed_by: "a".to_owned(),
            },
            status: TicketStatus::Open,
            note: "x\u{202e}txt\u{1b}".to_owned(),
            assignee: None,
            opened_at: now,
            opened_by: "a".to_owned(),
            ticket_changed_at: now,
        };
        assert_eq!(TicketView::new(&ticket).note_shown, "x\\u{202e}txt\\u{1b}");
    }
}
