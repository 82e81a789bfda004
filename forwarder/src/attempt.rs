//! One batch on its way to one destination: publishes its files one after the other, the batch, its manifest and its
//! marker. Turns what [`Publication`] says into jobs of the SFTP machine, one at a time, and tells it what came of them.

use std::{io, mem};

use logferry_config::{Publishing, VerifyMode};
use logferry_ledger::{BatchId, PublishedBatch, PublishedFile, PublishingNote};
use logferry_sftp::{
    self as sftp, Extension, JobError, JobId, JobOutcome, SftpClient, SizeCheck, StatusCode,
};

use crate::batch_file::{BatchFile, FileHash};
use crate::error::DeliveryError;
use crate::manifest;
use crate::names::Names;
use crate::outgoing::Outgoing;
use crate::plan::Task;
use crate::progress::Progress;
use crate::publication::{
    Comparison, Ending, Look, Publication, Renamed, Step, TEMPORARIES_MAX, Uploaded, Way,
};

/// A batch that is at its destination.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) published: PublishedBatch,
    /// Whether this attempt brought it there, or found it there.
    pub(crate) ending: Ending,
    /// Keeps a compressed file until the delivery is recorded.
    #[expect(dead_code, reason = "when it is dropped is all that counts")]
    pub(crate) keeper: Option<Outgoing>,
}

/// What an attempt goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// This job was started.
    Job(JobId),
    /// What is not the SFTP machine's to do: see [`Attempt::need`].
    Need,
    /// It is over.
    Over,
}

/// What an attempt needs done that is not the SFTP machine's to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
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
pub(crate) struct Attempt {
    task: Task,
    names: Names,
    publish: Publishing,
    way: Way,
    /// What earlier attempts noted of this place, and of which temporary name.
    noted: Option<(PublishedFile, u8)>,
    /// Which file is being published now, how far that is, and what is in it.
    which: PublishedFile,
    publication: Publication,
    file: BatchFile,
    /// Of the whole file, once it was read.
    hash: Option<FileHash>,
    /// The batch, once that is there.
    batch: Option<(PublishedBatch, Ending)>,
    /// Of a compressed batch.
    keeper: Option<Outgoing>,
    /// Everything is there.
    done: bool,
    /// Why the server did not rename.
    refusal: Option<JobError>,
    /// What else went wrong.
    failure: Option<DeliveryError>,
    /// In a file that is read back: all so far was the same.
    same_so_far: bool,
}

impl Attempt {
    pub(crate) fn new(task: Task, names: Names, publish: Publishing, way: Way, file: BatchFile) -> Self {
        let which = PublishedFile::Batch;
        // What was noted of another place says nothing of this one.
        let noted = task.publishing.as_ref().and_then(|note| {
            let number = (1..=TEMPORARIES_MAX).find(|number| note.place == names.place(*number))?;
            Some((note.file, number))
        });
        Self {
            publication: publication(noted, which, publish.verify, way, file.len()),
            noted,
            task,
            names,
            publish,
            way,
            which,
            file,
            hash: None,
            batch: None,
            keeper: None,
            done: false,
            refusal: None,
            failure: None,
            same_so_far: true,
        }
    }

    /// The batch, and what was known of it before.
    pub(crate) fn into_task(self) -> Task {
        self.task
    }

    /// The subfolders that must be there before it goes on its way, outermost first.
    pub(crate) fn folders(&self) -> &[String] {
        &self.names.folders
    }

    /// Goes on with what is due.
    pub(crate) fn next(&mut self, client: &mut SftpClient) -> Next {
        while let Step::End(ending) = self.publication.step() {
            if !self.goes_on(ending) {
                return Next::Over;
            }
        }
        self.start_job(client).map_or(Next::Need, Next::Job)
    }

    /// Whether there is another file to be published, now that this has come to its end.
    fn goes_on(&mut self, ending: Ending) -> bool {
        if self.done || !ending.is_published() {
            return false;
        }
        let next = match self.file_is_there(ending) {
            Ok(next) => next,
            Err(error) => {
                self.failure = Some(error);
                return false;
            }
        };
        let Some((which, file)) = next else {
            self.done = true;
            return false;
        };
        self.publication = publication(self.noted, which, self.publish.verify, self.way, file.len());
        let before = mem::replace(&mut self.file, file);
        self.keeper = self.keeper.take().or(before.into_keeper());
        (self.which, self.hash) = (which, None);
        true
    }

    /// Notes that this file is there; the next one, if there is one.
    fn file_is_there(&mut self, ending: Ending) -> Result<Option<(PublishedFile, BatchFile)>, DeliveryError> {
        if self.which == PublishedFile::Batch {
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
        let manifest = self.which == PublishedFile::Batch && self.publish.manifest;
        let marker = self.which != PublishedFile::Marker && self.publish.marker.is_some();
        Ok(match &self.batch {
            Some((published, _)) if manifest => {
                let text = manifest::text(&self.task.batch, published);
                Some((
                    PublishedFile::Manifest,
                    BatchFile::of_text(&self.names.manifest, text),
                ))
            }
            _ if marker => {
                let empty = BatchFile::of_text(&self.names.marker, Vec::new());
                Some((PublishedFile::Marker, empty))
            }
            _ => None,
        })
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> Progress {
        Progress {
            batch: self.task.batch.id,
            done: self.file.position(),
            total: self.file.len(),
        }
    }

    fn temporary(&self) -> String {
        self.names.temporary(self.which, self.publication.temporary())
    }

    /// Starts the job that is due; `None` when it is none of the SFTP machine's.
    fn start_job(&mut self, client: &mut SftpClient) -> Option<JobId> {
        let (published, temporary) = (self.names.of_file(self.which).to_owned(), self.temporary());
        Some(match self.publication.step() {
            Step::Look => client.stat(published),
            Step::LookTemporary => client.stat(temporary),
            Step::Compare { .. } => self.read_back(client, published),
            Step::ReadBack => self.read_back(client, temporary),
            Step::VerifyBeginning { len } => {
                self.read_from_the_beginning();
                client.read(temporary, len)
            }
            Step::Upload { from: 0 } => {
                self.file.rewind();
                client.upload(temporary, self.file.len())
            }
            Step::Upload { from } => client.resume(temporary, from, self.file.len()),
            Step::Hash if can_hash(client) => client.sha256(temporary),
            Step::Publish(Way::Rename) => client.rename(temporary, published),
            Step::Publish(Way::Link) => client.link(temporary, published),
            Step::RemoveTemporary(_) => client.remove(temporary),
            Step::Hash | Step::Note | Step::Forget(_) | Step::End(_) => return None,
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
        self.same_so_far = true;
    }

    /// What is to be done before it can go on.
    pub(crate) fn need(&self) -> Option<Need> {
        let note = |file: Option<PublishedFile>| {
            let place = || self.names.place(self.publication.temporary());
            let note = file.map(|file| PublishingNote { file, place: place() });
            Some(Need::Note(self.task.batch.id, note))
        };
        match self.publication.step() {
            Step::Note => note(Some(self.which)),
            Step::Forget(_) => {
                // The batch is there, or was taken away: which, is looked at again.
                let is_batch = self.which == PublishedFile::Batch;
                note((!is_batch).then_some(PublishedFile::Batch))
            }
            Step::Hash => Some(Need::Hash {
                path: self.temporary(),
            }),
            _ => None,
        }
    }

    /// The note that it needed is in the ledger.
    pub(crate) fn on_noted(&mut self) {
        match self.publication.step() {
            Step::Note => self.publication.on_note(),
            Step::Forget(ending) => self.publication.on_forget(ending),
            _ => {}
        }
    }

    /// Takes the hash that it needed; `None`: it cannot be had.
    pub(crate) fn on_hash(&mut self, hash: Option<FileHash>) {
        let right = hash.is_some() && hash == self.hash;
        self.publication.on_hash(right);
    }

    /// Gives the next bytes to upload.
    pub(crate) fn fill(&mut self, block: &mut [u8]) -> io::Result<()> {
        self.file.read_next(block)
    }

    /// Takes the next bytes that were read back; false when no more are wanted.
    pub(crate) fn on_data(&mut self, data: &[u8]) -> Result<bool, DeliveryError> {
        if self.same_so_far {
            let same = self.file.read_same(data);
            self.same_so_far = same.map_err(|source| self.file.unreadable(source))?;
        }
        Ok(self.same_so_far)
    }

    /// Takes what came of the job.
    pub(crate) fn on_ended(&mut self, result: Result<JobOutcome, JobError>) -> Result<(), DeliveryError> {
        match self.publication.step() {
            Step::Look => self.publication.on_look(look(result)),
            Step::LookTemporary => self.publication.on_look_temporary(look(result)),
            Step::Compare { .. } => {
                let comparison = self.comparison(result)?;
                self.publication.on_compare(comparison);
            }
            Step::VerifyBeginning { .. } => self.on_beginning_read(&result)?,
            Step::Upload { .. } => self.on_uploaded(result),
            Step::Hash => {
                let hash = match result {
                    Ok(JobOutcome::Sha256(hash)) => hash.map(FileHash::from),
                    _ => None,
                };
                self.on_hash(hash);
            }
            Step::ReadBack => {
                let comparison = self.comparison(result)?;
                if matches!(comparison, Comparison::Different | Comparison::Absent) {
                    let path = self.temporary();
                    self.failure = Some(DeliveryError::Spoiled { path });
                }
                self.publication.on_read_back(comparison);
            }
            Step::Publish(_) => {
                self.refusal = result.err();
                let renamed = match self.refusal.as_ref().map(JobError::code) {
                    None => Renamed::Done,
                    Some(Some(StatusCode::NoSuchFile)) => Renamed::Gone,
                    Some(_) => Renamed::Refused,
                };
                self.publication.on_publish(renamed);
            }
            Step::RemoveTemporary(ending) => match result {
                Ok(_) => self.publication.on_remove_temporary(ending),
                Err(error) if is_no_matter(&error, ending) => self.publication.on_remove_temporary(ending),
                // What made the upload fail tells more than that it cannot be removed either.
                Err(error) => return Err(self.failure.take().unwrap_or(error.into())),
            },
            Step::Note | Step::Forget(_) | Step::End(_) => {}
        }
        Ok(())
    }

    /// What a file that was read back is.
    fn comparison(&mut self, result: Result<JobOutcome, JobError>) -> Result<Comparison, DeliveryError> {
        let whole = JobOutcome::Read {
            bytes: self.file.len(),
        };
        Ok(match result {
            Ok(outcome) if self.same_so_far && outcome == whole => {
                self.hash = Some(self.file.finish()?);
                Comparison::Same
            }
            Ok(_) => Comparison::Different,
            Err(error) if error.code() == Some(StatusCode::NoSuchFile) => Comparison::Absent,
            Err(error) => {
                self.failure = Some(error.into());
                Comparison::Unreadable
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
        self.publication.on_verify_beginning(same);
        Ok(())
    }

    fn on_uploaded(&mut self, result: Result<JobOutcome, JobError>) {
        let uploaded = result.map_err(|error| match error {
            JobError::Local { source, .. } => self.file.unreadable(source),
            error => error.into(),
        });
        let outcome = match uploaded.and_then(|outcome| Ok((outcome, self.file.finish()?))) {
            Ok((outcome, hash)) => {
                self.hash = Some(hash);
                self.failure = None;
                if outcome == JobOutcome::Uploaded(SizeCheck::Confirmed) {
                    Uploaded::Whole
                } else {
                    Uploaded::SizeUnknown
                }
            }
            Err(error) => {
                let not_made = is_not_made(&error);
                self.failure = Some(error);
                if not_made {
                    Uploaded::NotMade
                } else {
                    Uploaded::Failed
                }
            }
        };
        self.publication.on_upload(outcome);
    }

    /// What came of the attempt, when it is over.
    pub(crate) fn end(self) -> (Task, Result<Delivered, DeliveryError>) {
        let result = match (self.publication.step(), self.batch) {
            (_, Some((published, ending))) if self.done => Ok(Delivered {
                published,
                ending,
                keeper: self.keeper.or(self.file.into_keeper()),
            }),
            (Step::End(Ending::NameTaken), _) => Err(DeliveryError::NameTaken {
                path: self.names.of_file(self.which).to_owned(),
            }),
            (Step::End(Ending::RenameRefused), _) if self.refusal.is_some() => {
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
fn publication(
    noted: Option<(PublishedFile, u8)>,
    which: PublishedFile,
    verify: VerifyMode,
    way: Way,
    len: u64,
) -> Publication {
    match noted {
        Some((noted, _)) if noted > which => Publication::over(len),
        Some((noted, number)) if noted == which => Publication::new(len, verify, way, Some(number)),
        _ => Publication::new(len, verify, way, None),
    }
}

/// Whether a file could not be made, and may be there already: the protocol's third version has no word for that.
fn is_not_made(error: &DeliveryError) -> bool {
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
fn is_no_matter(error: &JobError, ending: Ending) -> bool {
    match error.code() {
        Some(StatusCode::NoSuchFile) => true,
        Some(StatusCode::PermissionDenied | StatusCode::OpUnsupported) => ending.is_published(),
        _ => false,
    }
}

fn can_hash(client: &SftpClient) -> bool {
    let server = client.server();
    server.is_some_and(|server| server.supports(Extension::CheckFile))
}

/// What a look showed.
fn look(result: Result<JobOutcome, JobError>) -> Look {
    match result {
        Ok(JobOutcome::Found(attributes)) => Look::Present {
            size: attributes.size,
        },
        Ok(_) => Look::Present { size: None },
        Err(error) if error.code() == Some(StatusCode::NoSuchFile) => Look::Absent,
        Err(_) => Look::Unknown,
    }
}
