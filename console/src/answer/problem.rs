//! Errors as RFC 9457 problem details. `error_pages` makes pages of them for people.

use std::borrow::Cow;
use std::error::Error;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use logferry_durable::DiskError;
use logferry_inspection::InspectionError;
use logferry_ledger::LedgerError;
use logferry_numbers::IndexError;
use logferry_search::SearchError;
use logferry_store::StoreError;
use logferry_text::error_chain;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ConsoleError;

/// The media type (RFC 9457, section 3).
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not answered as it was meant, after RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the status says the kind.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// The phrase of the status.
    pub(crate) title: &'static str,
    /// The status of the answer.
    pub(crate) status: u16,
    /// What happened, and what to do.
    pub(crate) detail: String,
    /// Seconds to wait.
    #[serde(skip)]
    pub(crate) retry_after: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// 400.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401.
    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 403.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 429.
    pub(crate) fn too_many(detail: impl Into<String>, retry_after: u64) -> Self {
        let retry_after = Some(retry_after.max(1));
        Self {
            retry_after,
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
        }
    }

    /// 503: what is read is not there now.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self {
            retry_after: Some(5),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }

    /// 500. The log has the reason; whoever asked does not need it.
    pub(crate) fn internal(reason: &str) -> Self {
        tracing::error!(error = reason, "the console could not answer a request");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the console could not answer; its log has the reason",
        )
    }

    /// The status.
    pub(crate) fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What cannot be read now: it may be there later, or an operator has to look. The text is for people who may look anyway.
    fn of_read(error: &(dyn Error + 'static)) -> Self {
        let text = error_chain(error);
        tracing::warn!(error = %text, "the console cannot read what it shows");
        Self::unavailable(text)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status_code(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.retry_after
            && let Ok(value) = HeaderValue::from_str(&seconds.to_string())
        {
            headers.insert(RETRY_AFTER, value);
        }
        if self.status_code() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<ConsoleError> for Problem {
    fn from(error: ConsoleError) -> Self {
        match error {
            ConsoleError::Refused(text) => Self::bad_request(text),
            ConsoleError::Ledger(error) => error.into(),
            ConsoleError::Index(error) => error.into(),
            error => Self::internal(&error_chain(&error)),
        }
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        Self::of_read(&error)
    }
}

impl From<IndexError> for Problem {
    fn from(error: IndexError) -> Self {
        Self::of_read(&error)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::of_read(&error)
    }
}

impl From<SearchError> for Problem {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Stopped => Self::unavailable(error.to_string()),
            error => Self::of_read(&error),
        }
    }
}

impl From<InspectionError> for Problem {
    fn from(error: InspectionError) -> Self {
        Self::of_read(&error)
    }
}

impl From<DiskError> for Problem {
    fn from(error: DiskError) -> Self {
        Self::of_read(&error)
    }
}

/// A sentence for `detail` from a value of the request: short, and without control characters.
pub(crate) fn shown(value: &str) -> Cow<'_, str> {
    const LENGTH_MAX: usize = 100;
    if value.len() <= LENGTH_MAX && !value.contains(char::is_control) {
        return Cow::Borrowed(value);
    }
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    Cow::Owned(value.chars().take(LENGTH_MAX).map(visible).collect())
}
