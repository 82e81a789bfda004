//! One batch on its way to one destination: turns what [`Publication`] says into jobs of the SFTP machine, one at a
//! time, and tells it what came of them.

use std::io;

use logferry_ledger::Published;
use logferry_sftp::{Client, JobError, JobId, Outcome, StatusCode};

use crate::batch_file::{BatchFile, FileHash};
use crate::error::DeliveryError;
use crate::names::Names;
use crate::plan::Task;
use crate::publication::{Comparison, Ending, Look, Publication, Renamed, Step};

/// A batch that is at its destination.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) published: Published,
    /// Whether this attempt brought it there, or found it there.
    pub(crate) ending: Ending,
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    task: Task,
    names: Names,
    file: BatchFile,
    publication: Publication,
    /// Of the whole batch, once it was uploaded or found there.
    hash: Option<FileHash>,
    /// Why the server did not rename.
    refusal: Option<JobError>,
    /// Why the upload failed.
    failure: Option<DeliveryError>,
    /// In a file that is read back: all so far was the batch's.
    same_so_far: bool,
}

impl Attempt {
    pub(crate) fn new(task: Task, names: Names, file: BatchFile) -> Self {
        Self {
            publication: Publication::new(file.len()),
            task,
            names,
            file,
            hash: None,
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

    /// Starts the job that is due; `None` when the attempt is over.
    pub(crate) fn next_job(&mut self, client: &mut Client) -> Option<JobId> {
        let Names {
            published, temporary, ..
        } = &self.names;
        Some(match self.publication.step() {
            Step::Look => client.stat(published),
            Step::LookTemporary => client.stat(temporary),
            Step::Compare => {
                self.read_from_the_beginning();
                // One byte more than expected shows a file that is longer.
                client.read(&self.names.published, self.file.len().saturating_add(1))
            }
            Step::Verify { len } => {
                self.read_from_the_beginning();
                client.read(&self.names.temporary, len)
            }
            Step::Upload { from: 0 } => {
                self.file.rewind();
                client.upload(temporary, self.file.len())
            }
            Step::Upload { from } => client.resume(temporary, from, self.file.len()),
            Step::Rename => client.rename(temporary, published),
            Step::RemoveTemporary(_) => client.remove(temporary),
            Step::End(_) => return None,
        })
    }

    fn read_from_the_beginning(&mut self) {
        self.file.rewind();
        self.same_so_far = true;
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
    pub(crate) fn on_ended(&mut self, result: Result<Outcome, JobError>) -> Result<(), DeliveryError> {
        match self.publication.step() {
            Step::Look => self.publication.on_look(look(result)?),
            Step::LookTemporary => {
                // It may be forbidden to look at it, and yet allowed to write.
                self.publication
                    .on_look_temporary(look(result).unwrap_or(Look::Absent));
            }
            Step::Compare => {
                let outcome = result?;
                let whole = Outcome::Read {
                    bytes: self.file.len(),
                };
                let comparison = if self.same_so_far && outcome == whole {
                    self.hash = Some(self.file.finish()?);
                    Comparison::Same
                } else {
                    Comparison::Different
                };
                self.publication.on_compare(comparison);
            }
            // What cannot be read back has to be sent anew.
            Step::Verify { .. } => {
                let same = result.map_or(0, |_| self.file.position());
                self.publication.on_verify(same);
            }
            Step::Upload { .. } => {
                let uploaded = result.map_err(|error| match error {
                    JobError::Local { source, .. } => self.file.unreadable(source),
                    error => error.into(),
                });
                match uploaded.and_then(|_| self.file.finish()) {
                    Ok(hash) => self.hash = Some(hash),
                    Err(error) => self.failure = Some(error),
                }
                self.publication.on_upload(self.failure.is_none());
            }
            Step::Rename => {
                self.refusal = result.err();
                let renamed = if self.refusal.is_none() {
                    Renamed::Done
                } else {
                    Renamed::Refused
                };
                self.publication.on_rename(renamed);
            }
            Step::RemoveTemporary(ending) => {
                match result {
                    Err(error) if error.code() != Some(StatusCode::NoSuchFile) => {
                        // What made the upload fail tells more than that it cannot be removed either.
                        return Err(self.failure.take().unwrap_or(error.into()));
                    }
                    _ => self.publication.on_remove_temporary(ending),
                }
            }
            Step::End(_) => {}
        }
        Ok(())
    }

    /// What came of the attempt, when it is over.
    pub(crate) fn end(self) -> (Task, Result<Delivered, DeliveryError>) {
        let Names { published: path, .. } = self.names;
        let result = match (self.publication.step(), self.hash) {
            (Step::End(ending @ (Ending::Published | Ending::FoundThere)), Some(hash)) => Ok(Delivered {
                published: Published {
                    path,
                    bytes: self.file.len(),
                    sha256: hash.hex(),
                },
                ending,
            }),
            (Step::End(Ending::NameTaken), _) => Err(DeliveryError::NameTaken { path }),
            _ => {
                let refusal = self.refusal.map(DeliveryError::from);
                let reason = self.failure.or(refusal);
                Err(reason.expect("an attempt that did not succeed was refused something"))
            }
        };
        (self.task, result)
    }
}

/// What a look showed.
fn look(result: Result<Outcome, JobError>) -> Result<Look, JobError> {
    match result {
        Ok(Outcome::Found(attributes)) => Ok(Look::Present {
            size: attributes.size,
        }),
        Ok(_) => Ok(Look::Present { size: None }),
        Err(error) if error.code() == Some(StatusCode::NoSuchFile) => Ok(Look::Absent),
        Err(error) => Err(error),
    }
}
