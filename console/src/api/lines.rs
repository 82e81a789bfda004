//! One line: with those around it, and its marks.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use logferry_search::{HitJson, LineId, LinesAround};
use logferry_store::Hit;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::schemas::LineAnswerSchema;
use super::search::{MarkedHitJson, marks_of};
use crate::answer::input::{JsonInput, PathInput, QueryInput};
use crate::answer::json_body::JsonBody;
use crate::answer::listed_page::ListedPage;
use crate::answer::problem::Problem;
use crate::app::state::AppState;
use crate::database::{
    ConsoleDb, ListCursor, ListPage, MarkKind, MarkRow, MarkSet, MarkedLine, TicketChange, TicketChoice,
    TicketRow, TicketStatus,
};
use crate::error::ConsoleError;
use crate::login::principal::{Actor, Reader};
use crate::pages::parts::links::query_text;

/// Lines around.
const AROUND: usize = 10;
const AROUND_MAX: usize = 200;
/// Marked lines of one answer.
const LISTED_MAX: usize = 1000;

/// How much around it.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct AroundParams {
    /// Lines before it, at most 200 [default: 10].
    before: Option<usize>,
    /// Lines after it, at most 200 [default: 10].
    after: Option<usize>,
}

/// A line, and those around it in its batch
#[utoipa::path(get, path = "/lines/{id}", params(("id" = String, Path, description = "BATCH@OFFSET"), AroundParams),
    responses(
    (status = 200, body = LineAnswerSchema),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 401, body = Problem, content_type = "application/problem+json"),
    (status = 404, body = Problem, content_type = "application/problem+json"),
    (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn line(
    State(state): State<AppState>,
    _: Reader,
    PathInput(id): PathInput<String>,
    QueryInput(params): QueryInput<AroundParams>,
) -> Result<Response, Problem> {
    let id = line_id(&id)?;
    let before = params.before.unwrap_or(AROUND).min(AROUND_MAX);
    let after = params.after.unwrap_or(AROUND).min(AROUND_MAX);
    let LinesAround {
        before: mut lines,
        line,
        after: mut rest,
    } = state.line(id, before.max(after)).await?;
    lines.drain(..lines.len().saturating_sub(before));
    rest.truncate(after);
    let (at, count) = (lines.len(), lines.len() + 1 + rest.len());
    lines.push(line);
    lines.append(&mut rest);
    let marks = marks_of(&state, &lines).await?;
    let mut all: Vec<_> = lines
        .iter()
        .zip(marks)
        .map(|(hit, marks)| MarkedHitJson {
            line: HitJson::of(hit),
            marks,
        })
        .collect();
    let mut after = all.split_off((at + 1).min(count));
    let line = all.pop();
    // Whoever looks at what is around a line sees no hidden ones.
    all.retain(|line| !line.marks.is_hidden);
    after.retain(|line| !line.marks.is_hidden);
    Ok(JsonBody(AroundJson {
        before: all,
        line,
        after,
    })
    .into_response())
}

#[derive(Serialize)]
struct AroundJson<'a> {
    before: Vec<MarkedHitJson<'a>>,
    line: Option<MarkedHitJson<'a>>,
    after: Vec<MarkedHitJson<'a>>,
}

pub(crate) fn line_id(text: &str) -> Result<LineId, Problem> {
    text.parse()
        .map_err(|error: logferry_search::LineIdError| Problem::bad_request(error.to_string()))
}

macro_rules! mark_routes {
    ($set:ident, $clear:ident, $path:literal, $kind:expr, $set_text:literal, $clear_text:literal) => {
        #[doc = $set_text]
        #[utoipa::path(put, path = $path, params(("id" = String, Path, description = "BATCH@OFFSET")), responses(
            (status = 200, body = MarkSet),
            (status = 400, body = Problem, content_type = "application/problem+json"),
            (status = 401, body = Problem, content_type = "application/problem+json"),
            (status = 403, body = Problem, content_type = "application/problem+json"),
            (status = 404, body = Problem, content_type = "application/problem+json")))]
        pub(crate) async fn $set(
            State(state): State<AppState>,
            Actor(principal): Actor,
            PathInput(id): PathInput<String>,
        ) -> Result<JsonBody<MarkSet>, Problem> {
            state.mark(&id, $kind, Some(true), principal.name).await.map(JsonBody)
        }

        #[doc = $clear_text]
        #[utoipa::path(delete, path = $path, params(("id" = String, Path, description = "BATCH@OFFSET")), responses(
            (status = 200, body = MarkSet),
            (status = 400, body = Problem, content_type = "application/problem+json"),
            (status = 401, body = Problem, content_type = "application/problem+json"),
            (status = 403, body = Problem, content_type = "application/problem+json"),
            (status = 404, body = Problem, content_type = "application/problem+json")))]
        pub(crate) async fn $clear(
            State(state): State<AppState>,
            Actor(principal): Actor,
            PathInput(id): PathInput<String>,
        ) -> Result<JsonBody<MarkSet>, Problem> {
            state.mark(&id, $kind, Some(false), principal.name).await.map(JsonBody)
        }
    };
}

mark_routes!(
    pin,
    unpin,
    "/lines/{id}/pin",
    MarkKind::Pin,
    "Pin a line",
    "Unpin a line"
);
mark_routes!(
    hide,
    unhide,
    "/lines/{id}/hidden",
    MarkKind::Hidden,
    "Hide a line in the console; no file is touched",
    "Show a hidden line again"
);

/// A line as it was when somebody marked it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeptLineJson {
    id: String,
    time: Timestamp,
    source: String,
    log: Option<String>,
    level: Option<String>,
    /// Its first 16 KiB.
    line: String,
}

impl KeptLineJson {
    fn of(line: MarkedLine) -> Self {
        Self {
            id: line.line,
            time: Timestamp::from_millisecond(line.time_ms).unwrap_or(Timestamp::UNIX_EPOCH),
            source: line.source,
            log: line.log,
            level: line.level,
            line: String::from_utf8_lossy(&line.text).into_owned(),
        }
    }
}

/// A ticket.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TicketJson {
    #[serde(flatten)]
    line: KeptLineJson,
    is_pinned: bool,
    status: TicketStatus,
    note: String,
    assignee: Option<String>,
    opened_at: Timestamp,
    opened_by: String,
    changed_at: Timestamp,
}

impl TicketJson {
    fn of(row: TicketRow) -> Self {
        Self {
            line: KeptLineJson::of(row.mark.line),
            is_pinned: row.mark.marks.is_pinned,
            status: row.status,
            note: row.note,
            assignee: row.assignee,
            opened_at: row.opened_at,
            opened_by: row.opened_by,
            changed_at: row.ticket_changed_at,
        }
    }
}

/// Which part of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Only what is behind this: as the header `Link` of the answer before has it.
    after: String,
    /// At most so many: 1 to 1000 [default: 1000].
    limit: Option<usize>,
}

impl ListParams {
    pub(super) fn page(&self, usual: usize) -> Result<ListPage, Problem> {
        let limit = self.limit.unwrap_or(usual);
        if !(1..=LISTED_MAX).contains(&limit) {
            return Err(Problem::bad_request(format!("limit: write 1 to {LISTED_MAX}")));
        }
        let after = Some(&self.after).filter(|after| !after.is_empty());
        let after = after.map(|after| after.parse()).transpose();
        let wrong = |_| {
            Problem::bad_request(
                "after: this is no cursor of this list; follow the header Link of the answer before",
            )
        };
        Ok(ListPage {
            limit,
            after: after.map_err(wrong)?,
        })
    }
}

/// Reads a page of a list, with the address of what follows if the page is full. `address`: of the list, ending in `?` or `&`.
pub(super) async fn listed<R: Send + 'static>(
    state: &AppState,
    address: &str,
    page: ListPage,
    read: impl FnOnce(&ConsoleDb, &ListPage) -> Result<Vec<R>, ConsoleError> + Send + 'static,
    cursor: impl FnOnce(&R) -> ListCursor,
) -> Result<ListedPage<R>, Problem> {
    let limit = page.limit;
    let rows = state.database.run(move |db| read(db, &page)).await?;
    let last = rows.last().filter(|_| rows.len() >= limit);
    let next = last.map(|last| {
        let after = query_text(&cursor(last).to_string());
        format!("{address}limit={limit}&after={after}")
    });
    Ok(ListedPage { rows, next })
}

/// Which tickets.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct TicketParams {
    /// `open` (not done), `done` or `all` [default: all].
    show: String,
}

/// The tickets, those that changed last first
#[utoipa::path(get, path = "/tickets", params(TicketParams, ListParams), responses(
    (status = 200, body = Vec<TicketJson>, headers(("link" = String, description = "If there may be more: `<ADDRESS>; rel=\"next\"`"))),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 401, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn tickets(
    State(state): State<AppState>,
    _: Reader,
    QueryInput(which): QueryInput<TicketParams>,
    QueryInput(params): QueryInput<ListParams>,
) -> Result<ListedPage<TicketJson>, Problem> {
    let (choice, address) = match which.show.as_str() {
        "" | "all" => (TicketChoice::All, "/api/v1/tickets?"),
        "open" => (TicketChoice::Open, "/api/v1/tickets?show=open&"),
        "done" => (TicketChoice::Done, "/api/v1/tickets?show=done&"),
        _ => return Err(Problem::bad_request("show: write open, done or all")),
    };
    let page = params.page(LISTED_MAX)?;
    let read = move |db: &ConsoleDb, page: &ListPage| db.tickets(choice, page);
    let tickets = listed(&state, address, page, read, TicketRow::cursor).await?;
    Ok(tickets.map(TicketJson::of))
}

/// Open a ticket for a line, or change it
#[utoipa::path(put, path = "/lines/{id}/ticket", params(("id" = String, Path, description = "BATCH@OFFSET")),
    request_body = TicketChange, responses(
    (status = 200, body = TicketJson),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 401, body = Problem, content_type = "application/problem+json"),
    (status = 403, body = Problem, content_type = "application/problem+json"),
    (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn put_ticket(
    State(state): State<AppState>,
    Actor(principal): Actor,
    PathInput(id): PathInput<String>,
    JsonInput(change): JsonInput<TicketChange>,
) -> Result<JsonBody<TicketJson>, Problem> {
    let row = state.change_ticket(&id, change, principal.name).await?;
    Ok(JsonBody(TicketJson::of(row)))
}

/// Remove the ticket of a line; opened again it is as it was
#[utoipa::path(delete, path = "/lines/{id}/ticket", params(("id" = String, Path, description = "BATCH@OFFSET")), responses(
    (status = 200, body = MarkSet),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 401, body = Problem, content_type = "application/problem+json"),
    (status = 403, body = Problem, content_type = "application/problem+json"),
    (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn remove_ticket(
    State(state): State<AppState>,
    Actor(principal): Actor,
    PathInput(id): PathInput<String>,
) -> Result<JsonBody<MarkSet>, Problem> {
    let marks = state
        .mark(&id, MarkKind::Ticket, Some(false), principal.name)
        .await?;
    Ok(JsonBody(marks))
}

/// A line that somebody marked.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MarkedLineJson {
    #[serde(flatten)]
    line: KeptLineJson,
    #[serde(flatten)]
    marks: MarkSet,
    changed_at: Timestamp,
    changed_by: String,
}

impl MarkedLineJson {
    fn of(row: MarkRow) -> Self {
        Self {
            line: KeptLineJson::of(row.line),
            marks: row.marks,
            changed_at: row.changed_at,
            changed_by: row.changed_by,
        }
    }
}

/// The pinned lines, the newest first
#[utoipa::path(get, path = "/pins", params(ListParams), responses(
    (status = 200, body = Vec<MarkedLineJson>, headers(("link" = String, description = "If there may be more: `<ADDRESS>; rel=\"next\"`"))),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 401, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn pins(
    State(state): State<AppState>,
    _: Reader,
    QueryInput(params): QueryInput<ListParams>,
) -> Result<ListedPage<MarkedLineJson>, Problem> {
    let page = params.page(LISTED_MAX)?;
    let pins = listed(&state, "/api/v1/pins?", page, ConsoleDb::pinned, MarkRow::cursor).await?;
    Ok(pins.map(MarkedLineJson::of))
}

/// The hidden lines, the newest first
#[utoipa::path(get, path = "/hidden", params(ListParams), responses(
    (status = 200, body = Vec<MarkedLineJson>, headers(("link" = String, description = "If there may be more: `<ADDRESS>; rel=\"next\"`"))),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 401, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn hidden(
    State(state): State<AppState>,
    _: Reader,
    QueryInput(params): QueryInput<ListParams>,
) -> Result<ListedPage<MarkedLineJson>, Problem> {
    let page = params.page(LISTED_MAX)?;
    let hidden = listed(
        &state,
        "/api/v1/hidden?",
        page,
        ConsoleDb::hidden,
        MarkRow::cursor,
    )
    .await?;
    Ok(hidden.map(MarkedLineJson::of))
}

impl AppState {
    /// Sets, clears or turns over (`None`) a mark.
    pub(crate) async fn mark(
        &self,
        id: &str,
        kind: MarkKind,
        is_set: Option<bool>,
        who: String,
    ) -> Result<MarkSet, Problem> {
        let line = self.line_to_mark(id).await?;
        let marked = self
            .database
            .run(move |db| db.mark(&line, kind, is_set, &who, Timestamp::now()));
        Ok(marked.await?)
    }

    /// Changes a ticket, or opens it.
    pub(crate) async fn change_ticket(
        &self,
        id: &str,
        change: TicketChange,
        who: String,
    ) -> Result<TicketRow, Problem> {
        change.check().map_err(Problem::bad_request)?;
        let line = self.line_to_mark(id).await?;
        let row = self
            .database
            .run(move |db| {
                db.change_ticket(&line, &change, &who, Timestamp::now())?;
                db.ticket(&line.line)
            })
            .await?;
        row.ok_or_else(|| Problem::not_found("this ticket has just been removed"))
    }

    /// The line as it is kept with a mark. One that is marked already may be gone from everywhere else.
    async fn line_to_mark(&self, id: &str) -> Result<MarkedLine, Problem> {
        let id = line_id(id)?;
        let name = id.to_string();
        if let Some(known) = self.database.run(move |db| db.marked_line(&name)).await? {
            return Ok(known.line);
        }
        let found = self.line(id, 0).await?;
        Ok(marked_line(found.line))
    }
}

fn marked_line(hit: Hit) -> MarkedLine {
    MarkedLine {
        line: hit.id(),
        time_ms: hit.time_ms,
        source: hit.source,
        log: Some(hit.log).filter(|log| !log.is_empty()),
        level: hit.level,
        text: hit.line,
    }
}
