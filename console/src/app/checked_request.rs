//! What people may ask other roles for, and whether it can be done.

use logferry_inspection::status::known_subjects;
use logferry_requests::RequestedAction;
use logferry_text::nearest;

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
                // No time ends a silence, also of what is gone since.
                if seconds > 0 {
                    require_subject(self, subject.clone()).await?;
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

/// Refuses a subject that no incident can be about, as `logferry silence` does: the silence would be of nothing.
async fn require_subject(state: &AppState, subject: String) -> Result<(), Problem> {
    let shared = &state.settings.shared;
    let sources = shared.expected_sources.iter().map(ToString::to_string);
    let groups = shared.host.groups.iter().map(ToString::to_string);
    let destinations = shared.host.destinations.iter().map(|it| it.name.to_string());
    let configured: Vec<_> = sources.chain(groups).chain(destinations).collect();
    let asked = subject.clone();
    let known = state
        .host
        .ledger(move |ledger| known_subjects(ledger, &asked, configured))
        .await?;
    let Some(known) = known.filter(|known| !known.contains(&subject)) else {
        return Ok(());
    };
    let near = nearest(&subject, known.iter().map(String::as_str)).unwrap_or_default();
    let subject = shown(&subject);
    Err(Problem::bad_request(format!(
        "there is no subject {subject}; the nearest known one is {near}"
    )))
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
