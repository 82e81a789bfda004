//! `/login`: the form. What becomes of it is in `access`.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::html;
use super::parts::frame::Frame;
use crate::answer::problem::Problem;
use crate::app::state::AppState;

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SignInQuery {
    /// Why the form is shown again: `wrong` or `wait`.
    error: String,
    /// The page that is shown after it.
    next: String,
}

#[derive(Template)]
#[template(path = "login.html")]
struct SignInPage {
    frame: Frame,
    error: &'static str,
    next: String,
}

/// The page.
pub(crate) async fn show(
    State(state): State<AppState>,
    Query(query): Query<SignInQuery>,
) -> Result<Response, Problem> {
    if state.settings.open {
        return Ok(Redirect::to("/").into_response());
    }
    let error = match query.error.as_str() {
        "" => "",
        "wait" => "Too many tries. Wait a moment, then try again.",
        _ => "This name and password do not fit together.",
    };
    html(&SignInPage {
        frame: Frame::bare(),
        error,
        next: query.next,
    })
}
