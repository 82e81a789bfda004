//! Creates the subfolders that a batch goes into before it is uploaded. No connection in here.
//!
//! Each folder is requested once per connection; one that exists already is fine. Only folders below the destination's
//! `directory` are created: if `directory` itself is missing, the configuration is wrong.

use std::collections::HashSet;

use logferry_sftp::{JobError, JobId, JobOutcome, SftpClient};

use crate::publish::attempt::PublishAttempt;

/// The most folders remembered: more than a destination with folders by day and source has at one time.
const KNOWN_MAX: usize = 10_000;

/// The file type bits of a mode, and their value for a regular file (inode(7)).
const FILE_TYPE: u32 = 0o170_000;
const REGULAR_FILE: u32 = 0o100_000;

/// The remote folders that are known to exist.
#[derive(Debug, Default)]
pub(crate) struct RemoteDirs {
    known: HashSet<String>,
}

/// An attempt that waits for a folder.
#[derive(Debug)]
pub(crate) struct AwaitingDir {
    pub(crate) attempt: PublishAttempt,
    folder: String,
    /// Why the server did not create it; it is being checked whether the folder exists.
    refusal: Option<JobError>,
}

/// The state of an attempt's folders.
#[derive(Debug)]
pub(crate) enum DirRequest {
    /// All exist.
    Ready(PublishAttempt),
    /// One is requested.
    Waiting(JobId, AwaitingDir),
    /// One cannot be created.
    Refused(PublishAttempt, JobError),
}

impl RemoteDirs {
    /// Requests the first folder of an attempt that is not known to exist.
    pub(crate) fn request(&self, attempt: PublishAttempt, client: &mut SftpClient) -> DirRequest {
        let mut folders = attempt.paths.folders.iter();
        let Some(folder) = folders.find(|folder| !self.known.contains(*folder)).cloned() else {
            return DirRequest::Ready(attempt);
        };
        let waiting = AwaitingDir {
            attempt,
            refusal: None,
            folder,
        };
        DirRequest::Waiting(client.mkdir(&waiting.folder), waiting)
    }

    /// Handles the result of a request and requests the next folder.
    pub(crate) fn on_ended(
        &mut self,
        mut waiting: AwaitingDir,
        result: Result<JobOutcome, JobError>,
        client: &mut SftpClient,
    ) -> DirRequest {
        let is_file = |mode| mode & FILE_TYPE == REGULAR_FILE;
        match (result, waiting.refusal.take()) {
            // SFTP version 3 has no status code for "it exists already".
            (Err(refusal), None) => {
                waiting.refusal = Some(refusal);
                return DirRequest::Waiting(client.stat(&waiting.folder), waiting);
            }
            (Err(_), Some(refusal)) => return DirRequest::Refused(waiting.attempt, refusal),
            // A link to a folder counts as one.
            (Ok(JobOutcome::Found(attributes)), Some(refusal))
                if attributes.permissions.is_some_and(is_file) =>
            {
                return DirRequest::Refused(waiting.attempt, refusal);
            }
            (Ok(_), _) => {}
        }
        if self.known.len() >= KNOWN_MAX {
            self.forget();
        }
        self.known.insert(waiting.folder);
        self.request(waiting.attempt, client)
    }

    /// Forgets all folders. To be called after a failure: a folder may have been removed.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
    }
}
