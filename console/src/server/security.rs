//! What every answer has: headers that keep a log line from becoming script, and a page from being framed.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::peer::RequestPeer;
use super::problem::Problem;
use super::state::AppState;

/// No inline script or style, nothing from or to another host.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'";

const FIXED: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Adds the headers.
pub(super) async fn headers(request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<RequestPeer>().copied();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What is shown is of people who may look: no cache keeps it. Assets say otherwise themselves.
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if peer.is_some_and(|peer| peer.is_secure) {
        headers.insert(
            STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
    }
    response
}

/// Refuses an address that sends too much.
pub(super) async fn limit_rate(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<RequestPeer>().copied();
    let wait = peer.and_then(|peer| state.rates().take(peer.address, Instant::now()));
    match wait {
        None => next.run(request).await,
        Some(wait) => {
            state.metrics.limited();
            let seconds = wait.as_secs() + 1;
            Problem::too_many(
                format!("too many requests from this address; wait {seconds} s"),
                seconds,
            )
            .into_response()
        }
    }
}
