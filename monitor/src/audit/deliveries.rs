//! Deliveries: what each destination was to receive, and whether it received it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use logferry_config::Subscriber;
use logferry_ledger::{Batch, BatchState};
use logferry_protocol::names::{DestinationName, SourceId};
use logferry_text::count;

use super::report::{AuditedBatch, AuditedDelivery, AuditedDestination, Discrepancy, DiscrepancyKind};
use crate::expected_deliveries::{ExpectedDeliveries, is_unwanted};

/// Compares the recorded deliveries of the audited batches with the expected ones.
#[derive(Debug)]
pub(super) struct DeliveryCheck<'a> {
    batches: &'a [Batch],
    audited: &'a [AuditedBatch],
    expected: ExpectedDeliveries<'a>,
}

impl<'a> DeliveryCheck<'a> {
    /// `subscribed_since`: since when each destination has been configured as it is, as recorded by the forwarder. A
    /// destination without such a record counts from its first delivery on.
    pub(super) fn new(
        batches: &'a [Batch],
        audited: &'a [AuditedBatch],
        subscribers: &'a [Subscriber],
        subscribed_since: BTreeMap<DestinationName, Timestamp>,
    ) -> Self {
        let mut since = BTreeMap::new();
        for delivery in audited.iter().flat_map(|batch| &batch.destinations) {
            let (name, at) = (delivery.name.clone(), delivery.delivered_at);
            let first = since.entry(name).or_insert(at);
            *first = at.min(*first);
        }
        since.extend(subscribed_since);
        Self {
            batches,
            audited,
            expected: ExpectedDeliveries { subscribers, since },
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (&'a Batch, &'a AuditedBatch)> {
        self.batches.iter().zip(self.audited)
    }

    /// Batches in state `sent` without a record of their delivery.
    pub(super) fn missing(&self) -> Vec<Discrepancy> {
        let mut missing = Vec::new();
        for (batch, audited) in self.pairs().filter(|(batch, _)| batch.state == BatchState::Sent) {
            let mut add = |to: &str| {
                let detail = format!("its state is sent, but no delivery of it{to} is recorded");
                missing.push(Discrepancy::of_batch(
                    batch,
                    DiscrepancyKind::DeliveryMissing,
                    detail,
                ));
            };
            if audited.destinations.is_empty() {
                add("");
                continue;
            }
            let expected = self.expected.destinations_of(batch);
            for name in expected.filter(|name| !is_delivered(audited, name)) {
                add(&format!(" to {name}"));
            }
        }
        missing
    }

    /// One warning for each source with waiting batches that no destination wants.
    pub(super) fn unwanted(&self) -> Vec<Discrepancy> {
        let mut by_source: BTreeMap<&SourceId, (u64, u64)> = BTreeMap::new();
        let is_waiting = |batch: &&Batch| matches!(batch.state, BatchState::Ready | BatchState::Failed);
        for batch in self.batches.iter().filter(is_waiting) {
            if is_unwanted(batch, self.expected.subscribers) {
                let (batches, lines) = by_source.entry(&batch.source).or_default();
                *batches += 1;
                *lines += batch.contents.lines;
            }
        }
        let warning = |(source, (batches, lines)): (&SourceId, (u64, u64))| {
            let (batches, lines) = (count(batches), count(lines));
            let detail = format!(
                "no destination wants {batches} of its batches with {lines} lines; they wait in ready/ until one does"
            );
            Discrepancy::of_source(source, DiscrepancyKind::Unwanted, detail)
        };
        by_source.into_iter().map(warning).collect()
    }

    /// The deliveries that were never proved, and those that repeated another on request.
    pub(super) fn warnings(&self) -> Vec<Discrepancy> {
        let mut warnings = Vec::new();
        for (batch, audited) in self.pairs() {
            for AuditedDelivery {
                name,
                delivered_at,
                is_presumed,
                resent_at,
                ..
            } in &audited.destinations
            {
                if *is_presumed {
                    let detail = format!(
                        "its delivery to {name} at {delivered_at} is presumed: it was about to be published when the \
                         forwarder was interrupted, and is at the destination under neither name; if its receiver does \
                         not have it, resend it"
                    );
                    warnings.push(Discrepancy::of_batch(batch, DiscrepancyKind::Presumed, detail));
                }
                if let Some(at) = resent_at {
                    let detail = format!(
                        "it was sent to {name} once more on request at {at}; a receiver that took the first file away has \
                         its lines twice"
                    );
                    warnings.push(Discrepancy::of_batch(batch, DiscrepancyKind::Resent, detail));
                }
            }
        }
        warnings
    }

    pub(super) fn by_destination(&self) -> Vec<AuditedDestination> {
        let sums = |subscriber: &Subscriber| {
            let mut sum = AuditedDestination {
                name: subscriber.name.clone(),
                batches: 0,
                lines: 0,
                delivered_batches: 0,
                delivered_lines: 0,
            };
            for (batch, audited) in self.pairs() {
                let is_there = is_delivered(audited, &sum.name);
                if is_there || self.expected.destinations_of(batch).any(|name| *name == sum.name) {
                    sum.batches += 1;
                    sum.lines += batch.contents.lines;
                    sum.delivered_batches += u64::from(is_there);
                    sum.delivered_lines += if is_there { batch.contents.lines } else { 0 };
                }
            }
            sum
        };
        self.expected.subscribers.iter().map(sums).collect()
    }
}

fn is_delivered(audited: &AuditedBatch, name: &DestinationName) -> bool {
    audited.destinations.iter().any(|delivery| delivery.name == *name)
}
