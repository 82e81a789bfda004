//! How things are now: `logferry status`, whose JSON is a contract.

mod sources;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::Addressee;
use logferry_durable::{Disk, RealDisk};
use logferry_ledger::{Batch, BatchState, Delivery, DestinationState, Ledger, LedgerError};
use logferry_protocol::names::{DestinationName, SourceId};
use serde::{Serialize, Serializer};

pub use self::sources::{GapStatus, SourceStatus, StreamStatus};
use crate::error::ReportError;
use crate::owed::{is_unwanted, takes};
use crate::words::age;

/// What the status is asked about.
#[derive(Debug, Clone, Copy)]
pub struct StatusScope<'a> {
    /// Sources that must exist even if never seen.
    pub expected_sources: &'a [SourceId],
    /// A source that was not heard of for so long is stale.
    pub stale_after: Duration,
    /// The configured destinations.
    pub destinations: &'a [Addressee],
    /// Below so many free bytes the disk is low.
    pub min_free_disk: u64,
}

/// How things are now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Every source that was heard of or is expected.
    pub sources: Vec<SourceStatus>,
    /// How many batches are where.
    pub batches: BatchCounts,
    /// The configured destinations.
    pub destinations: Vec<DestinationStatus>,
    /// The disk of the data folder.
    pub disk: DiskStatus,
}

/// How many batches are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BatchCounts {
    /// Being written.
    pub open: u64,
    /// To be delivered.
    pub ready: u64,
    /// At every destination.
    pub sent: u64,
    /// Given up for now.
    pub failed: u64,
    /// Of those to be delivered, wanted by no destination that is configured.
    pub unwanted: u64,
}

/// How one destination is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DestinationStatus {
    /// Its name.
    pub name: DestinationName,
    /// Whether it answers.
    pub state: DestinationState,
    /// When a batch was last delivered there.
    #[serde(serialize_with = "rfc3339")]
    pub last_delivery_at: Option<Timestamp>,
    /// Sealed batches that are not there yet.
    pub waiting_batches: u64,
    /// Since when the oldest of them is sealed, in seconds; 0 if none waits.
    pub oldest_waiting_seconds: u64,
    /// Window manifests that are written and not there yet.
    pub waiting_manifests: u64,
    /// Why it does not answer.
    pub error: Option<String>,
}

/// How the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DiskStatus {
    /// Bytes that can still be written.
    pub free_bytes: u64,
    /// Whether that is enough.
    pub state: DiskState,
}

/// Whether there is room on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskState {
    /// There is.
    Ok,
    /// Less than the relay needs to take more lines.
    Low,
}

impl Status {
    /// Whether nobody has to do anything: no source is silent or in trouble, no batch failed or is unwanted, no
    /// destination down, no disk low.
    pub fn is_well(&self) -> bool {
        self.sources.iter().all(SourceStatus::is_well)
            && self.batches.failed == 0
            && self.batches.unwanted == 0
            && self
                .destinations
                .iter()
                .all(|destination| destination.state != DestinationState::Down)
            && self.disk.state == DiskState::Ok
    }
}

/// Looks at the ledger and the disk in `data_dir`.
pub fn status(data_dir: &Path, scope: &StatusScope<'_>, now: Timestamp) -> Result<Status, ReportError> {
    let ledger = Ledger::open(data_dir)?;
    let [open, ready, sent, failed] = ledger.count_by_state()?;
    let free_bytes = RealDisk.free_bytes(data_dir)?;
    let state = if free_bytes < scope.min_free_disk {
        DiskState::Low
    } else {
        DiskState::Ok
    };
    let undelivered = undelivered(&ledger)?;
    let unwanted = undelivered
        .iter()
        .filter(|batch| is_unwanted(batch, scope.destinations));
    Ok(Status {
        sources: sources::statuses(&ledger, scope, now)?,
        batches: BatchCounts {
            open,
            ready,
            sent,
            failed,
            unwanted: unwanted.count().try_into().unwrap_or(u64::MAX),
        },
        destinations: destinations(&ledger, scope.destinations, &undelivered, now)?,
        disk: DiskStatus { free_bytes, state },
    })
}

/// The sealed batches that are not sent.
fn undelivered(ledger: &Ledger) -> Result<Vec<Batch>, LedgerError> {
    let mut undelivered = ledger.batches_in(BatchState::Ready)?;
    undelivered.extend(ledger.batches_in(BatchState::Failed)?);
    Ok(undelivered)
}

fn destinations(
    ledger: &Ledger,
    addressees: &[Addressee],
    undelivered: &[Batch],
    now: Timestamp,
) -> Result<Vec<DestinationStatus>, LedgerError> {
    addressees
        .iter()
        .map(|addressee| destination(ledger, addressee, undelivered, now))
        .collect()
}

fn destination(
    ledger: &Ledger,
    addressee: &Addressee,
    undelivered: &[Batch],
    now: Timestamp,
) -> Result<DestinationStatus, LedgerError> {
    let name = &addressee.name;
    let (mut waiting_batches, mut oldest_waiting_seconds) = (0, 0);
    let asked = ledger.asked_of(name)?;
    for batch in undelivered.iter().chain(&asked) {
        let delivery = ledger.delivery(batch.id, name)?;
        if takes(addressee, batch) && !delivery.as_ref().is_some_and(Delivery::is_done) {
            waiting_batches += 1;
            let asked_at = delivery.and_then(|delivery| delivery.asked_at);
            let since = asked_at.or(batch.sealed_at).unwrap_or(batch.opened_at);
            oldest_waiting_seconds = oldest_waiting_seconds.max(age(since, now).as_secs());
        }
    }
    let health = ledger.destination(name)?;
    Ok(DestinationStatus {
        name: name.clone(),
        state: health
            .as_ref()
            .map_or(DestinationState::Unknown, |health| health.state),
        last_delivery_at: health.as_ref().and_then(|health| health.last_delivery),
        waiting_batches,
        oldest_waiting_seconds,
        waiting_manifests: ledger.waiting_manifests(name)?.len() as u64,
        error: health.and_then(|health| health.error),
    })
}

#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
fn rfc3339<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}

fn rfc3339_always<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}
