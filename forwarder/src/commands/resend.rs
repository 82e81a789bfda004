//! `logferry resend`: delivers batches again, or older batches to a destination that was added later.
//!
//! Only the ledger is changed; a running forwarder, or the next one to start, delivers. A file that is at the destination
//! already is compared and not written again, as with every delivery.

use std::path::Path;

use jiff::Timestamp;
use logferry_config::Subscriber;
use logferry_durable::RealDisk;
use logferry_ledger::{Batch, Ledger, ResendRequestOutcome};
use logferry_protocol::names::DestinationName;
use logferry_spool::Spool;
use serde::Serialize;

use crate::delivery_store::DeliveryStoreError;
use crate::schedule::plan::wants_batch;

/// The result of a request to resend batches.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct ResendOutcome {
    /// Due now.
    pub due: Vec<ResendDue>,
    /// Waiting for delivery already.
    pub waiting: Vec<BatchAtDestination>,
    /// Excluded by the destination's filters.
    pub unwanted: Vec<BatchAtDestination>,
    /// Not in the spool any more, or still open.
    pub gone: Vec<ResendImpossible>,
}

/// A batch that is due at a destination.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ResendDue {
    /// The batch's name.
    pub batch: String,
    /// The destination's name.
    pub destination: DestinationName,
    /// The bytes of its lines.
    pub bytes: u64,
    /// Whether it was delivered there before.
    pub again: bool,
}

/// A batch and a destination.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct BatchAtDestination {
    /// The batch's name.
    pub batch: String,
    /// The destination's name.
    pub destination: DestinationName,
}

/// A batch that cannot be delivered.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ResendImpossible {
    /// Its name.
    pub batch: String,
    /// The reason, as text.
    pub detail: String,
}

/// Requests the delivery of batches to destinations that want them, if their files exist. Without `now`, only says what
/// would be requested.
pub fn resend(
    data_dir: &Path,
    batches: &[Batch],
    subscribers: &[Subscriber],
    now: Option<Timestamp>,
) -> Result<ResendOutcome, DeliveryStoreError> {
    let mut ledger = Ledger::open(data_dir)?;
    resend_in(
        &mut ledger,
        &Spool::new(RealDisk, data_dir),
        batches,
        subscribers,
        now,
    )
}

/// The same, with a ledger that is open already.
pub(crate) fn resend_in(
    ledger: &mut Ledger,
    spool: &Spool<RealDisk>,
    batches: &[Batch],
    subscribers: &[Subscriber],
    now: Option<Timestamp>,
) -> Result<ResendOutcome, DeliveryStoreError> {
    let mut resent = ResendOutcome::default();
    let mut there = Vec::with_capacity(batches.len());
    for batch in batches {
        let detail = if let Some(at) = batch.expired_at {
            format!("its file was deleted by the housekeeper at {at}")
        } else if batch.sealed_at.is_none() {
            "it is still open and is delivered when it is sealed".to_owned()
        } else if spool.find(batch)?.is_none() {
            "its file is not in the spool any more".to_owned()
        } else {
            there.push(batch);
            continue;
        };
        resent.gone.push(ResendImpossible {
            batch: batch.name(),
            detail,
        });
    }
    for subscriber in subscribers {
        let pair = |batch: &Batch| BatchAtDestination {
            batch: batch.name(),
            destination: subscriber.name.clone(),
        };
        let (wanted, unwanted): (Vec<&Batch>, Vec<&Batch>) = there
            .iter()
            .copied()
            .partition(|batch| wants_batch(&subscriber.filter, batch));
        resent.unwanted.extend(unwanted.into_iter().map(pair));
        let ids: Vec<_> = wanted.iter().map(|batch| batch.id).collect();
        let asked = match now {
            Some(now) => ledger.request_resends(&ids, &subscriber.name, now)?,
            None => ledger.preview_resends(&ids, &subscriber.name)?,
        };
        for (batch, asked) in wanted.into_iter().zip(asked) {
            let bytes = batch.contents.bytes;
            let BatchAtDestination { batch, destination } = pair(batch);
            match asked {
                ResendRequestOutcome::Due { again } => resent.due.push(ResendDue {
                    batch,
                    destination,
                    bytes,
                    again,
                }),
                ResendRequestOutcome::Waiting => {
                    resent.waiting.push(BatchAtDestination { batch, destination });
                }
                ResendRequestOutcome::Refused => resent.gone.push(ResendImpossible {
                    batch,
                    detail: "its file has just been deleted by the housekeeper".to_owned(),
                }),
            }
        }
    }
    Ok(resent)
}
