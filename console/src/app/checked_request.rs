//! What people may ask other roles for, and whether it can be done.

use std::collections::BTreeSet;

use jiff::Timestamp;
use logferry_ledger::covers;
use logferry_requests::RequestedAction;
use logferry_text::nearest;

use super::state::AppState;
use crate::answer::problem::{Problem, shown};

/// The subject of the disk's rules.
const DISK: &str = "disk";
/// Roles, which incidents are about too.
const ROLES: [&str; 8] = [
    "sender",
    "relay",
    "forwarder",
    "monitor",
    "housekeeper",
    "indexer",
    "collector",
    "console",
];
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
    let mut known: BTreeSet<String> = ROLES.into_iter().map(str::to_owned).collect();
    known.insert(DISK.to_owned());
    known.extend(shared.expected_sources.iter().map(ToString::to_string));
    known.extend(shared.host.groups.iter().map(ToString::to_string));
    known.extend(shared.host.destinations.iter().map(|it| it.name.to_string()));
    let unknown = state
        .host
        .ledger(move |ledger| {
            let incidents = ledger.incidents(Timestamp::MAX)?;
            if incidents.iter().any(|it| covers(&subject, &it.subject)) {
                return Ok(None);
            }
            let sources = ledger.sources()?;
            known.extend(sources.iter().map(|it| it.source.to_string()));
            known.extend(sources.iter().map(|it| it.group.to_string()));
            known.extend(incidents.into_iter().map(|it| it.subject));
            if known.contains(&subject) {
                return Ok(None);
            }
            let near = nearest(&subject, known.iter().map(String::as_str)).unwrap_or(DISK);
            let subject = shown(&subject);
            Ok(Some(format!(
                "there is no subject {subject}; the nearest known one is {near}"
            )))
        })
        .await?;
    unknown.map_or(Ok(()), |text| Err(Problem::bad_request(text)))
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
