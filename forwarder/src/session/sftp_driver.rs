//! A connected destination: moves the bytes between the SSH channel and the SFTP machine.
//!
//! Invariants: a session ends with [`DeliveryError::Stalled`] when the server owes an answer and no byte has moved for the
//! destination's `stall_after`. A session that moves, however slowly, is never ended. After an error the driver must not
//! be used again.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use logferry_config::Destination;
use logferry_sftp::{
    ClientLimits, Extension, JobError, JobEvent, JobId, JobOutcome, SftpClient, StatusCode, UploadSource,
};
use logferry_spool::FileHash;
use tokio_util::sync::CancellationToken;

use super::bandwidth::{self, Bandwidth};
use super::remote_sha256;
use crate::error::DeliveryError;
use crate::lock;
use crate::publish::publish_steps::PublishMethod;
use crate::ssh::{STOP_CHECK, SshConnection};

/// How often an idle server is asked for a sign of life.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How long transfers may continue after the forwarder was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// The most bytes of requests that are collected before they are sent.
const SEND_BUFFER: usize = 256 << 10;

/// How long to wait for bytes on an idle connection.
const IDLE_READ: Duration = Duration::from_millis(20);

/// The most files hashed by one command: their names fit into one packet.
const HASHED_AT_ONCE: usize = 64;

/// A connected destination.
pub(crate) struct SftpDriver {
    connection: SshConnection,
    client: SftpClient,
    directory: String,
    /// Requests to send, and how many of their bytes are sent.
    outbox: Vec<u8>,
    sent: usize,
    /// Bytes that were offered to the connection and not taken yet. They must be offered again unchanged.
    offered: usize,
    last_moved: Instant,
    /// How long the server may owe an answer while no byte moves.
    stall_after: Duration,
    bandwidth: Arc<Mutex<Bandwidth>>,
    stop: CancellationToken,
    stop_seen: Option<Instant>,
    /// Whether the server may run a command that hashes files.
    may_hash: bool,
}

impl SftpDriver {
    /// Connects, logs in, and checks that the destination's folder exists.
    pub(crate) fn open(
        destination: &Destination,
        bandwidth: Arc<Mutex<Bandwidth>>,
        stop: CancellationToken,
    ) -> Result<Self, DeliveryError> {
        let mut driver = Self {
            connection: SshConnection::open(destination, &stop)?,
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
        let look = driver.stat_directory().map_err(|error| match error {
            DeliveryError::Lost(address, source) if driver.client.server().is_none() => {
                DeliveryError::SftpEnded(address, source)
            }
            error => error,
        });
        match look? {
            Err(error) if error.code() == Some(StatusCode::NoSuchFile) => Err(DeliveryError::NoDirectory {
                address: driver.connection.address.clone(),
                directory: driver.directory,
            }),
            // The server may forbid stat and still allow writing.
            _ => Ok(driver),
        }
    }

    /// The SFTP machine: takes jobs and gives events.
    pub(crate) fn client(&mut self) -> &mut SftpClient {
        &mut self.client
    }

    /// Sends and receives, or waits a moment if neither is possible.
    pub(crate) fn exchange(&mut self, content: &mut impl UploadSource) -> Result<(), DeliveryError> {
        self.fill(content);
        let held_back = self.offered == 0 && self.sent < self.outbox.len();
        let moved = self.transfer(if held_back { bandwidth::PIECE } else { STOP_CHECK })?;
        let now = Instant::now();
        self.check_stop(now)?;
        // While the server owes nothing, time does not count.
        if moved || self.client.in_flight().requests == 0 {
            self.last_moved = now;
        }
        let silent = now.saturating_duration_since(self.last_moved);
        if silent > self.stall_after {
            return Err(DeliveryError::Stalled(self.connection.address.clone(), silent));
        }
        Ok(())
    }

    /// How files get their final names here. OpenSSH's server refuses to replace a file by a plain rename; other servers may
    /// replace it.
    pub(crate) fn publish_method(&self) -> PublishMethod {
        if self.client.supports(Extension::Hardlink) && !self.connection.is_openssh() {
            PublishMethod::Link
        } else {
            PublishMethod::Rename
        }
    }

    /// Has a command on the server hash files, if the server runs commands; `None` for each file without a hash. Nothing
    /// else moves meanwhile.
    pub(crate) fn hashes(&mut self, paths: &[String]) -> Result<Vec<Option<FileHash>>, DeliveryError> {
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

    /// Keeps an idle connection alive; an error means that it is dead.
    pub(crate) fn keep_alive(&mut self) -> Result<(), DeliveryError> {
        // This answers requests of the server, and detects a closed connection.
        self.transfer(IDLE_READ)?;
        if self.last_moved.elapsed() < KEEPALIVE {
            return Ok(());
        }
        self.stat_directory().map(drop)
    }

    /// Requests the status of the destination's folder. Also used as a sign of life, so that no device between here and the
    /// server takes the connection for idle.
    fn stat_directory(&mut self) -> Result<Result<JobOutcome, JobError>, DeliveryError> {
        let look = self.client.stat(self.directory.clone());
        self.finish(look, &mut NoContent)
    }

    /// Exchanges until a job has ended, and returns its result. To be called only while no other job is at work.
    pub(crate) fn finish(
        &mut self,
        wanted: JobId,
        content: &mut impl UploadSource,
    ) -> Result<Result<JobOutcome, JobError>, DeliveryError> {
        loop {
            match self.client.poll_event() {
                Some(JobEvent::Ended { job, result }) if job == wanted => return Ok(result),
                Some(_) => {}
                None => self.exchange(content)?,
            }
        }
    }

    /// Prepares bytes to send, as far as there are any and the bandwidth limit allows it.
    fn fill(&mut self, content: &mut impl UploadSource) {
        if self.sent == self.outbox.len() {
            self.outbox.clear();
            self.sent = 0;
            self.client.pump(&mut self.outbox, SEND_BUFFER, content);
        }
        if self.offered == 0 {
            let wanted = self.outbox.len() - self.sent;
            self.offered = lock(&self.bandwidth).grant(wanted, Instant::now());
        }
    }

    /// Sends prepared bytes and takes received ones, or waits at most `limit` for either. Returns whether a byte moved.
    fn transfer(&mut self, limit: Duration) -> Result<bool, DeliveryError> {
        let offer = self.outbox.get(self.sent..self.sent + self.offered);
        let count = self.connection.transfer(offer.unwrap_or_default(), limit)?;
        self.sent += count;
        self.offered -= count;
        let mut moved = count > 0;
        while let Some(received) = self.connection.take_received() {
            let fed = self.client.feed(&received);
            fed.map_err(|source| DeliveryError::Protocol(self.connection.address.clone(), source))?;
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

/// The content of jobs that upload nothing.
pub(crate) struct NoContent;

impl UploadSource for NoContent {
    fn fill(&mut self, _: JobId, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
