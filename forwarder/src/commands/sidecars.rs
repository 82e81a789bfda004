//! What is beside the batches at a destination, as far as the ledger proves it: for `logferry audit --verify`. Only reads.
//!
//! A batch's manifest says what the ledger has of the batch, word for word, and a marker is empty: their content is known,
//! though not since when the settings ask for them. Of a window's manifest the ledger keeps where it was delivered, not
//! what it said.

use std::path::Path;

use logferry_config::Destination;
use logferry_ledger::{Batch, BatchFilter, Delivery, Ledger, LedgerError, PublishedBatch};
use sha2::{Digest, Sha256};

use crate::commands::verify::DeliveredFile;
use crate::publish::batch_manifest;
use crate::publish::remote_paths::RemotePaths;
use crate::source::Sha256Hash;

/// What a file beside the batches is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SidecarKind {
    /// A batch's manifest.
    Manifest,
    /// A batch's marker.
    Marker,
    /// A window's manifest, which the ledger knows to have been delivered.
    WindowManifest,
}

/// A file that should be beside the batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// What it is.
    pub kind: SidecarKind,
    /// The batch that it is of, without `.log`; a window's has none.
    pub batch: Option<String>,
    /// The source of that.
    pub source: Option<String>,
    /// What must be there.
    pub file: DeliveredFile,
}

/// The files that should be beside the delivered batches that fit the filter, as the destination is set now. A batch that was
/// delivered under another path than it would be now has none. Windows' manifests are of no one source, and left out where
/// the filter names one.
pub fn sidecars(
    data_dir: &Path,
    destination: &Destination,
    filter: &BatchFilter,
) -> Result<Vec<Sidecar>, LedgerError> {
    let ledger = Ledger::open(data_dir)?;
    let mut sidecars = Vec::new();
    // Nothing else is ever beside a batch.
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

/// What should be beside one batch.
fn beside(batch: &Batch, delivery: &Delivery, destination: &Destination) -> Vec<Sidecar> {
    let names = RemotePaths::of(batch, destination);
    let Some(published) = published(batch, delivery).filter(|it| it.path == names.published) else {
        return Vec::new();
    };
    let sidecar = |kind, path, content: &[u8]| Sidecar {
        kind,
        batch: Some(batch.name()),
        source: Some(batch.source.to_string()),
        file: DeliveredFile {
            path,
            bytes: content.len() as u64,
            sha256: Some(Sha256Hash::of(Sha256::new_with_prefix(content)).hex()),
        },
    };
    let publish = &destination.publish;
    let manifest = publish.manifest.then(|| {
        sidecar(
            SidecarKind::Manifest,
            names.manifest,
            &batch_manifest::text(batch, &published),
        )
    });
    let marker = publish
        .marker
        .is_some()
        .then(|| sidecar(SidecarKind::Marker, names.marker, b""));
    manifest.into_iter().chain(marker).collect()
}

/// What the ledger recorded of a delivery, if it is complete.
fn published(batch: &Batch, delivery: &Delivery) -> Option<PublishedBatch> {
    delivery.delivered_at?;
    let sha256 = batch.sha256.clone()?;
    Some(PublishedBatch {
        path: delivery.path.clone()?,
        bytes: delivery.bytes?,
        // Before the file's own was recorded, none was compressed.
        file_sha256: delivery.file_sha256.clone().unwrap_or_else(|| sha256.clone()),
        sha256,
    })
}
