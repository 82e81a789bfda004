//! What every answer has: headers that keep a log line from becoming script, and a page from being framed.

use std::net::IpAddr;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::answer::peer::RequestPeer;
use crate::answer::problem::Problem;
use crate::app::state::AppState;

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

/// Refuses a request for another name than an address or `localhost` while everybody may look: a page of the internet whose name
/// leads here must not read what its visitor may.
pub(super) async fn check_host(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if state.settings.open && !is_local_name(request.headers()) {
        return Problem::forbidden(
            "this console is open to this host alone; use http://127.0.0.1 or http://localhost",
        )
        .into_response();
    }
    next.run(request).await
}

fn is_local_name(headers: &HeaderMap) -> bool {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
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
