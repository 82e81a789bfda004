//! What people see: handlers and templates.

use axum::Router;

use crate::server::problem::Problem;
use crate::server::state::AppState;

/// The routes of the pages.
pub(crate) fn router() -> Router<AppState> {
    Router::new()
}

/// A problem as a page, whole.
pub(crate) fn error_page(problem: &Problem) -> String {
    let text = askama::filters::escape(&problem.detail, askama::filters::Html);
    let text = text.map_or_else(|_| String::new(), |text| text.to_string());
    format!("<!doctype html><title>{0}</title><h1>{0}</h1><p>{text}</p>", problem.status)
}
