//! New lines as server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), one stream a watcher.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::state::AppState;
use crate::answer::problem::Problem;
use crate::answer::stream_body::{self, UNBUFFERED};
use crate::live::{LiveWatcher, MatchedLines, SharedQuery, WatchStart, keep_alive};

/// After so long without a message a comment is sent. The predecessor's clients take a stream for dead after its 25 s.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 15 });

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Streams the lines of a query until `over`. `message`: the event with this number for what came.
pub(crate) async fn event_stream(
    state: AppState,
    over: impl Future<Output = ()> + Send + 'static,
    query: Arc<SharedQuery>,
    start: WatchStart,
    message: impl Fn(u64, &MatchedLines) -> Bytes + Send + 'static,
) -> Result<Response, Problem> {
    let mut watcher = LiveWatcher::start(&state.live, query, start)
        .await
        .ok_or_else(|| Problem::unavailable("too many live streams are open; close some"))?;
    let (writer, body) = stream_body::body();
    tokio::spawn(async move {
        state.metrics.stream_opened();
        // The head of an answer goes out with its first bytes.
        let mut piece = keep_alive(None);
        let mut over = pin!(over);
        let mut is_first = true;
        loop {
            let sent = tokio::select! {
                sent = writer.send(piece) => sent,
                () = &mut over => break,
                () = state.stop.cancelled() => break,
            };
            if sent.is_err() {
                break;
            }
            piece = tokio::select! {
                next = tokio::time::timeout(KEEP_ALIVE_INTERVAL, watcher.next()) => match next {
                    Ok((id, mut lines)) => {
                        if std::mem::take(&mut is_first) {
                            hide(&state, &mut lines).await;
                        }
                        state.metrics.skipped(lines.skipped());
                        message(id, &lines)
                    }
                    Err(_) => keep_alive(watcher.seen()),
                },
                () = writer.closed() => break,
                () = &mut over => break,
                () = state.stop.cancelled() => break,
            };
        }
        state.metrics.stream_closed();
    });
    let headers = [
        (CONTENT_TYPE, EVENT_STREAM),
        (UNBUFFERED, HeaderValue::from_static("no")),
    ];
    Ok((headers, body).into_response())
}

/// Leaves out hidden lines: the first message may have lines that are not new.
async fn hide(state: &AppState, lines: &mut MatchedLines) {
    if lines.shown.is_empty() {
        return;
    }
    if let Ok(marks) = state.database.run(|db| db.all_marks()).await {
        lines.hide(|id| marks.get(id).is_some_and(|marks| marks.is_hidden));
    }
}

/// Where a stream begins: behind the last event that the browser had; without one at `new`.
pub(crate) fn start_of(headers: &HeaderMap, new: WatchStart) -> WatchStart {
    let last = headers.get("last-event-id");
    let last = last.and_then(|last| last.to_str().ok()?.trim().parse().ok());
    last.map_or(new, WatchStart::After)
}
