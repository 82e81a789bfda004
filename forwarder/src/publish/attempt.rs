//! One attempt to deliver one item: publishes its files one after the other (a batch, its manifest, its marker; or one
//! window manifest). Turns the steps of [`PublishSteps`] into jobs of the SFTP machine, one at a time, and feeds the
//! results back.

use std::{io, mem};

use logferry_config::Publishing;
use logferry_ledger::{PublishedBatch, PublishedFile, PublishingNote};
use logferry_sftp::{Extension, JobError, JobId, JobOutcome, RequestKind, SftpClient, SizeCheck, StatusCode};
use logferry_spool::FileHash;
use tracing::warn;

use super::batch_manifest;
use super::earlier_note::EarlierNote;
use super::publish_steps::{PublishMethod, PublishOutcome, PublishStep, PublishSteps};
use super::remote_paths::RemotePaths;
use super::step_results::{
    FileComparison, FileStart, RenameOutcome, UploadOutcome, create_failed, name_status, removal_may_fail,
};
use super::task::{DeliveryId, DeliveryTask};
use crate::error::DeliveryError;
use crate::source::{SourceFile, StagedFile};

/// An item that is at its destination.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) published: PublishedBatch,
    /// Whether this attempt published it or found it there.
    pub(crate) outcome: PublishOutcome,
    /// How its last file got its name, if this attempt published it.
    pub(crate) method: PublishMethod,
    /// Keeps a compressed file on disk until the delivery is recorded.
    pub(crate) staged: Option<StagedFile>,
}

/// How an attempt continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextAction {
    /// This job was started.
    Job(JobId),
    /// It needs something that the SFTP machine cannot do: see [`PublishAttempt::need`].
    Need,
    /// It is over.
    Done,
}

/// Something that an attempt needs and that the SFTP machine cannot do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AttemptNeed {
    /// A note in the ledger before a rename or a removal, or that none is needed any more (`None`).
    Note(DeliveryId, Option<PublishingNote>),
    /// The SHA-256 of a file at the destination, if the server can compute it.
    Hash {
        /// The remote path.
        path: String,
    },
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct PublishAttempt {
    pub(crate) task: DeliveryTask,
    /// Its folders must exist before the attempt starts.
    pub(crate) paths: RemotePaths,
    publish: Publishing,
    method: PublishMethod,
    /// What earlier attempts left for this place.
    earlier: EarlierNote,
    /// The file that is being published, its step and its bytes.
    file_kind: PublishedFile,
    steps: PublishSteps,
    file: SourceFile,
    /// Of the whole file, once it was read.
    hash: Option<FileHash>,
    /// The first file, once it is published.
    published: Option<(PublishedBatch, PublishOutcome)>,
    /// Of a compressed batch.
    staged: Option<StagedFile>,
    /// All files are published.
    done: bool,
    /// Why the server refused the rename.
    refusal: Option<JobError>,
    /// What else failed.
    failure: Option<DeliveryError>,
    /// While a file is read back: all bytes so far were the same.
    matches_so_far: bool,
}

impl PublishAttempt {
    pub(crate) fn new(
        task: DeliveryTask,
        paths: RemotePaths,
        publish: Publishing,
        method: PublishMethod,
        file: SourceFile,
    ) -> Self {
        let file_kind = PublishedFile::Batch;
        let earlier = EarlierNote::of(task.publishing.as_ref(), &paths);
        Self {
            steps: earlier.steps(file_kind, publish.verify, method, file.len()),
            earlier,
            task,
            paths,
            publish,
            method,
            file_kind,
            file,
            hash: None,
            published: None,
            staged: None,
            done: false,
            refusal: None,
            failure: None,
            matches_so_far: true,
        }
    }

    /// Starts the next step.
    pub(crate) fn next(&mut self, client: &mut SftpClient) -> NextAction {
        while let PublishStep::End(outcome) = self.steps.step() {
            if !self.start_next_file(outcome) {
                return NextAction::Done;
            }
        }
        self.start_job(client).map_or(NextAction::Need, NextAction::Job)
    }

    /// Starts the next file after this one ended; false if there is none.
    fn start_next_file(&mut self, outcome: PublishOutcome) -> bool {
        if self.done || !outcome.is_published() {
            return false;
        }
        if let Err(error) = self.record_first_file(outcome) {
            self.failure = Some(error);
            return false;
        }
        if self.file_kind != PublishedFile::Batch && outcome == PublishOutcome::TakenAway {
            // If this attempt is cut off later, no other one sees it.
            let path = self.paths.of_file(self.file_kind);
            warn_taken_away("file beside a batch", path, &self.paths.destination);
        }
        let Some((file_kind, file)) = self.file_after_this() else {
            self.done = true;
            return false;
        };
        self.steps = self
            .earlier
            .steps(file_kind, self.publish.verify, self.method, file.len());
        let before = mem::replace(&mut self.file, file);
        self.staged = self.staged.take().or(before.into_staged());
        (self.file_kind, self.hash) = (file_kind, None);
        true
    }

    fn record_first_file(&mut self, outcome: PublishOutcome) -> Result<(), DeliveryError> {
        if self.file_kind != PublishedFile::Batch {
            return Ok(());
        }
        let hash = match self.hash {
            Some(hash) => hash,
            // It was there already and was not read.
            None => self.file.read_whole()?,
        };
        let published = PublishedBatch {
            certainty: self.earlier.certainty(outcome),
            path: self.paths.published.clone(),
            bytes: self.file.len(),
            sha256: self.file.lines_hash().unwrap_or(hash).hex(),
            file_sha256: hash.hex(),
        };
        self.published = Some((published, outcome));
        Ok(())
    }

    fn file_after_this(&self) -> Option<(PublishedFile, SourceFile)> {
        let (batch, (published, _)) = (self.task.batch()?, self.published.as_ref()?);
        if self.file_kind == PublishedFile::Batch && self.publish.manifest {
            let text = batch_manifest::text(batch, published);
            let file = SourceFile::from_bytes(&self.paths.manifest, text);
            return Some((PublishedFile::Manifest, file));
        }
        let needs_marker = self.file_kind != PublishedFile::Marker && self.publish.marker.is_some();
        needs_marker.then(|| {
            let empty = SourceFile::from_bytes(&self.paths.marker, Vec::new());
            (PublishedFile::Marker, empty)
        })
    }

    /// Bytes done and bytes in all, of the current file.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.file.position(), self.file.len())
    }

    /// How many bytes of the current file the destination has yet to take.
    pub(crate) fn bytes_left(&self) -> u64 {
        match self.steps.step() {
            PublishStep::Upload { .. } => self.file.len().saturating_sub(self.file.position()),
            PublishStep::Look | PublishStep::LookTemporary | PublishStep::VerifyBeginning { .. }
                if !self.steps.is_uploaded() =>
            {
                self.file.len()
            }
            _ => 0,
        }
    }

    fn temporary(&self) -> String {
        self.paths.temporary(self.file_kind, self.steps.temporary())
    }

    /// Starts the job of the current step; `None` if the SFTP machine cannot do that step.
    fn start_job(&mut self, client: &mut SftpClient) -> Option<JobId> {
        let (published, temporary) = (self.paths.of_file(self.file_kind).to_owned(), self.temporary());
        Some(match self.steps.step() {
            PublishStep::Look => client.stat(published),
            PublishStep::LookTemporary => client.stat(temporary),
            PublishStep::LookFolder => client.stat(folder_of(&published)),
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
            PublishStep::Hash if client.supports(Extension::CheckFile) => client.sha256(temporary),
            PublishStep::Publish(PublishMethod::Rename) => {
                self.steps.has_posix_rename = client.supports(Extension::PosixRename);
                client.rename(temporary, published)
            }
            PublishStep::Publish(PublishMethod::PosixRename) => client.posix_rename(temporary, published),
            PublishStep::Publish(PublishMethod::Link) => client.link(temporary, published),
            PublishStep::RemoveTemporary(_) => client.remove(temporary),
            PublishStep::Hash
            | PublishStep::Note
            | PublishStep::GiveUp(_)
            | PublishStep::Removed(_)
            | PublishStep::End(_) => return None,
        })
    }

    /// Reads a remote file whole, to compare it with the local one.
    fn read_back(&mut self, client: &mut SftpClient, path: String) -> JobId {
        self.read_from_the_beginning();
        // One byte more than expected detects a longer file.
        client.read(path, self.file.len().saturating_add(1))
    }

    fn read_from_the_beginning(&mut self) {
        self.file.rewind();
        self.matches_so_far = true;
    }

    /// What it needs before it can continue.
    pub(crate) fn need(&self) -> Option<AttemptNeed> {
        let batch = self.published.as_ref().map(|(batch, _)| batch.certainty);
        let note = |file, number| {
            let place = self.paths.place(number);
            AttemptNeed::Note(self.task.id(), Some(PublishingNote { file, place, batch }))
        };
        // Beside a published batch, which the note calls so.
        let batch_file = (self.file_kind != PublishedFile::Batch).then_some(PublishedFile::Batch);
        Some(match self.steps.step() {
            PublishStep::Note => note(Some(self.file_kind), self.steps.temporary()),
            PublishStep::GiveUp(_) => note(batch_file, self.steps.gives_up()),
            PublishStep::Removed(_) if batch_file.is_none() && self.steps.in_doubt() == 0 => {
                AttemptNeed::Note(self.task.id(), None)
            }
            PublishStep::Removed(_) => note(batch_file, self.steps.in_doubt()),
            PublishStep::Hash => AttemptNeed::Hash {
                path: self.temporary(),
            },
            _ => return None,
        })
    }

    /// The note that it needed is in the ledger.
    pub(crate) fn on_noted(&mut self) {
        match self.steps.step() {
            PublishStep::Note => self.steps.on_note(),
            PublishStep::GiveUp(outcome) => self.steps.on_give_up(outcome),
            PublishStep::Removed(outcome) => self.steps.on_removed(outcome),
            _ => {}
        }
    }

    /// The hash that it needed; `None` if the server cannot compute it.
    pub(crate) fn on_hash(&mut self, hash: Option<FileHash>) {
        let is_right = hash.is_some() && hash == self.hash;
        self.steps.on_hash(is_right);
    }

    /// Fills the next block to upload.
    pub(crate) fn fill(&mut self, block: &mut [u8]) -> io::Result<()> {
        self.file.read_next(block)
    }

    /// Compares the next bytes that were read back; false when no more are wanted.
    pub(crate) fn on_data(&mut self, data: &[u8]) -> Result<bool, DeliveryError> {
        if self.matches_so_far {
            let same = self.file.read_same(data);
            self.matches_so_far = same.map_err(|source| self.file.read_error(source))?;
        }
        Ok(self.matches_so_far)
    }

    /// Handles the result of the current job.
    pub(crate) fn on_ended(&mut self, result: Result<JobOutcome, JobError>) -> Result<(), DeliveryError> {
        match self.steps.step() {
            PublishStep::Look => self.steps.on_look(name_status(result)),
            PublishStep::LookTemporary => self.steps.on_look_temporary(name_status(result)),
            PublishStep::LookFolder => self.steps.on_look_folder(name_status(result)),
            PublishStep::Compare { .. } => {
                let comparison = self.comparison(result)?;
                self.steps.on_compare(comparison);
            }
            PublishStep::VerifyBeginning { .. } => self.on_beginning_read(&result)?,
            PublishStep::Upload { .. } => self.on_uploaded(result),
            PublishStep::Hash => {
                let hash = match result {
                    Ok(JobOutcome::Sha256(hash)) => hash.map(FileHash::from),
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
                    Some(Some(StatusCode::Failure)) => RenameOutcome::Failed,
                    Some(_) => RenameOutcome::Refused,
                };
                self.steps.on_publish(renamed);
            }
            PublishStep::RemoveTemporary(outcome) => match result {
                Err(error) if !removal_may_fail(&error, outcome.is_published(), self.steps.is_known()) => {
                    // The failure before says more than the failed removal.
                    let failure = self.failure.take().unwrap_or(error.into());
                    if outcome.is_published() {
                        return Err(failure);
                    }
                    self.failure = Some(failure);
                    self.steps.on_removal_refused(outcome);
                }
                _ => self.steps.on_remove_temporary(outcome),
            },
            PublishStep::Note | PublishStep::GiveUp(_) | PublishStep::Removed(_) | PublishStep::End(_) => {}
        }
        Ok(())
    }

    /// Compares a file that was read back.
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
        let beginning = match result {
            Ok(_) => FileStart::Same(self.file.position()),
            Err(error) if error.code() == Some(StatusCode::NoSuchFile) => FileStart::Absent,
            Err(JobError::Refused {
                step: RequestKind::Open,
                ..
            }) => FileStart::NotOpened,
            // A file that cannot be read back is sent again from its beginning.
            Err(_) => FileStart::Same(0),
        };
        if beginning == FileStart::Same(self.file.len()) {
            self.hash = Some(self.file.finish()?);
        }
        self.steps.on_verify_beginning(beginning);
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
                let is_resumed = self.steps.step() != PublishStep::Upload { from: 0 };
                let outcome = if create_failed(&error, is_resumed) {
                    UploadOutcome::NotCreated
                } else {
                    UploadOutcome::Failed
                };
                self.failure = Some(error);
                outcome
            }
        };
        self.steps.on_upload(outcome);
    }

    /// Why the server did not rename the temporary file.
    fn rename_refusal(&mut self) -> Option<DeliveryError> {
        let refusal = self.refusal.take()?;
        Some(match refusal.code() {
            Some(StatusCode::NoSuchFile) => DeliveryError::TemporaryTaken {
                path: self.temporary(),
            },
            Some(StatusCode::PermissionDenied | StatusCode::OpUnsupported) => {
                DeliveryError::MayNotRename(refusal)
            }
            _ => refusal.into(),
        })
    }

    /// The item of an attempt that was cut off. Its compressed file stays for the next one, if not too many do.
    pub(crate) fn into_task(self) -> DeliveryTask {
        if let Some(staged) = self.staged.or(self.file.into_staged()) {
            staged.keep();
        }
        self.task
    }

    /// The result of the attempt, when it is over.
    pub(crate) fn end(mut self) -> (DeliveryTask, Result<Delivered, DeliveryError>) {
        let rename_refusal = self.rename_refusal();
        let method = self.steps.method();
        let result = match (self.steps.step(), self.published) {
            (_, Some((published, outcome))) if self.done => Ok(Delivered {
                published,
                outcome,
                method,
                staged: self.staged.or(self.file.into_staged()),
            }),
            (PublishStep::End(PublishOutcome::NameTaken), _) => {
                let path = self.paths.of_file(self.file_kind).to_owned();
                // If ours is not the sealed file, theirs may be.
                let altered = self.file.read_whole().err();
                Err(altered.unwrap_or(DeliveryError::NameTaken { path }))
            }
            (step, _) => {
                let reason = if step == PublishStep::End(PublishOutcome::RenameRefused) {
                    rename_refusal.or(self.failure)
                } else {
                    self.failure.or(rename_refusal)
                };
                Err(reason.expect("an attempt that failed has a refusal or a failure"))
            }
        };
        (self.task, result)
    }
}

/// Logs that a file was published, and removed before anybody could see it.
pub(crate) fn warn_taken_away(what: &str, path: &str, destination: &str) {
    warn!(
        destination,
        path,
        "{what} delivered; the file was removed at the destination before the delivery was recorded: somebody took {path} away \
         from {destination} early, or it is lost; ask there"
    );
}

/// The folder of a remote file.
fn folder_of(path: &str) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((folder, _)) => folder.to_owned(),
        None => ".".to_owned(),
    }
}
