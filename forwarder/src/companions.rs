//! What is beside the batches at a destination, as far as the ledger proves it: for `logferry audit --verify`. Only reads.
//!
//! A batch's manifest says what the ledger has of the batch, word for word, and a marker is empty: their content is known,
//! though not since when the settings ask for them. Of a window's manifest the ledger keeps where it was delivered, not
//! what it said.

use std::path::Path;

use logferry_config::Destination;
use logferry_ledger::{Batch, BatchFilter, Delivery, Ledger, LedgerError, PublishedBatch};
use sha2::{Digest, Sha256};

use crate::batch_file::FileHash;
use crate::manifest;
use crate::names::Names;
use crate::verify::DeliveredFile;

/// What a file beside the batches is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A batch's manifest.
    Manifest,
    /// A batch's marker.
    Marker,
    /// A window's manifest, which the ledger knows to have been delivered.
    WindowManifest,
}

/// A file that should be beside the batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Companion {
    /// What it is.
    pub role: Role,
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
pub fn companions(
    data_dir: &Path,
    destination: &Destination,
    filter: &BatchFilter,
) -> Result<Vec<Companion>, LedgerError> {
    let ledger = Ledger::open(data_dir)?;
    let mut companions = Vec::new();
    // Nothing else is ever beside a batch.
    if destination.publish.manifest || destination.publish.marker.is_some() {
        for batch in ledger.batches(filter)? {
            if let Some(delivery) = ledger.delivery(batch.id, &destination.name)? {
                companions.extend(beside(&batch, &delivery, destination));
            }
        }
    }
    if filter.source.is_none() {
        let paths = ledger.delivered_manifests(&destination.name, filter)?;
        companions.extend(paths.into_iter().map(|path| Companion {
            role: Role::WindowManifest,
            batch: None,
            source: None,
            file: DeliveredFile {
                path,
                bytes: 1,
                sha256: None,
            },
        }));
    }
    Ok(companions)
}

/// What should be beside one batch.
fn beside(batch: &Batch, delivery: &Delivery, destination: &Destination) -> Vec<Companion> {
    let names = Names::of(batch, destination);
    let Some(published) = published(batch, delivery).filter(|it| it.path == names.published) else {
        return Vec::new();
    };
    let companion = |role, path, content: &[u8]| Companion {
        role,
        batch: Some(batch.name()),
        source: Some(batch.source.to_string()),
        file: DeliveredFile {
            path,
            bytes: content.len() as u64,
            sha256: Some(FileHash::of(Sha256::new_with_prefix(content)).hex()),
        },
    };
    let publish = &destination.publish;
    let manifest = publish
        .manifest
        .then(|| companion(Role::Manifest, names.manifest, &manifest::text(batch, &published)));
    let marker = publish
        .marker
        .is_some()
        .then(|| companion(Role::Marker, names.marker, b""));
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
