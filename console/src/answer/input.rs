//! What requests bring: the same as axum's extractors, but what is wrong with it is told as a problem.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// What stands behind the question mark.
#[derive(Debug)]
pub(crate) struct QueryInput<T>(pub(crate) T);

/// What stands in the path.
#[derive(Debug)]
pub(crate) struct PathInput<T>(pub(crate) T);

/// A body of JSON.
#[derive(Debug)]
pub(crate) struct JsonInput<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryInput<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|query| Self(query.0))
            .map_err(|error| Problem::bad_request(error.body_text()))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathInput<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0))
            .map_err(|error| Problem::bad_request(error.body_text()))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonInput<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = axum::Json::<T>::from_request(request, state).await;
        body.map(|body| Self(body.0))
            .map_err(|error| Problem::new(error.status(), error.body_text()))
    }
}
