//! `GET /api/v1/live`: server-sent events.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::line_query::LineQuery;
use crate::answer::input::QueryInput;
use crate::answer::problem::Problem;
use crate::app::event_stream::{event_stream, start_of};
use crate::app::state::AppState;
use crate::live::WatchStart;
use crate::login::principal::Reader;

/// Lines as they become durable
#[utoipa::path(get, path = "/live", params(LineQuery),
    description = "Server-sent events, at most four a second. Each has one object: `at`, `matched`, `shown` and `skipped` (lines since the \
        event before), `lines` (at most 100, the newest, oldest first; one with `cut` goes on), `holes` (`since`, `until`, `lines`: what this \
        stream did not get) and `lost` (`batch`, `bytes`: deleted before they were read). The event's id is a number; a browser that \
        reconnects sends it as `Last-Event-ID`, and gets what came since, or a hole.",
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn live(
    State(state): State<AppState>,
    Reader(principal): Reader,
    headers: HeaderMap,
    QueryInput(words): QueryInput<LineQuery>,
) -> Result<Response, Problem> {
    words.check()?;
    let query = state.live.query(&words.name(), || words.query());
    let query = query.map_err(|error| Problem::bad_request(error.to_string()))?;
    let over = principal.over(state.clone());
    let start = start_of(&headers, WatchStart::Recent);
    event_stream(state, over, query, start, |id, lines| lines.message(id)).await
}
