//! What roles of the relay host are asked to do: retry, resend, silence.

use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use logferry_requests::RequestedAction;
use serde::Serialize;
use utoipa::ToSchema;

use super::lines::{ListParams, listed};
use crate::answer::input::{JsonInput, QueryInput};
use crate::answer::json_body::JsonBody;
use crate::answer::listed_page::ListedPage;
use crate::answer::problem::Problem;
use crate::app::state::AppState;
use crate::database::{ConsoleDb, RequestRow};
use crate::login::principal::{Actor, Reader};

/// Requests of one answer.
const LISTED: usize = 100;

/// A request that is taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RequestTaken {
    /// Its name in `GET /api/v1/requests`.
    id: String,
}

/// A request, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RequestJson {
    id: String,
    at: Timestamp,
    who: String,
    /// As it was asked for.
    action: RequestedAction,
    /// What came of it, as a sentence; null: no role has carried it out yet.
    outcome: Option<String>,
    ended_at: Option<Timestamp>,
}

/// Ask a role to retry or resend batches, or to silence a subject
#[utoipa::path(post, path = "/requests", request_body = RequestedAction,
    description = "The forwarder carries out `retry` and `resend`, the monitor `silence`, within seconds, once. `GET /api/v1/requests` says what \
        came of it.",
    responses(
    (status = 202, body = RequestTaken),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 401, body = Problem, content_type = "application/problem+json"),
    (status = 403, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn ask(
    State(state): State<AppState>,
    Actor(principal): Actor,
    JsonInput(new): JsonInput<RequestedAction>,
) -> Result<(StatusCode, JsonBody<RequestTaken>), Problem> {
    let action = state.checked(new).await?;
    let id = state.ask(action, principal.name).await?;
    Ok((StatusCode::ACCEPTED, JsonBody(RequestTaken { id })))
}

/// The requests of late, the newest first
#[utoipa::path(get, path = "/requests", params(ListParams), description = "100 of them, if `limit` is not given.", responses(
    (status = 200, body = Vec<RequestJson>, headers(("link" = String, description = "If there may be more: `<ADDRESS>; rel=\"next\"`"))),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 401, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn requests(
    State(state): State<AppState>,
    _: Reader,
    QueryInput(params): QueryInput<ListParams>,
) -> Result<ListedPage<RequestJson>, Problem> {
    let page = params.page(LISTED)?;
    let address = "/api/v1/requests?";
    let requests = listed(&state, address, page, ConsoleDb::requests, RequestRow::cursor).await?;
    Ok(requests.map(|row| RequestJson {
        id: row.request.id,
        at: row.request.at,
        who: row.request.who,
        action: row.request.action,
        outcome: row.outcome,
        ended_at: row.ended_at,
    }))
}
