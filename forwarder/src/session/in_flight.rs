//! The batches on their publish_method over one session, each an [`PublishAttempt`] of its own, and the letters. No connection and no ledger
//! in here: the caller moves the bytes of the [`SftpClient`], hands over its events, and does what attempts need besides.

use std::collections::BTreeMap;
use std::{io, mem};

use logferry_sftp::{JobEvent, JobId, SftpClient, UploadSource};

use crate::error::DeliveryError;
use crate::publish::attempt::{Delivered, NextAction, PublishAttempt};
use crate::schedule::plan::DeliveryTask;
use crate::schedule::progress::TransferProgress;
use crate::session::letter::Letters;
use crate::session::remote_dirs::{AwaitingDir, DirRequest, RemoteDirs};

/// A batch that is no longer in in_flight, and what came of it.
pub(crate) type Completed = (DeliveryTask, Result<Delivered, DeliveryError>);

/// All batches in in_flight.
#[derive(Debug, Default)]
pub(crate) struct AttemptsInFlight {
    /// By the job that each waits for.
    attempts: BTreeMap<JobId, PublishAttempt>,
    /// Those that need what is not the client's to do.
    blocked: Vec<PublishAttempt>,
    /// Those that wait for a folder.
    waiting: BTreeMap<JobId, AwaitingDir>,
    remote_dirs: RemoteDirs,
    pub(crate) letters: Letters,
}

impl AttemptsInFlight {
    /// The first over a connection, or, with what the last one knew of its remote_dirs, a further one.
    pub(crate) fn new(remote_dirs: RemoteDirs) -> Self {
        Self {
            remote_dirs,
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.attempts.len() + self.blocked.len() + self.waiting.len() + self.letters.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes out the attempts that need something; they are to be launched again when they have it.
    pub(crate) fn take_blocked(&mut self) -> Vec<PublishAttempt> {
        mem::take(&mut self.blocked)
    }

    /// Sends an attempt on its publish_method, or on its further publish_method.
    pub(crate) fn start(&mut self, attempt: PublishAttempt, client: &mut SftpClient) -> Option<Completed> {
        let asked = self.remote_dirs.ask(attempt, client);
        self.after(asked, client)
    }

    fn after(&mut self, asked: DirRequest, client: &mut SftpClient) -> Option<Completed> {
        match asked {
            DirRequest::Ready(attempt) => self.advance(attempt, client),
            DirRequest::Waiting(job, waiting) => {
                self.waiting.insert(job, waiting);
                None
            }
            DirRequest::Refused(attempt, refusal) => Some((attempt.into_task(), Err(refusal.into()))),
        }
    }

    /// Takes what happened; the batch that completed by it, if one did.
    pub(crate) fn on_event(&mut self, event: JobEvent, client: &mut SftpClient) -> Option<Completed> {
        let completed = self.take(event, client);
        if let Some((_, Err(_))) = completed {
            self.remote_dirs.forget();
        }
        completed
    }

    fn take(&mut self, event: JobEvent, client: &mut SftpClient) -> Option<Completed> {
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
                    let asked = self.remote_dirs.on_ended(waiting, result, client);
                    return self.after(asked, client);
                }
                let mut attempt = self.attempts.remove(&job)?;
                match attempt.on_ended(result) {
                    Ok(()) => self.advance(attempt, client),
                    Err(error) => Some((attempt.into_task(), Err(error))),
                }
            }
        }
    }

    /// The batches that are in in_flight when the session is over.
    pub(crate) fn into_tasks(self) -> Vec<DeliveryTask> {
        let waiting = self.waiting.into_values().map(|waiting| waiting.attempt);
        let attempts = self.attempts.into_values().chain(self.blocked).chain(waiting);
        attempts.map(PublishAttempt::into_task).collect()
    }

    /// How far each batch is.
    pub(crate) fn progress(&self) -> impl Iterator<Item = TransferProgress> {
        self.attempts.values().map(PublishAttempt::progress)
    }

    /// What is known of the remote_dirs, for the next in_flight over the same connection.
    pub(crate) fn into_remote_dirs(self) -> RemoteDirs {
        self.remote_dirs
    }

    fn advance(&mut self, mut attempt: PublishAttempt, client: &mut SftpClient) -> Option<Completed> {
        match attempt.next(client) {
            NextAction::Job(job) => {
                self.attempts.insert(job, attempt);
                None
            }
            NextAction::AttemptNeed => {
                self.blocked.push(attempt);
                None
            }
            NextAction::Done => Some(attempt.end()),
        }
    }
}

impl UploadSource for AttemptsInFlight {
    fn fill(&mut self, job: JobId, offset: u64, block: &mut [u8]) -> io::Result<()> {
        match self.attempts.get_mut(&job) {
            Some(attempt) => attempt.fill(block),
            None => self.letters.fill(job, offset, block),
        }
    }
}

#[cfg(test)]
mod tests;
