//! The attempts in flight over one session. No connection and no ledger in here: the caller moves the bytes of the
//! [`SftpClient`], passes its events in, and does what attempts need besides.

use std::collections::BTreeMap;
use std::{io, mem};

use logferry_ledger::TransferRecord;
use logferry_sftp::{JobEvent, JobId, SftpClient, UploadSource};

use super::remote_dirs::{AwaitingDir, DirRequest, RemoteDirs};
use crate::error::DeliveryError;
use crate::publish::attempt::{Delivered, NextAction, PublishAttempt};
use crate::publish::task::DeliveryTask;

/// An item that is no longer in flight, and the result.
pub(crate) type Completed = (DeliveryTask, Result<Delivered, DeliveryError>);

/// All attempts in flight.
#[derive(Debug, Default)]
pub(crate) struct AttemptsInFlight {
    /// By the job that each waits for.
    running: BTreeMap<JobId, PublishAttempt>,
    /// Those that need something the client cannot do.
    blocked: Vec<PublishAttempt>,
    /// Those that wait for a folder.
    waiting: BTreeMap<JobId, AwaitingDir>,
    /// The folders that are known to exist over this connection, also for its next use.
    pub(super) remote_dirs: RemoteDirs,
}

impl AttemptsInFlight {
    pub(crate) fn len(&self) -> usize {
        self.running.len() + self.blocked.len() + self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes out the attempts that need something. Each is started again once it has that.
    pub(crate) fn take_blocked(&mut self) -> Vec<PublishAttempt> {
        mem::take(&mut self.blocked)
    }

    /// Starts an attempt, or continues it.
    pub(crate) fn start(&mut self, attempt: PublishAttempt, client: &mut SftpClient) -> Option<Completed> {
        let request = self.remote_dirs.request(attempt, client);
        self.after_request(request, client)
    }

    fn after_request(&mut self, request: DirRequest, client: &mut SftpClient) -> Option<Completed> {
        match request {
            DirRequest::Ready(attempt) => self.advance(attempt, client),
            DirRequest::Waiting(job, waiting) => {
                self.waiting.insert(job, waiting);
                None
            }
            DirRequest::Refused(attempt, refusal) => Some((attempt.task, Err(refusal.into()))),
        }
    }

    /// Handles an event; returns the item that it completed, if any.
    pub(crate) fn on_event(&mut self, event: JobEvent, client: &mut SftpClient) -> Option<Completed> {
        let completed = match event {
            JobEvent::Data { job, data } => self.on_data(job, &data, client),
            JobEvent::Ended { job, result } => {
                if let Some(waiting) = self.waiting.remove(&job) {
                    let request = self.remote_dirs.on_ended(waiting, result, client);
                    self.after_request(request, client)
                } else {
                    let mut attempt = self.running.remove(&job)?;
                    match attempt.on_ended(result) {
                        Ok(()) => self.advance(attempt, client),
                        Err(error) => Some((attempt.task, Err(error))),
                    }
                }
            }
        };
        if let Some((_, Err(_))) = completed {
            self.remote_dirs.forget();
        }
        completed
    }

    fn on_data(&mut self, job: JobId, data: &[u8], client: &mut SftpClient) -> Option<Completed> {
        let wants_more = self.running.get_mut(&job)?.on_data(data);
        if !matches!(wants_more, Ok(true)) {
            client.stop_reading(job);
        }
        let error = wants_more.err()?;
        let attempt = self.running.remove(&job)?;
        Some((attempt.task, Err(error)))
    }

    /// The items in flight when the session ends. The compressed files of their batches stay for the next attempts.
    pub(crate) fn into_tasks(self) -> Vec<DeliveryTask> {
        let waiting = self.waiting.into_values().map(|waiting| waiting.attempt);
        let attempts = self.running.into_values().chain(self.blocked).chain(waiting);
        attempts.map(PublishAttempt::into_task).collect()
    }

    /// The progress of each batch.
    pub(crate) fn progress(&self) -> impl Iterator<Item = TransferRecord> {
        self.running.values().filter_map(|attempt| {
            let (bytes_done, bytes_total) = attempt.progress();
            Some(TransferRecord {
                batch: attempt.task.batch()?.id,
                bytes_done,
                bytes_total,
                bytes_per_second: 0,
            })
        })
    }

    /// How many bytes the destination has yet to take for the items in flight.
    pub(crate) fn bytes_left(&self) -> u64 {
        let waiting = self.waiting.values().map(|waiting| &waiting.attempt);
        let attempts = self.running.values().chain(&self.blocked).chain(waiting);
        attempts
            .map(PublishAttempt::bytes_left)
            .fold(0, u64::saturating_add)
    }

    fn advance(&mut self, mut attempt: PublishAttempt, client: &mut SftpClient) -> Option<Completed> {
        match attempt.next(client) {
            NextAction::Job(job) => {
                self.running.insert(job, attempt);
                None
            }
            NextAction::Need => {
                self.blocked.push(attempt);
                None
            }
            NextAction::Done => {
                let (task, result) = attempt.end();
                if result.is_err() {
                    self.remote_dirs.forget();
                }
                Some((task, result))
            }
        }
    }
}

impl UploadSource for AttemptsInFlight {
    fn fill(&mut self, job: JobId, _: u64, block: &mut [u8]) -> io::Result<()> {
        match self.running.get_mut(&job) {
            Some(attempt) => attempt.fill(block),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests;
