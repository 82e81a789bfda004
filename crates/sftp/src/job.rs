//! Jobs: what the caller asks for, each a machine of its own that makes requests and takes their replies.
//!
//! The client decides when a job may send; the job decides what. A job that failed sends only what it takes to
//! leave nothing open, and ends when the last reply is in.

use std::io;

use crate::download::Download;
use crate::error::{JobError, ProtocolError};
use crate::reply::{FileAttributes, Reply};
use crate::server::{Extension, ServerCapabilities};
use crate::single::Single;
use crate::space::FreeSpace;
use crate::upload::Upload;
use crate::wire::Request;

/// Names a job of one [`crate::SftpClient`]; later jobs have greater ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub(crate) u64);

/// Whether the size of an uploaded file was seen to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeCheck {
    /// The server reports the size that was sent.
    Confirmed,
    /// The server reports no size, or forbids to ask. Every write and the close were confirmed all the same.
    Unavailable,
}

/// How a job ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobOutcome {
    /// The file is whole under the name it was uploaded to.
    Uploaded(SizeCheck),
    /// All data was handed over as [`JobEvent::Data`].
    Read {
        /// Bytes handed over: those asked for, or fewer if the file ended before.
        bytes: u64,
    },
    /// The file is there.
    Found(FileAttributes),
    /// The server's SHA-256 of the file; `None`: it hashes by another algorithm.
    Sha256(Option<[u8; 32]>),
    /// The server has so much room.
    Free(FreeSpace),
    /// The rename, link, removal or new folder is done.
    Done,
}

/// What the client has to tell.
#[derive(Debug)]
pub enum JobEvent {
    /// The next bytes of a file that is read, in order and without gaps.
    Data {
        /// The job that reads it.
        job: JobId,
        /// The bytes; never empty.
        data: Vec<u8>,
    },
    /// A job ended; nothing more comes of it.
    Ended {
        /// The job.
        job: JobId,
        /// How it ended.
        result: Result<JobOutcome, JobError>,
    },
}

/// Data of one read or write that every server takes, in bytes (draft-ietf-secsh-filexfer-02, section 3).
const PIECE_EVERYWHERE: u32 = 32 << 10;

/// What holds for every job of a session, once the server's limits are known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// The longest data of one write, in bytes.
    pub(crate) write_len: u32,
    /// The longest data of one read, in bytes.
    pub(crate) read_len: u32,
    /// How many files may be open at once.
    pub(crate) open_files: usize,
    /// Whether uploads are synced before they are closed.
    pub(crate) fsync: bool,
}

impl Terms {
    /// Our own wishes, cut to what the server allows.
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

/// What a job would send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Nothing before a reply has come.
    Wait,
    /// A small request, which goes before all data.
    Control,
    /// A request that takes so many bytes of the budget.
    Data(u32),
}

/// Which request of its job a reply belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Open,
    Write {
        at: u64,
        len: u32,
    },
    Sync,
    /// The size by handle, sent ahead of the close.
    Check,
    Close,
    /// The size by name, when everything else is answered.
    Recheck,
    Read {
        start: u64,
    },
    /// The one request of a job that has only one.
    Single,
}

/// What a reply led to.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Bytes given back to the budget.
    pub(crate) freed: usize,
    /// Data for the caller. Its bytes stay in the budget until the caller has taken them.
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

    pub(crate) fn lane(&self, terms: &Terms) -> Lane {
        match self {
            Self::Upload(upload) => upload.lane(terms),
            Self::Download(download) => download.lane(terms),
            Self::Single(single) => single.lane(),
        }
    }

    /// The next request, which counts as sent. `None` exactly when the lane is [`Lane::Wait`].
    pub(crate) fn take_request(&mut self, terms: &Terms) -> Option<(Ask, Request<'_>)> {
        match self {
            Self::Upload(upload) => upload.take_request(terms),
            Self::Download(download) => download.take_request(terms),
            Self::Single(single) => single.take_request(),
        }
    }

    /// The data for the write taken last could not be had, so that it was not sent after all.
    pub(crate) fn write_not_sent(&mut self, error: io::Error) {
        if let Self::Upload(upload) = self {
            upload.write_not_sent(error);
        }
    }

    pub(crate) fn on_reply(&mut self, ask: Ask, reply: Reply<'_>) -> Result<Progress, ProtocolError> {
        match self {
            Self::Upload(upload) => upload.on_reply(ask, reply),
            Self::Download(download) => download.on_reply(ask, reply),
            Self::Single(single) => single.on_reply(reply),
        }
    }
}
