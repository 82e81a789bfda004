//! Asks the server for its free space before a failure is classified: OpenSSH and others answer a full disk or an
//! exceeded quota with a general failure. No connection in here.

use logferry_sftp::{Extension, JobEvent, JobId, JobOutcome, SftpClient};

use super::in_flight::Completed;
use crate::error::{DeliveryError, shortage};

/// The failed items that wait for the server's answer.
#[derive(Debug, Default)]
pub(crate) struct SpaceCheck {
    query: Option<JobId>,
    held: Vec<Completed>,
}

impl SpaceCheck {
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Holds an item whose failure may be a lack of space, and asks the server. Returns any other item.
    pub(crate) fn hold_if_ambiguous(
        &mut self,
        completed: Completed,
        directory: &str,
        client: &mut SftpClient,
    ) -> Option<Completed> {
        let is_ambiguous = completed.1.as_ref().is_err_and(DeliveryError::may_be_no_space);
        if !is_ambiguous || !client.supports(Extension::Statvfs) {
            return Some(completed);
        }
        self.held.push(completed);
        self.query.get_or_insert_with(|| client.free_space(directory));
        None
    }

    /// If the event is the server's answer, returns the held items with their errors corrected. `in_flight`: bytes that the
    /// items in flight have yet to write.
    pub(crate) fn on_event(&mut self, event: JobEvent, in_flight: u64) -> Result<Vec<Completed>, JobEvent> {
        let result = match event {
            JobEvent::Ended { job, result } if self.query == Some(job) => result,
            other => return Err(other),
        };
        self.query = None;
        let held = std::mem::take(&mut self.held);
        let held_bytes: u64 = held.iter().map(|(task, _)| task.bytes()).sum();
        let needed = held_bytes.saturating_add(in_flight);
        let free = match result {
            Ok(JobOutcome::Free(free)) if free.is_too_little_for(needed) => free,
            _ => return Ok(held),
        };
        let no_space = |(task, outcome): Completed| match outcome {
            Err(DeliveryError::Remote(source)) => (
                task,
                Err(DeliveryError::NoSpace {
                    shortage: shortage(&free, needed),
                    source,
                }),
            ),
            other => (task, other),
        };
        Ok(held.into_iter().map(no_space).collect())
    }

    /// The held items with their first errors, when the connection is gone.
    pub(crate) fn into_completed(self) -> Vec<Completed> {
        self.held
    }
}
