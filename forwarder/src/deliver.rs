//! Publishing one batch at one destination: carries out what [`Publication`] says.

use logferry_config::Destination;
use logferry_ledger::{Batch, Published};
use logferry_sftp::JobError;

use crate::batch_file::{BatchFile, FileHash};
use crate::error::DeliveryError;
use crate::publication::{Comparison, Ending, Publication, Renamed, Step};
use crate::remote::Remote;

/// The names of a batch at a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Names {
    published: String,
    temporary: String,
}

impl Names {
    fn of(batch: &Batch, destination: &Destination) -> Self {
        let directory = destination.directory.trim_end_matches('/');
        let published = format!("{directory}/{}", batch.file_name());
        Self {
            temporary: format!("{published}{}", destination.temp_suffix),
            published,
        }
    }
}

/// A batch that is at its destination.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) published: Published,
    /// Whether this attempt brought it there, or found it there.
    pub(crate) ending: Ending,
}

/// Sees to it that a batch is at a destination under its final name, whole and the same.
pub(crate) fn deliver(
    remote: &mut Remote,
    destination: &Destination,
    batch: &Batch,
    file: &BatchFile,
) -> Result<Delivered, DeliveryError> {
    let names = Names::of(batch, destination);
    let mut publication = Publication::new(file.len());
    let mut hash: Option<FileHash> = None;
    let mut refusal: Option<JobError> = None;
    let ending = loop {
        match publication.step() {
            Step::Look => publication.on_look(remote.look(&names.published)?),
            Step::Compare => {
                let ours = hash.map_or_else(|| file.hash(), Ok)?;
                hash = Some(ours);
                let theirs = remote.hash(&names.published, file.len())?;
                publication.on_compare(if theirs == Some(ours) {
                    Comparison::Same
                } else {
                    Comparison::Different
                });
            }
            Step::Upload => {
                hash = Some(upload(remote, &names.temporary, file)?);
                publication.on_upload();
            }
            Step::Rename => {
                refusal = remote.rename(&names.temporary, &names.published)?.err();
                publication.on_rename(if refusal.is_none() {
                    Renamed::Done
                } else {
                    Renamed::Refused
                });
            }
            Step::RemoveTemporary(ending) => {
                remote.remove(&names.temporary)?;
                publication.on_remove_temporary(ending);
            }
            Step::End(ending) => break ending,
        }
    };
    match (ending, refusal) {
        (Ending::Published | Ending::FoundThere, _) => {
            let hash = hash.map_or_else(|| file.hash(), Ok)?;
            let published = Published {
                path: names.published,
                bytes: file.len(),
                sha256: hash.hex(),
            };
            Ok(Delivered { published, ending })
        }
        (Ending::RenameRefused, Some(refusal)) => Err(refusal.into()),
        (Ending::NameTaken | Ending::RenameRefused, _) => Err(DeliveryError::NameTaken {
            path: names.published,
        }),
    }
}

/// Uploads the file; if it turns out not to be what was sealed, nothing of it stays there.
fn upload(remote: &mut Remote, temporary: &str, file: &BatchFile) -> Result<FileHash, DeliveryError> {
    remote.upload(temporary, file).or_else(|error| {
        if matches!(
            error,
            DeliveryError::Altered { .. } | DeliveryError::LocalFile { .. }
        ) {
            remote.remove(temporary)?;
        }
        Err(error)
    })
}
