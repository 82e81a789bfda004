//! Problems as pages, for people: whoever is not logged in gets to the login.

use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::answer::problem::Problem;
use crate::login::routes::login_path;
use crate::pages;

/// A refusal of a layer, such as a body that is too large, as a problem.
fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_refusal = status.is_client_error() || status.is_server_error();
    if !is_refusal || response.extensions().get::<Problem>().is_some() {
        return response;
    }
    let detail = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "the body of this request is too large",
        _ => "this request cannot be answered",
    };
    Problem::new(status, detail).into_response()
}

/// Turns the problem of a page into a page. Programs, and scripts of pages, get the problem itself.
pub(super) async fn for_people(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_page = !path.starts_with("/api/") && path != "/stream-logs" && !path.starts_with("/assets/");
    let accepts = request.headers().get_all(ACCEPT).iter();
    let accepts_html = accepts
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/html"));
    let next_path = (request.method() == Method::GET).then(|| {
        let whole = request.uri().path_and_query();
        whole.map_or_else(|| "/".to_owned(), ToString::to_string)
    });
    let response = as_problem(next.run(request).await);
    let Some(problem) = response.extensions().get::<Problem>() else {
        return response;
    };
    if !(is_page && accepts_html) {
        return response;
    }
    if problem.status_code() == StatusCode::UNAUTHORIZED {
        let path = login_path("", next_path.as_deref().unwrap_or("/"));
        let location = HeaderValue::from_str(&path).unwrap_or(HeaderValue::from_static("/login"));
        return (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response();
    }
    let page = pages::error_page(problem);
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts
        .headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    Response::from_parts(parts, page.into())
}
