//! The names of a batch at a destination.

use logferry_config::{Destination, Values};
use logferry_ledger::{Batch, ManifestRecord, PublishedFile};

use crate::letter::Letter;

/// The names of a batch's files at a destination, as whole paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// The batch.
    pub(crate) published: String,
    pub(crate) manifest: String,
    pub(crate) marker: String,
    /// What temporary names end in besides.
    pub(crate) temp_suffix: String,
    /// The server, and the batch's temporary name there.
    pub(crate) place: String,
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
            host,
            port,
            user,
            directory,
            layout,
            temp_suffix,
            ..
        } = destination;
        let folders = layout.folders(directory, &values);
        let folder = folders.last().unwrap_or(directory).trim_end_matches('/');
        let file_name = layout.file_name(&values, batch.part);
        let stem = file_name.strip_suffix(".log").unwrap_or(&file_name);
        let extension = destination.publish.compress.extension();
        let published = format!("{folder}/{file_name}{extension}");
        let marker = destination.publish.marker.as_deref().unwrap_or_default();
        Self {
            manifest: format!("{folder}/{stem}.json"),
            marker: format!("{published}{marker}"),
            place: format!("{user}@{host}:{port} {published}{temp_suffix}"),
            temp_suffix: temp_suffix.clone(),
            published,
            folders,
        }
    }

    /// The name of one of the files.
    pub(crate) fn of_file(&self, file: PublishedFile) -> &str {
        match file {
            PublishedFile::Batch => &self.published,
            PublishedFile::Manifest => &self.manifest,
            PublishedFile::Marker => &self.marker,
        }
    }
}
