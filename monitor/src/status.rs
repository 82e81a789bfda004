//! How things are now: `logferry status`, whose JSON is a contract.

mod destinations;
mod groups;
mod sources;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::Subscriber;
use logferry_durable::{Disk, RealDisk};
use logferry_ledger::{DestinationState, Ledger};
use logferry_protocol::names::{GroupName, SourceId};
use serde::{Serialize, Serializer};

pub use self::destinations::{DestinationStatus, HeldBatch, InFlightStatus};
pub use self::groups::{GroupHealth, GroupStatus};
pub use self::sources::{GapStatus, SourceStatus, StreamStatus};
use crate::error::ReportError;
use crate::owed::is_unwanted;

/// What the status is asked about.
#[derive(Debug, Clone, Copy)]
pub struct StatusScope<'a> {
    /// Sources that must exist even if never seen.
    pub expected_sources: &'a [SourceId],
    /// A source that was not heard of for so long is stale.
    pub stale_after: Duration,
    /// The configured groups.
    pub groups: &'a [GroupName],
    /// The configured destinations.
    pub destinations: &'a [Subscriber],
    /// Below so many free bytes the disk is low.
    pub min_free_disk: u64,
}

/// How things are now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// Every source that was heard of or is expected.
    pub sources: Vec<SourceStatus>,
    /// Every group of the relay that is configured or has reported.
    pub groups: Vec<GroupStatus>,
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
    /// destination down, no group without a disk to write to, no disk low.
    pub fn is_well(&self) -> bool {
        self.sources.iter().all(SourceStatus::is_well)
            && self.groups.iter().all(GroupStatus::is_well)
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
    // A disk without any room is low even where nothing has to stay free.
    let state = if free_bytes < scope.min_free_disk.max(1) {
        DiskState::Low
    } else {
        DiskState::Ok
    };
    let sources = sources::statuses(&ledger, scope, now)?;
    let undelivered = destinations::undelivered(&ledger)?;
    let unwanted = undelivered
        .iter()
        .filter(|batch| is_unwanted(batch, scope.destinations));
    Ok(Status {
        groups: groups::statuses(&ledger, scope.groups, &sources, now)?,
        sources,
        batches: BatchCounts {
            open,
            ready,
            sent,
            failed,
            unwanted: unwanted.count().try_into().unwrap_or(u64::MAX),
        },
        destinations: destinations::statuses(&ledger, scope.destinations, &undelivered, now)?,
        disk: DiskStatus { free_bytes, state },
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
