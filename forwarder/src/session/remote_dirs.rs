//! Having the subfolders that a batch goes into, before it goes there. No connection in here.
//!
//! A folder is made once over each connection, if it was not there; one that is there is fine, whoever made it. Only
//! what is below the destination's `directory` is made: if that is missing, the drop itself is wrong.

use std::collections::HashSet;

use logferry_sftp::{JobError, JobId, JobOutcome, SftpClient};

use crate::publish::attempt::PublishAttempt;

/// So many folders are remembered at most: a destination whose folders are by day and source has fewer at one time.
const KNOWN_MAX: usize = 10_000;

/// The type of a file in its mode, and that of a plain file (inode(7)).
const FILE_TYPE: u32 = 0o170_000;
const PLAIN_FILE: u32 = 0o100_000;

/// The folders that are known to be there.
#[derive(Debug, Default)]
pub(crate) struct RemoteDirs {
    known: HashSet<String>,
}

/// An attempt that waits for a folder.
#[derive(Debug)]
pub(crate) struct AwaitingDir {
    pub(crate) attempt: PublishAttempt,
    folder: String,
    /// Why the server did not make it; it is looked at now.
    refusal: Option<JobError>,
}

/// What came of asking for a folder.
#[derive(Debug)]
pub(crate) enum DirRequest {
    /// It is there.
    Ready(PublishAttempt),
    /// It is asked for still.
    Waiting(JobId, AwaitingDir),
    /// It cannot be had.
    Refused(PublishAttempt, JobError),
}

impl RemoteDirs {
    /// Asks for the first folder of an attempt that is not known to be there.
    pub(crate) fn ask(&self, attempt: PublishAttempt, client: &mut SftpClient) -> DirRequest {
        let missing = attempt
            .folders()
            .iter()
            .find(|folder| !self.known.contains(*folder));
        let Some(folder) = missing.cloned() else {
            return DirRequest::Ready(attempt);
        };
        let job = client.mkdir(&folder);
        let waiting = AwaitingDir {
            attempt,
            folder,
            refusal: None,
        };
        DirRequest::Waiting(job, waiting)
    }

    /// Takes what came of it, and asks for the next.
    pub(crate) fn on_ended(
        &mut self,
        waiting: AwaitingDir,
        result: Result<JobOutcome, JobError>,
        client: &mut SftpClient,
    ) -> DirRequest {
        let AwaitingDir {
            attempt,
            folder,
            refusal,
        } = waiting;
        let is_there = match (result, refusal) {
            (Ok(JobOutcome::Found(attributes)), Some(refusal)) => {
                // A link to a folder is one as well.
                let is_file = |mode| mode & FILE_TYPE == PLAIN_FILE;
                if attributes.permissions.is_some_and(is_file) {
                    Err(refusal)
                } else {
                    Ok(())
                }
            }
            (Ok(_), _) => Ok(()),
            // Version 3 of the protocol has no code for "it is there already".
            (Err(refusal), None) => {
                let job = client.stat(&folder);
                let waiting = AwaitingDir {
                    attempt,
                    folder,
                    refusal: Some(refusal),
                };
                return DirRequest::Waiting(job, waiting);
            }
            (Err(_), Some(refusal)) => Err(refusal),
        };
        match is_there {
            Ok(()) => {
                if self.known.len() >= KNOWN_MAX {
                    self.forget();
                }
                self.known.insert(folder);
                self.ask(attempt, client)
            }
            Err(refusal) => DirRequest::Refused(attempt, refusal),
        }
    }

    /// To be called when something failed: somebody may have removed a folder.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
    }
}
