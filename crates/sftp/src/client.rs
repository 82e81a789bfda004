//! The client: starts the session, lets jobs send within the limits, and passes each reply to its job.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::{io, mem};

use crate::error::ProtocolError;
use crate::jobs::download::Download;
use crate::jobs::single::{Operation, Single};
use crate::jobs::upload::Upload;
use crate::jobs::{Job, JobEvent, JobId, RequestPurpose, SessionLimits};
use crate::packets::extension::Extension;
use crate::packets::reply::{Reply, first_packet};
use crate::packets::request::{self, RequestId, RequestWriter};
use crate::packets::server::ServerCapabilities;

/// One data request in this many belongs to the newest job.
const PIECES_PER_NEWEST: u64 = 4;

/// Limits of the data in flight. The server's own limits apply too.
#[derive(Debug, Clone, Copy)]
pub struct ClientLimits {
    /// Requests without a reply. 64 pieces of 32 KiB fill the 2 MiB window of an OpenSSH channel. Small files need
    /// more, because each file takes several requests.
    pub requests: usize,
    /// Bytes of writes and reads without a reply, and bytes that the caller has not taken yet.
    pub bytes: usize,
    /// Data of one read or write, in bytes. Every server accepts 32 KiB (draft-ietf-secsh-filexfer-02, section 3).
    /// Larger requests go only to servers that report a larger limit.
    pub piece: u32,
    /// Files open at the same time. On a connection with high latency, small files need a higher limit.
    pub open_files: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            requests: 256,
            bytes: 4 << 20,
            piece: 255 << 10,
            open_files: 64,
        }
    }
}

/// The source of the uploaded bytes.
pub trait UploadSource {
    /// Fills `buf` with the bytes that `job` uploads at `offset`. The offsets of one job ascend without gaps, from 0 or
    /// from the offset of [`SftpClient::resume`], so the source can hash the bytes as it reads them. An error ends the
    /// job as [`crate::JobError::Local`]. Data that ends early must be an error.
    fn fill(&mut self, job: JobId, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}

/// Requests without a reply, and data that the caller has not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlightCounts {
    /// Requests without a reply, including the start of the session.
    pub requests: usize,
    /// Bytes that count towards [`ClientLimits::bytes`].
    pub bytes: usize,
}

#[derive(Debug, Default)]
enum Phase {
    /// Nothing is sent yet.
    #[default]
    Fresh,
    /// The client's version is sent.
    Greeting,
    /// The server offers the limits extension; the request is due.
    Limits,
    /// The request for the limits is sent.
    AwaitingLimits,
    /// Jobs run on these limits.
    Ready(SessionLimits),
    /// The server broke the protocol.
    Broken(ProtocolError),
}

#[derive(Debug, Clone, Copy)]
enum PendingRequest {
    Limits,
    Job(JobId, RequestPurpose),
}

/// An SFTP session over one channel; see the crate's description.
#[derive(Debug, Default)]
pub struct SftpClient {
    limits: ClientLimits,
    phase: Phase,
    server: ServerCapabilities,
    /// The received part of an incomplete packet.
    inbox: Vec<u8>,
    last_job: u64,
    last_request: u32,
    /// Jobs that wait until another job closes its file, in order.
    waiting: VecDeque<(JobId, Job)>,
    active: BTreeMap<JobId, Job>,
    /// The number of active jobs with an open file.
    open_files: usize,
    pending: HashMap<RequestId, PendingRequest>,
    bytes_in_flight: usize,
    /// The number of writes and reads sent.
    pieces_sent: u64,
    events: VecDeque<JobEvent>,
}

impl SftpClient {
    /// A client for a channel on which nothing was sent yet. A limit of 0 counts as 1. The limit of bytes is at least
    /// one piece.
    pub fn new(limits: ClientLimits) -> Self {
        let piece = limits.piece.max(1);
        let limits = ClientLimits {
            requests: limits.requests.max(1),
            bytes: limits.bytes.max(piece as usize),
            piece,
            open_files: limits.open_files.max(1),
        };
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Uploads `len` bytes to a new file `path`. Give a temporary name: readers can see the file while it grows. The
    /// bytes come from the [`UploadSource`] given to [`Self::pump`].
    pub fn upload(&mut self, path: impl Into<String>, len: u64) -> JobId {
        self.submit(Job::Upload(Upload::new(path.into(), 0, len)))
    }

    /// Continues an upload of `len` bytes to `path`. The file exists and holds the first `from` bytes, which are neither
    /// sent nor checked. The upload fails if the file is longer than `len`.
    pub fn resume(&mut self, path: impl Into<String>, from: u64, len: u64) -> JobId {
        self.submit(Job::Upload(Upload::new(path.into(), from, len)))
    }

    /// Reads the first `len` bytes of `path`, or fewer if the file is shorter. They arrive as [`JobEvent::Data`].
    pub fn read(&mut self, path: impl Into<String>, len: u64) -> JobId {
        self.submit(Job::Download(Download::new(path.into(), len)))
    }

    /// Ends a read early: no further data is requested. Data already requested may still arrive.
    pub fn stop_reading(&mut self, job: JobId) {
        if let Some(Job::Download(download)) = self.active.get_mut(&job) {
            download.stop();
        }
    }

    /// Renames by the plain request of version 3. A server should refuse a new name that exists, but not every server
    /// does: check the name first.
    pub fn rename(&mut self, from: impl Into<String>, to: impl Into<String>) -> JobId {
        self.submit_single(Operation::Rename(from.into(), to.into()))
    }

    /// Renames as rename(2) does: a file that has the new name is replaced. Check the name first. It needs
    /// [`Extension::PosixRename`].
    pub fn posix_rename(&mut self, from: impl Into<String>, to: impl Into<String>) -> JobId {
        self.submit_single(Operation::PosixRename(from.into(), to.into()))
    }

    /// Gives a file a second name. The server refuses a name that exists, so this request never replaces a file. It
    /// needs [`Extension::Hardlink`].
    pub fn link(&mut self, from: impl Into<String>, to: impl Into<String>) -> JobId {
        self.submit_single(Operation::Link(from.into(), to.into()))
    }

    /// Requests the server's SHA-256 of a file. It needs [`Extension::CheckFile`].
    pub fn sha256(&mut self, path: impl Into<String>) -> JobId {
        self.submit_single(Operation::Sha256(path.into()))
    }

    /// Removes a file.
    pub fn remove(&mut self, path: impl Into<String>) -> JobId {
        self.submit_single(Operation::Remove(path.into()))
    }

    /// Creates a folder in an existing folder. A server answers `Failure` when the name exists.
    pub fn mkdir(&mut self, path: impl Into<String>) -> JobId {
        self.submit_single(Operation::Mkdir(path.into()))
    }

    /// Reads the attributes of `path`; a symbolic link is not followed.
    pub fn stat(&mut self, path: impl Into<String>) -> JobId {
        self.submit_single(Operation::Stat(path.into()))
    }

    /// Reads the free space of the file system of `path`. Servers without [`Extension::Statvfs`] refuse it.
    pub fn free_space(&mut self, path: impl Into<String>) -> JobId {
        self.submit_single(Operation::FreeSpace(path.into()))
    }

    /// The server's capabilities; `None` until the server has reported them.
    pub fn server(&self) -> Option<&ServerCapabilities> {
        matches!(self.phase, Phase::Ready(_)).then_some(&self.server)
    }

    /// Whether the server offers `extension`; false until it has reported its capabilities.
    pub fn supports(&self, extension: Extension) -> bool {
        self.server().is_some_and(|server| server.supports(extension))
    }

    /// Requests and bytes in flight.
    pub fn in_flight(&self) -> InFlightCounts {
        let greeting = usize::from(matches!(self.phase, Phase::Greeting));
        InFlightCounts {
            requests: self.pending.len() + greeting,
            bytes: self.bytes_in_flight,
        }
    }

    /// The next event. Data that is not taken counts towards the bytes in flight.
    pub fn poll_event(&mut self) -> Option<JobEvent> {
        let event = self.events.pop_front()?;
        if let JobEvent::Data { data, .. } = &event {
            self.bytes_in_flight -= data.len();
        }
        Some(event)
    }

    /// Appends the requests that may be sent now to `out`, until it holds `cap` bytes; the last packet may exceed this
    /// by its own length. Small requests go before data. Data of older jobs goes before data of newer jobs, but every
    /// fourth data request belongs to the newest job, so a new job does not wait until all others end.
    pub fn pump(&mut self, out: &mut Vec<u8>, cap: usize, content: &mut impl UploadSource) {
        match self.phase {
            Phase::Fresh => {
                request::encode_init(out);
                self.phase = Phase::Greeting;
            }
            Phase::Limits => {
                let id = RequestId(self.last_request);
                RequestWriter { id, out }.extended(Extension::Limits, []);
                self.pending.insert(id, PendingRequest::Limits);
                self.phase = Phase::AwaitingLimits;
            }
            Phase::Ready(limits) => {
                self.activate(&limits);
                while out.len() < cap
                    && self.pending.len() < self.limits.requests
                    && self.send_one(&limits, out, content)
                {}
            }
            Phase::Greeting | Phase::AwaitingLimits | Phase::Broken(_) => {}
        }
    }

    /// Takes bytes from the server, split at any position. An error ends the session; later calls repeat the error.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        if let Phase::Broken(error) = &self.phase {
            return Err(error.clone());
        }
        let mut inbox = mem::take(&mut self.inbox);
        inbox.extend_from_slice(bytes);
        let taken = self.take_packets(&inbox);
        let rest_len = taken.inspect_err(|error| self.phase = Phase::Broken(error.clone()))?;
        inbox.drain(..inbox.len() - rest_len);
        self.inbox = inbox;
        Ok(())
    }

    fn submit(&mut self, job: Job) -> JobId {
        self.last_job += 1;
        let id = JobId(self.last_job);
        if job.opens_file() {
            self.waiting.push_back((id, job));
        } else {
            self.active.insert(id, job);
        }
        id
    }

    fn submit_single(&mut self, operation: Operation) -> JobId {
        let sent = false;
        self.submit(Job::Single(Single { operation, sent }))
    }

    /// Activates waiting jobs within the limit of open files.
    fn activate(&mut self, limits: &SessionLimits) {
        while self.open_files < limits.open_files
            && let Some((id, job)) = self.waiting.pop_front()
        {
            self.open_files += 1;
            self.active.insert(id, job);
        }
    }

    /// Appends one request. Returns false if no job may send one.
    fn send_one(
        &mut self,
        limits: &SessionLimits,
        out: &mut Vec<u8>,
        content: &mut impl UploadSource,
    ) -> bool {
        let Some((job_id, purpose)) = self.choose(limits) else {
            return false;
        };
        let Some(job) = self.active.get_mut(&job_id) else {
            return false;
        };
        let start = out.len();
        let id = RequestId(self.last_request.wrapping_add(1));
        job.send(purpose, RequestWriter { id, out });
        if let RequestPurpose::Write { at, len } = purpose {
            let data = out.len() - len as usize;
            if let Err(error) = content.fill(job_id, at, &mut out[data..]) {
                out.truncate(start);
                job.write_not_sent(error);
                return true;
            }
        }
        self.last_request = id.0;
        self.pending.insert(id, PendingRequest::Job(job_id, purpose));
        self.bytes_in_flight += purpose.budget();
        self.pieces_sent += u64::from(purpose.budget() > 0);
        true
    }

    /// The job that sends next, and its request. The oldest job with a small request comes first. Otherwise it is the oldest
    /// job with data, or in turn the newest, if the bytes fit.
    fn choose(&self, limits: &SessionLimits) -> Option<(JobId, RequestPurpose)> {
        let newest_first = self.pieces_sent % PIECES_PER_NEWEST == PIECES_PER_NEWEST - 1;
        let mut with_data = None;
        for (&id, job) in &self.active {
            match job.next(limits) {
                Some(purpose) if purpose.budget() == 0 => return Some((id, purpose)),
                Some(purpose) if newest_first || with_data.is_none() => with_data = Some((id, purpose)),
                _ => {}
            }
        }
        with_data.filter(|(_, purpose)| self.bytes_in_flight + purpose.budget() <= self.limits.bytes)
    }

    /// Handles the complete packets in `inbox`; returns the number of bytes left over.
    fn take_packets(&mut self, inbox: &[u8]) -> Result<usize, ProtocolError> {
        let mut rest = inbox;
        while let Some(packet) = first_packet(rest)? {
            rest = &rest[4 + packet.len()..];
            if matches!(self.phase, Phase::Greeting) {
                self.on_version(packet)?;
            } else {
                self.on_reply(packet)?;
            }
        }
        Ok(rest.len())
    }

    fn on_version(&mut self, packet: &[u8]) -> Result<(), ProtocolError> {
        self.server = ServerCapabilities::parse_version(packet)?;
        self.phase = if self.server.supports(Extension::Limits) {
            Phase::Limits
        } else {
            self.ready()
        };
        Ok(())
    }

    fn ready(&self) -> Phase {
        Phase::Ready(SessionLimits::new(
            self.limits.piece,
            self.limits.open_files,
            &self.server,
        ))
    }

    fn on_reply(&mut self, packet: &[u8]) -> Result<(), ProtocolError> {
        let (id, reply) = Reply::parse(packet)?;
        match self
            .pending
            .remove(&id)
            .ok_or(ProtocolError::UnknownRequest { id: id.0 })?
        {
            PendingRequest::Limits => {
                match reply {
                    Reply::Extended(body) => self.server.parse_limits(body)?,
                    // The server refused an extension that it offers: the limits of every server apply.
                    Reply::Status(_) => {}
                    other => return Err(other.unexpected("the server's limits")),
                }
                self.phase = self.ready();
                Ok(())
            }
            PendingRequest::Job(job_id, purpose) => self.on_job_reply(job_id, purpose, reply),
        }
    }

    fn on_job_reply(
        &mut self,
        job_id: JobId,
        purpose: RequestPurpose,
        reply: Reply<'_>,
    ) -> Result<(), ProtocolError> {
        let Some(job) = self.active.get_mut(&job_id) else {
            return Ok(());
        };
        let opens_file = job.opens_file();
        let progress = job.on_reply(purpose, reply)?;
        self.bytes_in_flight -= progress.freed;
        self.events.extend(
            progress
                .pieces
                .into_iter()
                .map(|data| JobEvent::Data { job: job_id, data }),
        );
        if let Some(result) = progress.ended {
            self.active.remove(&job_id);
            self.open_files -= usize::from(opens_file);
            self.events.push_back(JobEvent::Ended { job: job_id, result });
        }
        Ok(())
    }
}
