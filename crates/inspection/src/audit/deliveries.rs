//! Deliveries: what each destination was to receive, and whether it received it. Pure.

use std::collections::HashMap;

use logferry_config::Subscriber;
use logferry_ledger::{BatchState, ScannedBatch, ScannedDelivery};

use super::report::{AuditedDestination, DiscrepancyKind};
use crate::expected_deliveries::{ExpectedDeliveries, Wanting};

/// What was found about a batch: the kind, and the text.
pub(super) type DeliveryFinding = (DiscrepancyKind, String);

/// Compares the recorded deliveries of one batch after the other with the expected ones.
#[derive(Debug)]
pub(super) struct DeliveryCheck<'a> {
    expected: ExpectedDeliveries<'a>,
    /// Which destinations want the batches of a source, group and log. Few of these have many batches.
    wanting: HashMap<String, Wanting>,
    origin: String,
    sums: Vec<AuditedDestination>,
}

/// One batch, while its deliveries are read.
#[derive(Debug)]
pub(super) struct CheckedBatch {
    lines: u64,
    state: BatchState,
    is_delivered: bool,
    /// For each configured destination.
    is_expected: Vec<bool>,
    is_there: Vec<bool>,
    findings: Vec<DeliveryFinding>,
}

impl<'a> DeliveryCheck<'a> {
    pub(super) fn new(expected: ExpectedDeliveries<'a>) -> Self {
        let sum = |subscriber: &Subscriber| AuditedDestination {
            name: subscriber.name.clone(),
            batches: 0,
            lines: 0,
            delivered_batches: 0,
            delivered_lines: 0,
        };
        Self {
            sums: expected.subscribers.iter().map(sum).collect(),
            wanting: HashMap::new(),
            origin: String::new(),
            expected,
        }
    }

    /// Begins with a batch. `None`: its row names no source, group or log that could be.
    pub(super) fn begin(&mut self, batch: &ScannedBatch<'_>) -> Option<CheckedBatch> {
        self.origin.clear();
        for part in [batch.source, batch.group, batch.log.unwrap_or_default()] {
            self.origin.push_str(part);
            self.origin.push('\n');
        }
        if !self.wanting.contains_key(&self.origin) {
            let (source, group) = (batch.source.parse().ok()?, batch.group.parse().ok()?);
            let log = batch.log.map(str::parse).transpose().ok()?;
            let wanting = self.expected.wanting(&source, &group, log.as_ref());
            self.wanting.insert(self.origin.clone(), wanting);
        }
        let wanting = self.wanting.get(&self.origin)?;
        Some(CheckedBatch {
            lines: batch.lines,
            state: batch.state,
            is_delivered: false,
            is_expected: self.expected.of(wanting, batch.state, batch.sent_at).collect(),
            is_there: vec![false; self.sums.len()],
            findings: Vec::new(),
        })
    }

    /// Adds a delivery of the batch.
    pub(super) fn add(&self, batch: &mut CheckedBatch, delivery: &ScannedDelivery<'_>) {
        batch.is_delivered = true;
        let name = delivery.destination;
        let is_it = |sum: &AuditedDestination| sum.name.as_str() == name;
        if let Some(there) = self
            .sums
            .iter()
            .position(is_it)
            .and_then(|it| batch.is_there.get_mut(it))
        {
            *there = true;
        }
        if delivery.is_presumed {
            let delivered_at = delivery.delivered_at;
            let detail = format!(
                "its delivery to {name} at {delivered_at} is presumed: it was about to be published when the \
                 forwarder was interrupted, and is at the destination under neither name; if its receiver does \
                 not have it, resend it"
            );
            batch.findings.push((DiscrepancyKind::Presumed, detail));
        }
        if let Some(at) = delivery.resent_at {
            let detail = format!(
                "it was sent to {name} once more on request at {at}; a receiver that took the first file away has \
                 its lines twice"
            );
            batch.findings.push((DiscrepancyKind::Resent, detail));
        }
    }

    /// Ends with a batch: all its deliveries were added.
    pub(super) fn end(&mut self, batch: CheckedBatch) -> Vec<DeliveryFinding> {
        let mut findings = batch.findings;
        let is_sent = batch.state == BatchState::Sent;
        let mut missing = |to: String| {
            let detail = format!("its state is sent, but no delivery of it{to} is recorded");
            findings.push((DiscrepancyKind::DeliveryMissing, detail));
        };
        if is_sent && !batch.is_delivered {
            missing(String::new());
        }
        let is_there = batch.is_there.into_iter();
        for ((sum, is_expected), is_there) in self.sums.iter_mut().zip(batch.is_expected).zip(is_there) {
            if is_sent && batch.is_delivered && is_expected && !is_there {
                missing(format!(" to {}", sum.name));
            }
            if is_there || is_expected {
                sum.batches += 1;
                sum.lines += batch.lines;
                sum.delivered_batches += u64::from(is_there);
                sum.delivered_lines += if is_there { batch.lines } else { 0 };
            }
        }
        findings
    }

    pub(super) fn by_destination(self) -> Vec<AuditedDestination> {
        self.sums
    }
}
