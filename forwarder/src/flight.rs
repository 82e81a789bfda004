//! The batches on their way over one session, each an [`Attempt`] of its own, and the letters. No connection and no ledger
//! in here: the caller moves the bytes of the [`SftpClient`], hands over its events, and does what attempts need besides.

use std::collections::BTreeMap;
use std::{io, mem};

use logferry_sftp::{JobEvent, JobId, SftpClient, UploadSource};

use crate::attempt::{Attempt, Delivered, Next};
use crate::error::DeliveryError;
use crate::folders::{Asked, Folders, Waiting};
use crate::letter::Letters;
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
    /// Those that wait for a folder.
    waiting: BTreeMap<JobId, Waiting>,
    folders: Folders,
    pub(crate) letters: Letters,
}

impl Flight {
    /// The first over a connection, or, with what the last one knew of its folders, a further one.
    pub(crate) fn new(folders: Folders) -> Self {
        Self {
            folders,
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.attempts.len() + self.needy.len() + self.waiting.len() + self.letters.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes out the attempts that need something; they are to be launched again when they have it.
    pub(crate) fn take_needy(&mut self) -> Vec<Attempt> {
        mem::take(&mut self.needy)
    }

    /// Sends an attempt on its way, or on its further way.
    pub(crate) fn launch(&mut self, attempt: Attempt, client: &mut SftpClient) -> Option<Landed> {
        let asked = self.folders.ask(attempt, client);
        self.after(asked, client)
    }

    fn after(&mut self, asked: Asked, client: &mut SftpClient) -> Option<Landed> {
        match asked {
            Asked::There(attempt) => self.go_on(attempt, client),
            Asked::Waits(job, waiting) => {
                self.waiting.insert(job, waiting);
                None
            }
            Asked::Refused(attempt, refusal) => Some((attempt.into_task(), Err(refusal.into()))),
        }
    }

    /// Takes what happened; the batch that landed by it, if one did.
    pub(crate) fn on_event(&mut self, event: JobEvent, client: &mut SftpClient) -> Option<Landed> {
        let landed = self.take(event, client);
        if let Some((_, Err(_))) = landed {
            self.folders.forget();
        }
        landed
    }

    fn take(&mut self, event: JobEvent, client: &mut SftpClient) -> Option<Landed> {
        match event {
            JobEvent::Data { job, data } if self.letters.has(job) => {
                if !self.letters.on_data(job, &data) {
                    client.stop_reading(job);
                }
                None
            }
            JobEvent::Ended { job, result } if self.letters.has(job) => {
                self.letters.on_ended(job, result, client);
                None
            }
            JobEvent::Data { job, data } => {
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
            JobEvent::Ended { job, result } => {
                if let Some(waiting) = self.waiting.remove(&job) {
                    let asked = self.folders.on_ended(waiting, result, client);
                    return self.after(asked, client);
                }
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
        let waiting = self.waiting.into_values().map(|waiting| waiting.attempt);
        let attempts = self.attempts.into_values().chain(self.needy).chain(waiting);
        attempts.map(Attempt::into_task).collect()
    }

    /// How far each batch is.
    pub(crate) fn progress(&self) -> impl Iterator<Item = Progress> {
        self.attempts.values().map(Attempt::progress)
    }

    /// What is known of the folders, for the next flight over the same connection.
    pub(crate) fn into_folders(self) -> Folders {
        self.folders
    }

    fn go_on(&mut self, mut attempt: Attempt, client: &mut SftpClient) -> Option<Landed> {
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

impl UploadSource for Flight {
    fn fill(&mut self, job: JobId, offset: u64, block: &mut [u8]) -> io::Result<()> {
        match self.attempts.get_mut(&job) {
            Some(attempt) => attempt.fill(block),
            None => self.letters.fill(job, offset, block),
        }
    }
}

#[cfg(test)]
mod tests;
