//! `/api/v1`: each route says itself what it takes and answers, and `openapi.json` is made of that.

mod overview;

use axum::routing::get;
use axum::{Json, Router};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::principal::Reader;
use crate::server::state::AppState;

#[derive(OpenApi)]
#[openapi(info(
    title = "logferry console",
    description = "The pipeline and its lines. Log in by a session, or send `Authorization: Bearer TOKEN`. \
    Errors are RFC 9457 problem details."
))]
struct ApiDocument;

/// The routes and the document.
pub(crate) fn router() -> Router<AppState> {
    let (router, document) = OpenApiRouter::with_openapi(ApiDocument::openapi())
        .nest("/api/v1", routes_of_v1())
        .split_for_parts();
    let document = Json(document);
    router.route(
        "/api/v1/openapi.json",
        get(async move |_: Reader| document.clone()),
    )
}

fn routes_of_v1() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(overview::who_am_i))
}
