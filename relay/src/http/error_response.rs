//! Error responses: the status, and one line that says why.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use logferry_protocol::ID_TAKEN_HEADER;
use logferry_protocol::names::SourceId;

use super::{PLAIN_TEXT, response};
use crate::auth::AuthorizationError;

#[derive(Debug)]
pub(crate) struct ErrorResponse {
    pub(crate) status: StatusCode,
    pub(crate) reason: String,
    /// The source that was refused, if it is not the peer's address.
    pub(crate) source: Option<SourceId>,
    /// Whether the sender must make a new id.
    is_id_taken: bool,
}

impl ErrorResponse {
    pub(crate) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
            source: None,
            is_id_taken: false,
        }
    }

    pub(crate) fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    pub(crate) fn wait(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    }

    /// For a process whose id another process uses.
    pub(crate) fn id_taken() -> Self {
        let reason =
            "another process uses this sender's id, from a copy of its state folder; this one makes a new id";
        Self {
            is_id_taken: true,
            ..Self::new(StatusCode::CONFLICT, reason)
        }
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = response(self.status, PLAIN_TEXT, self.reason + "\n");
        let mut set = |name, value| {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value))
        };
        if self.status.is_client_error() {
            // Close after a malformed request: its framing cannot be trusted.
            set(CONNECTION, "close");
        }
        if self.is_id_taken {
            set(HeaderName::from_static(ID_TAKEN_HEADER), "1");
        }
        if self.status == StatusCode::UNAUTHORIZED {
            set(WWW_AUTHENTICATE, "Bearer");
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            set(RETRY_AFTER, "1");
        }
        response
    }
}

impl From<AuthorizationError> for ErrorResponse {
    fn from(error: AuthorizationError) -> Self {
        let status = match error {
            AuthorizationError::NotListed { .. }
            | AuthorizationError::Certificate { .. }
            | AuthorizationError::OtherSource { .. } => StatusCode::FORBIDDEN,
            AuthorizationError::Malformed(_) => StatusCode::BAD_REQUEST,
        };
        Self {
            source: error.source_id().cloned(),
            ..Self::new(status, error.to_string())
        }
    }
}
