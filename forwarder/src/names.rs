//! The names of a batch at a destination.

use logferry_config::{Destination, Values};
use logferry_ledger::{Batch, ManifestRecord};

use crate::letter::Letter;

/// The names of a batch at a destination, as whole paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) published: String,
    pub(crate) temporary: String,
    /// The subfolders it goes into, outermost first; they are made if need be.
    pub(crate) folders: Vec<String>,
}

/// A manifest on its way to a destination: it goes into the folder that must be there.
pub(crate) fn letter(manifest: ManifestRecord, destination: &Destination) -> Letter {
    let directory = destination.directory.trim_end_matches('/');
    let path = format!("{directory}/{}", manifest.name);
    Letter {
        id: manifest.id,
        temporary: format!("{path}{}", destination.temp_suffix),
        path,
        content: manifest.content.into_bytes(),
    }
}

impl Names {
    pub(crate) fn of(batch: &Batch, destination: &Destination) -> Self {
        let name = batch.name();
        let values = Values {
            window_start: batch.window.local_start(),
            window_seconds: batch.window.seconds,
            source: &batch.source,
            group: &batch.group,
            log: batch.log.as_ref(),
            batch: &name,
        };
        let Destination {
            directory, layout, ..
        } = destination;
        let folders = layout.folders(directory, &values);
        let folder = folders.last().unwrap_or(directory).trim_end_matches('/');
        let published = format!("{folder}/{}", layout.file_name(&values, batch.part));
        Self {
            temporary: format!("{published}{}", destination.temp_suffix),
            published,
            folders,
        }
    }
}
