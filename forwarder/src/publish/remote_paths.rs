//! The names of a batch at a destination.

use logferry_config::{Destination, NameValues, RemoteBatchPaths};
use logferry_ledger::{Batch, ManifestRecord, PublishedFile};

use crate::session::letter::Letter;

/// The names of a batch's files at a destination, as whole paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemotePaths {
    /// The batch.
    pub(crate) published: String,
    pub(crate) manifest: String,
    pub(crate) marker: String,
    /// What temporary names end in besides.
    temp_suffix: String,
    /// The server, as whom.
    server: String,
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

impl RemotePaths {
    pub(crate) fn of(batch: &Batch, destination: &Destination) -> Self {
        let name = batch.name();
        let values = NameValues {
            window_start: batch.window.local_start(),
            window_seconds: batch.window.seconds,
            source: &batch.source,
            group: &batch.group,
            log: batch.log.as_ref(),
            batch: &name,
        };
        let RemoteBatchPaths { folders, stem, file } = destination.paths(&values, batch.part);
        let Destination {
            host,
            port,
            user,
            temp_suffix,
            ..
        } = destination;
        let marker = destination.publish.marker.as_deref().unwrap_or_default();
        Self {
            manifest: format!("{stem}.json"),
            marker: format!("{file}{marker}"),
            server: format!("{user}@{host}:{port}"),
            temp_suffix: temp_suffix.clone(),
            published: file,
            folders,
        }
    }

    /// One of the temporary names of one of the files; `number`: which, from 1.
    pub(crate) fn temporary(&self, file: PublishedFile, number: u8) -> String {
        let (path, suffix) = (self.of_file(file), &self.temp_suffix);
        match number {
            // The first has no number.
            1 => format!("{path}{suffix}"),
            number => format!("{path}.{number}{suffix}"),
        }
    }

    /// The server, and one of the batch's temporary names there.
    pub(crate) fn place(&self, number: u8) -> String {
        format!("{} {}", self.server, self.temporary(PublishedFile::Batch, number))
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
