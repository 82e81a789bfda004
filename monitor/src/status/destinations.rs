//! How the destinations are: whether they answer, what is on its way there, and what is held up.

use std::time::Duration;

use jiff::Timestamp;
use logferry_config::Subscriber;
use logferry_ledger::{Batch, BatchState, Delivery, DestinationState, FailureKind, Ledger, LedgerError};
use logferry_protocol::names::DestinationName;
use serde::Serialize;

use super::rfc3339;
use crate::owed::takes;
use crate::words::age;

/// What was noted longer ago is not in flight any more: the forwarder notes it every second, and a busy host may take
/// a few.
const IN_FLIGHT_FRESH: Duration = Duration::from_secs(15);

/// At most so many held batches are named for each destination; the first are enough to see what is wrong.
const HELD_SHOWN: usize = 20;

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
    /// What kind of failure that is.
    pub error_kind: Option<FailureKind>,
    /// The batches that have been on their way for a second and more.
    pub in_flight: Vec<InFlightStatus>,
    /// Batches whose last attempt failed, the oldest window first; at most 20.
    pub held: Vec<HeldBatch>,
}

/// A batch on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InFlightStatus {
    /// The batch's name.
    pub batch: String,
    /// Bytes of it that are done.
    pub bytes_done: u64,
    /// Its size in bytes.
    pub bytes_total: u64,
    /// How fast it gets on at present; 0 until that is known.
    pub bytes_per_second: u64,
}

/// A batch that a destination has refused, and that is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldBatch {
    /// The batch's name.
    pub batch: String,
    /// Attempts that failed.
    pub attempts: u32,
    /// Why the last one did.
    pub error: String,
    /// What kind of failure that was.
    pub error_kind: Option<FailureKind>,
    /// When it is tried again.
    #[serde(serialize_with = "rfc3339")]
    pub next_attempt_at: Option<Timestamp>,
}

/// The sealed batches that are not sent, oldest window first.
pub(super) fn undelivered(ledger: &Ledger) -> Result<Vec<Batch>, LedgerError> {
    let mut undelivered = ledger.batches_in(BatchState::Ready)?;
    undelivered.extend(ledger.batches_in(BatchState::Failed)?);
    undelivered.sort_by_key(|batch| (batch.window.start, batch.part));
    Ok(undelivered)
}

pub(super) fn statuses(
    ledger: &Ledger,
    subscribers: &[Subscriber],
    undelivered: &[Batch],
    now: Timestamp,
) -> Result<Vec<DestinationStatus>, LedgerError> {
    subscribers
        .iter()
        .map(|subscriber| status(ledger, subscriber, undelivered, now))
        .collect()
}

fn status(
    ledger: &Ledger,
    subscriber: &Subscriber,
    undelivered: &[Batch],
    now: Timestamp,
) -> Result<DestinationStatus, LedgerError> {
    let name = &subscriber.name;
    let (mut waiting_batches, mut oldest_waiting_seconds, mut held) = (0, 0, Vec::new());
    let asked = ledger.resend_requests_for(name)?;
    for batch in undelivered.iter().chain(&asked) {
        let delivery = ledger.delivery(batch.id, name)?;
        if takes(subscriber, batch) && !delivery.as_ref().is_some_and(Delivery::is_done) {
            waiting_batches += 1;
            let resend_requested_at = delivery
                .as_ref()
                .and_then(|delivery| delivery.resend_requested_at);
            let since = resend_requested_at.or(batch.sealed_at).unwrap_or(batch.opened_at);
            oldest_waiting_seconds = oldest_waiting_seconds.max(age(since, now).as_secs());
            if held.len() < HELD_SHOWN {
                held.extend(delivery.and_then(|delivery| held_batch(batch, delivery)));
            }
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
        error_kind: health.as_ref().and_then(|health| health.error_kind),
        error: health.and_then(|health| health.error),
        in_flight: transfers(ledger, name, [undelivered, &asked], now)?,
        held,
    })
}

fn held_batch(batch: &Batch, delivery: Delivery) -> Option<HeldBatch> {
    Some(HeldBatch {
        batch: batch.name(),
        attempts: delivery.attempts,
        error: delivery.last_error?,
        error_kind: delivery.error_kind,
        next_attempt_at: delivery.next_attempt,
    })
}

fn transfers(
    ledger: &Ledger,
    name: &DestinationName,
    [undelivered, asked]: [&[Batch]; 2],
    now: Timestamp,
) -> Result<Vec<InFlightStatus>, LedgerError> {
    let since = now.checked_sub(IN_FLIGHT_FRESH).unwrap_or(Timestamp::MIN);
    let noted = ledger.transfers(name, since)?.into_iter();
    let named = noted.filter_map(|it| {
        // One that has arrived meanwhile is not in flight.
        let batch = undelivered
            .iter()
            .chain(asked)
            .find(|batch| batch.id == it.batch)?;
        Some(InFlightStatus {
            batch: batch.name(),
            bytes_done: it.bytes_done,
            bytes_total: it.bytes_total,
            bytes_per_second: it.bytes_per_second,
        })
    });
    Ok(named.collect())
}
