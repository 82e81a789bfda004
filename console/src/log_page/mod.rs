//! The addresses of the fifth predecessor, a logging system with a web page: its users' scripts and bookmarks go on.
//!
//! `GET /stream-logs`, `/api/logs/new?since=<id>`, `/api/log_stats`, `POST /api/logs/<id>/pin|ticket|delete`. Names and shapes are a
//! contract; the page `/view` is in `pages`.

mod log_entry;
mod routes;
mod stream;

use axum::Router;
use axum::routing::{get, post};

use crate::app::state::AppState;

/// The routes.
pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route("/stream-logs", get(stream::stream))
        .route("/api/logs/new", get(routes::new_logs))
        .route("/api/log_stats", get(routes::log_stats))
        .route("/api/logs/{id}/{action}", post(routes::act))
}
