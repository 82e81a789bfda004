//! Jobs: one for each call. Each job is a state machine that makes requests and handles their replies.
//!
//! The client decides when a job may send; the job decides which request. A failed job sends only the requests that close
//! its file, and ends with the last reply. A new kind of job gets a file here and an arm in [`Job`].

pub(crate) mod download;
pub(crate) mod single;
pub(crate) mod upload;

use std::io;

use crate::error::{JobError, ProtocolError, RequestKind};
use crate::jobs::download::Download;
use crate::jobs::single::Single;
use crate::jobs::upload::Upload;
use crate::packets::extension::Extension;
use crate::packets::reply::{FileAttributes, Reply};
use crate::packets::request::RequestWriter;
use crate::packets::server::ServerCapabilities;
use crate::packets::space::FreeSpace;
use crate::status::{ServerStatus, StatusCode};

/// Names a job of one [`crate::SftpClient`]; later jobs have greater ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub(crate) u64);

/// Whether the server confirmed the size of an uploaded file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeCheck {
    /// The server reports the size that was sent.
    Confirmed,
    /// The server reports no size, or forbids the request. It confirmed every write and the close.
    Unavailable,
}

/// The result of a job that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobOutcome {
    /// The server has the whole file under its upload name.
    Uploaded(SizeCheck),
    /// All data was delivered as [`JobEvent::Data`].
    Read {
        /// Bytes delivered: as many as requested, or fewer if the file is shorter.
        bytes: u64,
    },
    /// The file exists.
    Found(FileAttributes),
    /// The server's SHA-256 of the file; `None` if it uses another algorithm.
    Sha256(Option<[u8; 32]>),
    /// The server's free space.
    Free(FreeSpace),
    /// The rename, link, removal or new folder is done.
    Done,
}

/// An event for the caller.
#[derive(Debug)]
pub enum JobEvent {
    /// The next bytes of a file that is read, in order and without gaps.
    Data {
        /// The job that reads it.
        job: JobId,
        /// The bytes; never empty.
        data: Vec<u8>,
    },
    /// A job ended; it has no further events.
    Ended {
        /// The job.
        job: JobId,
        /// How it ended.
        result: Result<JobOutcome, JobError>,
    },
}

/// Data of one read or write that every server takes, in bytes (draft-ietf-secsh-filexfer-02, section 3).
const PIECE_EVERYWHERE: u32 = 32 << 10;

/// Limits for every job of a session: the smaller of the client's and the server's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionLimits {
    /// The longest data of one write, in bytes.
    pub(crate) write_len: u32,
    /// The longest data of one read, in bytes.
    pub(crate) read_len: u32,
    /// The number of files that may be open at the same time.
    pub(crate) open_files: usize,
    /// Whether uploads are synced before they are closed.
    pub(crate) fsync: bool,
}

impl SessionLimits {
    /// The client's limits, reduced to the server's.
    pub(crate) fn new(piece: u32, open_files: usize, server: &ServerCapabilities) -> Self {
        let clamp = |max: Option<u64>| match max {
            Some(max) => u32::try_from(max).map_or(piece, |max| piece.min(max)),
            None => piece.min(PIECE_EVERYWHERE),
        };
        let allowed_open = server.open_files_max.and_then(|max| usize::try_from(max).ok());
        Self {
            write_len: clamp(server.write_len_max),
            read_len: clamp(server.read_len_max),
            open_files: allowed_open.map_or(open_files, |max| open_files.min(max)),
            fsync: server.supports(Extension::Fsync),
        }
    }
}

/// A request that a job sends next, or that a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestPurpose {
    Open,
    Write {
        at: u64,
        len: u32,
    },
    Sync,
    /// The size by handle, requested before the close.
    Check,
    Close,
    /// The size by name, after all other replies.
    Recheck,
    /// Of the segment that begins at `start`; from a later offset, its rest.
    Read {
        start: u64,
        offset: u64,
        len: u32,
    },
    /// The only request of a single-request job.
    Single,
}

impl RequestPurpose {
    /// The bytes that the request takes from the budget; 0 for a small request, which is sent before any data. The rest of
    /// a segment was counted with its first request.
    pub(crate) fn budget(self) -> usize {
        match self {
            Self::Write { len, .. } => len as usize,
            Self::Read { start, offset, len } if start == offset => len as usize,
            _ => 0,
        }
    }
}

/// The data of the next read or write, in bytes.
fn piece(left: u64, max: u32) -> u32 {
    u32::try_from(left).map_or(max, |left| left.min(max))
}

/// A file that a job opens at the server.
#[derive(Debug, Default)]
struct RemoteFile {
    path: String,
    handle: Vec<u8>,
    /// Requests sent and not answered.
    awaiting: usize,
    /// The first failure.
    failure: Option<JobError>,
}

impl RemoteFile {
    fn new(path: String) -> Self {
        Self {
            path,
            ..Self::default()
        }
    }

    /// Takes the reply to the open; returns whether the file is open.
    fn on_open(&mut self, reply: Reply<'_>) -> Result<bool, ProtocolError> {
        match reply {
            Reply::Handle(handle) => self.handle = handle.to_vec(),
            Reply::Status(status) if status.code != StatusCode::Ok => {
                self.refuse(RequestKind::Open, status);
            }
            other => return Err(other.unexpected("a file handle")),
        }
        Ok(self.failure.is_none())
    }

    /// Takes a reply that is only a status.
    fn on_status(&mut self, step: RequestKind, reply: Reply<'_>) -> Result<(), ProtocolError> {
        if let Some(status) = reply.into_refusal()? {
            self.refuse(step, status);
        }
        Ok(())
    }

    fn refuse(&mut self, step: RequestKind, status: ServerStatus) {
        let path = self.path.clone();
        self.failure
            .get_or_insert(JobError::Refused { step, path, status });
    }
}

/// The effect of a reply.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Bytes returned to the budget.
    pub(crate) freed: usize,
    /// Data for the caller. Its bytes count in the budget until the caller takes them.
    pub(crate) pieces: Vec<Vec<u8>>,
    /// Set when the job is over.
    pub(crate) ended: Option<Result<JobOutcome, JobError>>,
}

/// A job of any kind.
#[derive(Debug)]
pub(crate) enum Job {
    Upload(Upload),
    Download(Download),
    Single(Single),
}

impl Job {
    /// Whether the job keeps a file open at the server.
    pub(crate) fn opens_file(&self) -> bool {
        !matches!(self, Self::Single(_))
    }

    /// The next request; `None` until a reply arrives.
    pub(crate) fn next(&self, limits: &SessionLimits) -> Option<RequestPurpose> {
        match self {
            Self::Upload(upload) => upload.next(limits),
            Self::Download(download) => download.next(limits),
            Self::Single(single) => (!single.sent).then_some(RequestPurpose::Single),
        }
    }

    /// Sends the request that [`Self::next`] returned.
    pub(crate) fn send(&mut self, purpose: RequestPurpose, out: RequestWriter<'_>) {
        match self {
            Self::Upload(upload) => upload.send(purpose, out),
            Self::Download(download) => download.send(purpose, out),
            Self::Single(single) => single.send(out),
        }
    }

    /// The data of the last write could not be read, so the write was not sent.
    pub(crate) fn write_not_sent(&mut self, error: io::Error) {
        if let Self::Upload(upload) = self {
            upload.write_not_sent(error);
        }
    }

    pub(crate) fn on_reply(
        &mut self,
        purpose: RequestPurpose,
        reply: Reply<'_>,
    ) -> Result<Progress, ProtocolError> {
        match self {
            Self::Upload(upload) => upload.on_reply(purpose, reply),
            Self::Download(download) => download.on_reply(purpose, reply),
            Self::Single(single) => single.on_reply(reply),
        }
    }
}
