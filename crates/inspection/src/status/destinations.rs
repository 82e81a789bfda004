//! The state of the destinations: whether they answer, which batches are in flight, and which are refused.

use std::time::Duration;

use jiff::Timestamp;
use logferry_config::Subscriber;
use logferry_ledger::{
    Batch, BatchState, Delivery, DestinationState, FailureKind, Ledger, LedgerError, ManifestRecord,
};
use logferry_protocol::names::DestinationName;
use serde::Serialize;

use crate::expected_deliveries::wants_batch;
use crate::time::age;

/// A record older than this means that the batch is not in flight any more: the forwarder writes it every second, and on a
/// busy host every few seconds.
const IN_FLIGHT_FRESH: Duration = Duration::from_secs(15);

/// Held batches named for each destination. The first few show what is wrong.
const HELD_SHOWN_MAX: usize = 20;

/// A manifest that waits for longer is stuck, failed or not: a delivery takes seconds.
const MANIFEST_STUCK_AFTER: Duration = Duration::from_hours(1);

/// The window manifests that a destination does not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StuckManifests {
    /// How many there are.
    pub(super) number: u64,
    /// The name of the first one.
    pub(super) first: String,
    /// Why its last attempt failed, and what to do.
    pub(super) error: Option<String>,
}

/// The state of one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DestinationStatus {
    /// Its name.
    pub name: DestinationName,
    /// Whether it answers.
    pub state: DestinationState,
    /// It answers, and refuses what is sent to it: nothing was delivered since the newest of the refused batches was sealed.
    pub is_refusing: bool,
    /// When a batch was last delivered there.
    pub last_delivery_at: Option<Timestamp>,
    /// Sealed batches that are not delivered there yet.
    pub waiting_batches: u64,
    /// Seconds since the oldest of them was sealed; 0 if none waits.
    pub oldest_waiting_seconds: u64,
    /// Window manifests that are not delivered there yet.
    pub waiting_manifests: u64,
    /// Those of them that failed or wait for long.
    #[serde(skip)]
    pub(super) stuck_manifests: Option<StuckManifests>,
    /// Why it does not answer.
    pub error: Option<String>,
    /// The kind of that failure.
    pub error_kind: Option<FailureKind>,
    /// The batches in flight for a second or more.
    pub in_flight: Vec<InFlightStatus>,
    /// Batches with a failed last attempt, oldest window first; at most 20.
    pub held: Vec<HeldBatch>,
}

impl DestinationStatus {
    /// The held batches to which the destination, or this host's disk, has said no. What breaks off is only tried again.
    pub fn refusals(&self) -> impl Iterator<Item = &HeldBatch> {
        self.held.iter().filter(|batch| batch.is_refusal())
    }

    /// For people: a destination that answers and does not take what it gets is not well.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            DestinationState::Up if self.is_refusing => "refusing",
            DestinationState::Up if self.held.iter().any(HeldBatch::is_of_drop) => "refuses some",
            DestinationState::Up => "up",
            DestinationState::Down => "down",
            DestinationState::Unknown => "unknown",
        }
    }

    /// The forwarder does not run, so what it last said is no news of today.
    pub(super) fn forget_state(&mut self) {
        self.state = DestinationState::Unknown;
        self.is_refusing = false;
        self.error = None;
        self.error_kind = None;
        self.in_flight.clear();
    }
}

/// A batch in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InFlightStatus {
    /// The batch's name.
    pub batch: String,
    /// Bytes sent.
    pub bytes_done: u64,
    /// Its size in bytes.
    pub bytes_total: u64,
    /// The present speed; 0 until it is known.
    pub bytes_per_second: u64,
}

/// A batch that a destination refused. It is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldBatch {
    /// The batch's name.
    pub batch: String,
    /// Failed attempts.
    pub attempts: u32,
    /// Why the last one failed.
    pub error: String,
    /// The kind of that failure.
    pub error_kind: Option<FailureKind>,
    /// When it is tried again.
    pub next_attempt_at: Option<Timestamp>,
}

impl HeldBatch {
    fn is_refusal(&self) -> bool {
        use FailureKind::{Auth, HostKey, LocalFile, NameTaken};
        self.is_of_drop() || matches!(self.error_kind, Some(Auth | HostKey | LocalFile | NameTaken))
    }

    /// Whether another batch would likely be refused there too.
    fn is_of_drop(&self) -> bool {
        use FailureKind::{NoFolder, NoSpace, Permission, Refused, Spoiled};
        matches!(
            self.error_kind,
            Some(NoFolder | NoSpace | Permission | Refused | Spoiled)
        )
    }
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
    let status = |subscriber| status(ledger, subscriber, undelivered, now);
    subscribers.iter().map(status).collect()
}

fn status(
    ledger: &Ledger,
    subscriber: &Subscriber,
    undelivered: &[Batch],
    now: Timestamp,
) -> Result<DestinationStatus, LedgerError> {
    let name = &subscriber.name;
    let (mut waiting_batches, mut oldest_waiting_seconds, mut held) = (0, 0, Vec::new());
    let mut newest_refused = None;
    let requested = ledger.resend_requests_for(name)?;
    for batch in undelivered.iter().chain(&requested) {
        let delivery = ledger.delivery(batch.id, name)?;
        if wants_batch(subscriber, batch) && !delivery.as_ref().is_some_and(Delivery::is_done) {
            waiting_batches += 1;
            let resend_requested_at = delivery.as_ref().and_then(|it| it.resend_requested_at);
            let since = resend_requested_at.or(batch.sealed_at).unwrap_or(batch.opened_at);
            oldest_waiting_seconds = oldest_waiting_seconds.max(age(since, now).as_secs());
            let refused = delivery.and_then(|delivery| held_batch(batch, delivery));
            if refused.as_ref().is_some_and(HeldBatch::is_of_drop) {
                newest_refused = newest_refused.max(Some(since));
            }
            if held.len() < HELD_SHOWN_MAX {
                held.extend(refused);
            }
        }
    }
    let manifests = ledger.waiting_manifests(name)?;
    let record = ledger.destination(name)?;
    let health = record.as_ref();
    let state = health.map_or(DestinationState::Unknown, |health| health.state);
    let last_delivery_at = health.and_then(|health| health.last_delivery);
    let is_refusing =
        newest_refused.is_some_and(|refused| last_delivery_at.is_none_or(|last| last < refused));
    Ok(DestinationStatus {
        name: name.clone(),
        state,
        is_refusing: state == DestinationState::Up && is_refusing,
        last_delivery_at,
        waiting_batches,
        oldest_waiting_seconds,
        waiting_manifests: manifests.len() as u64,
        stuck_manifests: stuck_manifests(&manifests, now),
        error_kind: health.and_then(|health| health.error_kind),
        error: record.and_then(|health| health.error),
        in_flight: in_flight(ledger, name, [undelivered, &requested], now)?,
        held,
    })
}

fn stuck_manifests(waiting: &[ManifestRecord], now: Timestamp) -> Option<StuckManifests> {
    let is_stuck = |it: &&ManifestRecord| it.attempts > 0 || age(it.written_at, now) >= MANIFEST_STUCK_AFTER;
    let stuck: Vec<_> = waiting.iter().filter(is_stuck).collect();
    let first = stuck.first()?;
    Some(StuckManifests {
        number: stuck.len() as u64,
        first: first.name.clone(),
        error: first.last_error.clone(),
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

fn in_flight(
    ledger: &Ledger,
    name: &DestinationName,
    [undelivered, requested]: [&[Batch]; 2],
    now: Timestamp,
) -> Result<Vec<InFlightStatus>, LedgerError> {
    let since = now.checked_sub(IN_FLIGHT_FRESH).unwrap_or(Timestamp::MIN);
    let noted = ledger.transfers(name, since)?.into_iter();
    let named = noted.filter_map(|it| {
        // A batch that arrived meanwhile is not in flight any more.
        let mut batches = undelivered.iter().chain(requested);
        let batch = batches.find(|batch| batch.id == it.batch)?;
        Some(InFlightStatus {
            batch: batch.name(),
            bytes_done: it.bytes_done,
            bytes_total: it.bytes_total,
            bytes_per_second: it.bytes_per_second,
        })
    });
    Ok(named.collect())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use logferry_ledger::{NewManifest, Window};
    use logferry_testkit::relay_host::{RelayHost, at, subscriber};

    use super::super::problems::of_destination;
    use super::*;

    #[test]
    fn destination_that_answers_and_takes_nothing_is_told_from_one_that_refuses_a_batch() {
        let mut host = RelayHost::new();
        let (edw, now) = (subscriber("edw"), at("2026-11-21T03:10:00Z"));
        let batch = |host: &mut RelayHost, window: &str, sealed: &str| {
            let batch = host.take("198.51.100.1", window, "one\n", at(window));
            host.seal(&batch, at(sealed))
        };
        let refused = batch(&mut host, "2026-11-21T02:00:00Z", "2026-11-21T02:22:00Z");
        let failure = (FailureKind::Permission, "the server refused to create it");
        let ledger = &mut host.ledger;
        ledger.note_destination(&edw.name, None, now).expect("noted");
        ledger
            .record_failure(refused.id, &edw.name, failure, now, true)
            .expect("recorded");
        let status = |host: &RelayHost| {
            let undelivered = undelivered(&host.ledger).expect("read");
            let mut all =
                statuses(&host.ledger, std::slice::from_ref(&edw), &undelivered, now).expect("read");
            let status = all.remove(0);
            let problem = of_destination(&status).expect("a problem");
            (status.state_name(), problem.text)
        };
        let name = refused.name();
        let told = format!(
            "destination edw answers, but takes nothing, 1 batch not delivered, such as {name}: the server refused to create it"
        );
        assert_eq!(status(&host), ("refusing", told));
        let taken = batch(&mut host, "2026-11-21T02:20:00Z", "2026-11-21T02:42:00Z");
        host.deliver(&taken, "edw", at("2026-11-21T02:42:05Z"));
        let told = format!(
            "destination edw did not take 1 batch, the first is {name}: the server refused to create it"
        );
        assert_eq!(status(&host), ("refuses some", told));
    }

    #[test]
    fn window_manifests_that_failed_or_wait_for_long_are_a_problem() {
        let mut host = RelayHost::new();
        let (edw, now) = (subscriber("edw"), at("2026-11-21T03:10:00Z"));
        let new = NewManifest {
            window: Window {
                start: at("2026-11-21T02:40:00Z").as_second(),
                seconds: 1200,
                utc_offset: 0,
            },
            revision: 1,
            name: "WINDOW_x.json".to_owned(),
            content: "{}".to_owned(),
            batches: Vec::new(),
        };
        let added = host.ledger.add_manifest(&edw.name, &new, now);
        added.expect("added");
        let problem = |host: &RelayHost, now| {
            let statuses = statuses(&host.ledger, std::slice::from_ref(&edw), &[], now).expect("read");
            of_destination(&statuses[0]).map(|it| it.text)
        };
        assert_eq!(problem(&host, now), None, "it was written just now");
        let later = now + SignedDuration::from_hours(1);
        let waits = problem(&host, later).expect("a problem");
        assert!(waits.contains("the forwarder's log"), "{waits}");
        let id = host.ledger.waiting_manifests(&edw.name).expect("read")[0].id;
        let failed = host.ledger.manifest_failed(id, "a different file is there", now);
        failed.expect("noted");
        assert_eq!(
            problem(&host, now).as_deref(),
            Some(
                "destination edw did not get 1 window manifest, the first is WINDOW_x.json: a different file is there"
            )
        );
    }
}
