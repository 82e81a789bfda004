//! Small files that are made here, such as a window's manifest, on their publish_method over one session. No connection in here.
//!
//! A letter goes the publish_method of a batch: look at its name, upload under a temporary one, look again, rename; what has its
//! name already is compared, and never written to. Unlike a batch it needs no memory of attempts: sent twice, it is the
//! same file under the same name. A crash leaves the temporary name, which the next attempt removes, or the letter.
//!
//! The temporary file is a new one in each attempt: an upload that a dead session asked for, and that the server begins
//! late, does not empty it (see `publication`).

use std::collections::BTreeMap;
use std::io;

use logferry_ledger::ManifestId;
use logferry_sftp::{self as sftp, JobError, JobId, JobOutcome, SftpClient, StatusCode};

use crate::error::DeliveryError;

/// A letter to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) id: ManifestId,
    /// Its path at the destination.
    pub(crate) path: String,
    /// Where it is uploaded to first.
    pub(crate) temporary: String,
    pub(crate) content: Vec<u8>,
}

/// What came of a letter: the path that it has at the destination.
pub(crate) type Posted = (ManifestId, Result<String, DeliveryError>);

/// The letters in flight, by the job that each waits for.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    in_flight: BTreeMap<JobId, Posting>,
    posted: Vec<Posted>,
}

/// A letter in flight.
#[derive(Debug)]
struct Posting {
    letter: Letter,
    step: Step,
    /// Of what is compared: bytes that came, as long as they are the letter's.
    same: Option<usize>,
}

#[derive(Debug)]
enum Step {
    /// Look at its name.
    Look(Before),
    /// Compare what has its name.
    Compare,
    Upload,
    /// Remove what has the temporary name, then upload.
    Clear,
    /// The same, once more.
    UploadAgain,
    Rename,
    /// Remove the temporary name, then it is over.
    Remove(Result<(), DeliveryError>),
}

/// What was done before its name was looked at.
#[derive(Debug)]
enum Before {
    Nothing,
    /// It was uploaded.
    Upload,
    /// The server refused to rename.
    Refusal(JobError),
}

impl Letters {
    pub(crate) fn len(&self) -> usize {
        self.in_flight.len()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = ManifestId> {
        self.in_flight.values().map(|posting| posting.letter.id)
    }

    /// Takes out what came of letters since the last time.
    pub(crate) fn take_posted(&mut self) -> Vec<Posted> {
        std::mem::take(&mut self.posted)
    }

    /// Sends a letter on its publish_method.
    pub(crate) fn post(&mut self, letter: Letter, client: &mut SftpClient) {
        let posting = Posting {
            letter,
            step: Step::Look(Before::Nothing),
            same: None,
        };
        self.start(posting, client);
    }

    /// Whether a job is a letter's.
    pub(crate) fn has(&self, job: JobId) -> bool {
        self.in_flight.contains_key(&job)
    }

    /// Gives bytes to upload.
    pub(crate) fn fill(&self, job: JobId, offset: u64, block: &mut [u8]) -> io::Result<()> {
        let content = self.in_flight.get(&job).map(|posting| &posting.letter.content);
        let rest = content.and_then(|content| content.get(usize::try_from(offset).ok()?..));
        let wanted = rest.and_then(|rest| rest.get(..block.len()));
        block.copy_from_slice(wanted.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    /// Takes bytes that were read back; false when no more are wanted.
    pub(crate) fn on_data(&mut self, job: JobId, data: &[u8]) -> bool {
        let Some(posting) = self.in_flight.get_mut(&job) else {
            return false;
        };
        let rest = posting.same.and_then(|at| posting.letter.content.get(at..));
        let is_same = rest.is_some_and(|rest| rest.starts_with(data));
        posting.same = posting.same.filter(|_| is_same).map(|at| at + data.len());
        is_same
    }

    /// Takes what came of a job.
    pub(crate) fn on_ended(
        &mut self,
        job: JobId,
        result: Result<JobOutcome, JobError>,
        client: &mut SftpClient,
    ) {
        let Some(mut posting) = self.in_flight.remove(&job) else {
            return;
        };
        match posting.next(result) {
            Ok(Some(step)) => {
                posting.step = step;
                self.start(posting, client);
            }
            Ok(None) => self.posted.push((posting.letter.id, Ok(posting.letter.path))),
            Err(error) => self.posted.push((posting.letter.id, Err(error))),
        }
    }

    fn start(&mut self, mut posting: Posting, client: &mut SftpClient) {
        let Letter {
            path,
            temporary,
            content,
            ..
        } = &posting.letter;
        let len = content.len() as u64;
        let job = match posting.step {
            Step::Look(_) => client.stat(path),
            Step::Compare => {
                posting.same = Some(0);
                // One byte more than expected shows a file that is longer.
                client.read(path, len + 1)
            }
            Step::Upload | Step::UploadAgain => client.upload(temporary, len),
            Step::Rename => client.rename(temporary, path),
            Step::Clear | Step::Remove(_) => client.remove(temporary),
        };
        self.in_flight.insert(job, posting);
    }
}

impl Posting {
    /// The step after this one; `None`: it is there.
    fn next(&mut self, result: Result<JobOutcome, JobError>) -> Result<Option<Step>, DeliveryError> {
        let len = self.letter.content.len();
        let taken = || DeliveryError::NameTaken {
            path: self.letter.path.clone(),
        };
        Ok(Some(match &mut self.step {
            Step::Look(before) => match (result, before) {
                (Ok(_), _) => Step::Compare,
                (Err(error), _) if error.code() != Some(StatusCode::NoSuchFile) => return Err(error.into()),
                (Err(_), Before::Nothing) => Step::Upload,
                (Err(_), Before::Upload) => Step::Rename,
                (Err(nothing), Before::Refusal(refusal)) => {
                    let refusal = std::mem::replace(refusal, nothing);
                    Step::Remove(Err(refusal.into()))
                }
            },
            Step::Compare => {
                result?;
                Step::Remove(if self.same == Some(len) {
                    Ok(())
                } else {
                    Err(taken())
                })
            }
            Step::Upload if is_not_made(&result) => Step::Clear,
            // If it cannot be removed, the upload says so.
            Step::Clear => Step::UploadAgain,
            Step::Upload | Step::UploadAgain => match result {
                Ok(_) => Step::Look(Before::Upload),
                Err(error) => Step::Remove(Err(error.into())),
            },
            Step::Rename => match result {
                Ok(_) => return Ok(None),
                Err(refusal) => Step::Look(Before::Refusal(refusal)),
            },
            // Whether the temporary name was there does not matter, and what went wrong before tells more.
            Step::Remove(ending) => return std::mem::replace(ending, Ok(())).map(|()| None),
        }))
    }
}

/// Whether the temporary file could not be made.
fn is_not_made(result: &Result<JobOutcome, JobError>) -> bool {
    matches!(
        result,
        Err(JobError::Refused {
            step: sftp::RequestKind::Open,
            ..
        })
    )
}
