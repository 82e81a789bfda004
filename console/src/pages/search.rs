//! `/search`: the form. `assets/js/search.js` asks `/api/v1/search` and shows what is found.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::html;
use super::parts::frame::{Frame, Tab};
use crate::answer::problem::Problem;
use crate::app::state::AppState;
use crate::login::principal::Reader;

/// What the address says besides the time, which the script reads.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SearchChoice {
    q: String,
    regex: String,
}

#[derive(Template)]
#[template(path = "search.html")]
struct SearchView {
    frame: Frame,
    choice: SearchChoice,
}

/// The page.
pub(crate) async fn show(
    State(state): State<AppState>,
    Reader(principal): Reader,
    Query(choice): Query<SearchChoice>,
) -> Result<Response, Problem> {
    html(&SearchView {
        frame: Frame::of(&state, &principal, Tab::Search).await,
        choice,
    })
}
