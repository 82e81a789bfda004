//! The remote paths of an item's files at a destination.

use logferry_config::{Destination, NameValues, RemoteBatchPaths};
use logferry_ledger::{Batch, ManifestRecord, PublishedFile};

/// The files of one item at a destination, as whole paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemotePaths {
    /// The batch, or the window manifest.
    pub(crate) published: String,
    pub(crate) manifest: String,
    pub(crate) marker: String,
    /// The destination's name.
    pub(crate) destination: String,
    temp_suffix: String,
    /// User, host and port.
    server: String,
    /// The subfolders that the files go into, outermost first; created if missing.
    pub(crate) folders: Vec<String>,
}

impl RemotePaths {
    pub(crate) fn of_batch(batch: &Batch, destination: &Destination) -> Self {
        let name = batch.name();
        let values = NameValues::new(
            batch.window,
            &batch.source,
            &batch.group,
            batch.log.as_ref(),
            &name,
        );
        let RemoteBatchPaths { folders, stem, file } = destination.paths(&values, batch.part);
        let marker = destination.publish.marker.as_deref().unwrap_or_default();
        Self {
            manifest: format!("{stem}.json"),
            marker: format!("{file}{marker}"),
            folders,
            ..Self::of_path(file, destination)
        }
    }

    /// A window manifest goes into the destination's `directory`, which exists.
    pub(crate) fn of_window_manifest(manifest: &ManifestRecord, destination: &Destination) -> Self {
        let directory = destination.directory.trim_end_matches('/');
        Self::of_path(format!("{directory}/{}", manifest.name), destination)
    }

    fn of_path(published: String, destination: &Destination) -> Self {
        let Destination { host, port, user, .. } = destination;
        Self {
            published,
            manifest: String::new(),
            marker: String::new(),
            destination: destination.name.to_string(),
            temp_suffix: destination.temp_suffix.clone(),
            server: format!("{user}@{host}:{port}"),
            folders: Vec::new(),
        }
    }

    /// A temporary name of one of the files; `number` counts from 1.
    pub(crate) fn temporary(&self, file: PublishedFile, number: u8) -> String {
        let (path, suffix) = (self.of_file(file), &self.temp_suffix);
        match number {
            1 => format!("{path}{suffix}"),
            number => format!("{path}.{number}{suffix}"),
        }
    }

    /// The server and a temporary name of the first file, as noted in the ledger.
    pub(crate) fn place(&self, number: u8) -> String {
        format!("{} {}", self.server, self.temporary(PublishedFile::Batch, number))
    }

    /// The final name of one of the files.
    pub(crate) fn of_file(&self, file: PublishedFile) -> &str {
        match file {
            PublishedFile::Batch => &self.published,
            PublishedFile::Manifest => &self.manifest,
            PublishedFile::Marker => &self.marker,
        }
    }
}
