//! Everything that the forwarder records: deliveries and resend requests (`delivery`), kinds of failure (`failure`),
//! transfers in progress (`in_flight`), window manifests (`manifests`), what attempts leave for the next ones
//! (`publishing_note`), attempts at once (`retry`) and the start of each subscription (`subscriptions`). This room reads
//! `batches`. Queries may change here without a look elsewhere; names of failures may not: operators' scripts read them.

mod delivery;
mod failure;
mod in_flight;
mod manifests;
mod publishing_note;
mod retry;
mod subscriptions;

pub(crate) use delivery::has_compressed_name;
pub use delivery::{Delivery, DestinationHealth, DestinationState, PublishedBatch, ResendRequestOutcome};
pub use failure::FailureKind;
pub use in_flight::TransferRecord;
pub use manifests::{ManifestId, ManifestRecord, NewManifest, SourceProgress, WindowBatch};
pub use publishing_note::{DeliveryCertainty, PublishedFile, PublishingNote};
