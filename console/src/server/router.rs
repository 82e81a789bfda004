//! All routes, and the layers around them. The outermost layer is the last one here.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::csrf::{CsrfLayer, ProtectionError};
use tower_http::limit::RequestBodyLimitLayer;

use super::{error_pages, security};
use crate::answer::problem::Problem;
use crate::app::state::AppState;
use crate::pages::{self, PagesState};
use crate::{api, assets, log_page, login};

/// Bytes of a request's body: forms and small JSON.
const BODY_MAX: usize = 64 << 10;

/// The whole console.
pub(super) fn router(state: AppState, kept: Arc<PagesState>) -> Router {
    let csrf = CsrfLayer::new().with_rejection_response(|_: ProtectionError| -> Response {
        Problem::forbidden("this request comes from another web page; open the console's own page")
            .into_response()
    });
    Router::new()
        .merge(pages::router(kept))
        .merge(api::router())
        .merge(log_page::router())
        .merge(login::routes::router())
        .merge(assets::router())
        .route("/healthz", get(async || "ok\n"))
        .fallback(async || Problem::not_found("there is no such page here"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this address does not take this method",
            )
        })
        .layer(RequestBodyLimitLayer::new(BODY_MAX))
        .layer(csrf)
        .layer(from_fn_with_state(state.clone(), security::check_host))
        .layer(from_fn_with_state(state.clone(), security::limit_rate))
        .layer(from_fn(error_pages::for_people))
        .layer(from_fn(security::headers))
        .with_state(state)
}
