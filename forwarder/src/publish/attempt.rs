//! One batch on its way to one destination: publishes its files one after the other, the batch, its manifest and its
//! marker. Turns what [`PublishSteps`] says into jobs of the SFTP machine, one at a time, and tells it what came of them.

use std::{io, mem};

use logferry_config::{Publishing, VerifyMode};
use logferry_ledger::{BatchId, PublishedBatch, PublishedFile, PublishingNote};
use logferry_sftp::{
    self as sftp, Extension, JobError, JobId, JobOutcome, SftpClient, SizeCheck, StatusCode,
};

use crate::error::DeliveryError;
use crate::publish::batch_manifest;
use crate::publish::publish_steps::{
    FileComparison, NameStatus, PublishMethod, PublishOutcome, PublishStep, PublishSteps, RenameOutcome,
    TEMPORARY_NAMES_MAX, UploadOutcome,
};
use crate::publish::remote_paths::RemotePaths;
use crate::schedule::plan::DeliveryTask;
use crate::schedule::progress::TransferProgress;
use crate::source::StagedFile;
use crate::source::{Sha256Hash, SourceFile};

/// A batch that is at its destination.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) published: PublishedBatch,
    /// Whether this attempt brought it there, or found it there.
    pub(crate) ending: PublishOutcome,
    /// Keeps a compressed file until the delivery is recorded.
    #[expect(dead_code, reason = "when it is dropped is all that counts")]
    pub(crate) staged: Option<StagedFile>,
}

/// What an attempt goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextAction {
    /// This job was started.
    Job(JobId),
    /// What is not the SFTP machine's to do: see [`PublishAttempt::need`].
    AttemptNeed,
    /// It is over.
    Done,
}

/// What an attempt needs done that is not the SFTP machine's to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AttemptNeed {
    /// This is to be noted in the ledger: [`logferry_ledger::Ledger::note_publishing`].
    Note(BatchId, Option<PublishingNote>),
    /// The SHA-256 of a file at the destination, if it can be had.
    Hash {
        /// The remote path.
        path: String,
    },
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct PublishAttempt {
    task: DeliveryTask,
    names: RemotePaths,
    publish: Publishing,
    way: PublishMethod,
    /// What earlier attempts noted of this place, and of file_kind temporary name.
    noted: Option<(PublishedFile, u8)>,
    /// Which file is being published now, how far that is, and what is in it.
    file_kind: PublishedFile,
    steps: PublishSteps,
    file: SourceFile,
    /// Of the whole file, once it was read.
    hash: Option<Sha256Hash>,
    /// The batch, once that is there.
    batch: Option<(PublishedBatch, PublishOutcome)>,
    /// Of a compressed batch.
    staged: Option<StagedFile>,
    /// Everything is there.
    done: bool,
    /// Why the server did not rename.
    refusal: Option<JobError>,
    /// What else went wrong.
    failure: Option<DeliveryError>,
    /// In a file that is read back: all so far was the same.
    matches_so_far: bool,
}

impl PublishAttempt {
    pub(crate) fn new(
        task: DeliveryTask,
        names: RemotePaths,
        publish: Publishing,
        way: PublishMethod,
        file: SourceFile,
    ) -> Self {
        let file_kind = PublishedFile::Batch;
        // What was noted of another place says nothing of this one.
        let noted = task.publishing.as_ref().and_then(|note| {
            let number = (1..=TEMPORARY_NAMES_MAX).find(|number| note.place == names.place(*number))?;
            Some((note.file, number))
        });
        Self {
            steps: publish_steps(noted, file_kind, publish.verify, way, file.len()),
            noted,
            task,
            names,
            publish,
            way,
            file_kind,
            file,
            hash: None,
            batch: None,
            staged: None,
            done: false,
            refusal: None,
            failure: None,
            matches_so_far: true,
        }
    }

    /// The batch, and what was known of it before.
    pub(crate) fn into_task(self) -> DeliveryTask {
        self.task
    }

    /// The subfolders that must be there before it goes on its way, outermost first.
    pub(crate) fn folders(&self) -> &[String] {
        &self.names.folders
    }

    /// Goes on with what is due.
    pub(crate) fn next(&mut self, client: &mut SftpClient) -> NextAction {
        while let PublishStep::End(ending) = self.steps.step() {
            if !self.start_next_file(ending) {
                return NextAction::Done;
            }
        }
        self.start_job(client)
            .map_or(NextAction::AttemptNeed, NextAction::Job)
    }

    /// Whether there is another file to be published, now that this has come to its end.
    fn start_next_file(&mut self, ending: PublishOutcome) -> bool {
        if self.done || !ending.is_published() {
            return false;
        }
        let next = match self.finish_file(ending) {
            Ok(next) => next,
            Err(error) => {
                self.failure = Some(error);
                return false;
            }
        };
        let Some((file_kind, file)) = next else {
            self.done = true;
            return false;
        };
        self.steps = publish_steps(self.noted, file_kind, self.publish.verify, self.way, file.len());
        let before = mem::replace(&mut self.file, file);
        self.staged = self.staged.take().or(before.into_staged());
        (self.file_kind, self.hash) = (file_kind, None);
        true
    }

    /// Notes that this file is there; the next one, if there is one.
    fn finish_file(
        &mut self,
        ending: PublishOutcome,
    ) -> Result<Option<(PublishedFile, SourceFile)>, DeliveryError> {
        if self.file_kind == PublishedFile::Batch {
            let hash = match self.hash {
                Some(hash) => hash,
                // It was there, and nobody needed to read it.
                None => self.file.read_whole()?,
            };
            let published = PublishedBatch {
                path: self.names.published.clone(),
                bytes: self.file.len(),
                sha256: self.file.lines_hash().unwrap_or(hash).hex(),
                file_sha256: hash.hex(),
            };
            self.batch = Some((published, ending));
        }
        let manifest = self.file_kind == PublishedFile::Batch && self.publish.manifest;
        let marker = self.file_kind != PublishedFile::Marker && self.publish.marker.is_some();
        Ok(match &self.batch {
            Some((published, _)) if manifest => {
                let text = batch_manifest::text(&self.task.batch, published);
                Some((
                    PublishedFile::Manifest,
                    SourceFile::from_bytes(&self.names.manifest, text),
                ))
            }
            _ if marker => {
                let empty = SourceFile::from_bytes(&self.names.marker, Vec::new());
                Some((PublishedFile::Marker, empty))
            }
            _ => None,
        })
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> TransferProgress {
        TransferProgress {
            batch: self.task.batch.id,
            done: self.file.position(),
            total: self.file.len(),
        }
    }

    fn temporary(&self) -> String {
        self.names.temporary(self.file_kind, self.steps.temporary())
    }

    /// Starts the job that is due; `None` when it is none of the SFTP machine's.
    fn start_job(&mut self, client: &mut SftpClient) -> Option<JobId> {
        let (published, temporary) = (self.names.of_file(self.file_kind).to_owned(), self.temporary());
        Some(match self.steps.step() {
            PublishStep::Look => client.stat(published),
            PublishStep::LookTemporary => client.stat(temporary),
            PublishStep::Compare { .. } => self.read_back(client, published),
            PublishStep::ReadBack => self.read_back(client, temporary),
            PublishStep::VerifyBeginning { len } => {
                self.read_from_the_beginning();
                client.read(temporary, len)
            }
            PublishStep::Upload { from: 0 } => {
                self.file.rewind();
                client.upload(temporary, self.file.len())
            }
            PublishStep::Upload { from } => client.resume(temporary, from, self.file.len()),
            PublishStep::Hash if server_can_hash(client) => client.sha256(temporary),
            PublishStep::Publish(PublishMethod::Rename) => client.rename(temporary, published),
            PublishStep::Publish(PublishMethod::Link) => client.link(temporary, published),
            PublishStep::RemoveTemporary(_) => client.remove(temporary),
            PublishStep::Hash | PublishStep::Note | PublishStep::Forget(_) | PublishStep::End(_) => {
                return None;
            }
        })
    }

    /// Reads a file whole, to compare it with ours.
    fn read_back(&mut self, client: &mut SftpClient, path: String) -> JobId {
        self.read_from_the_beginning();
        // One byte more than expected shows a file that is longer.
        client.read(path, self.file.len().saturating_add(1))
    }

    fn read_from_the_beginning(&mut self) {
        self.file.rewind();
        self.matches_so_far = true;
    }

    /// What is to be done before it can go on.
    pub(crate) fn need(&self) -> Option<AttemptNeed> {
        let note = |file: Option<PublishedFile>| {
            let place = || self.names.place(self.steps.temporary());
            let note = file.map(|file| PublishingNote { file, place: place() });
            Some(AttemptNeed::Note(self.task.batch.id, note))
        };
        match self.steps.step() {
            PublishStep::Note => note(Some(self.file_kind)),
            PublishStep::Forget(_) => {
                // The batch is there, or was taken away: file_kind, is looked at again.
                let is_batch = self.file_kind == PublishedFile::Batch;
                note((!is_batch).then_some(PublishedFile::Batch))
            }
            PublishStep::Hash => Some(AttemptNeed::Hash {
                path: self.temporary(),
            }),
            _ => None,
        }
    }

    /// The note that it needed is in the ledger.
    pub(crate) fn on_noted(&mut self) {
        match self.steps.step() {
            PublishStep::Note => self.steps.on_note(),
            PublishStep::Forget(ending) => self.steps.on_forget(ending),
            _ => {}
        }
    }

    /// Takes the hash that it needed; `None`: it cannot be had.
    pub(crate) fn on_hash(&mut self, hash: Option<Sha256Hash>) {
        let right = hash.is_some() && hash == self.hash;
        self.steps.on_hash(right);
    }

    /// Gives the next bytes to upload.
    pub(crate) fn fill(&mut self, block: &mut [u8]) -> io::Result<()> {
        self.file.read_next(block)
    }

    /// Takes the next bytes that were read back; false when no more are wanted.
    pub(crate) fn on_data(&mut self, data: &[u8]) -> Result<bool, DeliveryError> {
        if self.matches_so_far {
            let same = self.file.read_same(data);
            self.matches_so_far = same.map_err(|source| self.file.read_error(source))?;
        }
        Ok(self.matches_so_far)
    }

    /// Takes what came of the job.
    pub(crate) fn on_ended(&mut self, result: Result<JobOutcome, JobError>) -> Result<(), DeliveryError> {
        match self.steps.step() {
            PublishStep::Look => self.steps.on_look(name_status(result)),
            PublishStep::LookTemporary => self.steps.on_look_temporary(name_status(result)),
            PublishStep::Compare { .. } => {
                let comparison = self.comparison(result)?;
                self.steps.on_compare(comparison);
            }
            PublishStep::VerifyBeginning { .. } => self.on_beginning_read(&result)?,
            PublishStep::Upload { .. } => self.on_uploaded(result),
            PublishStep::Hash => {
                let hash = match result {
                    Ok(JobOutcome::Sha256(hash)) => hash.map(Sha256Hash::from),
                    _ => None,
                };
                self.on_hash(hash);
            }
            PublishStep::ReadBack => {
                let comparison = self.comparison(result)?;
                if matches!(comparison, FileComparison::Different | FileComparison::Absent) {
                    let path = self.temporary();
                    self.failure = Some(DeliveryError::Spoiled { path });
                }
                self.steps.on_read_back(comparison);
            }
            PublishStep::Publish(_) => {
                self.refusal = result.err();
                let renamed = match self.refusal.as_ref().map(JobError::code) {
                    None => RenameOutcome::Done,
                    Some(Some(StatusCode::NoSuchFile)) => RenameOutcome::Gone,
                    Some(_) => RenameOutcome::Refused,
                };
                self.steps.on_publish(renamed);
            }
            PublishStep::RemoveTemporary(ending) => match result {
                Ok(_) => self.steps.on_remove_temporary(ending),
                Err(error) if removal_may_fail(&error, ending) => self.steps.on_remove_temporary(ending),
                // What made the upload fail tells more than that it cannot be removed either.
                Err(error) => return Err(self.failure.take().unwrap_or(error.into())),
            },
            PublishStep::Note | PublishStep::Forget(_) | PublishStep::End(_) => {}
        }
        Ok(())
    }

    /// What a file that was read back is.
    fn comparison(&mut self, result: Result<JobOutcome, JobError>) -> Result<FileComparison, DeliveryError> {
        let whole = JobOutcome::Read {
            bytes: self.file.len(),
        };
        Ok(match result {
            Ok(outcome) if self.matches_so_far && outcome == whole => {
                self.hash = Some(self.file.finish()?);
                FileComparison::Same
            }
            Ok(_) => FileComparison::Different,
            Err(error) if error.code() == Some(StatusCode::NoSuchFile) => FileComparison::Absent,
            Err(error) => {
                self.failure = Some(error.into());
                FileComparison::Unreadable
            }
        })
    }

    fn on_beginning_read(&mut self, result: &Result<JobOutcome, JobError>) -> Result<(), DeliveryError> {
        let same = match result {
            Ok(_) => Some(self.file.position()),
            Err(error) if error.code() == Some(StatusCode::NoSuchFile) => None,
            // What cannot be read back has to be sent anew.
            Err(_) => Some(0),
        };
        if same == Some(self.file.len()) {
            self.hash = Some(self.file.finish()?);
        }
        self.steps.on_verify_beginning(same);
        Ok(())
    }

    fn on_uploaded(&mut self, result: Result<JobOutcome, JobError>) {
        let uploaded = result.map_err(|error| match error {
            JobError::Local { source, .. } => self.file.read_error(source),
            error => error.into(),
        });
        let outcome = match uploaded.and_then(|outcome| Ok((outcome, self.file.finish()?))) {
            Ok((outcome, hash)) => {
                self.hash = Some(hash);
                self.failure = None;
                if outcome == JobOutcome::Uploaded(SizeCheck::Confirmed) {
                    UploadOutcome::Whole
                } else {
                    UploadOutcome::SizeUnknown
                }
            }
            Err(error) => {
                let not_made = create_failed(&error);
                self.failure = Some(error);
                if not_made {
                    UploadOutcome::NotMade
                } else {
                    UploadOutcome::Failed
                }
            }
        };
        self.steps.on_upload(outcome);
    }

    /// What came of the attempt, when it is over.
    pub(crate) fn end(self) -> (DeliveryTask, Result<Delivered, DeliveryError>) {
        let result = match (self.steps.step(), self.batch) {
            (_, Some((published, ending))) if self.done => Ok(Delivered {
                published,
                ending,
                staged: self.staged.or(self.file.into_staged()),
            }),
            (PublishStep::End(PublishOutcome::NameTaken), _) => Err(DeliveryError::NameTaken {
                path: self.names.of_file(self.file_kind).to_owned(),
            }),
            (PublishStep::End(PublishOutcome::RenameRefused), _) if self.refusal.is_some() => {
                Err(self.refusal.expect("looked at just now").into())
            }
            _ => {
                let refusal = self.refusal.map(DeliveryError::from);
                let reason = self.failure.or(refusal);
                Err(reason.expect("an attempt that did not succeed was refused something"))
            }
        };
        (self.task, result)
    }
}

/// How a file is to be published, by what earlier attempts noted.
fn publish_steps(
    noted: Option<(PublishedFile, u8)>,
    file_kind: PublishedFile,
    verify: VerifyMode,
    way: PublishMethod,
    len: u64,
) -> PublishSteps {
    match noted {
        Some((noted, _)) if noted > file_kind => PublishSteps::over(len),
        Some((noted, number)) if noted == file_kind => PublishSteps::new(len, verify, way, Some(number)),
        _ => PublishSteps::new(len, verify, way, None),
    }
}

/// Whether a file could not be made, and may be there already: the protocol's third version has no word for that.
fn create_failed(error: &DeliveryError) -> bool {
    let DeliveryError::Remote(JobError::Refused {
        step: sftp::RequestKind::Open,
        status,
        ..
    }) = error
    else {
        return false;
    };
    !matches!(status.code, StatusCode::NoSuchFile | StatusCode::PermissionDenied)
}

/// Whether it does not matter that a temporary name could not be removed: it is not there, or the file is published, and
/// the server lets nobody remove anything.
fn removal_may_fail(error: &JobError, ending: PublishOutcome) -> bool {
    match error.code() {
        Some(StatusCode::NoSuchFile) => true,
        Some(StatusCode::PermissionDenied | StatusCode::OpUnsupported) => ending.is_published(),
        _ => false,
    }
}

fn server_can_hash(client: &SftpClient) -> bool {
    let server = client.server();
    server.is_some_and(|server| server.supports(Extension::CheckFile))
}

/// What a look showed.
fn name_status(result: Result<JobOutcome, JobError>) -> NameStatus {
    match result {
        Ok(JobOutcome::Found(attributes)) => NameStatus::Present {
            size: attributes.size,
        },
        Ok(_) => NameStatus::Present { size: None },
        Err(error) if error.code() == Some(StatusCode::NoSuchFile) => NameStatus::Absent,
        Err(_) => NameStatus::Unknown,
    }
}
