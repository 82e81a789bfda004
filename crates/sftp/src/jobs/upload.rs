//! Uploads one file: open (a new file, or an existing one to continue), write, sync if offered, check the size, close.
//!
//! After the open, no request waits for a reply: a server must process the requests for one file in the order of their
//! arrival (draft-ietf-secsh-filexfer-02, section 4). A small file thus takes two round trips. Some servers change the
//! order, or report the size only after the close. If the size is wrong or missing, the job requests it again after
//! all other replies.

use std::io;

use crate::error::{JobError, ProtocolError, RequestKind};
use crate::jobs::{JobOutcome, NextSend, Progress, RequestPurpose, SessionLimits, SizeCheck};
use crate::packets::reply::{FileAttributes, Reply};
use crate::packets::request::{OpenFor, Request};
use crate::status::{ServerStatus, StatusCode};

/// The next request, or the reply that must arrive before the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UploadStage {
    Open,
    Opening,
    Write { at: u64 },
    Sync,
    Check,
    Close,
    Closing,
    Recheck,
    Rechecking,
}

/// A job that uploads one file.
#[derive(Debug)]
pub(crate) struct Upload {
    path: String,
    /// The length that the server's file already has, in bytes.
    from: u64,
    len: u64,
    stage: UploadStage,
    handle: Vec<u8>,
    /// Requests sent and not answered.
    awaiting: usize,
    size: Option<u64>,
    /// The first failure.
    failure: Option<JobError>,
}

impl Upload {
    /// Uploads all `len` bytes into a new file.
    pub(crate) fn new(path: String, len: u64) -> Self {
        Self::resumed(path, 0, len)
    }

    /// Uploads the bytes from offset `from` into a file that holds the bytes before it.
    pub(crate) fn resumed(path: String, from: u64, len: u64) -> Self {
        let handle = Vec::new();
        Self {
            path,
            from,
            len,
            stage: UploadStage::Open,
            handle,
            awaiting: 0,
            size: None,
            failure: None,
        }
    }

    pub(crate) fn next_send(&self, limits: &SessionLimits) -> NextSend {
        match self.stage {
            UploadStage::Opening | UploadStage::Closing | UploadStage::Rechecking => NextSend::Wait,
            UploadStage::Write { at } if at < self.len => NextSend::Data(self.piece(at, limits)),
            _ => NextSend::Control,
        }
    }

    fn piece(&self, at: u64, limits: &SessionLimits) -> u32 {
        u32::try_from(self.len - at).map_or(limits.write_len, |left| left.min(limits.write_len))
    }

    pub(crate) fn take_request(&mut self, limits: &SessionLimits) -> Option<(RequestPurpose, Request<'_>)> {
        if self.stage == (UploadStage::Write { at: self.len }) {
            self.stage = if limits.fsync {
                UploadStage::Sync
            } else {
                UploadStage::Check
            };
        }
        let (path, handle) = (&self.path, &self.handle);
        let (next, purpose, request) = match self.stage {
            UploadStage::Opening | UploadStage::Closing | UploadStage::Rechecking => return None,
            UploadStage::Open => (
                UploadStage::Opening,
                RequestPurpose::Open,
                Request::Open {
                    path,
                    open_for: if self.from == 0 {
                        OpenFor::Writing
                    } else {
                        OpenFor::Appending
                    },
                },
            ),
            UploadStage::Write { at } => {
                let len = self.piece(at, limits);
                let next = UploadStage::Write {
                    at: at + u64::from(len),
                };
                (
                    next,
                    RequestPurpose::Write { at, len },
                    Request::Write {
                        handle,
                        offset: at,
                        len,
                    },
                )
            }
            UploadStage::Sync => (
                UploadStage::Check,
                RequestPurpose::Sync,
                Request::Fsync { handle },
            ),
            UploadStage::Check => (
                UploadStage::Close,
                RequestPurpose::Check,
                Request::Fstat { handle },
            ),
            UploadStage::Close => (
                UploadStage::Closing,
                RequestPurpose::Close,
                Request::Close { handle },
            ),
            UploadStage::Recheck => (
                UploadStage::Rechecking,
                RequestPurpose::Recheck,
                Request::Lstat { path },
            ),
        };
        self.stage = next;
        self.awaiting += 1;
        Some((purpose, request))
    }

    pub(crate) fn write_not_sent(&mut self, source: io::Error) {
        self.awaiting -= 1;
        self.fail(JobError::Local {
            path: self.path.clone(),
            source,
        });
    }

    pub(crate) fn on_reply(
        &mut self,
        purpose: RequestPurpose,
        reply: Reply<'_>,
    ) -> Result<Progress, ProtocolError> {
        self.awaiting -= 1;
        let mut progress = Progress::default();
        match purpose {
            RequestPurpose::Open => match reply {
                Reply::Handle(handle) => {
                    self.handle = handle.to_vec();
                    self.stage = UploadStage::Write { at: self.from };
                }
                Reply::Status(status) if status.code != StatusCode::Ok => {
                    progress.ended = Some(Err(self.refused(RequestKind::Open, status)));
                    return Ok(progress);
                }
                other => return Err(other.unexpected("a file handle")),
            },
            RequestPurpose::Write { len, .. } => {
                progress.freed = len as usize;
                self.take_status(RequestKind::Write, reply)?;
            }
            RequestPurpose::Sync => self.take_status(RequestKind::Sync, reply)?,
            RequestPurpose::Close => self.take_status(RequestKind::Close, reply)?,
            RequestPurpose::Check | RequestPurpose::Recheck => match reply {
                Reply::Attributes(FileAttributes { size, .. }) => self.size = size,
                Reply::Status(status) if status.code != StatusCode::Ok => self.size = None,
                other => return Err(other.unexpected("attributes")),
            },
            RequestPurpose::Read { .. } | RequestPurpose::Single => {
                unreachable!("an upload makes no such request")
            }
        }
        if self.awaiting == 0 {
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
        if let Some(failure) = self.failure.take() {
            return Some(Err(failure));
        }
        match self.size {
            Some(size) if size == self.len => Some(Ok(JobOutcome::Uploaded(SizeCheck::Confirmed))),
            _ if !last_chance => {
                self.stage = UploadStage::Recheck;
                None
            }
            Some(found) => Some(Err(JobError::WrongSize {
                path: self.path.clone(),
                expected: self.len,
                found,
            })),
            None => Some(Ok(JobOutcome::Uploaded(SizeCheck::Unavailable))),
        }
    }

    fn take_status(&mut self, step: RequestKind, reply: Reply<'_>) -> Result<(), ProtocolError> {
        if let Some(status) = reply.into_refusal()? {
            let refused = self.refused(step, status);
            self.fail(refused);
        }
        Ok(())
    }

    fn refused(&self, step: RequestKind, status: ServerStatus) -> JobError {
        JobError::Refused {
            step,
            path: self.path.clone(),
            status,
        }
    }

    /// Keeps the first failure and closes the file.
    fn fail(&mut self, failure: JobError) {
        self.failure.get_or_insert(failure);
        if matches!(
            self.stage,
            UploadStage::Write { .. } | UploadStage::Sync | UploadStage::Check
        ) {
            self.stage = UploadStage::Close;
        }
    }
}
