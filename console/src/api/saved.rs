//! Saved searches, and the trail of actions.

use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::answer::input::{JsonInput, PathInput, QueryInput};
use crate::answer::json_body::JsonBody;
use crate::answer::problem::Problem;
use crate::app::state::AppState;
use crate::login::principal::{Actor, Reader};

const NAME_MAX: usize = 100;
const QUERY_MAX: usize = 4096;
const ACTIONS: usize = 100;
const ACTIONS_MAX: usize = 1000;

/// A search that somebody keeps for all.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SavedSearchJson {
    name: String,
    /// What stands behind the question mark in the address of `/search`.
    query: String,
    created_at: Timestamp,
    created_by: String,
}

/// A search to keep.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSearch {
    /// 1 to 100 characters; one with the same name is replaced.
    name: String,
    /// At most 4096 bytes.
    query: String,
}

/// The saved searches
#[utoipa::path(get, path = "/searches", responses(
    (status = 200, body = Vec<SavedSearchJson>),
    (status = 401, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn searches(
    State(state): State<AppState>,
    _: Reader,
) -> Result<JsonBody<Vec<SavedSearchJson>>, Problem> {
    let rows = state.database.run(|db| db.saved_searches()).await?;
    let rows = rows.into_iter().map(|row| SavedSearchJson {
        name: row.name,
        query: row.query,
        created_at: row.created_at,
        created_by: row.created_by,
    });
    Ok(JsonBody(rows.collect()))
}

/// Save a search
#[utoipa::path(post, path = "/searches", request_body = NewSearch, responses(
    (status = 201, body = NewSearchSaved),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 401, body = Problem, content_type = "application/problem+json"),
    (status = 403, body = Problem, content_type = "application/problem+json"),
    (status = 409, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn save(
    State(state): State<AppState>,
    Actor(principal): Actor,
    JsonInput(new): JsonInput<NewSearch>,
) -> Result<(StatusCode, JsonBody<NewSearchSaved>), Problem> {
    let name = new.name.trim().to_owned();
    let is_plain = !name.contains(char::is_control) && !new.query.contains(char::is_control);
    if name.is_empty() || name.chars().count() > NAME_MAX || new.query.len() > QUERY_MAX || !is_plain {
        return Err(Problem::bad_request(format!(
            "a name has 1 to {NAME_MAX} characters, a query at most {QUERY_MAX} bytes, and both are one line"
        )));
    }
    let answer = NewSearchSaved { name: name.clone() };
    let saved = state
        .database
        .run(move |db| db.save_search(&name, &new.query, &principal.name, Timestamp::now()))
        .await?;
    if saved {
        return Ok((StatusCode::CREATED, JsonBody(answer)));
    }
    Err(Problem::new(
        StatusCode::CONFLICT,
        "there are too many saved searches; remove some first",
    ))
}

/// A search that is saved.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewSearchSaved {
    name: String,
}

/// Remove a saved search
#[utoipa::path(delete, path = "/searches/{name}", params(("name" = String, Path, description = "Its name")), responses(
    (status = 204),
    (status = 401, body = Problem, content_type = "application/problem+json"),
    (status = 403, body = Problem, content_type = "application/problem+json"),
    (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn remove(
    State(state): State<AppState>,
    Actor(principal): Actor,
    PathInput(name): PathInput<String>,
) -> Result<StatusCode, Problem> {
    let removed = state
        .database
        .run(move |db| db.remove_search(&name, &principal.name, Timestamp::now()))
        .await?;
    if removed {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found("there is no saved search of this name"))
}

/// Which entries.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ActionParams {
    /// Only about this: a line's id, a batch, a subject.
    subject: Option<String>,
    /// Behind the entry of this number.
    before: Option<i64>,
    /// 1 to 1000 [default: 100].
    limit: Option<usize>,
}

/// What somebody did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActionJson {
    /// Grows with each entry; `before` takes it.
    id: i64,
    at: Timestamp,
    who: String,
    action: String,
    subject: String,
    detail: String,
}

/// Who did what, the newest first
#[utoipa::path(get, path = "/actions", params(ActionParams), responses(
    (status = 200, body = Vec<ActionJson>),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 401, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn actions(
    State(state): State<AppState>,
    _: Reader,
    QueryInput(params): QueryInput<ActionParams>,
) -> Result<JsonBody<Vec<ActionJson>>, Problem> {
    let limit = params.limit.unwrap_or(ACTIONS).clamp(1, ACTIONS_MAX);
    let rows = state
        .database
        .run(move |db| db.actions(params.before, params.subject.as_deref(), limit))
        .await?;
    let rows = rows.into_iter().map(|row| ActionJson {
        id: row.id,
        at: row.at,
        who: row.who,
        action: row.action,
        subject: row.subject,
        detail: row.detail,
    });
    Ok(JsonBody(rows.collect()))
}
