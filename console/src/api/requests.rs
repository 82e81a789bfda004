//! What roles of the relay host are asked to do: retry, resend, silence.

use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use logferry_requests::RequestedAction;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::login::principal::{Actor, Reader};
use crate::answer::input::JsonInput;
use crate::answer::json_body::JsonBody;
use crate::answer::problem::{Problem, shown};
use crate::app::state::AppState;

/// Batches of one request.
const BATCHES_MAX: usize = 200;
/// Characters of a reason, as `logferry silence` takes them.
const WHY_MAX: usize = 200;
const SUBJECT_MAX: usize = 500;
/// A silence ends by itself within this.
const SILENCE_MAX: u64 = 90 * 86_400;

/// Something that a role is asked to do.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum NewRequest {
    /// Failed batches back to ready.
    Retry {
        /// Their names, 1 to 200.
        batches: Vec<String>,
    },
    /// Delivered batches once more; no file there is overwritten.
    Resend {
        /// Their names, 1 to 200.
        batches: Vec<String>,
        /// Only to this destination.
        destination: Option<String>,
    },
    /// Nobody is told of a subject for a while.
    Silence {
        /// A source, destination, group or role, or the subject of an incident.
        subject: String,
        /// At most 7776000 (90 days); 0 ends a silence.
        seconds: u64,
        /// One line of at most 200 characters.
        why: String,
    },
}

/// A request that is taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RequestTaken {
    /// Its name in `GET /api/v1/requests`.
    id: String,
}

/// A request, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RequestJson {
    id: String,
    at: Timestamp,
    who: String,
    /// As it was asked for.
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    action: RequestedAction,
    /// What came of it, as a sentence; null: no role has carried it out yet.
    outcome: Option<String>,
    ended_at: Option<Timestamp>,
}

/// Ask a role to retry or resend batches, or to silence a subject
#[utoipa::path(post, path = "/requests", request_body = NewRequest,
    description = "The forwarder carries out `retry` and `resend`, the monitor `silence`, within seconds, once. `GET /api/v1/requests` says what \
        came of it.",
    responses(
    (status = 202, body = RequestTaken),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 401, body = Problem, content_type = "application/problem+json"),
    (status = 403, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn ask(
    State(state): State<AppState>,
    Actor(principal): Actor,
    JsonInput(new): JsonInput<NewRequest>,
) -> Result<(StatusCode, JsonBody<RequestTaken>), Problem> {
    let action = checked(&state, new).await?;
    let id = state.ask(action, principal.name).await?;
    Ok((StatusCode::ACCEPTED, JsonBody(RequestTaken { id })))
}

/// The requests of late, the newest first
#[utoipa::path(get, path = "/requests", responses(
    (status = 200, body = Vec<RequestJson>),
    (status = 401, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn requests(
    State(state): State<AppState>,
    _: Reader,
) -> Result<JsonBody<Vec<RequestJson>>, Problem> {
    let rows = state.database.run(|db| db.recent_requests()).await?;
    let rows = rows.into_iter().map(|row| RequestJson {
        id: row.request.id,
        at: row.request.at,
        who: row.request.who,
        action: row.request.action,
        outcome: row.outcome,
        ended_at: row.ended_at,
    });
    Ok(JsonBody(rows.collect()))
}

/// What is asked for, if it can be done at all.
pub(crate) async fn checked(state: &AppState, new: NewRequest) -> Result<RequestedAction, Problem> {
    Ok(match new {
        NewRequest::Retry { batches } => RequestedAction::Retry {
            batches: known_batches(state, batches).await?,
        },
        NewRequest::Resend { batches, destination } => {
            let known = &state.settings.shared.host.destinations;
            if let Some(name) = &destination
                && !known.iter().any(|known| known.name.as_str() == name)
            {
                let name = shown(name);
                return Err(Problem::bad_request(format!("there is no destination {name}")));
            }
            RequestedAction::Resend {
                batches: known_batches(state, batches).await?,
                destination,
            }
        }
        NewRequest::Silence { subject, seconds, why } => {
            let (subject, why) = (subject.trim().to_owned(), why.trim().to_owned());
            let is_line = |text: &str, most| {
                !text.is_empty() && text.chars().count() <= most && !text.contains(char::is_control)
            };
            if !is_line(&subject, SUBJECT_MAX) || !is_line(&why, WHY_MAX) || seconds > SILENCE_MAX {
                return Err(Problem::bad_request(format!(
                    "write a subject, one line of at most {WHY_MAX} characters why, and at most {SILENCE_MAX} seconds"
                )));
            }
            RequestedAction::Silence { subject, seconds, why }
        }
    })
}

async fn known_batches(state: &AppState, batches: Vec<String>) -> Result<Vec<String>, Problem> {
    if batches.is_empty() || batches.len() > BATCHES_MAX {
        return Err(Problem::bad_request(format!("name 1 to {BATCHES_MAX} batches")));
    }
    let names = batches.clone();
    let unknown = state
        .host
        .ledger(move |ledger| {
            for name in &names {
                if ledger.batch_named(name)?.is_none() {
                    return Ok(Some(name.clone()));
                }
            }
            Ok(None)
        })
        .await?;
    unknown.map_or(Ok(batches), |name| {
        let name = shown(&name);
        Err(Problem::bad_request(format!("there is no batch {name}")))
    })
}
