//! Which items a destination gets now, and in which order. No ledger and no clock in here.

use std::time::Duration;

use jiff::Timestamp;
use logferry_config::DeliveryFilter;
use logferry_ledger::{Batch, Delivery, ManifestRecord};
use logferry_spool::SpoolFile;

use crate::publish::task::{DeliveryItem, DeliveryTask};

/// A batch that a destination wants and may lack.
#[derive(Debug, Clone)]
pub(crate) struct WaitingBatch {
    pub(crate) batch: Batch,
    /// Its delivery at the destination.
    pub(crate) delivery: Option<Delivery>,
    /// Its file, if that was searched for.
    pub(crate) file: Option<SpoolFile>,
}

/// The deliveries of one destination.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// To be tried now, oldest window first.
    pub(crate) due: Vec<DeliveryTask>,
    /// How long until the first of the others is due.
    pub(crate) next_due: Option<Duration>,
    /// Since when the batch that has waited longest waits: since it was sealed, or since its resend was requested.
    pub(crate) waits_since: Option<Timestamp>,
}

/// Plans the batches for one destination.
///
/// `longest_wait`: the longest wait between two attempts. A next attempt further ahead was recorded before the clock was
/// set back, and is due.
pub(crate) fn plan(batches: Vec<WaitingBatch>, now: Timestamp, longest_wait: Duration) -> Plan {
    let mut plan = Plan::default();
    let mut due = Vec::new();
    for waiting in batches {
        let WaitingBatch { batch, delivery, .. } = &waiting;
        if delivery.as_ref().is_some_and(Delivery::is_done) {
            continue;
        }
        let resend_requested_at = delivery
            .as_ref()
            .and_then(|delivery| delivery.resend_requested_at);
        let since = resend_requested_at.or(batch.sealed_at).unwrap_or(now);
        plan.waits_since = Some(plan.waits_since.map_or(since, |oldest| oldest.min(since)));
        let next_attempt = delivery.as_ref().and_then(|delivery| delivery.next_attempt);
        match wait_for(next_attempt, now, longest_wait) {
            Some(wait) => plan.next_due = Some(plan.next_due.map_or(wait, |next| next.min(wait))),
            None => due.push(waiting),
        }
    }
    due.sort_by(|a, b| order(&a.batch).cmp(&order(&b.batch)));
    let task = |it: WaitingBatch| DeliveryTask {
        item: DeliveryItem::Batch(it.batch),
        file: it.file,
        attempts: it.delivery.as_ref().map_or(0, |delivery| delivery.attempts),
        publishing: it.delivery.and_then(|delivery| delivery.publishing),
    };
    plan.due = due.into_iter().map(task).collect();
    plan
}

/// The window manifests that are due now, in their order.
pub(crate) fn due_manifests(
    manifests: Vec<ManifestRecord>,
    now: Timestamp,
    longest_wait: Duration,
) -> Vec<DeliveryTask> {
    let is_due = |manifest: &ManifestRecord| wait_for(manifest.next_attempt, now, longest_wait).is_none();
    let task = |manifest: ManifestRecord| DeliveryTask {
        file: None,
        attempts: manifest.attempts,
        publishing: manifest.publishing.clone(),
        item: DeliveryItem::WindowManifest(manifest),
    };
    manifests.into_iter().filter(is_due).map(task).collect()
}

fn order(batch: &Batch) -> impl Ord + '_ {
    (batch.window.start, batch.part, &batch.source, &batch.base_name)
}

/// The wait until the next attempt; `None` if it is due.
fn wait_for(next_attempt: Option<Timestamp>, now: Timestamp, longest_wait: Duration) -> Option<Duration> {
    let wait = until(now, next_attempt?);
    (!wait.is_zero() && wait <= longest_wait).then_some(wait)
}

/// The time from `start` to `end`; zero if `end` is earlier.
pub(crate) fn until(start: Timestamp, end: Timestamp) -> Duration {
    start.duration_until(end).try_into().unwrap_or(Duration::ZERO)
}

/// Whether a destination with these filters wants a batch.
pub(crate) fn wants_batch(wants: &DeliveryFilter, batch: &Batch) -> bool {
    wants.accepts(&batch.source, &batch.group, batch.log.as_ref())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::OnceLock;

    use logferry_config::{Destination, Publishing};
    use logferry_ledger::{Ledger, NewBatch, Window};
    use proptest::prelude::*;

    use super::*;

    /// A destination for names and settings only.
    pub(crate) fn destination(publish: Publishing) -> Destination {
        let text = "forwarder: {destinations: [{name: edw, host: localhost, user: ferry, password: unused, \
                    directory: /drop}]}";
        let config = logferry_config::parse(text, "c.yaml".as_ref(), &|_| None).unwrap();
        let destination = config.forwarder.unwrap().destinations.remove(0);
        Destination {
            publish,
            ..destination
        }
    }

    const LONGEST: Duration = Duration::from_mins(5);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    /// Batches that the ledger made: only it gives out numbers.
    fn any_batches() -> &'static [Batch] {
        static ANY: OnceLock<Vec<Batch>> = OnceLock::new();
        ANY.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let mut ledger = Ledger::open_or_create(dir.path()).unwrap();
            let make = |number| {
                let new = NewBatch {
                    source: "198.51.100.1".parse().unwrap(),
                    group: "web-1".parse().unwrap(),
                    log: None,
                    window: Window {
                        start: 0,
                        seconds: 1200,
                        utc_offset: 0,
                    },
                    base_name: format!("batch-{number:02}"),
                };
                ledger.open_batch(&new, at(0)).unwrap()
            };
            (0..30).map(make).collect()
        })
    }

    /// Sealed batches whose windows start at the given seconds; at most 30.
    pub(crate) fn batches(starts: &[i64]) -> Vec<Batch> {
        let sealed = |(start, batch): (&i64, &Batch)| {
            let mut batch = batch.clone();
            batch.window.start = *start;
            batch.sealed_at = Some(at(-10));
            batch
        };
        starts.iter().zip(any_batches()).map(sealed).collect()
    }

    pub(crate) fn delivery(
        batch: &Batch,
        next_attempt: Option<Timestamp>,
        delivered_at: Option<Timestamp>,
    ) -> Delivery {
        Delivery {
            batch: batch.id,
            destination: "edw".parse().unwrap(),
            attempts: 2,
            last_error: None,
            error_kind: None,
            next_attempt,
            publishing: None,
            path: None,
            bytes: None,
            file_sha256: None,
            delivered_at,
            resend_requested_at: None,
            is_presumed: false,
            resent_at: None,
        }
    }

    fn start(task: &DeliveryTask) -> i64 {
        task.batch().unwrap().window.start
    }

    fn waiting(batch: Batch, delivery: Option<Delivery>) -> WaitingBatch {
        WaitingBatch {
            batch,
            delivery,
            file: None,
        }
    }

    fn known(batch: Batch, next_attempt: i64) -> WaitingBatch {
        let delivery = delivery(&batch, Some(at(next_attempt)), None);
        waiting(batch, Some(delivery))
    }

    fn plan_new(batches: Vec<Batch>) -> Plan {
        let waiting = batches.into_iter().map(|batch| waiting(batch, None));
        plan(waiting.collect(), at(0), LONGEST)
    }

    #[test]
    fn oldest_window_comes_first() {
        let plan = plan_new(batches(&[30, 10, 20]));
        let starts: Vec<_> = plan.due.iter().map(start).collect();
        assert_eq!(starts, [10, 20, 30]);
        assert_eq!(plan.waits_since, Some(at(-10)));
    }

    #[test]
    fn earlier_parts_of_a_window_come_first() {
        let mut batches = batches(&[10, 10, 5]);
        (batches[0].part, batches[1].part, batches[2].part) = (2, 1, 3);
        let plan = plan_new(batches);
        let parts: Vec<_> = plan.due.iter().map(|task| task.batch().unwrap().part).collect();
        assert_eq!(parts, [3, 1, 2]);
    }

    #[test]
    fn batch_waits_for_its_next_attempt_and_no_longer() {
        let batch = batches(&[0]).remove(0);
        let early = plan(vec![known(batch.clone(), 60)], at(0), LONGEST);
        assert_eq!(
            (early.due.len(), early.next_due),
            (0, Some(Duration::from_mins(1)))
        );
        let in_time = plan(vec![known(batch, 60)], at(60), LONGEST);
        assert_eq!((in_time.due.len(), in_time.next_due), (1, None));
        assert_eq!(in_time.due[0].attempts, 2);
    }

    #[test]
    fn clock_set_back_by_a_year_does_not_stop_deliveries() {
        let batch = batches(&[0]).remove(0);
        let planned = plan(vec![known(batch, 31_536_000)], at(0), LONGEST);
        assert_eq!(planned.due.len(), 1);
    }

    #[test]
    fn what_a_destination_has_is_not_planned_for_it_again() {
        let batch = batches(&[0]).remove(0);
        let delivered = delivery(&batch, None, Some(at(0)));
        assert_eq!(
            plan(vec![waiting(batch, Some(delivered))], at(0), LONGEST),
            Plan::default()
        );
    }

    #[test]
    fn what_is_asked_for_once_more_waits_since_then() {
        let batch = batches(&[0]).remove(0);
        let mut asked = delivery(&batch, None, Some(at(0)));
        asked.resend_requested_at = Some(at(50));
        let plan = plan(vec![waiting(batch, Some(asked))], at(60), LONGEST);
        assert_eq!((plan.due.len(), plan.waits_since), (1, Some(at(50))));
    }

    proptest! {
        #[test]
        fn every_undelivered_batch_is_due_or_becomes_due(
            given in prop::collection::vec((0i64..50, prop::option::of(-400i64..400), any::<bool>()), 0..30),
        ) {
            let starts: Vec<_> = given.iter().map(|(start, ..)| *start).collect();
            let with_delivery = |(batch, (_, next, delivered)): (Batch, &(i64, Option<i64>, bool))| {
                let delivery = delivery(&batch, next.map(at), delivered.then(|| at(0)));
                waiting(batch, Some(delivery))
            };
            let candidates: Vec<_> = batches(&starts).into_iter().zip(&given).map(with_delivery).collect();
            let undelivered = given.iter().filter(|(.., delivered)| !delivered).count();
            let planned = plan(candidates, at(0), LONGEST);
            prop_assert!(planned.due.len() <= undelivered);
            prop_assert_eq!(planned.due.len() == undelivered, planned.next_due.is_none());
            prop_assert!(planned.due.is_sorted_by_key(start));
            prop_assert!(planned.next_due.is_none_or(|wait| !wait.is_zero() && wait <= LONGEST));
        }
    }
}
