//! The files that should be beside the batches at a destination, by the ledger: for `logferry audit --verify`. Only reads.
//!
//! The content of a batch's manifest follows from the ledger, and a marker is empty. It is not known since when the
//! settings ask for them. Of a window manifest the ledger keeps the path, not the content.

use std::path::Path;

use logferry_config::Destination;
use logferry_ledger::{Batch, BatchFilter, Delivery, DeliveryCertainty, Ledger, LedgerError, PublishedBatch};
use logferry_spool::FileHash;
use sha2::{Digest, Sha256};

use crate::commands::verify::DeliveredFile;
use crate::publish::batch_manifest;
use crate::publish::remote_paths::RemotePaths;

/// The kind of a file beside the batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SidecarKind {
    /// A batch's manifest.
    Manifest,
    /// A batch's marker.
    Marker,
    /// A window manifest that the ledger has as delivered.
    WindowManifest,
}

/// A file that should be beside the batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// The kind of file.
    pub kind: SidecarKind,
    /// The batch it belongs to, without `.log`; `None` for a window manifest.
    pub batch: Option<String>,
    /// The batch's source.
    pub source: Option<String>,
    /// The expected file.
    pub file: DeliveredFile,
}

/// The files that should be beside the delivered batches that match the filter, by the present configuration. A batch that
/// was delivered under a different path than the present one has none. Window manifests belong to no single source and are
/// left out if the filter names one.
pub fn sidecars(
    data_dir: &Path,
    destination: &Destination,
    filter: &BatchFilter,
) -> Result<Vec<Sidecar>, LedgerError> {
    let ledger = Ledger::open(data_dir)?;
    let mut sidecars = Vec::new();
    if destination.publish.manifest || destination.publish.marker.is_some() {
        for batch in ledger.batches(filter)? {
            if let Some(delivery) = ledger.delivery(batch.id, &destination.name)? {
                sidecars.extend(beside(&batch, &delivery, destination));
            }
        }
    }
    if filter.source.is_none() {
        let paths = ledger.delivered_manifests(&destination.name, filter)?;
        sidecars.extend(paths.into_iter().map(|path| Sidecar {
            kind: SidecarKind::WindowManifest,
            batch: None,
            source: None,
            file: DeliveredFile {
                path,
                bytes: 1,
                sha256: None,
            },
        }));
    }
    Ok(sidecars)
}

/// The files that should be beside one batch.
fn beside(batch: &Batch, delivery: &Delivery, destination: &Destination) -> Vec<Sidecar> {
    let names = RemotePaths::of_batch(batch, destination);
    let is_there = delivery.delivered_at.is_some() && delivery.path.as_ref() == Some(&names.published);
    if !is_there {
        return Vec::new();
    }
    // `None`: nobody knows its content.
    let sidecar = |kind, path, content: Option<&[u8]>| Sidecar {
        kind,
        batch: Some(batch.name()),
        source: Some(batch.source.to_string()),
        file: DeliveredFile {
            path,
            bytes: content.map_or(1, |content| content.len() as u64),
            sha256: content.map(|content| FileHash::of(Sha256::new_with_prefix(content)).hex()),
        },
    };
    let publish = &destination.publish;
    let manifest = publish.manifest.then(|| {
        let text = published(batch, delivery).map(|published| batch_manifest::text(batch, &published));
        sidecar(SidecarKind::Manifest, names.manifest, text.as_deref())
    });
    let marker = publish
        .marker
        .is_some()
        .then(|| sidecar(SidecarKind::Marker, names.marker, Some(b"")));
    manifest.into_iter().chain(marker).collect()
}

/// A delivery as the ledger has it, if complete.
fn published(batch: &Batch, delivery: &Delivery) -> Option<PublishedBatch> {
    Some(PublishedBatch {
        certainty: DeliveryCertainty::Published,
        path: delivery.path.clone()?,
        bytes: delivery.bytes?,
        file_sha256: delivery.file_hash(batch)?,
        sha256: batch.sha256.clone()?,
    })
}
