//! `logferry resend`: delivered batches once more, or the past for a destination that was added later.
//!
//! Only the ledger is changed; the forwarder that works there, or the next one to start, delivers. What is at the
//! destination already is looked at and not written again, as with every delivery.

use std::path::Path;

use jiff::Timestamp;
use logferry_config::Subscriber;
use logferry_ledger::{Batch, Ledger, ResendOutcome};
use logferry_protocol::names::DestinationName;
use serde::Serialize;

use crate::books::{BooksError, takes};
use crate::spool::Spool;

/// What came of a wish to have batches delivered once more.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Resent {
    /// Due now.
    pub due: Vec<Due>,
    /// On their way already.
    pub waiting: Vec<Pair>,
    /// Not wanted by the destination's filters.
    pub unwanted: Vec<Pair>,
    /// Gone from the spool, or still open.
    pub gone: Vec<Gone>,
}

/// A batch that is due at a destination.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Due {
    /// The batch's name.
    pub batch: String,
    /// The destination's name.
    pub destination: DestinationName,
    /// Whether it was delivered there before.
    pub again: bool,
}

/// A batch and a destination.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The batch's name.
    pub batch: String,
    /// The destination's name.
    pub destination: DestinationName,
}

/// A batch that cannot be delivered.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Gone {
    /// Its name.
    pub batch: String,
    /// Why not, in words.
    pub detail: String,
}

/// Has batches go to the given destinations, as far as these want them and the files are there.
pub fn resend(
    data_dir: &Path,
    batches: &[Batch],
    addressees: &[Subscriber],
    now: Timestamp,
) -> Result<Resent, BooksError> {
    let mut ledger = Ledger::open(data_dir)?;
    let spool = Spool::new(data_dir);
    let mut resent = Resent::default();
    let mut there = Vec::with_capacity(batches.len());
    for batch in batches {
        let detail = if let Some(at) = batch.expired_at {
            format!("its file was deleted by the housekeeper at {at}")
        } else if batch.sealed_at.is_none() {
            "it is still open, and goes out by itself when it is sealed".to_owned()
        } else if spool.find(batch)?.is_none() && !spool.is_in(logferry_ledger::BatchState::Open, batch)? {
            "its file is not in the spool any more".to_owned()
        } else {
            there.push(batch);
            continue;
        };
        resent.gone.push(Gone {
            batch: batch.name(),
            detail,
        });
    }
    for addressee in addressees {
        let pair = |batch: &Batch| Pair {
            batch: batch.name(),
            destination: addressee.name.clone(),
        };
        let (wanted, unwanted): (Vec<&Batch>, Vec<&Batch>) = there
            .iter()
            .copied()
            .partition(|batch| takes(&addressee.wants, batch));
        resent.unwanted.extend(unwanted.into_iter().map(pair));
        let ids: Vec<_> = wanted.iter().map(|batch| batch.id).collect();
        for (batch, asked) in wanted
            .into_iter()
            .zip(ledger.request_resends(&ids, &addressee.name, now)?)
        {
            let Pair { batch, destination } = pair(batch);
            match asked {
                ResendOutcome::Due { again } => resent.due.push(Due {
                    batch,
                    destination,
                    again,
                }),
                ResendOutcome::Waiting => resent.waiting.push(Pair { batch, destination }),
                ResendOutcome::Refused => resent.gone.push(Gone {
                    batch,
                    detail: "its file has just been deleted by the housekeeper".to_owned(),
                }),
            }
        }
    }
    Ok(resent)
}
