//! Lists with a cursor: the body is the list, as it is without one; the header `Link` (RFC 8288) has the address of what follows.

use axum::http::HeaderValue;
use axum::http::header::LINK;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::json_body::JsonBody;

/// Rows, and the path with the query of those that follow.
#[derive(Debug)]
pub(crate) struct ListedPage<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) next: Option<String>,
}

impl<R> ListedPage<R> {
    /// The same page, with other rows.
    pub(crate) fn map<T>(self, row: impl FnMut(R) -> T) -> ListedPage<T> {
        ListedPage {
            rows: self.rows.into_iter().map(row).collect(),
            next: self.next,
        }
    }
}

impl<T: Serialize> IntoResponse for ListedPage<T> {
    fn into_response(self) -> Response {
        let mut response = JsonBody(self.rows).into_response();
        let link = self
            .next
            .map(|path| HeaderValue::from_str(&format!("<{path}>; rel=\"next\"")));
        if let Some(Ok(link)) = link {
            response.headers_mut().insert(LINK, link);
        }
        response
    }
}
