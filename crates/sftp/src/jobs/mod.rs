//! Jobs: one for each call. Each job is a state machine that makes requests and handles their replies.
//!
//! The client decides when a job may send; the job decides which request. A failed job sends only the requests that close
//! its file, and ends with the last reply. A new kind of job gets a file here and an arm in [`Job`].

pub(crate) mod download;
pub(crate) mod single;
pub(crate) mod upload;

use std::io;

use crate::error::{JobError, ProtocolError};
use crate::jobs::download::Download;
use crate::jobs::single::Single;
use crate::jobs::upload::Upload;
use crate::packets::extension::Extension;
use crate::packets::reply::{FileAttributes, Reply};
use crate::packets::request::Request;
use crate::packets::server::ServerCapabilities;
use crate::packets::space::FreeSpace;

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

/// The kind of request that a job would send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextSend {
    /// None until a reply arrives.
    Wait,
    /// A small request; it is sent before any data.
    Control,
    /// A request for this many bytes of the budget.
    Data(u32),
}

/// The request of the job that a reply answers.
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
    Read {
        start: u64,
    },
    /// The only request of a single-request job.
    Single,
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

    pub(crate) fn next_send(&self, limits: &SessionLimits) -> NextSend {
        match self {
            Self::Upload(upload) => upload.next_send(limits),
            Self::Download(download) => download.next_send(limits),
            Self::Single(single) => single.next_send(),
        }
    }

    /// The next request, which counts as sent. `None` only if [`Self::next_send`] is [`NextSend::Wait`].
    pub(crate) fn take_request(&mut self, limits: &SessionLimits) -> Option<(RequestPurpose, Request<'_>)> {
        match self {
            Self::Upload(upload) => upload.take_request(limits),
            Self::Download(download) => download.take_request(limits),
            Self::Single(single) => single.take_request(),
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
