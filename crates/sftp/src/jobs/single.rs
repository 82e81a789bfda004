//! Jobs of one request: rename, link, remove, make a folder, read attributes, hash a file, read the free space.

use crate::error::{JobError, ProtocolError, RequestKind};
use crate::jobs::{JobOutcome, Progress};
use crate::packets::extension::Extension;
use crate::packets::reply::{Fields, Reply};
use crate::packets::request::Field::Text;
use crate::packets::request::{RequestWriter, SHA256};
use crate::packets::space::FreeSpace;
use crate::status::ServerStatus;

/// The request of the job, with its path or its old and new path.
#[derive(Debug)]
pub(crate) enum Operation {
    Rename(String, String),
    PosixRename(String, String),
    Link(String, String),
    Sha256(String),
    Remove(String),
    Mkdir(String),
    Stat(String),
    FreeSpace(String),
}

/// A job of one request.
#[derive(Debug)]
pub(crate) struct Single {
    pub(crate) operation: Operation,
    pub(crate) sent: bool,
}

impl Single {
    pub(crate) fn send(&mut self, out: RequestWriter<'_>) {
        self.sent = true;
        match &self.operation {
            Operation::Rename(from, to) => out.rename(from, to),
            Operation::PosixRename(from, to) => out.extended(Extension::PosixRename, [Text(from), Text(to)]),
            Operation::Link(from, to) => out.extended(Extension::Hardlink, [Text(from), Text(to)]),
            Operation::Sha256(path) => out.sha256(path),
            Operation::Remove(path) => out.remove(path),
            Operation::Mkdir(path) => out.mkdir(path),
            Operation::Stat(path) => out.lstat(path),
            Operation::FreeSpace(path) => out.extended(Extension::Statvfs, [Text(path)]),
        }
    }

    pub(crate) fn on_reply(&self, reply: Reply<'_>) -> Result<Progress, ProtocolError> {
        use Operation::{FreeSpace as Space, Sha256, Stat};
        let result = match (&self.operation, reply) {
            (Stat(_), Reply::Attributes(attributes)) => Ok(JobOutcome::Found(attributes)),
            (Sha256(_), Reply::Extended(body)) => Ok(JobOutcome::Sha256(sha256(body)?)),
            (Space(_), Reply::Extended(body)) => Ok(JobOutcome::Free(FreeSpace::parse(body)?)),
            (operation, reply) => {
                let unexpected = reply.unexpected("what was asked for");
                match (operation, reply.into_refusal()?) {
                    (operation, Some(status)) => Err(operation.refused(status)),
                    (Stat(_) | Sha256(_) | Space(_), None) => return Err(unexpected),
                    (_, None) => Ok(JobOutcome::Done),
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
    fn refused(&self, status: ServerStatus) -> JobError {
        let (step, path) = match self {
            Self::Rename(from, to) | Self::PosixRename(from, to) | Self::Link(from, to) => {
                let (from, to) = (from.clone(), to.clone());
                return JobError::RenameRefused { from, to, status };
            }
            Self::Sha256(path) => (RequestKind::Hash, path),
            Self::Remove(path) => (RequestKind::Remove, path),
            Self::Mkdir(path) => (RequestKind::Mkdir, path),
            Self::Stat(path) | Self::FreeSpace(path) => (RequestKind::Stat, path),
        };
        let path = path.clone();
        JobError::Refused { step, path, status }
    }
}

/// Reads the reply of the extension `check-file`: a name, the algorithm, and the hash up to the end of the packet.
/// `None`: the server used another algorithm.
fn sha256(body: &[u8]) -> Result<Option<[u8; 32]>, ProtocolError> {
    let mut fields = Fields::extended(body);
    // Not every server repeats the extension's name.
    let (mut algorithm, name) = (fields.string()?, Extension::CheckFile.name());
    if algorithm == name.as_bytes() {
        algorithm = fields.string()?;
    }
    let hash = fields.rest.try_into().ok();
    Ok(hash.filter(|_| algorithm == SHA256.as_bytes()))
}
