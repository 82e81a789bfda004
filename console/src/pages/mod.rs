//! What people see: handlers, view models and templates (`console/templates`). Scripts and the style sheet are in
//! `console/assets`.
//!
//! What decides (view models) is pure, and apart from what reads. A template escapes whatever it shows; `safe` stands only at
//! markup that this crate makes itself: times, charts, and sentences of `parts/prose`. A page can be changed without looking at another one.

mod alerts;
mod api_docs;
#[cfg(test)]
mod contrast_test;
mod error_page;
mod live;
mod overview;
pub(crate) mod parts;
mod requested;
mod search;
mod sign_in;
mod tickets;
mod viewer;
pub(crate) mod windows;

use std::sync::Arc;

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};

use crate::answer::problem::Problem;
use crate::app::state::AppState;

pub(crate) use self::error_page::error_page;

/// What pages keep between two requests.
#[derive(Debug, Default)]
pub(crate) struct PagesState {
    overview: overview::OverviewCache,
    rule_charts: alerts::KeptCharts,
}

impl PagesState {
    /// Reads the overview at the start, and again every minute until the console stops: a day of numbers takes a second, and
    /// nobody should wait for it.
    pub(crate) async fn keep_overview(self: Arc<Self>, state: AppState) {
        loop {
            // Whoever opens the page is told why it cannot be read.
            let _ = self.overview.read(&state).await;
            tokio::select! {
                () = tokio::time::sleep(overview::READ_EVERY) => {}
                () = state.stop.cancelled() => return,
            }
        }
    }
}

/// The routes of the pages.
pub(crate) fn router(kept: Arc<PagesState>) -> Router<AppState> {
    Router::new()
        .route("/", get(overview::show))
        .route("/login", get(sign_in::show))
        .route("/live", get(live::show))
        .route("/search", get(search::show))
        .route("/tickets", get(tickets::show))
        .route("/tickets/change", post(tickets::change))
        .route("/tickets/unhide", post(tickets::unhide))
        .route("/tickets/pin", post(tickets::unpin))
        .route("/alerts", get(alerts::show))
        .route("/view", get(viewer::show))
        .route("/api/docs", get(api_docs::show))
        .route("/windows", get(windows::show_grid))
        .route("/windows/{source}/{start}", get(windows::show_window))
        .route("/batches/{name}", get(windows::find_batch))
        .route("/batches/{name}/download", get(windows::download))
        .route("/batches/{name}/retry", post(requested::retry))
        .route("/batches/{name}/resend", post(requested::resend))
        .route("/alerts/silence", post(requested::silence))
        .layer(Extension(kept))
}

/// A page, made of its template.
fn html(page: &impl Template) -> Result<Response, Problem> {
    let text = page
        .render()
        .map_err(|error| Problem::internal(&error.to_string()))?;
    Ok(Html(text).into_response())
}
