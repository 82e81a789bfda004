//! `/view`: the simple viewer, for people who come from a system that had one. `assets/js/view.js` fills it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::html;
use super::parts::frame::{Frame, Tab};
use crate::answer::problem::Problem;
use crate::app::state::AppState;
use crate::login::principal::Reader;

#[derive(Template)]
#[template(path = "view.html")]
struct ViewerPage {
    frame: Frame,
}

/// The page.
pub(crate) async fn show(
    State(state): State<AppState>,
    Reader(principal): Reader,
) -> Result<Response, Problem> {
    html(&ViewerPage {
        frame: Frame::of(&state, &principal, Tab::Other).await,
    })
}
