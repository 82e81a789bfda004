//! The batches on their way over one session, each an [`Attempt`] of its own. No connection and no ledger in here: the
//! caller moves the bytes of the [`Client`], hands over its events, and does what attempts need besides.

use std::collections::BTreeMap;
use std::{io, mem};

use logferry_sftp::{Client, Content, Event, JobId};

use crate::attempt::{Attempt, Delivered, Next};
use crate::error::DeliveryError;
use crate::plan::Task;
use crate::progress::Progress;

/// A batch that is no longer in flight, and what came of it.
pub(crate) type Landed = (Task, Result<Delivered, DeliveryError>);

/// All batches in flight.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// By the job that each waits for.
    attempts: BTreeMap<JobId, Attempt>,
    /// Those that need what is not the client's to do.
    needy: Vec<Attempt>,
}

impl Flight {
    pub(crate) fn len(&self) -> usize {
        self.attempts.len() + self.needy.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes out the attempts that need something; they are to be launched again when they have it.
    pub(crate) fn take_needy(&mut self) -> Vec<Attempt> {
        mem::take(&mut self.needy)
    }

    /// Sends an attempt on its way, or on its further way.
    pub(crate) fn launch(&mut self, attempt: Attempt, client: &mut Client) -> Option<Landed> {
        self.go_on(attempt, client)
    }

    /// Takes what happened; the batch that landed by it, if one did.
    pub(crate) fn on_event(&mut self, event: Event, client: &mut Client) -> Option<Landed> {
        match event {
            Event::Data { job, data } => {
                let attempt = self.attempts.get_mut(&job)?;
                match attempt.on_data(&data) {
                    Ok(true) => None,
                    Ok(false) => {
                        client.stop_reading(job);
                        None
                    }
                    Err(error) => {
                        client.stop_reading(job);
                        let attempt = self.attempts.remove(&job)?;
                        Some((attempt.into_task(), Err(error)))
                    }
                }
            }
            Event::Ended { job, result } => {
                let mut attempt = self.attempts.remove(&job)?;
                match attempt.on_ended(result) {
                    Ok(()) => self.go_on(attempt, client),
                    Err(error) => Some((attempt.into_task(), Err(error))),
                }
            }
        }
    }

    /// The batches that are in flight when the session is over.
    pub(crate) fn into_tasks(self) -> Vec<Task> {
        let attempts = self.attempts.into_values().chain(self.needy);
        attempts.map(Attempt::into_task).collect()
    }

    /// How far each batch is.
    pub(crate) fn progress(&self) -> impl Iterator<Item = Progress> {
        self.attempts.values().map(Attempt::progress)
    }

    fn go_on(&mut self, mut attempt: Attempt, client: &mut Client) -> Option<Landed> {
        match attempt.next(client) {
            Next::Job(job) => {
                self.attempts.insert(job, attempt);
                None
            }
            Next::Need => {
                self.needy.push(attempt);
                None
            }
            Next::Over => Some(attempt.end()),
        }
    }
}

impl Content for Flight {
    fn fill(&mut self, job: JobId, _: u64, block: &mut [u8]) -> io::Result<()> {
        match self.attempts.get_mut(&job) {
            Some(attempt) => attempt.fill(block),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

#[cfg(test)]
mod tests;
