//! `GET /stream-logs`: one JSON object a message, and a comment while nothing comes.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use jiff::tz::TimeZone;
use logferry_store::Query;

use super::log_entry::LogEntry;
use crate::answer::problem::Problem;
use crate::app::event_stream::event_stream;
use crate::app::state::AppState;
use crate::database::MarkSet;
use crate::live::{KEEP_ALIVE, MatchedLines, message};
use crate::login::principal::Reader;

/// All lines, as they become durable. Of more than 400 a second some are left out, and a comment says how many.
pub(super) async fn stream(
    State(state): State<AppState>,
    _: Reader,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = state.live.query("stream-logs", || Ok(Query::default()));
    let query = query.map_err(|error| Problem::internal(&error.to_string()))?;
    let zone = TimeZone::system();
    event_stream(state, query, &headers, move |id, lines| {
        messages(id, lines, &zone)
    })
    .await
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
