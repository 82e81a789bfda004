//! `/live`: lines as they become durable. The page has the filters; `assets/js/live.js` fills it from `/api/v1/live`.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::html;
use super::parts::frame::{Frame, Tab};
use super::parts::source_names;
use crate::answer::problem::Problem;
use crate::app::state::AppState;
use crate::login::principal::Reader;

/// The filters of the address.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LiveChoice {
    q: String,
    source: String,
    group: String,
    log: String,
    level: String,
    status: String,
}

#[derive(Template)]
#[template(path = "live.html")]
struct LivePage {
    frame: Frame,
    choice: LiveChoice,
    sources: Vec<String>,
    groups: Vec<String>,
}

/// The page.
pub(crate) async fn show(
    State(state): State<AppState>,
    Reader(principal): Reader,
    Query(choice): Query<LiveChoice>,
) -> Result<Response, Problem> {
    let (sources, groups) = source_names::read(&state).await?;
    html(&LivePage {
        frame: Frame::of(&state, &principal, Tab::Live).await,
        choice,
        sources,
        groups,
    })
}
