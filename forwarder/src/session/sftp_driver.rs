//! A destination over one connection: moves the bytes between the SSH channel and the SFTP machine.
//!
//! Invariants: a session ends, with [`DeliveryError::Stalled`], when the server owes an answer and no byte has moved for
//! the destination's `stall_after`; one that moves, however slowly, is never cut off. After an error it is of no more use.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use logferry_config::Destination;
use logferry_sftp::{
    ClientLimits, Extension, JobError, JobEvent, JobId, JobOutcome, SftpClient, StatusCode, UploadSource,
};
use tokio_util::sync::CancellationToken;

use crate::error::DeliveryError;
use crate::publish::publish_steps::PublishMethod;
use crate::session::bandwidth::Bandwidth;
use crate::session::remote_sha256;
use crate::source::Sha256Hash;
use crate::ssh::{Connection, STOP_CHECK};

/// How often the server is asked for a sign of life when nothing else is.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How long what is under publish_method may go on after the forwarder was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Requests are gathered up to so many bytes before they are sent.
const SEND_BUFFER: usize = 256 << 10;

/// How long to look whether something came over a connection that is idle.
const GLANCE: Duration = Duration::from_millis(20);

/// So many files are hashed by one command: their names fit into one packet.
const HASHED_AT_ONCE: usize = 64;

/// A destination, connected.
pub(crate) struct SftpDriver {
    connection: Connection,
    client: SftpClient,
    directory: String,
    /// Requests to be sent, and how much of them was.
    outbox: Vec<u8>,
    sent: usize,
    /// What was offered to the connection and not taken yet: it must be offered again as it was.
    offered: usize,
    last_moved: Instant,
    /// How long the server may owe an answer without one byte moving.
    stall_after: Duration,
    bandwidth: Arc<Mutex<Bandwidth>>,
    stop: CancellationToken,
    stop_seen: Option<Instant>,
    /// Whether the server may have a shell for us that hashes files.
    may_hash: bool,
}

impl SftpDriver {
    /// Connects, logs in, and looks whether the destination's folder is there.
    pub(crate) fn open(
        destination: &Destination,
        bandwidth: Arc<Mutex<Bandwidth>>,
        stop: CancellationToken,
    ) -> Result<Self, DeliveryError> {
        let mut remote = Self {
            connection: Connection::open(destination, &stop)?,
            client: SftpClient::new(ClientLimits::default()),
            directory: destination.directory.clone(),
            outbox: Vec::with_capacity(SEND_BUFFER * 2),
            sent: 0,
            offered: 0,
            last_moved: Instant::now(),
            stall_after: destination.stall_after,
            bandwidth,
            stop,
            stop_seen: None,
            may_hash: true,
        };
        let look = remote.look_at_folder().map_err(|error| match error {
            DeliveryError::Lost { address, source } if remote.client.server().is_none() => {
                DeliveryError::SftpEnded { address, source }
            }
            error => error,
        });
        match look? {
            Err(error) if error.code() == Some(StatusCode::NoSuchFile) => Err(DeliveryError::NoDirectory {
                address: remote.connection.address().to_owned(),
                directory: remote.directory,
            }),
            // It may be forbidden to look, and yet allowed to write.
            _ => Ok(remote),
        }
    }

    /// The SFTP machine, to give jobs to and to take events from.
    pub(crate) fn client(&mut self) -> &mut SftpClient {
        &mut self.client
    }

    /// Sends and receives what can be now, or waits a moment until something can.
    pub(crate) fn exchange(&mut self, content: &mut impl UploadSource) -> Result<(), DeliveryError> {
        self.fill(content);
        let held_back = self.offered == 0 && self.sent < self.outbox.len();
        let moved = self.transfer(if held_back { Bandwidth::pause() } else { STOP_CHECK })?;
        let now = Instant::now();
        self.check_stop(now)?;
        // Before it owes something, time does not count.
        if moved || self.client.in_flight().requests == 0 {
            self.last_moved = now;
        }
        let silent = now.saturating_duration_since(self.last_moved);
        if silent > self.stall_after {
            return Err(DeliveryError::Stalled {
                address: self.connection.address().to_owned(),
                silent,
            });
        }
        Ok(())
    }

    /// How files are to get their final names here. OpenSSH's server refuses to replace a file by the plain rename; others
    /// may not.
    pub(crate) fn publish_method(&self) -> PublishMethod {
        let server = self.client.server();
        let can_link = server.is_some_and(|server| server.supports(Extension::Hardlink));
        if can_link && !self.connection.is_openssh() {
            PublishMethod::Link
        } else {
            PublishMethod::Rename
        }
    }

    /// Has the server's shell, if it has one for us, hash files; `None` for those it does not. Nothing else moves
    /// meanwhile.
    pub(crate) fn hashes(&mut self, paths: &[String]) -> Result<Vec<Option<Sha256Hash>>, DeliveryError> {
        let mut hashes = Vec::with_capacity(paths.len());
        for paths in paths.chunks(HASHED_AT_ONCE) {
            let mut found = None;
            if self.may_hash {
                let printed = self.connection.run(&remote_sha256::command(paths), &self.stop)?;
                found = printed.and_then(|printed| remote_sha256::hashes(&printed, paths.len()));
            }
            self.may_hash = found.is_some();
            hashes.extend(found.unwrap_or_else(|| vec![None; paths.len()]));
        }
        self.last_moved = Instant::now();
        Ok(hashes)
    }

    /// To be called now and then while nothing is in flight: keeps the connection alive, and fails if it is not.
    pub(crate) fn keep_alive(&mut self) -> Result<(), DeliveryError> {
        // This answers the server's own questions, and shows whether it has gone.
        self.transfer(GLANCE)?;
        if self.last_moved.elapsed() < KEEPALIVE {
            return Ok(());
        }
        self.look_at_folder().map(drop)
    }

    /// Looks at the destination's folder, as a sign of life too: the question goes all the publish_method to the server's files,
    /// so nothing on the publish_method takes the connection for idle.
    fn look_at_folder(&mut self) -> Result<Result<JobOutcome, JobError>, DeliveryError> {
        let look = self.client.stat(self.directory.clone());
        loop {
            match self.client.poll_event() {
                Some(JobEvent::Ended { job, result }) if job == look => return Ok(result),
                Some(_) => {}
                None => self.exchange(&mut Nothing)?,
            }
        }
    }

    /// Has something ready to be sent, if there is something and it may be sent now.
    fn fill(&mut self, content: &mut impl UploadSource) {
        if self.sent == self.outbox.len() {
            self.outbox.clear();
            self.sent = 0;
            self.client.pump(&mut self.outbox, SEND_BUFFER, content);
        }
        if self.offered == 0 {
            let mut bandwidth = self.bandwidth.lock().unwrap_or_else(PoisonError::into_inner);
            self.offered = bandwidth.grant(self.outbox.len() - self.sent, Instant::now());
        }
    }

    /// Sends what is ready and takes what has come, or waits so long for either; whether a byte moved.
    fn transfer(&mut self, limit: Duration) -> Result<bool, DeliveryError> {
        let offer = self.outbox.get(self.sent..self.sent + self.offered);
        let count = self.connection.transfer(offer.unwrap_or_default(), limit)?;
        self.sent += count;
        self.offered -= count;
        let mut moved = count > 0;
        while let Some(received) = self.connection.take_received() {
            let fed = self.client.feed(&received);
            fed.map_err(|source| DeliveryError::Protocol {
                address: self.connection.address().to_owned(),
                source,
            })?;
            moved = true;
        }
        Ok(moved)
    }

    fn check_stop(&mut self, now: Instant) -> Result<(), DeliveryError> {
        if !self.stop.is_cancelled() {
            return Ok(());
        }
        let since = *self.stop_seen.get_or_insert(now);
        if now.saturating_duration_since(since) > STOP_GRACE {
            return Err(DeliveryError::Stopped);
        }
        Ok(())
    }
}

/// For jobs that upload nothing.
struct Nothing;

impl UploadSource for Nothing {
    fn fill(&mut self, _: JobId, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
