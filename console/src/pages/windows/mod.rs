//! `/windows`: a day's windows of each source, and what is known of one: batches, checksums, deliveries, manifest, proof.
//!
//! `read` reads; `cell`, `grid`, `silent_times` and `window_view` are pure. A new state of a window needs `cell`, the style sheet and the docs.

pub(crate) mod cell;
pub(crate) mod grid;
pub(crate) mod read;
mod silent_times;
mod window_view;

use askama::Template;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use logferry_config::Subscriber;
use serde::Deserialize;

use self::grid::{GridDay, WindowGrid};
use self::window_view::{AskedView, ListedBatch, WindowView};
use super::html;
use super::parts::frame::{Frame, Tab};
use super::parts::{links, reader_zone};
use crate::answer::problem::Problem;
use crate::app::state::AppState;
use crate::host::blocking;
use crate::login::principal::Reader;

const REFRESH_SECONDS: u32 = 30;

/// No cell of the grid is longer.
const CELL_SECONDS_MAX: i64 = 3600;

/// What the address of the grid chooses.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct GridChoice {
    /// A date of the reader's zone; empty: today.
    day: String,
    /// Only sources and groups with this text.
    find: String,
    /// Only this source.
    source: String,
    /// Only sources with a window in this state.
    state: String,
}

#[derive(Template)]
#[template(path = "windows.html")]
struct WindowsPage {
    frame: Frame,
    choice: GridChoice,
    day: GridDay,
    before: String,
    after: String,
    /// The rest of the choice, in an address.
    kept: String,
    zone: String,
    grid: WindowGrid,
    /// Only one source is shown: its windows are links, and its batches are listed.
    is_single: bool,
    batches: Vec<ListedBatch>,
}

#[derive(Template)]
#[template(path = "window.html")]
struct WindowPage {
    frame: Frame,
    window: WindowView,
    /// What people have asked for its batches, and nobody has done yet.
    asked: Vec<AskedView>,
    destinations: Vec<String>,
    may_act: bool,
}

/// The grid.
pub(crate) async fn show_grid(
    State(state): State<AppState>,
    Reader(principal): Reader,
    headers: HeaderMap,
    Query(choice): Query<GridChoice>,
) -> Result<Response, Problem> {
    let zone = reader_zone::of(&headers);
    let now = Timestamp::now();
    let day = GridDay::new(&choice.day, &zone, now);
    let mut facts = read::day(&state, &day).await?;
    facts.keep_source(&choice.source);
    let find = if choice.source.is_empty() {
        &choice.find
    } else {
        &choice.source
    };
    let grid = WindowGrid::new(&facts, &day, &zone, (find, &choice.state), now.as_second());
    let is_single = !choice.source.is_empty();
    let of_source = if is_single {
        read::batches_of(&state, &choice.source, &day).await?
    } else {
        Vec::new()
    };
    let batches = of_source.iter().map(ListedBatch::new).collect();
    let kept = [
        ("find", &choice.find),
        ("source", &choice.source),
        ("state", &choice.state),
    ];
    let kept = kept
        .map(|(name, value)| format!("{name}={}", links::query_text(value)))
        .join("&");
    let (before, after) = day.neighbours();
    html(&WindowsPage {
        frame: Frame::of(&state, &principal, Tab::Windows)
            .await
            .refreshed_every(REFRESH_SECONDS),
        zone: zone.iana_name().unwrap_or("UTC").to_owned(),
        choice,
        day,
        batches,
        kept,
        is_single,
        before,
        after,
        grid,
    })
}

/// What the address of a window chooses.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WindowSpan {
    /// Seconds of the grid's cell: shorter windows share one.
    seconds: Option<i64>,
}

/// One window of one source, or those of one cell.
pub(crate) async fn show_window(
    State(state): State<AppState>,
    Reader(principal): Reader,
    Path((source, start)): Path<(String, i64)>,
    Query(span): Query<WindowSpan>,
) -> Result<Response, Problem> {
    let seconds = span.seconds.unwrap_or(1).clamp(1, CELL_SECONDS_MAX);
    let (facts, end) = read::window(&state, &source, start, seconds).await?;
    let open = state.clone();
    let open = blocking(move || Ok(open.database.run_here(|db| db.open_requests())?)).await?;
    let asked = open.iter().filter_map(|row| AskedView::new(&row.request, &facts));
    let destinations = state.settings.shared.host.destinations.iter();
    html(&WindowPage {
        frame: Frame::of(&state, &principal, Tab::Windows).await,
        asked: asked.collect(),
        window: WindowView::new(&source, (start, end), &facts),
        destinations: destinations.map(|it: &Subscriber| it.name.to_string()).collect(),
        may_act: principal.may_act(),
    })
}

/// The window of a batch.
pub(crate) async fn find_batch(
    State(state): State<AppState>,
    _: Reader,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let batch = read::batch(&state, name).await?;
    let source = links::query_text(batch.source.as_str());
    let path = format!("/windows/{source}/{}", batch.window.start);
    Ok(axum::response::Redirect::to(&path).into_response())
}

/// The lines of a batch whose file is in the spool, as a file.
pub(crate) async fn download(
    State(state): State<AppState>,
    _: Reader,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let batch = read::batch(&state, name).await?;
    let file_name = batch.file_name();
    let lines = read::lines(&state, batch).await?;
    let headers = [
        // A type that no browser runs; `nosniff` is on every answer.
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{file_name}\""),
        ),
    ];
    Ok((headers, Body::new(lines)).into_response())
}
