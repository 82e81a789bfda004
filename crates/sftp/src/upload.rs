//! Uploading one file: open (a new one, unless its beginning is there already), write, sync where offered,
//! check the size, close.
//!
//! Nothing after the open waits for a reply: a server must treat requests for one file as if it had done them in
//! the order of their arrival (draft-ietf-secsh-filexfer-02, section 4), so a small file takes two round trips.
//! A server that does otherwise, or that shows the size only after the close, is asked for the size once more,
//! when everything else has been answered.

use std::io;

use crate::error::{JobError, ProtocolError, RequestKind};
use crate::job::{Ask, JobOutcome, Lane, Progress, SizeCheck, Terms};
use crate::reply::{FileAttributes, Reply};
use crate::status::{ServerStatus, StatusCode};
use crate::wire::{OpenFor, Request};

/// What is to be sent next, or what must be answered before anything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
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

/// The job.
#[derive(Debug)]
pub(crate) struct Upload {
    path: String,
    /// How much is there already, in bytes.
    from: u64,
    len: u64,
    stage: Stage,
    handle: Vec<u8>,
    /// Requests sent and not answered.
    awaiting: usize,
    size: Option<u64>,
    /// The first thing that went wrong.
    failure: Option<JobError>,
}

impl Upload {
    /// Of all `len` bytes, into a new file.
    pub(crate) fn new(path: String, len: u64) -> Self {
        Self::resumed(path, 0, len)
    }

    /// Of the bytes behind `from`, into a file that holds those before it.
    pub(crate) fn resumed(path: String, from: u64, len: u64) -> Self {
        let handle = Vec::new();
        Self {
            path,
            from,
            len,
            stage: Stage::Open,
            handle,
            awaiting: 0,
            size: None,
            failure: None,
        }
    }

    pub(crate) fn lane(&self, terms: &Terms) -> Lane {
        match self.stage {
            Stage::Opening | Stage::Closing | Stage::Rechecking => Lane::Wait,
            Stage::Write { at } if at < self.len => Lane::Data(self.piece(at, terms)),
            _ => Lane::Control,
        }
    }

    fn piece(&self, at: u64, terms: &Terms) -> u32 {
        u32::try_from(self.len - at).map_or(terms.write_len, |left| left.min(terms.write_len))
    }

    pub(crate) fn take_request(&mut self, terms: &Terms) -> Option<(Ask, Request<'_>)> {
        if self.stage == (Stage::Write { at: self.len }) {
            self.stage = if terms.fsync { Stage::Sync } else { Stage::Check };
        }
        let (path, handle) = (&self.path, &self.handle);
        let (next, ask, request) = match self.stage {
            Stage::Opening | Stage::Closing | Stage::Rechecking => return None,
            Stage::Open => (
                Stage::Opening,
                Ask::Open,
                Request::Open {
                    path,
                    open_for: if self.from == 0 {
                        OpenFor::Writing
                    } else {
                        OpenFor::GoingOn
                    },
                },
            ),
            Stage::Write { at } => {
                let len = self.piece(at, terms);
                let next = Stage::Write {
                    at: at + u64::from(len),
                };
                (
                    next,
                    Ask::Write { at, len },
                    Request::Write {
                        handle,
                        offset: at,
                        len,
                    },
                )
            }
            Stage::Sync => (Stage::Check, Ask::Sync, Request::Fsync { handle }),
            Stage::Check => (Stage::Close, Ask::Check, Request::Fstat { handle }),
            Stage::Close => (Stage::Closing, Ask::Close, Request::Close { handle }),
            Stage::Recheck => (Stage::Rechecking, Ask::Recheck, Request::Lstat { path }),
        };
        self.stage = next;
        self.awaiting += 1;
        Some((ask, request))
    }

    pub(crate) fn write_not_sent(&mut self, source: io::Error) {
        self.awaiting -= 1;
        self.fail(JobError::Local {
            path: self.path.clone(),
            source,
        });
    }

    pub(crate) fn on_reply(&mut self, ask: Ask, reply: Reply<'_>) -> Result<Progress, ProtocolError> {
        self.awaiting -= 1;
        let mut progress = Progress::default();
        match ask {
            Ask::Open => match reply {
                Reply::Handle(handle) => {
                    self.handle = handle.to_vec();
                    self.stage = Stage::Write { at: self.from };
                }
                Reply::Status(status) if status.code != StatusCode::Ok => {
                    progress.ended = Some(Err(self.refused(RequestKind::Open, status)));
                    return Ok(progress);
                }
                other => return Err(other.unexpected("a file handle")),
            },
            Ask::Write { len, .. } => {
                progress.freed = len as usize;
                self.take_status(RequestKind::Write, reply)?;
            }
            Ask::Sync => self.take_status(RequestKind::Sync, reply)?,
            Ask::Close => self.take_status(RequestKind::Close, reply)?,
            Ask::Check | Ask::Recheck => match reply {
                Reply::Attributes(FileAttributes { size, .. }) => self.size = size,
                Reply::Status(status) if status.code != StatusCode::Ok => self.size = None,
                other => return Err(other.unexpected("attributes")),
            },
            Ask::Read { .. } | Ask::Single => unreachable!("an upload makes no such request"),
        }
        if self.awaiting == 0 {
            progress.ended = self.try_end();
        }
        Ok(progress)
    }

    /// Ends the job, or asks for the size again, when the file is closed and nothing is unanswered.
    fn try_end(&mut self) -> Option<Result<JobOutcome, JobError>> {
        let last_chance = match self.stage {
            Stage::Closing => false,
            Stage::Rechecking => true,
            _ => return None,
        };
        if let Some(failure) = self.failure.take() {
            return Some(Err(failure));
        }
        match self.size {
            Some(size) if size == self.len => Some(Ok(JobOutcome::Uploaded(SizeCheck::Confirmed))),
            _ if !last_chance => {
                self.stage = Stage::Recheck;
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

    /// Keeps the first failure and turns to closing what is open.
    fn fail(&mut self, failure: JobError) {
        self.failure.get_or_insert(failure);
        if matches!(self.stage, Stage::Write { .. } | Stage::Sync | Stage::Check) {
            self.stage = Stage::Close;
        }
    }
}
