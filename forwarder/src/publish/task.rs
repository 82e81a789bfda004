//! The items that are delivered to a destination: sealed batches, each with the files beside it, and window manifests.

use logferry_ledger::{Batch, BatchId, ManifestId, ManifestRecord, PublishingNote};
use logferry_spool::SpoolFile;

/// One delivery to one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeliveryTask {
    pub(crate) item: DeliveryItem,
    /// The batch's file as the plan found it. It may have been moved since.
    pub(crate) file: Option<SpoolFile>,
    /// Attempts at this destination that failed.
    pub(crate) attempts: u32,
    /// The note of an earlier attempt that may have published a file without a record.
    pub(crate) publishing: Option<PublishingNote>,
}

/// An item to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeliveryItem {
    Batch(Batch),
    WindowManifest(ManifestRecord),
}

/// The ledger's number of a [`DeliveryItem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum DeliveryId {
    Batch(BatchId),
    WindowManifest(ManifestId),
}

impl DeliveryTask {
    pub(crate) fn id(&self) -> DeliveryId {
        match &self.item {
            DeliveryItem::Batch(batch) => DeliveryId::Batch(batch.id),
            DeliveryItem::WindowManifest(manifest) => DeliveryId::WindowManifest(manifest.id),
        }
    }

    pub(crate) fn batch(&self) -> Option<&Batch> {
        match &self.item {
            DeliveryItem::Batch(batch) => Some(batch),
            DeliveryItem::WindowManifest(_) => None,
        }
    }

    /// Size of the item before compression, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.item {
            DeliveryItem::Batch(batch) => batch.contents.bytes,
            DeliveryItem::WindowManifest(manifest) => manifest.content.len() as u64,
        }
    }
}
