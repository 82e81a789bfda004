//! The client: starts the conversation, lets jobs send within the limits, hands replies to the jobs they belong to.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::{io, mem};

use crate::error::ProtocolError;
use crate::jobs::download::Download;
use crate::jobs::single::{Operation, Single};
use crate::jobs::upload::Upload;
use crate::jobs::{Job, JobEvent, JobId, NextSend, RequestPurpose, SessionLimits};
use crate::packets::extension::Extension;
use crate::packets::reply::{Reply, first_packet};
use crate::packets::request::{self, Request, RequestId};
use crate::packets::server::ServerCapabilities;

/// One in so many pieces of data is the newest job's.
const PIECES_PER_NEWEST: u64 = 4;

/// How much may be in flight. What the server allows is respected besides.
#[derive(Debug, Clone, Copy)]
pub struct ClientLimits {
    /// Requests without an answer. 64 pieces of 32 KiB fill the 2 MiB window of an OpenSSH channel; small files want
    /// more, because each has several.
    pub requests: usize,
    /// Bytes being written, being read, or read and not yet taken by the caller.
    pub bytes: usize,
    /// Data of one read or write, in bytes. Every server takes 32 KiB (draft-ietf-secsh-filexfer-02, section 3); more
    /// only goes to those that say how much they take.
    pub piece: u32,
    /// Files open at once. With many round trips of latency, small files need more.
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

/// Where uploads get their bytes from.
pub trait UploadSource {
    /// Fills `buf` with what `job` uploads at `offset`. For one job the offsets ascend without gaps, from 0 or from
    /// where it was resumed, so that the bytes can be hashed on their way. An error ends the job as [`crate::JobError::Local`]; so should data
    /// that ends early.
    fn fill(&mut self, job: JobId, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}

/// What the server has been sent and has not answered, or the caller has not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlightCounts {
    /// Requests without an answer, the opening of the conversation included.
    pub requests: usize,
    /// Bytes that count towards [`ClientLimits::bytes`].
    pub bytes: usize,
}

#[derive(Debug)]
enum Phase {
    /// Nothing was sent yet.
    Fresh,
    /// Our version was sent.
    Greeting,
    /// The server offers to tell its limits.
    Limits,
    /// They were asked for.
    AwaitingLimits,
    /// Jobs run on these limits.
    Ready(SessionLimits),
    /// The server broke the protocol.
    Broken(ProtocolError),
}

#[derive(Debug, Clone, Copy)]
enum Asked {
    Limits,
    OfJob(JobId, RequestPurpose),
}

/// An SFTP session over one channel; see the crate's description.
#[derive(Debug)]
pub struct SftpClient {
    limits: ClientLimits,
    phase: Phase,
    server: ServerCapabilities,
    /// A packet whose end has not come yet.
    inbox: Vec<u8>,
    last_job: u64,
    last_request: u32,
    /// Jobs that want a file open and must wait for another to be closed, in order.
    waiting: VecDeque<(JobId, Job)>,
    active: BTreeMap<JobId, Job>,
    /// How many of the active jobs have a file open.
    open_files: usize,
    asked: HashMap<RequestId, Asked>,
    bytes_in_flight: usize,
    /// Writes and reads sent so far.
    pieces_sent: u64,
    events: VecDeque<JobEvent>,
}

impl SftpClient {
    /// A client for a channel on which nothing was sent yet. Limits of 0 are taken as 1, and the bytes as enough for
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
            phase: Phase::Fresh,
            server: ServerCapabilities::default(),
            inbox: Vec::new(),
            last_job: 0,
            last_request: 0,
            waiting: VecDeque::new(),
            active: BTreeMap::new(),
            open_files: 0,
            asked: HashMap::new(),
            bytes_in_flight: 0,
            pieces_sent: 0,
            events: VecDeque::new(),
        }
    }

    /// Uploads `len` bytes to `path`, which is created or replaced in place: give a temporary name. The bytes come
    /// from the [`UploadSource`] given to [`Self::pump`].
    pub fn upload(&mut self, path: impl Into<String>, len: u64) -> JobId {
        self.submit(Job::Upload(Upload::new(path.into(), len)))
    }

    /// Uploads what is missing of `len` bytes to `path`, which is there and holds the first `from` of them: they are not
    /// sent, and not looked at. Should the file be longer than `len`, the upload fails.
    pub fn resume(&mut self, path: impl Into<String>, from: u64, len: u64) -> JobId {
        self.submit(Job::Upload(Upload::resumed(path.into(), from, len)))
    }

    /// Reads the first `len` bytes of `path`, or fewer if the file is shorter. They come as [`JobEvent::Data`].
    pub fn read(&mut self, path: impl Into<String>, len: u64) -> JobId {
        self.submit(Job::Download(Download::new(path.into(), len)))
    }

    /// Ends a read as soon as may be: nothing more is asked for. What was asked for may still come.
    pub fn stop_reading(&mut self, job: JobId) {
        if let Some(Job::Download(download)) = self.active.get_mut(&job) {
            download.stop();
        }
    }

    /// Renames by the plain request of version 3, which should refuse a new name that is taken. Not every server
    /// does: look at the name first.
    pub fn rename(&mut self, from: impl Into<String>, to: impl Into<String>) -> JobId {
        self.submit_single(Operation::Rename {
            from: from.into(),
            to: to.into(),
        })
    }

    /// Gives a file a second name, which must be free: a server cannot replace by this. Only where
    /// [`Extension::Hardlink`] is offered.
    pub fn link(&mut self, from: impl Into<String>, to: impl Into<String>) -> JobId {
        self.submit_single(Operation::Link {
            from: from.into(),
            to: to.into(),
        })
    }

    /// Has the server hash a file. Only where [`Extension::CheckFile`] is offered.
    pub fn sha256(&mut self, path: impl Into<String>) -> JobId {
        self.submit_single(Operation::Sha256 { path: path.into() })
    }

    /// Removes a file.
    pub fn remove(&mut self, path: impl Into<String>) -> JobId {
        self.submit_single(Operation::Remove { path: path.into() })
    }

    /// Makes a folder in an existing one. A server answers `Failure` when the name is taken.
    pub fn mkdir(&mut self, path: impl Into<String>) -> JobId {
        self.submit_single(Operation::Mkdir { path: path.into() })
    }

    /// Looks at what has the name `path`; a symbolic link is not followed.
    pub fn stat(&mut self, path: impl Into<String>) -> JobId {
        self.submit_single(Operation::Stat { path: path.into() })
    }

    /// Asks how much room there is where `path` is. Only for a server that offers [`Extension::Statvfs`]; others refuse it.
    pub fn free_space(&mut self, path: impl Into<String>) -> JobId {
        self.submit_single(Operation::FreeSpace { path: path.into() })
    }

    /// What the server offers; `None` until it has said so.
    pub fn server(&self) -> Option<&ServerCapabilities> {
        matches!(self.phase, Phase::Ready(_)).then_some(&self.server)
    }

    /// How much is under way.
    pub fn in_flight(&self) -> InFlightCounts {
        let greeting = usize::from(matches!(self.phase, Phase::Greeting));
        InFlightCounts {
            requests: self.asked.len() + greeting,
            bytes: self.bytes_in_flight,
        }
    }

    /// The next thing that happened. Data not taken counts towards the bytes in flight.
    pub fn poll_event(&mut self) -> Option<JobEvent> {
        let event = self.events.pop_front()?;
        if let JobEvent::Data { data, .. } = &event {
            self.bytes_in_flight -= data.len();
        }
        Some(event)
    }

    /// Appends what may be sent now to `out`, until it holds `cap` bytes; the last packet may go beyond by its own
    /// length. Small requests go before data, and the data of older jobs before that of newer ones; but every fourth
    /// piece of data is the newest job's, so that it need not wait until all others are through.
    pub fn pump(&mut self, out: &mut Vec<u8>, cap: usize, content: &mut impl UploadSource) {
        match self.phase {
            Phase::Fresh => {
                request::encode_init(out);
                self.phase = Phase::Greeting;
            }
            Phase::Limits => {
                let id = RequestId(self.last_request);
                Request::Limits.encode(id, out);
                self.asked.insert(id, Asked::Limits);
                self.phase = Phase::AwaitingLimits;
            }
            Phase::Ready(limits) => {
                self.activate(&limits);
                while out.len() < cap
                    && self.asked.len() < self.limits.requests
                    && self.send_one(&limits, out, content)
                {}
            }
            Phase::Greeting | Phase::AwaitingLimits | Phase::Broken(_) => {}
        }
    }

    /// Takes bytes from the server, cut anywhere. After an error the session is over; later calls repeat the error.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        if let Phase::Broken(error) = &self.phase {
            return Err(error.clone());
        }
        let mut inbox = mem::take(&mut self.inbox);
        inbox.extend_from_slice(bytes);
        match self.take_packets(&inbox) {
            Ok(rest_len) => {
                inbox.drain(..inbox.len() - rest_len);
                self.inbox = inbox;
                Ok(())
            }
            Err(error) => {
                self.phase = Phase::Broken(error.clone());
                Err(error)
            }
        }
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
        self.submit(Job::Single(Single::new(operation)))
    }

    /// Lets waiting jobs open their files, as far as the limits allow.
    fn activate(&mut self, limits: &SessionLimits) {
        while self.open_files < limits.open_files
            && let Some((id, job)) = self.waiting.pop_front()
        {
            self.open_files += 1;
            self.active.insert(id, job);
        }
    }

    /// Appends one request; false when no job may send one.
    fn send_one(
        &mut self,
        limits: &SessionLimits,
        out: &mut Vec<u8>,
        content: &mut impl UploadSource,
    ) -> bool {
        let Some((job_id, reserved)) = self.choose(limits) else {
            return false;
        };
        let Some(job) = self.active.get_mut(&job_id) else {
            return false;
        };
        let Some((purpose, request)) = job.take_request(limits) else {
            return false;
        };
        let start = out.len();
        let id = RequestId(self.last_request.wrapping_add(1));
        request.encode(id, out);
        if let RequestPurpose::Write { at, len } = purpose {
            let data = out.len() - len as usize;
            if let Err(error) = content.fill(job_id, at, &mut out[data..]) {
                out.truncate(start);
                job.write_not_sent(error);
                return true;
            }
        }
        self.last_request = id.0;
        self.asked.insert(id, Asked::OfJob(job_id, purpose));
        self.bytes_in_flight += reserved;
        self.pieces_sent += u64::from(reserved > 0);
        true
    }

    /// The job that may send next, with the bytes its request takes of the budget: the oldest with a small request,
    /// or else the oldest with data, at times the newest, if its bytes fit.
    fn choose(&self, limits: &SessionLimits) -> Option<(JobId, usize)> {
        let newest_first = self.pieces_sent % PIECES_PER_NEWEST == PIECES_PER_NEWEST - 1;
        let mut with_data = None;
        for (&id, job) in &self.active {
            match job.next_send(limits) {
                NextSend::Control => return Some((id, 0)),
                NextSend::Data(len) if newest_first || with_data.is_none() => {
                    with_data = Some((id, len as usize));
                }
                NextSend::Data(_) | NextSend::Wait => {}
            }
        }
        with_data.filter(|(_, len)| self.bytes_in_flight + len <= self.limits.bytes)
    }

    /// Handles the whole packets in `inbox`; returns how many bytes are left over.
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
            .asked
            .remove(&id)
            .ok_or(ProtocolError::UnknownRequest { id: id.0 })?
        {
            Asked::Limits => {
                match reply {
                    Reply::Extended(body) => self.server.parse_limits(body)?,
                    // Offered and yet refused: then the common limits have to do.
                    Reply::Status(_) => {}
                    other => return Err(other.unexpected("the server's limits")),
                }
                self.phase = self.ready();
                Ok(())
            }
            Asked::OfJob(job_id, purpose) => self.on_job_reply(job_id, purpose, reply),
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
