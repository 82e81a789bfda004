//! `GET /stream-logs`: one JSON object a message, and a comment while nothing comes.

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use jiff::tz::TimeZone;
use logferry_store::Query;

use super::log_entry::LogEntry;
use crate::answer::problem::Problem;
use crate::answer::stream_body;
use crate::api::live::{event_stream_headers, start_of};
use crate::app::state::AppState;
use crate::database::MarkSet;
use crate::live::{KEEP_ALIVE, LiveWatcher, MatchedLines, message};
use crate::login::principal::Reader;

/// The predecessor's clients take a stream for dead after its 25 s.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// All lines, as they become durable. Of more than 400 a second some are left out, and a comment says how many.
pub(super) async fn stream(
    State(state): State<AppState>,
    _: Reader,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = state.live.query("stream-logs", || Ok(Query::default()));
    let query = query.map_err(|error| Problem::internal(&error.to_string()))?;
    let start = start_of(&headers);
    let mut watcher = LiveWatcher::start(&state.live, query, start)
        .await
        .ok_or_else(|| Problem::unavailable("too many live streams are open; close some"))?;
    let (writer, body) = stream_body::body();
    tokio::spawn(async move {
        state.metrics.stream_opened();
        let zone = TimeZone::system();
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
                        messages(id, &lines, &zone)
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

/// One message for each line; the last one has the number, so that a browser that reconnects goes on behind it.
fn messages(id: u64, lines: &MatchedLines, zone: &TimeZone) -> Bytes {
    let mut text = Vec::new();
    if lines.skipped() > 0 {
        text.extend_from_slice(format!(": {} lines are not shown here\n\n", lines.skipped()).as_bytes());
    }
    for hole in &lines.holes {
        text.extend_from_slice(format!(": lines until {} are not shown here\n\n", hole.until).as_bytes());
    }
    let last = lines.shown.len().saturating_sub(1);
    for (index, line) in lines.shown.iter().enumerate() {
        let entry = LogEntry::of(&line.hit, MarkSet::default(), zone);
        let id = (index == last).then_some(id);
        text.extend_from_slice(&message(id, &entry));
    }
    if text.is_empty() {
        text.extend_from_slice(KEEP_ALIVE.as_bytes());
    }
    text.into()
}
