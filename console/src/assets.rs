//! The files of the pages, in the binary: `console/assets/`. A file is added there and in [`FILES`].
//!
//! Their addresses have the hash of all of them, so a browser keeps them for ever and a new version is another address. Modules
//! import each other by relative paths.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use crate::answer::problem::Problem;

/// Name and contents of each file.
const FILES: &[(&str, &[u8])] = &[
    ("console.css", include_bytes!("../assets/console.css")),
    ("icon.svg", include_bytes!("../assets/icon.svg")),
    ("js/base/api.js", include_bytes!("../assets/js/base/api.js")),
    ("js/base/dom.js", include_bytes!("../assets/js/base/dom.js")),
    ("js/base/sizes.js", include_bytes!("../assets/js/base/sizes.js")),
    ("js/base/texts.js", include_bytes!("../assets/js/base/texts.js")),
    ("js/base/times.js", include_bytes!("../assets/js/base/times.js")),
    ("js/chart.js", include_bytes!("../assets/js/chart.js")),
    ("js/docs.js", include_bytes!("../assets/js/docs.js")),
    (
        "js/lines/facets.js",
        include_bytes!("../assets/js/lines/facets.js"),
    ),
    (
        "js/lines/live_stream.js",
        include_bytes!("../assets/js/lines/live_stream.js"),
    ),
    (
        "js/lines/live_worker.js",
        include_bytes!("../assets/js/lines/live_worker.js"),
    ),
    (
        "js/lines/log_row.js",
        include_bytes!("../assets/js/lines/log_row.js"),
    ),
    ("js/live.js", include_bytes!("../assets/js/live.js")),
    (
        "js/range/histogram.js",
        include_bytes!("../assets/js/range/histogram.js"),
    ),
    (
        "js/range/time_range.js",
        include_bytes!("../assets/js/range/time_range.js"),
    ),
    ("js/search.js", include_bytes!("../assets/js/search.js")),
    ("js/shell.js", include_bytes!("../assets/js/shell.js")),
    ("js/view.js", include_bytes!("../assets/js/view.js")),
    ("js/windows.js", include_bytes!("../assets/js/windows.js")),
];

/// The first bytes of the hash over all files, in hexadecimal.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for (name, contents) in FILES {
        hash.update(name.as_bytes());
        hash.update(contents);
    }
    logferry_text::hex(&hash.finalize()[..6])
});

/// The address of the folder of the files.
pub(crate) fn folder() -> String {
    format!("/assets/{}", *VERSION)
}

/// The route of the files. They need no login: the login page has some.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/assets/{version}/{*name}", get(serve))
}

async fn serve(
    Path((version, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let file = FILES.iter().find(|(known, _)| *known == name);
    let (name, contents) = file.ok_or_else(|| Problem::not_found("there is no such file here"))?;
    let tag = HeaderValue::from_str(&format!("\"{}\"", *VERSION));
    let tag = tag.unwrap_or(HeaderValue::from_static("\"\""));
    // A page of the version before asks for its own address: it gets today's file, and does not keep it.
    let kept = if version == *VERSION {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let fixed = [
        (CACHE_CONTROL, HeaderValue::from_static(kept)),
        (CONTENT_TYPE, HeaderValue::from_static(media_type(name))),
        (ETAG, tag.clone()),
    ];
    if headers.get(IF_NONE_MATCH).is_some_and(|known| *known == tag) {
        return Ok((StatusCode::NOT_MODIFIED, fixed).into_response());
    }
    Ok((fixed, *contents).into_response())
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "json" => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}
