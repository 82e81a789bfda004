//! Batches that failed for what may be a lack of room: the server is asked before they are judged, since OpenSSH and
//! others answer a full disk or quota with a failure like any other. No connection in here.

use logferry_sftp::{Extension, JobEvent, JobId, JobOutcome, SftpClient};

use crate::error::DeliveryError;
use crate::session::in_flight::Completed;

/// The batches, and the query they wait for.
#[derive(Debug, Default)]
pub(crate) struct SpaceCheck {
    query: Option<JobId>,
    batches: Vec<Completed>,
}

impl SpaceCheck {
    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Keeps a batch back if its failure is doubtful, and asks; gives back any other.
    pub(crate) fn hold_if_ambiguous(
        &mut self,
        completed: Completed,
        directory: &str,
        client: &mut SftpClient,
    ) -> Option<Completed> {
        let doubtful = completed.1.as_ref().is_err_and(DeliveryError::may_be_no_space);
        let can_be_asked = client
            .server()
            .is_some_and(|server| server.supports(Extension::Statvfs));
        if !doubtful || !can_be_asked {
            return Some(completed);
        }
        self.batches.push(completed);
        if self.query.is_none() {
            self.query = Some(client.free_space(directory));
        }
        None
    }

    /// Takes the answer, if the event is that, and gives the batches judged by it; `in_flight`: bytes of the batches
    /// that are on their publish_method beside them, which need room too.
    pub(crate) fn on_event(&mut self, event: JobEvent, in_flight: u64) -> Result<Vec<Completed>, JobEvent> {
        let result = match event {
            JobEvent::Ended { job, result } if self.query == Some(job) => result,
            other => return Err(other),
        };
        self.query = None;
        let mut batches = std::mem::take(&mut self.batches);
        let needed: u64 = batches.iter().map(|(task, _)| task.batch.contents.bytes).sum();
        if let Ok(JobOutcome::Free(free)) = result
            && free.is_too_little_for(needed.saturating_add(in_flight))
        {
            for (_, outcome) in &mut batches {
                *outcome = match std::mem::replace(outcome, Err(DeliveryError::Stopped)) {
                    Err(DeliveryError::Remote(source)) => Err(DeliveryError::NoSpace { free, source }),
                    other => other,
                };
            }
        }
        Ok(batches)
    }

    /// The batches as they were, when nobody is left to ask.
    pub(crate) fn into_batches(self) -> Vec<Completed> {
        self.batches
    }
}
