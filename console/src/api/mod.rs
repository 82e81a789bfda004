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
use utoipa::openapi::path::Operation;
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer::json_body::JsonBody;
use crate::answer::problem::{PROBLEM_JSON, Problem};
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
    let (router, mut document) = OpenApiRouter::with_openapi(ApiDocument::openapi())
        .nest("/api/v1", routes_of_v1())
        .split_for_parts();
    for path in document.paths.paths.values_mut() {
        let of_path = [&mut path.get, &mut path.put, &mut path.post, &mut path.delete];
        of_path.into_iter().flatten().for_each(add_common_refusals);
    }
    (router, document)
}

/// What layers around all routes, and the reading of bodies, may answer.
fn add_common_refusals(operation: &mut Operation) {
    let of_body = [
        ("413", "The body is too long"),
        ("415", "The body is no `application/json`"),
        ("422", "The body is JSON of another shape"),
    ];
    let of_words = [("400", "A value of the address is not what it must be")];
    let has_words = operation.parameters.as_ref().is_some_and(|it| !it.is_empty());
    let of_words = of_words.into_iter().filter(|_| has_words);
    let of_all = [(
        "429",
        "Too many requests of this address; `Retry-After` says how long to wait",
    )];
    let of_body = of_body.into_iter().filter(|_| operation.request_body.is_some());
    for (status, description) in of_body.chain(of_words).chain(of_all) {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build();
        let response = ResponseBuilder::new()
            .description(description)
            .content(PROBLEM_JSON, content);
        let known = &mut operation.responses.responses;
        known
            .entry(status.to_owned())
            .or_insert_with(|| response.build().into());
    }
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
