//! The writer of a capture: a thread that makes what a source's handles append durable, many requests a sync.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_captures::{ShippedCaptures, read_shipped};
use logferry_durable::Disk;
use logferry_protocol::names::LogName;
use logferry_protocol::stream::{FINGERPRINT_SPAN, Head};
use logferry_text::error_chain;
use tokio::sync::{mpsc, oneshot, watch};

use crate::capture::error::CaptureError;
use crate::capture::handle::{AppendRequest, Appended, CaptureHandle, CaptureShared, Refused, WriterRequest};
use crate::capture::state::CapturePaths;
use crate::capture::store::{CaptureStore, Round, remove_shipped_unopened};

/// Requests that wait for the writer; behind them, sources wait.
const QUEUE: usize = 4096;

/// Most bytes of lines in a round, if they are not of one request.
const ROUND_BYTES: usize = 4 << 20;

/// When a source may try again after the disk refused.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How often the free space is looked at.
const SPACE_INTERVAL: Duration = Duration::from_secs(1);

/// Where captures are, and their bounds.
#[derive(Debug, Clone)]
pub(crate) struct CaptureSettings {
    /// Folder of all captures.
    pub(crate) state_dir: PathBuf,
    /// Where the sender says what it has shipped.
    pub(crate) sender_state_dir: PathBuf,
    pub(crate) rotate_max_bytes: u64,
    pub(crate) min_free_disk: u64,
}

/// The writer of a capture.
pub(crate) struct CaptureWriter<D: Disk> {
    disk: D,
    settings: CaptureSettings,
    source: LogName,
    /// `None` until the disk lets it be opened.
    store: Option<CaptureStore<D>>,
    requests: mpsc::Receiver<WriterRequest>,
    shared: Arc<CaptureShared>,
    opened: watch::Sender<bool>,
    space_looked_at: Option<Instant>,
}

/// A request that is in a round, and how it will be answered.
type Answer = (oneshot::Sender<Result<Appended, Refused>>, Appended);

impl<D: Disk> CaptureWriter<D> {
    /// The writer of a source's capture, and a handle to it. A disk that refuses is no error: the writer tries again.
    pub(crate) fn open(
        disk: D,
        settings: &CaptureSettings,
        source: &LogName,
    ) -> Result<(CaptureHandle, Self), CaptureError> {
        let (sender, requests) = mpsc::channel(QUEUE);
        let shared = Arc::new(CaptureShared::default());
        let (opened, is_open) = watch::channel(false);
        let mut writer = Self {
            disk,
            settings: settings.clone(),
            source: source.clone(),
            store: None,
            requests,
            shared: Arc::clone(&shared),
            opened,
            space_looked_at: None,
        };
        match writer.open_store() {
            Err(CaptureError::Disk(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error, %source,
                    "the capture cannot be opened; its source waits until it can"
                );
            }
            opened => opened?,
        }
        Ok((CaptureHandle::new(sender, shared, is_open), writer))
    }

    /// Works until every handle is dropped.
    pub(crate) fn run(mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            self.work(first);
        }
    }

    /// Does this and all that waits behind it, up to a round.
    pub(super) fn work(&mut self, first: WriterRequest) {
        let (mut appends, mut bytes, mut next) = (Vec::new(), 0, Some(first));
        let mut looks_for_shipped = false;
        while let Some(request) = next.take() {
            match request {
                WriterRequest::Append(request) => {
                    bytes += request.lines.len();
                    appends.push(request);
                }
                WriterRequest::Confirmed => {}
                WriterRequest::RemoveShipped => looks_for_shipped = true,
            }
            if bytes < ROUND_BYTES {
                next = self.requests.try_recv().ok();
            }
        }
        self.commit(appends);
        if looks_for_shipped {
            // First: the disk may be full of them.
            self.remove_shipped();
            self.look_again();
        }
    }

    /// After records were refused: whether they would be taken now. Clients that obey the health page send none before it says so.
    fn look_again(&mut self) {
        if self.shared.report().refusing.is_none() {
            return;
        }
        let checked = self.check(true);
        let repaired = checked.and_then(|()| self.store.as_mut().map_or(Ok(()), CaptureStore::repair));
        match repaired {
            Ok(()) => self.taken_again(),
            Err(error) => self.refuse(std::iter::empty(), &error),
        }
    }

    fn taken_again(&self) {
        if self.shared.report().refusing.take().is_some() {
            tracing::info!(source = %self.source, "records are taken again");
        }
    }

    fn paths(&self) -> CapturePaths {
        CapturePaths {
            state_dir: self.settings.state_dir.clone(),
            source: self.source.clone(),
        }
    }

    fn open_store(&mut self) -> Result<(), CaptureError> {
        if self.store.is_none() {
            let store = CaptureStore::open(self.disk.clone(), self.paths(), self.settings.rotate_max_bytes)?;
            self.shared.set_position(store.state().position.clone());
            self.store = Some(store);
            self.opened.send_replace(true);
        }
        Ok(())
    }

    fn commit(&mut self, appends: Vec<AppendRequest>) {
        let has_records = !appends.is_empty();
        if let Err(error) = self.check(has_records) {
            self.refuse(appends.into_iter().map(|request| request.done), &error);
            return;
        }
        let Some(store) = &mut self.store else { return };
        let now = Timestamp::now();
        let mut round = Round {
            confirmed: self.shared.take_confirmed(),
            ..Round::default()
        };
        let (mut answers, mut records, mut repeats): (Vec<Answer>, _, _) = (Vec::new(), 0, 0);
        for request in appends {
            if let Some(receipt) = &request.receipt {
                let in_round = round.receipts.iter().find(|other| other.key == receipt.key);
                let is_confirmed = round.confirmed.contains(&receipt.key);
                let before = match in_round {
                    Some(other) => Some(other.answer.as_str()),
                    None => store
                        .state()
                        .receipts
                        .answer(&receipt.key, now)
                        .filter(|_| !is_confirmed || store.state().receipts.is_lasting(&receipt.key)),
                };
                if let Some(before) = before {
                    repeats += 1;
                    answers.push((request.done, Appended::Before(before.to_owned())));
                    continue;
                }
            }
            round.lines.extend_from_slice(&request.lines);
            round.position = request.position.or(round.position);
            round.receipts.extend(request.receipt);
            records += request.records;
            answers.push((request.done, Appended::Stored));
        }
        let bytes = round.lines.len() as u64;
        if round == Round::default() {
            self.shared.report().repeats += repeats;
            answer(answers);
            return;
        }
        match store.commit(round) {
            Ok(()) => {
                self.shared.set_position(store.state().position.clone());
                let mut report = self.shared.report();
                (report.records, report.bytes) = (report.records + records, report.bytes + bytes);
                report.repeats += repeats;
                report.last_record_at = if records > 0 {
                    Some(now)
                } else {
                    report.last_record_at
                };
                drop(report);
                // What was only confirmed says nothing about the free space.
                if has_records {
                    self.taken_again();
                }
                answer(answers);
            }
            Err(error) => self.refuse(answers.into_iter().map(|(done, _)| done), &error),
        }
    }

    /// Whether a round can be made durable, as far as that is known before.
    fn check(&mut self, has_records: bool) -> Result<(), CaptureError> {
        self.open_store()?;
        let is_due = self
            .space_looked_at
            .is_none_or(|looked| looked.elapsed() >= SPACE_INTERVAL);
        if has_records && is_due {
            let free = self.disk.free_bytes(&self.settings.state_dir)?;
            if free < self.settings.min_free_disk {
                return Err(CaptureError::LowSpace {
                    path: self.settings.state_dir.clone(),
                    free,
                    least: self.settings.min_free_disk,
                });
            }
            self.space_looked_at = Some(Instant::now());
        }
        Ok(())
    }

    fn refuse(
        &self,
        requests: impl Iterator<Item = oneshot::Sender<Result<Appended, Refused>>>,
        error: &CaptureError,
    ) {
        let reason = error_chain(error);
        let mut report = self.shared.report();
        if report.refusing.is_none() {
            tracing::error!(source = %self.source, %reason, "no records are taken until this is mended; clients are told to wait");
        }
        report.refusing = Some(reason.clone());
        drop(report);
        let retry_after = RETRY_AFTER;
        for done in requests {
            let reason = reason.clone();
            let _ = done.send(Err(Refused::Wait { retry_after, reason }));
        }
    }

    /// Removes the rotated captures of which the relay has all.
    fn remove_shipped(&self) {
        let shipped = read_shipped(&self.disk, &self.settings.sender_state_dir);
        let shipped = shipped.unwrap_or_else(|error| {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "it is not known what the sender has shipped"
            );
            ShippedCaptures::default()
        });
        let has_all = |path: &Path| {
            identity(path).is_some_and(|(file, len)| shipped.has_all_of(&self.source, file, len))
        };
        let removed = match &self.store {
            Some(store) => store.remove_shipped(has_all),
            None => remove_shipped_unopened(&self.disk, &self.paths(), has_all),
        };
        match removed {
            Ok((removed, left)) => {
                self.shared.report().rotated_files = left;
                if removed > 0 {
                    tracing::info!(source = %self.source, files = removed, "removed captures of which the relay has all");
                }
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error, source = %self.source,
                "captures that are shipped cannot be removed"
            ),
        }
    }
}

fn answer(answers: Vec<Answer>) {
    for (done, appended) in answers {
        // A source that has stopped waiting does not need it.
        let _ = done.send(Ok(appended));
    }
}

/// The number, the beginning and the length of a file on this machine.
fn identity(path: &Path) -> Option<((u64, Head), u64)> {
    let file = File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    let mut beginning = Vec::new();
    file.take(FINGERPRINT_SPAN as u64)
        .read_to_end(&mut beginning)
        .ok()?;
    Some(((metadata.ino(), Head::of(&beginning)?), metadata.len()))
}
