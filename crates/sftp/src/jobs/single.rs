//! Jobs of one request: rename, link, remove, make a folder, read attributes, hash a file, read the free space.

use crate::error::{JobError, ProtocolError, RequestKind};
use crate::jobs::{JobOutcome, NextSend, Progress, RequestPurpose};
use crate::packets::extension::Extension;
use crate::packets::reply::{Fields, Reply};
use crate::packets::request::{Request, SHA256, kind};
use crate::packets::space::FreeSpace;

/// The request of the job.
#[derive(Debug)]
pub(crate) enum Operation {
    Rename { from: String, to: String },
    Link { from: String, to: String },
    Sha256 { path: String },
    Remove { path: String },
    Mkdir { path: String },
    Stat { path: String },
    FreeSpace { path: String },
}

/// A job of one request.
#[derive(Debug)]
pub(crate) struct Single {
    operation: Operation,
    sent: bool,
}

impl Single {
    pub(crate) fn new(operation: Operation) -> Self {
        Self {
            operation,
            sent: false,
        }
    }

    pub(crate) fn next_send(&self) -> NextSend {
        if self.sent {
            NextSend::Wait
        } else {
            NextSend::Control
        }
    }

    pub(crate) fn take_request(&mut self) -> Option<(RequestPurpose, Request<'_>)> {
        if self.sent {
            return None;
        }
        self.sent = true;
        let request = match &self.operation {
            Operation::Rename { from, to } => Request::Rename { from, to },
            Operation::Link { from, to } => Request::Link { from, to },
            Operation::Sha256 { path } => Request::Sha256 { path },
            Operation::Remove { path } => Request::Remove { path },
            Operation::Mkdir { path } => Request::Mkdir { path },
            Operation::Stat { path } => Request::Lstat { path },
            Operation::FreeSpace { path } => Request::FreeSpace { path },
        };
        Some((RequestPurpose::Single, request))
    }

    pub(crate) fn on_reply(&mut self, reply: Reply<'_>) -> Result<Progress, ProtocolError> {
        let result = match (&self.operation, reply) {
            (Operation::Stat { .. }, Reply::Attributes(attributes)) => Ok(JobOutcome::Found(attributes)),
            (Operation::Sha256 { .. }, Reply::Extended(body)) => Ok(JobOutcome::Sha256(sha256(body)?)),
            (Operation::FreeSpace { .. }, Reply::Extended(body)) => {
                Ok(JobOutcome::Free(FreeSpace::parse(body)?))
            }
            (operation, reply) => {
                let unexpected = reply.unexpected("what was asked for");
                match (operation, reply.into_refusal()?) {
                    (
                        Operation::Stat { .. } | Operation::Sha256 { .. } | Operation::FreeSpace { .. },
                        None,
                    ) => return Err(unexpected),
                    (_, None) => Ok(JobOutcome::Done),
                    (operation, Some(status)) => Err(operation.refused(status)),
                }
            }
        };
        Ok(Progress {
            ended: Some(result),
            ..Progress::default()
        })
    }
}

impl Operation {
    fn refused(&self, status: crate::status::ServerStatus) -> JobError {
        let refused = |step, path: &String| (step, path.clone());
        let (step, path) = match self {
            Self::Rename { from, to } | Self::Link { from, to } => {
                return JobError::RenameRefused {
                    from: from.clone(),
                    to: to.clone(),
                    status,
                };
            }
            Self::Sha256 { path } => refused(RequestKind::Hash, path),
            Self::Remove { path } => refused(RequestKind::Remove, path),
            Self::Mkdir { path } => refused(RequestKind::Mkdir, path),
            Self::Stat { path } | Self::FreeSpace { path } => refused(RequestKind::Stat, path),
        };
        JobError::Refused { step, path, status }
    }
}

/// Reads the reply of the extension `check-file`: a name, the algorithm, and the hash up to the end of the packet.
/// `None`: the server used another algorithm.
fn sha256(body: &[u8]) -> Result<Option<[u8; 32]>, ProtocolError> {
    let mut fields = Fields {
        kind: kind::EXTENDED_REPLY,
        rest: body,
    };
    // Not every server repeats the extension's name.
    let (mut algorithm, name) = (fields.string()?, Extension::CheckFile.name());
    if algorithm == name.as_bytes() {
        algorithm = fields.string()?;
    }
    let hash = fields.rest.try_into().ok();
    Ok(hash.filter(|_| algorithm == SHA256.as_bytes()))
}
