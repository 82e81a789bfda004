//! One pass over all batches and deliveries of the ledger: sums, and the batches that need a closer look. It allocates
//! nothing for a batch that is delivered and whose file has expired, so that it takes seconds for millions.

use std::collections::{BTreeMap, HashMap, HashSet};

use logferry_config::Subscriber;
use logferry_ledger::{
    BatchFilter, BatchId, BatchState, Ledger, LedgerError, Scanned, ScannedBatch, ScannedDelivery, Window,
};

use super::deliveries::{CheckedBatch, DeliveryCheck, DeliveryFinding};
use super::report::{AuditedDestination, AuditedSource};
use super::{covers_all_times, includes_source};
use crate::expected_deliveries::ExpectedDeliveries;

/// What the pass found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The sums of each source, by its name.
    pub(super) sources: BTreeMap<String, AuditedSource>,
    /// The sums of each window.
    pub(super) windows: HashMap<(i64, u32), WindowSums>,
    /// The windows that have batches whose rows were deleted.
    pub(super) forgotten: HashSet<(i64, u32)>,
    /// The sums of each configured destination.
    pub(super) destinations: Vec<AuditedDestination>,
    /// Batches whose deliveries are not as expected, or need a word.
    pub(super) findings: Vec<(BatchId, DeliveryFinding)>,
    /// Batches that are not delivered to every destination.
    pub(super) undelivered: Vec<BatchId>,
    /// Batches whose file must be in the spool.
    pub(super) with_file: Vec<BatchId>,
    /// First parts whose name looks like that of a later part of another window.
    pub(super) like_parts: Vec<BatchId>,
}

/// What the batches of a window hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct WindowSums {
    pub(super) batches: u64,
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

/// Reads all batches that match the filter.
pub(super) fn survey(
    ledger: &Ledger,
    filter: &BatchFilter,
    subscribers: &[Subscriber],
) -> Result<Survey, LedgerError> {
    let mut since = ledger.subscribed_since()?;
    // A destination without such a record counts from its first delivery on.
    if subscribers.iter().any(|it| !since.contains_key(&it.name)) {
        for (name, first) in ledger.first_deliveries()? {
            if let Ok(name) = name.parse() {
                since.entry(name).or_insert(first);
            }
        }
    }
    let mut surveyor = Surveyor {
        survey: Survey::default(),
        deliveries: DeliveryCheck::new(ExpectedDeliveries { subscribers, since }),
        open: None,
    };
    ledger.scan_batches(filter, |scanned| match scanned {
        Scanned::Batch(batch) => surveyor.begin(&batch),
        Scanned::Delivery(delivery) => surveyor.add(&delivery),
    })?;
    surveyor.end();
    let mut survey = surveyor.survey;
    survey.add_forgotten(ledger, filter)?;
    survey.destinations = surveyor.deliveries.by_destination();
    Ok(survey)
}

impl Survey {
    /// Adds the batches whose rows the housekeeper has deleted. By source their times are not known any more: they count where
    /// the filter has no times.
    fn add_forgotten(&mut self, ledger: &Ledger, filter: &BatchFilter) -> Result<(), LedgerError> {
        if covers_all_times(filter) {
            let sources = ledger.forgotten_sources()?.into_iter();
            for (source, sums) in sources.filter(|(source, _)| includes_source(filter, source)) {
                self.sources.entry(source).or_default().add_forgotten(sums);
            }
        }
        for (window, sums) in ledger.forgotten_windows(filter)? {
            let found = self.windows.entry(window).or_default();
            found.batches += sums.batches;
            found.lines += sums.lines;
            found.bytes += sums.bytes;
            self.forgotten.insert(window);
        }
        Ok(())
    }
}

struct Surveyor<'a> {
    survey: Survey,
    deliveries: DeliveryCheck<'a>,
    open: Option<(BatchId, CheckedBatch)>,
}

impl Surveyor<'_> {
    fn begin(&mut self, batch: &ScannedBatch<'_>) {
        self.end();
        let survey = &mut self.survey;
        let is_sent = batch.state == BatchState::Sent;
        // No name is copied for a source that is known.
        if !survey.sources.contains_key(batch.source) {
            survey
                .sources
                .insert(batch.source.to_owned(), AuditedSource::default());
        }
        if let Some(source) = survey.sources.get_mut(batch.source) {
            source.add(batch.lines, batch.bytes, is_sent);
        }
        let Window { start, seconds, .. } = batch.window;
        let window = survey.windows.entry((start, seconds)).or_default();
        window.batches += 1;
        window.lines += batch.lines;
        window.bytes += batch.bytes;
        if !is_sent {
            survey.undelivered.push(batch.id);
        }
        if !batch.is_expired {
            survey.with_file.push(batch.id);
        }
        if batch.part == 1 && ends_like_a_part(batch.base_name) {
            survey.like_parts.push(batch.id);
        }
        self.open = self.deliveries.begin(batch).map(|checked| (batch.id, checked));
    }

    fn add(&mut self, delivery: &ScannedDelivery<'_>) {
        if let Some((_, batch)) = &mut self.open {
            self.deliveries.add(batch, delivery);
        }
    }

    fn end(&mut self) {
        if let Some((id, batch)) = self.open.take() {
            let findings = self.deliveries.end(batch).into_iter();
            self.survey.findings.extend(findings.map(|finding| (id, finding)));
        }
    }
}

/// Whether the first part of this name could be a later part of another: `NAME.2`.
fn ends_like_a_part(base_name: &str) -> bool {
    let (_, part) = base_name.rsplit_once('.').unwrap_or_default();
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}
