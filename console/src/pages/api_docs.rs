//! `/api/docs`: the API for people. `assets/js/docs.js` makes it from `openapi.json`.

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::response::Response;

use super::html;
use super::parts::frame::{Frame, Tab};
use crate::answer::problem::Problem;
use crate::app::state::AppState;
use crate::login::principal::Reader;

#[derive(Template)]
#[template(path = "api_docs.html")]
struct ApiDocsPage {
    frame: Frame,
    origin: String,
}

/// The page.
pub(crate) async fn show(
    State(state): State<AppState>,
    Reader(principal): Reader,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost:8080");
    let scheme = if state.settings.tls.is_some() {
        "https"
    } else {
        "http"
    };
    html(&ApiDocsPage {
        frame: Frame::of(&state, &principal, Tab::Other).await,
        origin: format!("{scheme}://{host}"),
    })
}
