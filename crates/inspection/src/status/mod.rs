//! The present state behind `logferry status`: sources, groups, batches, destinations and the disk.
//!
//! The JSON is a contract: fields can be added, but not renamed. Each part of the status is one file here. All of it only
//! reads, and may run while the roles run.

mod channels;
mod destinations;
mod groups;
mod housekeeper;
mod incidents;
mod indexer;
mod log_problem;
mod problems;
mod roles;
mod senders;
mod source_state;
mod sources;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::Subscriber;
use logferry_durable::{DiskSpace, disk_space};
use logferry_ledger::{Ledger, LedgerError};
use logferry_protocol::names::{GroupName, SourceId};
use serde::Serialize;

pub use self::channels::ChannelStatus;
pub use self::destinations::{DestinationStatus, HeldBatch, InFlightStatus};
pub use self::groups::GroupStatus;
pub use self::housekeeper::HousekeeperStatus;
pub use self::incidents::statuses as open_incidents;
pub use self::incidents::{
    IncidentState, IncidentStatus, ListedIncident, incident_list, incidents_since, known_subjects,
};
pub use self::indexer::{IndexerStatus, SinkStatus, has_all, progress as index_progress};
pub use self::log_problem::LogPathProblem;
pub use self::problems::{StatusProblem, TOLD_ANYWAY};
pub use self::roles::is_forwarder_down;
pub use self::roles::{RoleState, RoleStatus, WatchedRole};
pub use self::senders::SenderStatus;
pub use self::source_state::SourceState;
pub use self::source_state::watched_sources;
pub use self::sources::{HeldLogFile, SourceStatus, StreamStatus};
use crate::error::InspectionError;
use crate::expected_deliveries::is_unwanted;
use crate::time::age;

/// The parts of the configuration that the status depends on.
#[derive(Debug, Clone, Copy)]
pub struct StatusScope<'a> {
    /// Sources that must exist even if they never made contact.
    pub expected_sources: &'a [SourceId],
    /// A source without contact for so long is stale.
    pub stale_after: Duration,
    /// The configured groups.
    pub groups: &'a [GroupName],
    /// The configured destinations.
    pub destinations: &'a [Subscriber],
    /// With fewer free bytes the disk is low.
    pub min_free_disk: u64,
    /// The roles of this host.
    pub roles: &'a [WatchedRole<'a>],
}

/// The present state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusReport {
    /// Every source that ever made contact or is expected.
    pub sources: Vec<SourceStatus>,
    /// Every group of the relay that is configured or has reported.
    pub groups: Vec<GroupStatus>,
    /// How many batches are in each state.
    pub batches: BatchCounts,
    /// The configured destinations.
    pub destinations: Vec<DestinationStatus>,
    /// Files that senders see and do not ship.
    pub held: Vec<HeldLogFile>,
    /// Recipients that the mail server refused last time.
    pub refused_recipients: Vec<RefusedRecipientStatus>,
    /// The disk of the data folder.
    pub disk: DiskStatus,
    /// The roles that are configured or ever ran here.
    pub roles: Vec<RoleStatus>,
    /// The mails that are not sent.
    pub mails: MailStatus,
    /// The last run of the housekeeper; `None` before the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub housekeeper: Option<HousekeeperStatus>,
    /// The channels for which messages wait.
    pub channels: Vec<ChannelStatus>,
    /// How far the indexer is; `None` without one, or before it has read anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub indexer: Option<IndexerStatus>,
    /// What the monitor has found wrong and not found right again, the worst first.
    pub incidents: Vec<IncidentStatus>,
    /// Why an operator has to act, one sentence each; empty if nobody has to.
    pub problems: Vec<StatusProblem>,
}

/// The mails that are not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MailStatus {
    /// How many wait in the outbox.
    pub waiting: u64,
    /// How many of them were tried in vain.
    pub failing: u64,
    /// Seconds since the oldest of them was written; 0 if none waits.
    pub oldest_waiting_seconds: u64,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// A recipient that the mail server refused last time. Mails go to the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedRecipientStatus {
    /// The address.
    pub recipient: String,
    /// The server's reply.
    pub reason: String,
    /// When it was first refused.
    pub since: Timestamp,
}

/// How many batches are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BatchCounts {
    /// Being written.
    pub open: u64,
    /// Waiting for delivery.
    pub ready: u64,
    /// Delivered to every destination.
    pub sent: u64,
    /// Failed; they are tried again later.
    pub failed: u64,
    /// Of those ready and failed, wanted by no configured destination.
    pub unwanted: u64,
}

/// The state of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DiskStatus {
    /// Free bytes.
    pub free_bytes: u64,
    /// Bytes that logferry could use if nothing else were there.
    pub total_bytes: u64,
    /// Whether the free ones are enough.
    pub state: DiskState,
}

/// Whether the disk has enough free bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskState {
    /// It has.
    Ok,
    /// It has fewer than the relay needs to accept lines.
    Low,
}

impl StatusReport {
    /// Whether no operator has to act.
    pub fn is_healthy(&self) -> bool {
        self.problems.is_empty()
    }

    /// Leaves out how far lines are sent to OpenSearch. For a host whose configuration does not send any: what it was when it was
    /// switched off says nothing of today.
    #[must_use]
    pub fn without_opensearch(mut self, now: Timestamp) -> Self {
        if let Some(index) = &mut self.indexer {
            index.opensearch = None;
        }
        self.problems = problems::problems(&self, now);
        self
    }
}

/// Reads the ledger and the disk in `data_dir`.
pub fn status(
    data_dir: &Path,
    scope: &StatusScope<'_>,
    now: Timestamp,
) -> Result<StatusReport, InspectionError> {
    // The ledger first: before the first run of the relay there may be no folder, and this error says what to do.
    let ledger = Ledger::open(data_dir)?;
    Ok(read(&ledger, disk_space(data_dir)?, scope, now)?)
}

/// The present state by an open ledger.
pub fn read(
    ledger: &Ledger,
    disk: DiskSpace,
    scope: &StatusScope<'_>,
    now: Timestamp,
) -> Result<StatusReport, LedgerError> {
    let [open, ready, sent, failed] = ledger.count_by_state()?;
    // A full disk is low even if `min_free_disk` is 0.
    let state = if disk.free_bytes < scope.min_free_disk.max(1) {
        DiskState::Low
    } else {
        DiskState::Ok
    };
    let silences = ledger.silences(now)?;
    let sources = sources::statuses(ledger, scope, &silences, now)?;
    let undelivered = destinations::undelivered(ledger)?;
    let unwanted = undelivered
        .iter()
        .filter(|batch| is_unwanted(batch, scope.destinations));
    let roles = roles::statuses(scope.roles, &silences, now);
    let mut destinations = destinations::statuses(ledger, scope.destinations, &undelivered, now)?;
    if is_forwarder_down(&roles) {
        destinations.iter_mut().for_each(DestinationStatus::forget_state);
    }
    let mut report = StatusReport {
        groups: groups::statuses(ledger, scope.groups, &sources, now)?,
        held: sources::held_files(&sources),
        sources,
        batches: BatchCounts {
            open,
            ready,
            sent,
            failed,
            unwanted: unwanted.count().try_into().unwrap_or(u64::MAX),
        },
        destinations,
        refused_recipients: refused_recipients(ledger)?,
        disk: DiskStatus {
            free_bytes: disk.free_bytes,
            total_bytes: disk.total_bytes,
            state,
        },
        roles,
        mails: mails(ledger, now)?,
        housekeeper: housekeeper::status(ledger)?,
        channels: channels::statuses(ledger, now)?,
        indexer: indexer::status(ledger, scope.roles, now)?,
        incidents: incidents::statuses(ledger, now)?,
        problems: Vec::new(),
    };
    report.problems = problems::problems(&report, now);
    Ok(report)
}

fn mails(ledger: &Ledger, now: Timestamp) -> Result<MailStatus, LedgerError> {
    let backlog = ledger.mail_backlog()?;
    Ok(MailStatus {
        waiting: backlog.waiting,
        failing: backlog.failing,
        oldest_waiting_seconds: backlog.oldest.map_or(0, |at| age(at, now).as_secs()),
        last_error: backlog.last_error,
    })
}

fn refused_recipients(ledger: &Ledger) -> Result<Vec<RefusedRecipientStatus>, LedgerError> {
    let refused = ledger.refused_recipients()?.into_iter();
    let refused = refused.map(|refused| RefusedRecipientStatus {
        recipient: refused.recipient,
        reason: refused.reason,
        since: refused.since,
    });
    Ok(refused.collect())
}
