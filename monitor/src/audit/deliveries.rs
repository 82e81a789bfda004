//! What each destination was to get, and whether it got it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use logferry_config::Subscriber;
use logferry_ledger::{Batch, BatchState};
use logferry_protocol::names::{DestinationName, SourceId};
use serde::Serialize;

use super::{AuditedBatch, Discrepancy, DiscrepancyKind};
use crate::owed::{Debts, is_unwanted};
use crate::words::count;

/// What a destination was to get of the audited batches, and got. Batches that are still open do not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditedDestination {
    /// Its name.
    pub name: DestinationName,
    /// Sealed batches that are owed to it, or are there.
    pub batches: u64,
    /// Their lines.
    pub lines: u64,
    /// Of these batches, there.
    pub delivered_batches: u64,
    /// Their lines.
    pub delivered_lines: u64,
}

/// The audited batches and where they are, against who wants what.
#[derive(Debug)]
pub(super) struct Deliveries<'a> {
    batches: &'a [Batch],
    audited: &'a [AuditedBatch],
    subscribers: &'a [Subscriber],
    debts: Debts<'a>,
}

impl<'a> Deliveries<'a> {
    /// `since`: from when on each destination is configured as it is, as far as a forwarder has noted it. One that is
    /// not noted counts from its first delivery on.
    pub(super) fn new(
        batches: &'a [Batch],
        audited: &'a [AuditedBatch],
        subscribers: &'a [Subscriber],
        since: BTreeMap<DestinationName, Timestamp>,
    ) -> Self {
        let mut since_when = BTreeMap::new();
        for place in audited.iter().flat_map(|batch| &batch.destinations) {
            let first = since_when.entry(place.name.clone()).or_insert(place.delivered_at);
            *first = (*first).min(place.delivered_at);
        }
        since_when.extend(since);
        Self {
            batches,
            audited,
            subscribers,
            debts: Debts::new(subscribers, since_when),
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (&'a Batch, &'a AuditedBatch)> {
        self.batches.iter().zip(self.audited)
    }

    /// Batches that pass for sent without a record of it.
    pub(super) fn missing(&self) -> Vec<Discrepancy> {
        let mut missing = Vec::new();
        for (batch, audited) in self.pairs().filter(|(batch, _)| batch.state == BatchState::Sent) {
            let mut lack = |detail| {
                let kind = DiscrepancyKind::DeliveryMissing;
                missing.push(Discrepancy::of_batch(batch, kind, detail));
            };
            if audited.destinations.is_empty() {
                lack("it passes for sent, but no delivery of it is recorded".to_owned());
                continue;
            }
            for name in self.debts.of(batch).filter(|name| !is_at(audited, name)) {
                lack(format!(
                    "it passes for sent, but no delivery of it to {name} is recorded"
                ));
            }
        }
        missing
    }

    /// Batches that wait, and that no destination wants: one warning for each source of such.
    pub(super) fn unwanted(&self) -> Vec<Discrepancy> {
        let mut by_source: BTreeMap<&SourceId, (u64, u64)> = BTreeMap::new();
        let waits = |batch: &&Batch| matches!(batch.state, BatchState::Ready | BatchState::Failed);
        for batch in self.batches.iter().filter(waits) {
            if is_unwanted(batch, self.subscribers) {
                let (batches, lines) = by_source.entry(&batch.source).or_default();
                *batches += 1;
                *lines += batch.contents.lines;
            }
        }
        let warning = |(source, (batches, lines)): (&SourceId, (u64, u64))| Discrepancy {
            kind: DiscrepancyKind::Unwanted,
            source: Some(source.to_string()),
            batch: None,
            detail: format!(
                "no destination wants {} of its batches with {} lines; they wait in ready/ until one does",
                count(batches),
                count(lines)
            ),
            gap: None,
        };
        by_source.into_iter().map(warning).collect()
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
                let is_there = is_at(audited, &sum.name);
                if is_there || self.debts.of(batch).any(|name| *name == sum.name) {
                    sum.batches += 1;
                    sum.lines += batch.contents.lines;
                    sum.delivered_batches += u64::from(is_there);
                    sum.delivered_lines += if is_there { batch.contents.lines } else { 0 };
                }
            }
            sum
        };
        self.subscribers.iter().map(sums).collect()
    }
}

fn is_at(audited: &AuditedBatch, name: &DestinationName) -> bool {
    audited.destinations.iter().any(|place| place.name == *name)
}
