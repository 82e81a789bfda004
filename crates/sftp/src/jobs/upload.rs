//! Uploads one file: open (a new file, or an existing one to continue), write, sync if offered, check the size, close.
//!
//! After the open, no request waits for a reply: a server must process the requests for one file in the order of their
//! arrival (draft-ietf-secsh-filexfer-02, section 4). A small file thus takes two round trips. Some servers change the
//! order, or report the size only after the close. If the size is wrong or missing, the job requests it again after
//! all other replies.

use std::io;

use crate::error::{JobError, ProtocolError, RequestKind};
use crate::jobs::{JobOutcome, Progress, RemoteFile, RequestPurpose, SessionLimits, SizeCheck, piece};
use crate::packets::extension::Extension;
use crate::packets::reply::{FileAttributes, Reply};
use crate::packets::request::Field::Bytes;
use crate::packets::request::{OpenFor, RequestWriter};
use crate::status::StatusCode;

/// The next request, or the reply that must arrive before the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UploadStage {
    Open,
    Opening,
    Write { at: u64 },
    Check,
    Close,
    Closing,
    Recheck,
    Rechecking,
}

/// A job that uploads one file.
#[derive(Debug)]
pub(crate) struct Upload {
    file: RemoteFile,
    /// The length that the server's file already has, in bytes.
    from: u64,
    len: u64,
    stage: UploadStage,
    size: Option<u64>,
}

impl Upload {
    /// Uploads the bytes from offset `from` into a file that holds the bytes before it; 0: into a new file.
    pub(crate) fn new(path: String, from: u64, len: u64) -> Self {
        Self {
            file: RemoteFile::new(path),
            from,
            len,
            stage: UploadStage::Open,
            size: None,
        }
    }

    pub(crate) fn next(&self, limits: &SessionLimits) -> Option<RequestPurpose> {
        match self.stage {
            UploadStage::Opening | UploadStage::Closing | UploadStage::Rechecking => None,
            UploadStage::Open => Some(RequestPurpose::Open),
            UploadStage::Write { at } if at < self.len => {
                let len = piece(self.len - at, limits.write_len);
                Some(RequestPurpose::Write { at, len })
            }
            UploadStage::Write { .. } if limits.fsync => Some(RequestPurpose::Sync),
            UploadStage::Write { .. } | UploadStage::Check => Some(RequestPurpose::Check),
            UploadStage::Close => Some(RequestPurpose::Close),
            UploadStage::Recheck => Some(RequestPurpose::Recheck),
        }
    }

    pub(crate) fn send(&mut self, purpose: RequestPurpose, out: RequestWriter<'_>) {
        let RemoteFile { path, handle, .. } = &self.file;
        self.stage = match purpose {
            RequestPurpose::Open => {
                let is_new = self.from == 0;
                out.open(
                    path,
                    if is_new {
                        OpenFor::Writing
                    } else {
                        OpenFor::Appending
                    },
                );
                UploadStage::Opening
            }
            RequestPurpose::Write { at, len } => {
                out.write(handle, at, len);
                UploadStage::Write {
                    at: at + u64::from(len),
                }
            }
            RequestPurpose::Sync => {
                out.extended(Extension::Fsync, [Bytes(handle)]);
                UploadStage::Check
            }
            RequestPurpose::Check => {
                out.fstat(handle);
                UploadStage::Close
            }
            RequestPurpose::Recheck => {
                out.lstat(path);
                UploadStage::Rechecking
            }
            RequestPurpose::Close | RequestPurpose::Read { .. } | RequestPurpose::Single => {
                out.close(handle);
                UploadStage::Closing
            }
        };
        self.file.awaiting += 1;
    }

    pub(crate) fn write_not_sent(&mut self, source: io::Error) {
        self.file.awaiting -= 1;
        let path = self.file.path.clone();
        self.file.failure.get_or_insert(JobError::Local { path, source });
        self.close_if_failed();
    }

    pub(crate) fn on_reply(
        &mut self,
        purpose: RequestPurpose,
        reply: Reply<'_>,
    ) -> Result<Progress, ProtocolError> {
        self.file.awaiting -= 1;
        let mut progress = Progress::default();
        match purpose {
            RequestPurpose::Open => {
                self.stage = if self.file.on_open(reply)? {
                    UploadStage::Write { at: self.from }
                } else {
                    UploadStage::Closing
                };
            }
            RequestPurpose::Write { len, .. } => {
                progress.freed = len as usize;
                self.file.on_status(RequestKind::Write, reply)?;
            }
            RequestPurpose::Sync => self.file.on_status(RequestKind::Sync, reply)?,
            RequestPurpose::Close => self.file.on_status(RequestKind::Close, reply)?,
            RequestPurpose::Check | RequestPurpose::Recheck => match reply {
                Reply::Attributes(FileAttributes { size, .. }) => self.size = size,
                Reply::Status(status) if status.code != StatusCode::Ok => self.size = None,
                other => return Err(other.unexpected("attributes")),
            },
            RequestPurpose::Read { .. } | RequestPurpose::Single => {
                unreachable!("an upload makes no such request")
            }
        }
        self.close_if_failed();
        if self.file.awaiting == 0 {
            progress.ended = self.try_end();
        }
        Ok(progress)
    }

    /// Ends the job, or requests the size again, when the file is closed and every request is answered.
    fn try_end(&mut self) -> Option<Result<JobOutcome, JobError>> {
        let last_chance = match self.stage {
            UploadStage::Closing => false,
            UploadStage::Rechecking => true,
            _ => return None,
        };
        if let Some(failure) = self.file.failure.take() {
            return Some(Err(failure));
        }
        match self.size {
            Some(size) if size == self.len => Some(Ok(JobOutcome::Uploaded(SizeCheck::Confirmed))),
            _ if !last_chance => {
                self.stage = UploadStage::Recheck;
                None
            }
            Some(found) => Some(Err(JobError::WrongSize {
                path: self.file.path.clone(),
                expected: self.len,
                found,
            })),
            None => Some(Ok(JobOutcome::Uploaded(SizeCheck::Unavailable))),
        }
    }

    fn close_if_failed(&mut self) {
        let is_open = matches!(self.stage, UploadStage::Write { .. } | UploadStage::Check);
        if is_open && self.file.failure.is_some() {
            self.stage = UploadStage::Close;
        }
    }
}
