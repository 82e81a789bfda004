//! Asks roles of the relay host to do something, and takes what came of it.

use std::error::Error;
use std::time::Duration;

use jiff::Timestamp;
use logferry_requests::{ConsoleRequest, LIFETIME, RequestFolder, RequestedAction};

use super::state::AppState;
use crate::access::secret_text;
use crate::answer::problem::Problem;
use crate::error::ConsoleError;
use crate::host::blocking;

/// How often outcomes are looked for while some are missing.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A request that nobody has carried out after its lifetime and this has no taker.
const GRACE: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

impl AppState {
    /// Asks for an action; returns the name of the request.
    pub(crate) async fn ask(&self, action: RequestedAction, who: String) -> Result<String, Problem> {
        let secret = secret_text::new_secret().map_err(|error| Problem::internal(&error))?;
        let request = ConsoleRequest {
            id: secret.chars().take(20).collect(),
            at: Timestamp::now(),
            who,
            action,
        };
        let state = self.clone();
        blocking(move || {
            state.database.run_here(|db| db.add_request(&request))?;
            let folder = RequestFolder::of(&state.settings.state_dir);
            folder
                .put(&request)
                .map_err(|error| Problem::internal(&logferry_text::error_chain(&error)))?;
            Ok(request.id)
        })
        .await
    }

    /// Removes the files of requests that are over. Earlier versions left one if they were killed at the wrong moment.
    fn remove_left_files(&self) -> Result<(), ConsoleError> {
        let folder = RequestFolder::of(&self.settings.state_dir);
        // A request is in the database before it is a file, so the files are listed first.
        let there = folder.list()?;
        let open = self.database.run_here(|db| db.open_requests())?;
        let is_open = |request: &ConsoleRequest| open.iter().any(|row| row.request.id == request.id);
        for request in there.iter().filter(|request| !is_open(request)) {
            folder.remove(&request.id)?;
        }
        Ok(())
    }

    /// Takes outcomes until the console stops.
    pub(crate) async fn take_outcomes(self) {
        let state = self.clone();
        let removed = tokio::task::spawn_blocking(move || state.remove_left_files()).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(
                error = &error as &dyn Error,
                "files of requests that are over cannot be removed now; the next start of the console tries again"
            );
        }
        loop {
            let state = self.clone();
            let taken = tokio::task::spawn_blocking(move || state.take_outcomes_once()).await;
            if let Ok(Err(error)) = taken {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "what came of requests cannot be read now; the console tries again"
                );
            }
            let pause = tokio::time::sleep(LOOK_INTERVAL);
            if self.stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    /// The file goes first: a crash before the end of the row leaves both to the next pass, as the outcome is in the ledger.
    fn take_outcomes_once(&self) -> Result<(), ConsoleError> {
        let open = self.database.run_here(|db| db.open_requests())?;
        if open.is_empty() {
            return Ok(());
        }
        let folder = RequestFolder::of(&self.settings.state_dir);
        let there = folder.list()?;
        let now = Timestamp::now();
        for row in open {
            let request = row.request;
            let outcome = self
                .host
                .read_here(|ledger| ledger.request_outcome(&request.id))?;
            let is_lost = now.duration_since(request.at) > LIFETIME + GRACE;
            let outcome = outcome.or_else(|| is_lost.then(|| "not done: no role has taken it".to_owned()));
            if let Some(outcome) = outcome {
                folder.remove(&request.id)?;
                self.database
                    .run_here(|db| db.end_request(&request, &outcome, now))?;
            } else if !there.contains(&request) && !request.is_over(now) {
                folder
                    .put(&request)
                    .map_err(|error| ConsoleError::Refused(error.to_string()))?;
            }
        }
        Ok(())
    }
}
