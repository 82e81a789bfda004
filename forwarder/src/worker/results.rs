//! Records the results of deliveries.
//!
//! The reports that arrive while one record is being written are recorded together in the next transaction, and their
//! files are moved together: the slower the disk, the more reports share one transaction.
//!
//! Invariant: every result that was received is settled, whatever fails: no item stays in hand, and a record that fails
//! keeps no other from being tried. The first error is returned. An unrecorded result is found again: a delivery in the
//! destination's folder, a failure by the next attempt.

use std::sync::mpsc::Receiver;
use std::time::Instant;

use jiff::Timestamp;
use logferry_config::Destination;
use logferry_ledger::{Batch, FailureKind, ManifestRecord};
use logferry_text::{count_of, duration, size};
use tracing::{error, info, warn};

use super::{DestinationWorker, NotedHealth};
use crate::delivery_store::{DeliveryStoreError, later};
use crate::error::{DeliveryError, FailureScope};
use crate::publish::attempt::{Delivered, warn_taken_away};
use crate::publish::publish_steps::{PublishMethod, PublishOutcome};
use crate::publish::task::{DeliveryItem, DeliveryTask};
use crate::schedule::retry::{Admission, BackoffKind, RetryDecision, decide_retry};
use crate::session::session_thread::SessionReport;
use crate::source::StagedFile;

impl DestinationWorker {
    /// Records a report and those that arrived after it; returns whether there may be something new to plan.
    pub(super) fn record(
        &mut self,
        first: SessionReport,
        received: &Receiver<SessionReport>,
    ) -> Result<bool, DeliveryStoreError> {
        if self.circuit.admission(Instant::now()) == Admission::Probing {
            // All others wait for what the probe shows.
            self.throttle.hurry();
        }
        let (mut delivered, mut failed, mut plan_again) = (Vec::new(), Vec::new(), false);
        for report in std::iter::once(first).chain(received.try_iter()) {
            match report {
                SessionReport::Completed(completed) => match *completed {
                    (task, Ok(it)) => delivered.push((task, it)),
                    (task, Err(error)) => failed.push((Some(task), error)),
                },
                SessionReport::Returned(tasks) => {
                    plan_again = true;
                    self.circuit.probe_inconclusive(Instant::now());
                    self.queue.complete(&tasks);
                }
                SessionReport::ConnectFailed { error, tasks } => {
                    self.queue.complete(&tasks);
                    failed.push((None, error));
                }
                SessionReport::ConnectionLost { error, mut tasks } => {
                    self.queue.complete(&tasks);
                    // Of several items, any may be the cause, or none.
                    let suspect = if tasks.len() == 1 { tasks.pop() } else { None };
                    failed.push((suspect, error));
                }
            }
        }
        // After a successful probe, all others are due.
        plan_again |= !failed.is_empty() || self.circuit.admission(Instant::now()) == Admission::Probing;
        // Nothing of this stays in hand, whatever fails below. What is not recorded is due again with the next plan, which
        // this thread makes after this.
        self.queue.complete(delivered.iter().map(|(task, _)| task));
        self.queue
            .complete(failed.iter().filter_map(|(task, _)| task.as_ref()));
        let mut result = self.record_delivered(&delivered);
        if result.is_err() {
            // The next attempt compares the published file with this one.
            let staged = delivered.into_iter().filter_map(|(_, it)| it.staged);
            staged.for_each(StagedFile::keep);
        }
        for (task, error) in &failed {
            // A ledger that is locked makes each record wait: a stop does not wait for all of them.
            if result.is_err() && self.stop.is_cancelled() {
                break;
            }
            let recorded = self.record_failed(task.as_ref(), error);
            result = result.and(recorded);
        }
        result.map(|()| plan_again)
    }

    fn record_delivered(
        &mut self,
        delivered: &[(DeliveryTask, Delivered)],
    ) -> Result<(), DeliveryStoreError> {
        let mut result = Ok(());
        let mut batches = Vec::new();
        for (task, it) in delivered {
            match &task.item {
                DeliveryItem::Batch(batch) => batches.push((batch, it)),
                DeliveryItem::WindowManifest(manifest) => {
                    let recorded = self.record_manifest_delivered(manifest, it);
                    result = result.and(recorded);
                }
            }
        }
        if !batches.is_empty() {
            let recorded = self.record_batches_delivered(&batches);
            result = result.and(recorded);
        }
        result
    }

    fn record_manifest_delivered(
        &mut self,
        manifest: &ManifestRecord,
        delivered: &Delivered,
    ) -> Result<(), DeliveryStoreError> {
        let (destination, path) = (&self.destination.name, delivered.published.path.as_str());
        if delivered.outcome == PublishOutcome::TakenAway {
            warn_taken_away("window manifest", path, destination.as_str());
        } else {
            info!(%destination, path, "window manifest {path} delivered to {destination}");
        }
        let recorded = self
            .store()
            .ledger
            .manifest_delivered(manifest.id, path, Timestamp::now());
        let noted = self.mark_up(Instant::now());
        Ok(recorded?).and(noted)
    }

    fn record_batches_delivered(
        &mut self,
        batches: &[(&Batch, &Delivered)],
    ) -> Result<(), DeliveryStoreError> {
        let destination = &self.destination.name;
        let records: Vec<_> = batches
            .iter()
            .map(|(batch, it)| (*batch, &it.published))
            .collect();
        self.store().delivered(destination, &records, Timestamp::now())?;
        let replaces = |it: &Delivered| it.method == PublishMethod::PosixRename;
        if !self.told_posix_rename && batches.iter().any(|(_, it)| replaces(it)) {
            self.told_posix_rename = true;
            warn!(%destination, "the server of destination {destination} refuses plain renames; files get their names by \
                posix-rename, which would replace a file of that name: each name was seen to be free just before");
        }
        for (batch, it) in batches {
            self.suspects.on_delivered(batch.id);
            let (batch, path, bytes) = (batch.name(), &it.published.path, it.published.bytes);
            self.metrics.delivered(bytes);
            if it.outcome == PublishOutcome::TakenAway {
                warn!(
                    %destination, batch, path, bytes,
                    "batch delivered; the file was removed at the destination before the delivery was recorded: somebody took \
                     {path} away from {destination} early, or it is lost; ask there"
                );
                continue;
            }
            let found_there = it.outcome == PublishOutcome::FoundThere;
            let found = if found_there {
                "was there already as"
            } else {
                "is delivered as"
            };
            info!(
                %destination, batch, path, bytes, found_there,
                "{destination}: batch {batch} {found} {path}, {}", size(bytes)
            );
        }
        self.mark_up(Instant::now())
    }

    /// The destination answered.
    fn mark_up(&mut self, now: Instant) -> Result<(), DeliveryStoreError> {
        if !self.circuit.close(now) {
            return Ok(());
        }
        self.refused_credentials = None;
        self.suspects.on_up();
        self.note_health(None)
    }

    /// Records a failure of an item or of the connection alone.
    fn record_failed(
        &mut self,
        task: Option<&DeliveryTask>,
        error: &DeliveryError,
    ) -> Result<(), DeliveryStoreError> {
        let (scope, now) = (error.scope(), Instant::now());
        let attempts = task.map_or(1, |task| task.attempts.saturating_add(1));
        let mut result = Ok(());
        if let Some(DeliveryItem::WindowManifest(manifest)) = task.map(|task| &task.item) {
            result = self.record_manifest_failure(manifest, attempts, error);
            // A failed manifest does not stop batches, unless it broke the connection.
            if scope != FailureScope::Connection {
                return result;
            }
        }
        let (kind, text) = (error.kind(), error.explanation());
        if scope != FailureScope::None {
            self.metrics.failed(kind.as_str());
        }
        let batch = task.and_then(DeliveryTask::batch);
        // A probe with another batch leaves nothing there after these, and shows more. After a refused rename each one would leave a
        // file, or give one away.
        let may_be_of_batch = scope == FailureScope::Destination
            && matches!(kind, FailureKind::NoSpace | FailureKind::NoFolder);
        let of_batch = batch.filter(|_| may_be_of_batch);
        if let Some(batch) = of_batch.filter(|batch| self.suspects.is_cause(batch.id)) {
            self.circuit.probe_inconclusive(now);
            return self.record_batch_failure(batch, attempts, FailureScope::Batch, (kind, &text));
        }
        let health = match scope {
            FailureScope::Destination | FailureScope::Login | FailureScope::Connection => {
                let backoff = backoff_kind(error);
                if backoff == BackoffKind::Slow {
                    // Their present contents may include a change that came after they were read.
                    self.refused_credentials.clone_from(&self.credentials_before);
                }
                // Only what was tried while the destination was not taken for down says something of it.
                let counts = !matches!(self.circuit.admission(now), Admission::Wait(_));
                if let Some(batch) = of_batch.filter(|_| counts) {
                    self.suspects.add(batch.id);
                }
                self.circuit.open(backoff, now, rand::random());
                // The items that are queued wait too.
                self.queue.clear();
                self.note_health(Some((kind, &text)))
            }
            FailureScope::Batch => self.mark_up(now),
            FailureScope::File | FailureScope::None => {
                self.circuit.probe_inconclusive(now);
                Ok(())
            }
        };
        let recorded = match (scope, batch) {
            (FailureScope::Batch | FailureScope::File | FailureScope::Connection, Some(batch)) => {
                self.record_batch_failure(batch, attempts, scope, (kind, &text))
            }
            _ => Ok(()),
        };
        result.and(health).and(recorded)
    }

    fn record_batch_failure(
        &mut self,
        batch: &Batch,
        attempts: u32,
        scope: FailureScope,
        (kind, text): (FailureKind, &str),
    ) -> Result<(), DeliveryStoreError> {
        let destination = &self.destination.name;
        let decision = self.retry_decision(scope, attempts);
        self.store()
            .batch_failed(batch, destination, (kind, text), decision, Timestamp::now())?;
        let (batch, RetryDecision { wait, gave_up }) = (batch.name(), decision);
        if gave_up {
            error!(
                %destination, batch, attempts, ?wait, %kind, error = text,
                "{destination}: delivery of batch {batch} failed, {}; it is held in failed/ and tried again in {}",
                count_of(attempts.into(), "attempt"), duration(wait)
            );
        } else {
            warn!(
                %destination, batch, attempts, ?wait, %kind, error = text,
                "{destination}: delivery of batch {batch} failed, {}; it is tried again in {}",
                count_of(attempts.into(), "attempt"), duration(wait)
            );
        }
        Ok(())
    }

    fn record_manifest_failure(
        &mut self,
        manifest: &ManifestRecord,
        attempts: u32,
        error: &DeliveryError,
    ) -> Result<(), DeliveryStoreError> {
        let wait = match error.scope() {
            FailureScope::Connection => self.retry_decision(FailureScope::Connection, attempts).wait,
            _ => self.destination.failed_every,
        };
        let (destination, name, text) = (&self.destination.name, &manifest.name, error.explanation());
        error!(
            %destination, name, ?wait, error = text,
            "a window manifest cannot be delivered: {name} to {destination}; it is tried again in {}", duration(wait)
        );
        let next = later(Timestamp::now(), wait);
        Ok(self.store().ledger.manifest_failed(manifest.id, &text, next)?)
    }

    fn retry_decision(&self, scope: FailureScope, attempts: u32) -> RetryDecision {
        let Destination {
            retry, failed_every, ..
        } = &self.destination;
        match scope {
            // A quick retry does not repair a local file.
            FailureScope::File => RetryDecision {
                wait: *failed_every,
                gave_up: true,
            },
            _ => decide_retry(retry, *failed_every, attempts, rand::random()),
        }
    }

    /// Logs a change of the destination's health, and notes it in the ledger.
    fn note_health(&mut self, error: Option<(FailureKind, &str)>) -> Result<(), DeliveryStoreError> {
        let name = &self.destination.name;
        let health = error.map_or(NotedHealth::Up, |(kind, error)| {
            NotedHealth::Down(kind, error.to_owned())
        });
        if self.noted_health == health {
            return Ok(());
        }
        self.store()
            .ledger
            .note_destination(name, error, Timestamp::now())?;
        if let Some((kind, error)) = error {
            if self.told_down.is_news(kind, error, Instant::now()) {
                warn!(
                    destination = %name, %kind, error,
                    "destination {name} is down ({}), its batches wait here and are tried again", kind.as_str()
                );
            }
        } else {
            self.told_down.is_over();
            info!(destination = %name, "destination {name} answers, batches go there");
        }
        self.noted_health = health;
        Ok(())
    }
}

/// Which waits keep a failure from doing harm.
fn backoff_kind(error: &DeliveryError) -> BackoffKind {
    match (error, error.kind()) {
        (_, FailureKind::Auth | FailureKind::HostKey) => BackoffKind::Slow,
        (DeliveryError::MayNotRename(_), _) => BackoffKind::Rare,
        (DeliveryError::TemporaryTaken { .. }, _) => BackoffKind::RareIfRepeated,
        _ => BackoffKind::Configured,
    }
}

#[cfg(test)]
mod tests;
