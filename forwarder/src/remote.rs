//! A destination's folder over one connection: each call does one thing there and waits until it is done.
//!
//! Invariants: a call ends, with [`DeliveryError::Stalled`], when no byte has moved for [`STALL`]; a transfer that
//! moves, however slowly, is never cut off. After an error that speaks against the connection it is of no more use.

use std::io;
use std::time::{Duration, Instant};

use logferry_config::Destination;
use logferry_sftp::{Client, Content, Event, JobError, JobId, Limits, Outcome, StatusCode};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::batch_file::{BatchFile, FileHash};
use crate::error::DeliveryError;
use crate::publication::Look;
use crate::ssh::Connection;

/// How long the server may owe an answer without one byte moving.
const STALL: Duration = Duration::from_secs(30);

/// How long what is under way may go on after the forwarder was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Requests are gathered up to so many bytes before they are sent.
const SEND_BUFFER: usize = 256 << 10;

/// So many bytes are received at a time.
const RECEIVE_BUFFER: usize = 64 << 10;

/// A destination, connected.
pub(crate) struct Remote {
    connection: Connection,
    client: Client,
    /// Requests to be sent, and how much of them was.
    outbox: Vec<u8>,
    sent: usize,
    receive_buffer: Vec<u8>,
    stop: CancellationToken,
    stop_seen: Option<Instant>,
}

impl Remote {
    /// Connects, logs in, and looks whether the destination's folder is there.
    pub(crate) fn open(destination: &Destination, stop: CancellationToken) -> Result<Self, DeliveryError> {
        let mut remote = Self {
            connection: Connection::open(destination, &stop)?,
            client: Client::new(Limits::default()),
            outbox: Vec::with_capacity(SEND_BUFFER * 2),
            sent: 0,
            receive_buffer: vec![0; RECEIVE_BUFFER],
            stop,
            stop_seen: None,
        };
        match remote.look(&destination.directory) {
            Ok(Look::Absent) => Err(DeliveryError::NoDirectory {
                address: remote.connection.address().to_owned(),
                directory: destination.directory.clone(),
            }),
            // It may be forbidden to look, and yet allowed to write.
            Ok(Look::Present { .. }) | Err(DeliveryError::Remote(_)) => Ok(remote),
            Err(error) => Err(error),
        }
    }

    /// Sees what has a name.
    pub(crate) fn look(&mut self, path: &str) -> Result<Look, DeliveryError> {
        let job = self.client.stat(path);
        match self.finish(job, &mut Nothing, |_| ()) {
            Ok(Outcome::Found(attributes)) => Ok(Look::Present {
                size: attributes.size,
            }),
            Ok(_) => Ok(Look::Present { size: None }),
            Err(DeliveryError::Remote(error)) if error.code() == Some(StatusCode::NoSuchFile) => {
                Ok(Look::Absent)
            }
            Err(error) => Err(error),
        }
    }

    /// Uploads a batch's file to a name, which is emptied first. Returns its hash, when all bytes were confirmed and
    /// were those that the batch was sealed with.
    pub(crate) fn upload(&mut self, path: &str, file: &BatchFile) -> Result<FileHash, DeliveryError> {
        let mut reader = file.reader();
        let job = self.client.upload(path, file.len());
        match self.finish(job, &mut reader, |_| ()) {
            Ok(_) => reader.finish(),
            Err(DeliveryError::Remote(JobError::Local { source, .. })) => Err(file.unreadable(source)),
            Err(error) => Err(error),
        }
    }

    /// Reads a file back; its hash, or `None` if it has another length than `len`.
    pub(crate) fn hash(&mut self, path: &str, len: u64) -> Result<Option<FileHash>, DeliveryError> {
        let mut hasher = Sha256::new();
        // One byte more than expected shows a file that is longer.
        let job = self.client.read(path, len.saturating_add(1));
        match self.finish(job, &mut Nothing, |data| hasher.update(data))? {
            Outcome::Read { bytes } if bytes == len => Ok(Some(FileHash::of(hasher))),
            _ => Ok(None),
        }
    }

    /// Renames; the inner error is the server's refusal.
    pub(crate) fn rename(&mut self, from: &str, to: &str) -> Result<Result<(), JobError>, DeliveryError> {
        let job = self.client.rename(from, to);
        match self.finish(job, &mut Nothing, |_| ()) {
            Ok(_) => Ok(Ok(())),
            Err(DeliveryError::Remote(refusal)) => Ok(Err(refusal)),
            Err(error) => Err(error),
        }
    }

    /// Removes a file; one that is not there is fine.
    pub(crate) fn remove(&mut self, path: &str) -> Result<(), DeliveryError> {
        let job = self.client.remove(path);
        match self.finish(job, &mut Nothing, |_| ()) {
            Err(DeliveryError::Remote(error)) if error.code() == Some(StatusCode::NoSuchFile) => Ok(()),
            ended => ended.map(drop),
        }
    }

    /// To be called now and then between the other calls: keeps the connection alive, and fails if it is not.
    pub(crate) fn keep_alive(&mut self) -> Result<(), DeliveryError> {
        self.connection.keep_alive()?;
        // Reading answers the server's own questions, and shows whether it has gone.
        self.receive().map(drop)
    }

    /// Works until a job has ended.
    fn finish(
        &mut self,
        job: JobId,
        content: &mut impl Content,
        mut on_data: impl FnMut(&[u8]),
    ) -> Result<Outcome, DeliveryError> {
        let mut last_moved = Instant::now();
        loop {
            while let Some(event) = self.client.poll_event() {
                match event {
                    Event::Data { data, .. } => on_data(&data),
                    Event::Ended { job: ended, result } if ended == job => return Ok(result?),
                    Event::Ended { .. } => {}
                }
            }
            let sent = self.send(content)?;
            let received = self.receive()?;
            self.check_stop()?;
            if sent || received {
                last_moved = Instant::now();
                continue;
            }
            let silent = last_moved.elapsed();
            if silent > STALL {
                return Err(DeliveryError::Stalled {
                    address: self.connection.address().to_owned(),
                    silent,
                });
            }
            self.connection.wait()?;
        }
    }

    /// Sends what may be sent now; whether a byte moved.
    fn send(&mut self, content: &mut impl Content) -> Result<bool, DeliveryError> {
        let mut moved = false;
        loop {
            // Refilled only when empty: libssh2 must be given the same bytes again after it had to wait.
            if self.sent == self.outbox.len() {
                self.outbox.clear();
                self.sent = 0;
                self.client.pump(&mut self.outbox, SEND_BUFFER, content);
            }
            let (_, rest) = self.outbox.split_at(self.sent);
            if rest.is_empty() {
                return Ok(moved);
            }
            let Some(count) = self.connection.write(rest)? else {
                return Ok(moved);
            };
            self.sent += count;
            moved = true;
        }
    }

    /// Takes what has come; whether a byte moved.
    fn receive(&mut self) -> Result<bool, DeliveryError> {
        let mut moved = false;
        while let Some(count) = self.connection.read(&mut self.receive_buffer)? {
            let (received, _) = self.receive_buffer.split_at(count);
            let fed = self.client.feed(received);
            fed.map_err(|source| DeliveryError::Protocol {
                address: self.connection.address().to_owned(),
                source,
            })?;
            moved = true;
        }
        Ok(moved)
    }

    fn check_stop(&mut self) -> Result<(), DeliveryError> {
        if !self.stop.is_cancelled() {
            return Ok(());
        }
        let since = *self.stop_seen.get_or_insert_with(Instant::now);
        if since.elapsed() > STOP_GRACE {
            return Err(DeliveryError::Stopped);
        }
        Ok(())
    }
}

/// For jobs that upload nothing.
struct Nothing;

impl Content for Nothing {
    fn fill(&mut self, _: JobId, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
