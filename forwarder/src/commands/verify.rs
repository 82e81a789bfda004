//! Reads delivered files back, for `logferry audit --verify`. Changes nothing.
//!
//! Many files are read at once over one connection. After a connection broke, the next one starts with one file, and with
//! one more for each file that is read: so a bad connection makes progress, and one over which no file can be read is
//! given up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use logferry_config::Destination;
use logferry_sftp::{JobError, JobEvent, JobId, JobOutcome, SftpClient, StatusCode};
use logferry_spool::FileHash;
use logferry_text::error_chain;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::error::{DeliveryError, FailureScope};
use crate::session::bandwidth::Bandwidth;
use crate::session::sftp_driver::{NoContent, SftpDriver};

/// The most files read at once: small files use the bandwidth of a slow connection only if there are many.
const AT_ONCE_MAX: usize = 64;

/// A file as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveredFile {
    /// Path at the destination.
    pub path: String,
    /// Its size there.
    pub bytes: u64,
    /// SHA-256 in hex. If unknown, the size is unknown too, and `bytes` is the least size.
    pub sha256: Option<String>,
}

/// How a file at a destination differs from the delivered one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryDifference {
    /// It does not exist.
    Missing,
    /// It has fewer bytes.
    Short {
        /// In bytes.
        found: u64,
    },
    /// It has more bytes.
    Longer,
    /// It has the same size and different bytes.
    Content {
        /// SHA-256 in hex.
        found: String,
    },
    /// The server refuses to read it.
    Unreadable {
        /// The server's error.
        reason: String,
    },
}

/// The progress of a verification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Files that are read, or that failed.
    pub files: usize,
    /// Bytes read. A file that was read twice counts twice.
    pub bytes: u64,
}

/// Reads files back from a destination and compares them with the delivered ones. Returns the index in `files`, ascending,
/// and the difference of each that differs.
///
/// Blocks until all files are read; calls `progress` regularly. Returns an error if no connection is possible, or if one
/// broke again before one more file was read.
pub fn verify(
    destination: &Destination,
    files: &[DeliveredFile],
    stop: &CancellationToken,
    mut progress: impl FnMut(VerifyProgress),
) -> Result<Vec<(usize, DeliveryDifference)>, DeliveryError> {
    let mut readers = ReadBack::new(files);
    while !readers.is_done() {
        let (done_before, at_once) = (readers.progress.files, readers.at_once);
        if let Err(error) = read_over_one_connection(destination, &mut readers, stop, &mut progress) {
            let gets_on = readers.progress.files > done_before || at_once > 1;
            if error.scope() != FailureScope::Connection || !gets_on {
                return Err(error);
            }
        }
        readers.restart_after_disconnect();
    }
    let mut differences = readers.differences;
    differences.sort_unstable_by_key(|(number, _)| *number);
    Ok(differences)
}

/// Reads files over one connection.
fn read_over_one_connection(
    destination: &Destination,
    readers: &mut ReadBack<'_>,
    stop: &CancellationToken,
    progress: &mut impl FnMut(VerifyProgress),
) -> Result<(), DeliveryError> {
    let bandwidth = Arc::new(Mutex::new(Bandwidth::new(None, Instant::now())));
    let mut remote = SftpDriver::open(destination, bandwidth, stop.clone())?;
    loop {
        readers.ask(remote.client());
        if readers.is_done() {
            return Ok(());
        }
        let exchanged = remote.exchange(&mut NoContent);
        // Files that were read before the connection broke count.
        while let Some(event) = remote.client().poll_event() {
            readers.on_event(event);
        }
        progress(readers.progress);
        exchanged?;
    }
}

/// All files to read. No connection in here.
#[derive(Debug, Default)]
struct ReadBack<'a> {
    files: &'a [DeliveredFile],
    /// Not requested yet, by index.
    waiting: VecDeque<usize>,
    /// By the job that reads it: the index of a file, and the hash of its bytes so far.
    reading: BTreeMap<JobId, (usize, Sha256)>,
    at_once: usize,
    progress: VerifyProgress,
    differences: Vec<(usize, DeliveryDifference)>,
}

impl<'a> ReadBack<'a> {
    fn new(files: &'a [DeliveredFile]) -> Self {
        Self {
            files,
            waiting: (0..files.len()).collect(),
            at_once: AT_ONCE_MAX,
            ..Self::default()
        }
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.reading.is_empty()
    }

    /// Requests more files, up to the limit.
    fn ask(&mut self, client: &mut SftpClient) {
        while self.reading.len() < self.at_once
            && let Some(number) = self.waiting.pop_front()
            && let Some(file) = self.files.get(number)
        {
            // One byte more than expected detects a longer file.
            let job = client.read(&file.path, file.bytes.saturating_add(1));
            self.reading.insert(job, (number, Sha256::new()));
        }
    }

    /// After a lost connection: the files that were being read are read again.
    fn restart_after_disconnect(&mut self) {
        self.at_once = 1;
        for (number, _) in std::mem::take(&mut self.reading).into_values() {
            self.waiting.push_front(number);
        }
    }

    fn on_event(&mut self, event: JobEvent) {
        match event {
            JobEvent::Data { job, data } => {
                self.progress.bytes += data.len() as u64;
                if let Some((_, sha256)) = self.reading.get_mut(&job) {
                    sha256.update(&data);
                }
            }
            JobEvent::Ended { job, result } => {
                let Some((number, sha256)) = self.reading.remove(&job) else {
                    return;
                };
                self.progress.files += 1;
                self.at_once = (self.at_once + 1).min(AT_ONCE_MAX);
                let difference = self
                    .files
                    .get(number)
                    .and_then(|file| difference(file, result, FileHash::of(sha256)));
                self.differences
                    .extend(difference.map(|difference| (number, difference)));
            }
        }
    }
}

fn difference(
    file: &DeliveredFile,
    result: Result<JobOutcome, JobError>,
    hash: FileHash,
) -> Option<DeliveryDifference> {
    let found = match result {
        Ok(JobOutcome::Read { bytes }) => bytes,
        Ok(_) => 0,
        Err(error) if error.code() == Some(StatusCode::NoSuchFile) => {
            return Some(DeliveryDifference::Missing);
        }
        Err(error) => {
            return Some(DeliveryDifference::Unreadable {
                reason: error_chain(&error),
            });
        }
    };
    if found < file.bytes {
        return Some(DeliveryDifference::Short { found });
    }
    let sha256 = file.sha256.as_ref()?;
    if found > file.bytes {
        return Some(DeliveryDifference::Longer);
    }
    let found = hash.hex();
    (found != *sha256).then_some(DeliveryDifference::Content { found })
}
