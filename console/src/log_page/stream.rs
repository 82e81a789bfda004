//! `GET /stream-logs`: one JSON object a message, and a comment while nothing comes.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use jiff::tz::TimeZone;
use logferry_store::Query;
use logferry_text::noun_for;
use serde::Deserialize;

use super::log_entry::LogEntry;
use crate::answer::input::QueryInput;
use crate::answer::problem::Problem;
use crate::app::event_stream::{event_stream, start_of};
use crate::app::state::AppState;
use crate::database::MarkSet;
use crate::live::{MatchedLines, WatchStart, keep_alive, message};
use crate::login::principal::Reader;

/// How.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StreamParams {
    /// `event`: what is not shown comes as an event of the name `skipped`. A script sees no comment; but clients of the
    /// predecessor may take each `data` for a line, so they get comments.
    skipped: String,
}

/// New lines, as they become durable. Of more than 400 a second some are left out, and a comment says how many.
pub(super) async fn stream(
    State(state): State<AppState>,
    Reader(principal): Reader,
    headers: HeaderMap,
    QueryInput(params): QueryInput<StreamParams>,
) -> Result<Response, Problem> {
    let query = state.live.query("stream-logs", || Ok(Query::default()));
    let query = query.map_err(|error| Problem::internal(&error.to_string()))?;
    let (zone, has_events) = (TimeZone::system(), params.skipped == "event");
    let over = principal.over(state.clone());
    let start = start_of(&headers, WatchStart::New);
    event_stream(state, over, query, start, move |id, lines| {
        messages(id, lines, &zone, has_events)
    })
    .await
}

/// One message for each line; the last one has the number, so that a browser that reconnects goes on behind it.
fn messages(id: u64, lines: &MatchedLines, zone: &TimeZone, has_events: bool) -> Bytes {
    let mut text = Vec::new();
    let mut skip = |what: String, lines: Option<u64>| {
        let told = format!("{what} are not shown here");
        let said = if has_events {
            let data = serde_json::json!({ "lines": lines, "text": told });
            format!("event: skipped\ndata: {data}\n\n")
        } else {
            format!(": {told}\n\n")
        };
        text.extend(said.into_bytes());
    };
    if lines.skipped() > 0 {
        skip(
            format!("{} {}", lines.skipped(), noun_for(lines.skipped(), "line")),
            Some(lines.skipped()),
        );
    }
    for hole in &lines.holes {
        skip(format!("lines until {}", hole.until), hole.lines);
    }
    let last = lines.shown.len().saturating_sub(1);
    for (index, line) in lines.shown.iter().enumerate() {
        let entry = LogEntry::of(&line.hit, MarkSet::default(), zone);
        let id = (index == last).then_some(id);
        text.extend_from_slice(&message(id, &entry));
    }
    if text.is_empty() {
        return keep_alive(Some(id));
    }
    text.into()
}
