//! What people may ask other roles for, and whether it can be done.

use logferry_requests::RequestedAction;

use super::state::AppState;
use crate::answer::problem::{Problem, shown};

/// Batches of one request.
const BATCHES_MAX: usize = 200;
/// Characters of a reason, as `logferry silence` takes them.
const WHY_MAX: usize = 200;
const SUBJECT_MAX: usize = 500;
/// A silence ends by itself within this.
const SILENCE_MAX: u64 = 90 * 86_400;

impl AppState {
    /// The action, if it can be done at all.
    pub(crate) async fn checked(&self, new: RequestedAction) -> Result<RequestedAction, Problem> {
        Ok(match new {
            RequestedAction::Retry { batches } => RequestedAction::Retry {
                batches: known_batches(self, batches).await?,
            },
            RequestedAction::Resend { batches, destination } => {
                let known = &self.settings.shared.host.destinations;
                if let Some(name) = &destination
                    && !known.iter().any(|known| known.name.as_str() == name)
                {
                    let name = shown(name);
                    return Err(Problem::bad_request(format!("there is no destination {name}")));
                }
                RequestedAction::Resend {
                    batches: known_batches(self, batches).await?,
                    destination,
                }
            }
            RequestedAction::Silence {
                subject,
                seconds,
                why,
            } => {
                let (subject, why) = (subject.trim().to_owned(), why.trim().to_owned());
                let is_line = |text: &str, most| {
                    !text.is_empty() && text.chars().count() <= most && !text.contains(char::is_control)
                };
                if !is_line(&subject, SUBJECT_MAX) || !is_line(&why, WHY_MAX) || seconds > SILENCE_MAX {
                    return Err(Problem::bad_request(format!(
                        "write a subject, one line of at most {WHY_MAX} characters why, and at most {SILENCE_MAX} seconds"
                    )));
                }
                RequestedAction::Silence {
                    subject,
                    seconds,
                    why,
                }
            }
        })
    }
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
