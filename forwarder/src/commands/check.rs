//! Tries a destination as a delivery would use it, for `logferry check --connect`: login, then a small file that is written,
//! renamed and deleted in the destination's folder.
//!
//! Invariants: the file has the destination's temporary suffix under both of its names, so a receiver leaves it alone. What
//! the check has made it removes; if the account may not remove it, the error names it. Its names are always the same, so
//! checks leave at most one file.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use logferry_config::Destination;
use logferry_sftp::{Extension, JobError, JobId, JobOutcome, StatusCode, UploadSource};
use tokio_util::sync::CancellationToken;

use crate::error::DeliveryError;
use crate::publish::publish_steps::PublishMethod;
use crate::session::bandwidth::Bandwidth;
use crate::session::sftp_driver::{NoContent, SftpDriver};
use crate::ssh;

/// The contents of the file, for whoever finds it.
const TEXT: &[u8] = b"written by `logferry check --connect`; may be deleted\n";

/// What is wrong with the destination's key file, without a connection; `None` if it can be used or there is none.
pub fn key_finding(destination: &Destination) -> Option<String> {
    ssh::key_finding(destination)
}

/// What is wrong with the lines of the destination's file of known host keys, without a connection.
pub fn known_hosts_finding(destination: &Destination) -> Option<String> {
    ssh::known_hosts_finding(destination)
}

/// Connects to a destination, logs in, and writes, renames and deletes a small file in its folder.
///
/// Blocks for up to a minute or two when the destination does not answer.
pub fn check_destination(destination: &Destination) -> Result<(), DeliveryError> {
    let bandwidth = Arc::new(Mutex::new(Bandwidth::new(None, Instant::now())));
    let remote = SftpDriver::open(destination, bandwidth, CancellationToken::new())?;
    let Destination {
        directory,
        temp_suffix: suffix,
        ..
    } = destination;
    let below = directory.trim_end_matches('/');
    let mut scratch = ScratchFile {
        remote,
        directory,
        written: format!("{below}/logferry-check{suffix}"),
        renamed: format!("{below}/logferry-check.renamed{suffix}"),
    };
    scratch.remove_old()?;
    scratch.write()?;
    scratch.rename()?;
    let deleted = scratch.remove(&scratch.renamed.clone())?;
    deleted.map_err(|refusal| scratch.not_allowed("delete", Some(&scratch.renamed), refusal))
}

/// The file and the connection.
struct ScratchFile<'a> {
    remote: SftpDriver,
    directory: &'a str,
    written: String,
    renamed: String,
}

impl ScratchFile<'_> {
    /// Removes what a check before has left. An account that may not delete is refused here, before it leaves anything.
    fn remove_old(&mut self) -> Result<(), DeliveryError> {
        for path in [self.written.clone(), self.renamed.clone()] {
            if let Err(refusal) = self.remove(&path)? {
                let is_there = self.is_there(&path)?;
                let denied = matches!(
                    refusal.code(),
                    Some(StatusCode::PermissionDenied | StatusCode::OpUnsupported)
                );
                if is_there || denied {
                    return Err(self.not_allowed("delete", is_there.then_some(&*path), refusal));
                }
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), DeliveryError> {
        let upload = self.remote.client().upload(&self.written, TEXT.len() as u64);
        let Err(refusal) = self.remote.finish(upload, &mut ScratchText)? else {
            return Ok(());
        };
        let left = self.clear()?;
        Err(self.not_allowed("write", left.as_deref(), refusal))
    }

    /// Renames as a delivery does.
    fn rename(&mut self) -> Result<(), DeliveryError> {
        let (from, to) = (self.written.clone(), self.renamed.clone());
        if self.remote.publish_method() == PublishMethod::Link {
            let link = self.remote.client().link(&from, &to);
            if self.run(link)?.is_ok() {
                let removed = self.remove(&from)?;
                return removed.map_err(|refusal| self.not_allowed("delete", Some(&from), refusal));
            }
        }
        let rename = self.remote.client().rename(&from, &to);
        let Err(mut refusal) = self.run(rename)? else {
            return Ok(());
        };
        if !self.is_there(&from)? {
            return Err(DeliveryError::TemporaryTaken { path: from });
        }
        if self.remote.client().supports(Extension::PosixRename) && !self.is_there(&to)? {
            let rename = self.remote.client().posix_rename(&from, &to);
            match self.run(rename)? {
                Ok(_) => return Ok(()),
                Err(second) => refusal = second,
            }
        }
        let left = self.clear()?;
        Err(self.not_allowed("rename", left.as_deref(), refusal))
    }

    /// Removes the file; returns its name if that is refused and it is there.
    fn clear(&mut self) -> Result<Option<String>, DeliveryError> {
        let path = self.written.clone();
        let removed = self.remove(&path)?;
        Ok((removed.is_err() && self.is_there(&path)?).then_some(path))
    }

    /// Removes a file. One that does not exist is removed.
    fn remove(&mut self, path: &str) -> Result<Result<(), JobError>, DeliveryError> {
        let remove = self.remote.client().remove(path);
        Ok(match self.run(remove)? {
            Err(refusal) if refusal.code() != Some(StatusCode::NoSuchFile) => Err(refusal),
            _ => Ok(()),
        })
    }

    /// Whether a file has this name, as far as the server says.
    fn is_there(&mut self, path: &str) -> Result<bool, DeliveryError> {
        let look = self.remote.client().stat(path);
        Ok(self.run(look)?.is_ok())
    }

    fn run(&mut self, job: JobId) -> Result<Result<JobOutcome, JobError>, DeliveryError> {
        self.remote.finish(job, &mut NoContent)
    }

    fn not_allowed(&self, operation: &'static str, left: Option<&str>, source: JobError) -> DeliveryError {
        let left = left.map_or_else(String::new, |path| {
            format!(", and {path} could not be removed again")
        });
        DeliveryError::NotAllowed {
            operation,
            directory: self.directory.to_owned(),
            left,
            source: Box::new(source),
        }
    }
}

struct ScratchText;

impl UploadSource for ScratchText {
    fn fill(&mut self, _: JobId, offset: u64, block: &mut [u8]) -> io::Result<()> {
        let rest = usize::try_from(offset).ok().and_then(|from| TEXT.get(from..));
        let piece = rest.and_then(|rest| rest.get(..block.len()));
        let piece = piece.ok_or(io::ErrorKind::UnexpectedEof)?;
        block.copy_from_slice(piece);
        Ok(())
    }
}
