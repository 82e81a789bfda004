//! `GET /api/v1/live`: server-sent events.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use std::time::Duration;

use super::line_query::LineQuery;
use super::search::UNBUFFERED;
use crate::answer::input::QueryInput;
use crate::answer::problem::Problem;
use crate::answer::stream_body;
use crate::app::state::AppState;
use crate::live::{KEEP_ALIVE, LiveWatcher, WatchStart};
use crate::login::principal::Reader;

/// After so long without a message a comment is sent.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

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
    _: Reader,
    headers: HeaderMap,
    QueryInput(words): QueryInput<LineQuery>,
) -> Result<Response, Problem> {
    words.check()?;
    let query = state.live.query(&words.name(), || words.query());
    let query = query.map_err(|error| Problem::bad_request(error.to_string()))?;
    let start = start_of(&headers);
    let mut watcher = LiveWatcher::start(&state.live, query, start)
        .await
        .ok_or_else(|| Problem::unavailable("too many live streams are open; close some"))?;
    let (writer, body) = stream_body::body();
    tokio::spawn(async move {
        state.metrics.stream_opened();
        // The head of an answer goes out with its first bytes.
        let mut piece = Bytes::from_static(KEEP_ALIVE.as_bytes());
        loop {
            let sent = tokio::select! {
                sent = writer.send(piece) => sent,
                () = state.stop.cancelled() => break,
            };
            if sent.is_err() {
                break;
            }
            piece = tokio::select! {
                next = tokio::time::timeout(KEEP_ALIVE_INTERVAL, watcher.next()) => match next {
                    Ok((id, lines)) => {
                        state.metrics.skipped(lines.skipped());
                        lines.message(id)
                    }
                    Err(_) => Bytes::from_static(KEEP_ALIVE.as_bytes()),
                },
                () = writer.closed() => break,
                () = state.stop.cancelled() => break,
            };
        }
        state.metrics.stream_closed();
    });
    Ok((event_stream_headers(), body).into_response())
}

/// Where a stream begins: behind the last event that the browser had.
pub(crate) fn start_of(headers: &HeaderMap) -> WatchStart {
    let last = headers.get("last-event-id");
    let last = last.and_then(|last| last.to_str().ok()?.trim().parse().ok());
    last.map_or(WatchStart::Recent, WatchStart::After)
}

/// The headers of an event stream. nginx would keep it back until its buffer is full.
pub(crate) fn event_stream_headers() -> [(axum::http::HeaderName, HeaderValue); 2] {
    [
        (CONTENT_TYPE, EVENT_STREAM),
        (UNBUFFERED, HeaderValue::from_static("no")),
    ]
}
