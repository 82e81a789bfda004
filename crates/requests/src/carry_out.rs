//! Carries requests out, each once.

use std::error::Error;

use jiff::Timestamp;
use logferry_durable::DiskError;
use logferry_ledger::{Ledger, LedgerError};

use crate::folder::RequestFolder;
use crate::request::ConsoleRequest;

/// Requests cannot be carried out now.
#[derive(Debug, thiserror::Error)]
pub enum CarryOutError {
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The folder cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Carries out the requests that have no outcome yet and that `act` is for; returns how many these were.
///
/// `act` changes the ledger and says what came of it, as a sentence; `None`: this request is for another role. Its changes and the
/// outcome are one transaction. After an error of it the request is tried again in the next pass.
pub fn carry_out_all<E: Error + From<LedgerError> + 'static>(
    folder: &RequestFolder,
    ledger: &mut Ledger,
    now: Timestamp,
    mut act: impl FnMut(&mut Ledger, &ConsoleRequest) -> Result<Option<String>, E>,
) -> Result<usize, CarryOutError> {
    let mut done = 0;
    for request in folder.list()? {
        if ledger.request_outcome(&request.id)?.is_some() {
            continue;
        }
        match carry_out(ledger, &request, now, &mut act) {
            Ok(true) => done += 1,
            Ok(false) => {}
            Err(error) => {
                let (id, who) = (&request.id, &request.who);
                tracing::warn!(
                    error = &error as &dyn Error,
                    "request {id} of {who} cannot be carried out now; it is tried again"
                );
            }
        }
    }
    Ok(done)
}

fn carry_out<E: Error + From<LedgerError>>(
    ledger: &mut Ledger,
    request: &ConsoleRequest,
    now: Timestamp,
    act: &mut impl FnMut(&mut Ledger, &ConsoleRequest) -> Result<Option<String>, E>,
) -> Result<bool, E> {
    ledger.begin_together()?;
    let outcome = if request.is_over(now) {
        Ok(Some("not done: it was asked for more than a day ago".to_owned()))
    } else {
        act(ledger, request)
    };
    let recorded = outcome.and_then(|outcome| {
        let Some(outcome) = outcome else { return Ok(false) };
        tracing::info!("{}, asked for by {}: {outcome}", request.id, request.who);
        ledger.record_request(&request.id, &outcome, now)?;
        Ok(true)
    });
    match recorded {
        Ok(is_done) => {
            ledger.end_together()?;
            Ok(is_done)
        }
        Err(error) => {
            ledger.undo_together();
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::request::RequestedAction;

    fn silence(id: &str, at: Timestamp) -> ConsoleRequest {
        ConsoleRequest {
            id: id.to_owned(),
            at,
            who: "ops".to_owned(),
            action: RequestedAction::Silence {
                subject: "web-1".to_owned(),
                seconds: 60,
                why: "test".to_owned(),
            },
        }
    }

    #[test]
    fn request_is_carried_out_once_and_an_error_undoes_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open_or_create(dir.path()).unwrap();
        let (folder, now) = (RequestFolder::of(&dir.path().join("console")), Timestamp::now());
        folder.put(&silence("one", now)).unwrap();
        let mut acts = 0;
        let mut run = |ledger: &mut Ledger, fails: bool| {
            carry_out_all(&folder, ledger, now, |ledger, request| {
                acts += 1;
                let silence = logferry_ledger::Silence {
                    subject: request.id.clone(),
                    since: now,
                    until: now + SignedDuration::from_secs(60),
                    why: "test".to_owned(),
                };
                ledger.silence(&silence)?;
                if fails {
                    let path = dir.path().to_owned();
                    return Err(LedgerError::Missing { path, trace: None });
                }
                Ok(Some("silenced".to_owned()))
            })
            .unwrap()
        };
        assert_eq!(run(&mut ledger, true), 0);
        assert_eq!(ledger.silences(now).unwrap(), [], "undone");
        assert_eq!(run(&mut ledger, false), 1);
        assert_eq!(ledger.silences(now).unwrap().len(), 1);
        assert_eq!(
            ledger.request_outcome("one").unwrap().as_deref(),
            Some("silenced")
        );
        assert_eq!(run(&mut ledger, false), 0);
        assert_eq!(acts, 2, "not once more");
    }

    #[test]
    fn request_of_yesterday_is_not_carried_out_and_one_for_another_role_waits() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open_or_create(dir.path()).unwrap();
        let (folder, now) = (RequestFolder::of(&dir.path().join("console")), Timestamp::now());
        folder
            .put(&silence("old", now - SignedDuration::from_hours(25)))
            .unwrap();
        folder.put(&silence("other", now)).unwrap();
        let done = carry_out_all(&folder, &mut ledger, now, |_, _| Ok::<_, LedgerError>(None));
        assert_eq!(done.unwrap(), 1);
        let outcome = ledger.request_outcome("old").unwrap().unwrap();
        assert!(outcome.starts_with("not done"), "{outcome}");
        assert_eq!(ledger.request_outcome("other").unwrap(), None);
    }
}
