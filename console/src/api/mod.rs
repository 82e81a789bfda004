//! `/api/v1`: each route says itself what it takes and answers, and `openapi.json` is made of that.
//!
//! A route is added in its file and in `routes_of_v1`. `tests/document.rs` asks each route and compares the answer with the document.

pub(crate) mod export;
mod facets;
pub(crate) mod line_query;
pub(crate) mod lines;
pub(crate) mod live;
mod overview;
pub(crate) mod requests;
mod saved;
mod schemas;
pub(crate) mod search;
mod windows;

use axum::Router;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer::json_body::JsonBody;
use crate::answer::problem::Problem;
use crate::app::state::AppState;
use crate::login::principal::Reader;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "logferry console",
        description = "The pipeline and its lines. Send `Authorization: Bearer TOKEN`; `logferry console token add` makes a token. \
            Errors are RFC 9457 problem details.",
        license(name = "MIT"),
    ),
    components(schemas(Problem))
)]
struct ApiDocument;

/// The routes and the document.
pub(crate) fn router() -> Router<AppState> {
    let (router, document) = document_and_routes();
    router.route(
        "/api/v1/openapi.json",
        get(async move |_: Reader| JsonBody(document.clone())),
    )
}

fn document_and_routes() -> (Router<AppState>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(ApiDocument::openapi())
        .nest("/api/v1", routes_of_v1())
        .split_for_parts()
}

fn routes_of_v1() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(overview::who_am_i))
        .routes(routes!(overview::status))
        .routes(routes!(overview::audit))
        .routes(routes!(overview::alerts))
        .routes(routes!(overview::numbers))
        .routes(routes!(windows::day))
        .routes(routes!(windows::window))
        .routes(routes!(search::search))
        .routes(routes!(export::export))
        .routes(routes!(facets::facets))
        .routes(routes!(live::live))
        .routes(routes!(lines::line))
        .routes(routes!(lines::pin, lines::unpin))
        .routes(routes!(lines::hide, lines::unhide))
        .routes(routes!(lines::put_ticket, lines::remove_ticket))
        .routes(routes!(lines::tickets))
        .routes(routes!(lines::pins))
        .routes(routes!(lines::hidden))
        .routes(routes!(saved::searches, saved::save))
        .routes(routes!(saved::remove))
        .routes(routes!(saved::actions))
        .routes(routes!(requests::requests, requests::ask))
}
