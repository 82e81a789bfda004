//! What a source sees of its capture.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::capture::receipts::{RequestKey, RequestReceipt};
use crate::record::Record;

/// How far a source has read, in its own words: any JSON of at most 64 KiB.
pub type Position = serde_json::Value;

/// Why records were not taken. None of them is kept, and the position is as before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// They cannot be made durable now: the disk is full, read-only or failing. The same records are welcome later.
    #[error("{reason}; trying again in {} s", .retry_after.as_secs())]
    Wait {
        /// When to try again.
        retry_after: Duration,
        /// What is wrong, for people.
        reason: String,
    },
    /// The collector is stopping.
    #[error("the collector is stopping")]
    Stopped,
}

/// What became of records that were appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Appended {
    /// They are on stable storage.
    Stored,
    /// They were before, and this was answered.
    Before(String),
}

/// Something for the writer to do.
#[derive(Debug)]
pub(crate) enum WriterRequest {
    Append(AppendRequest),
    /// Requests were confirmed: [`CaptureShared::take_confirmed`].
    Confirmed,
    /// The sender may have said what it has shipped.
    RemoveShipped,
}

/// What is given to the writer at once.
#[derive(Debug)]
pub(crate) struct AppendRequest {
    /// Whole lines.
    pub(crate) lines: Vec<u8>,
    pub(crate) records: u64,
    pub(crate) position: Option<Position>,
    pub(crate) receipt: Option<RequestReceipt>,
    pub(crate) done: oneshot::Sender<Result<Appended, Refused>>,
}

/// What the writer tells of a capture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CaptureReport {
    /// Records and bytes since the collector was started.
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// Requests that were answered before.
    pub(crate) repeats: u64,
    /// When the last record was taken.
    pub(crate) last_record_at: Option<Timestamp>,
    /// Why no records are taken now.
    pub(crate) refusing: Option<String>,
    /// Rotated captures that wait for the sender.
    pub(crate) rotated_files: u64,
}

/// What handle and writer share.
#[derive(Debug, Default)]
pub(crate) struct CaptureShared {
    position: Mutex<Option<Position>>,
    confirmed: Mutex<Vec<RequestKey>>,
    report: Mutex<CaptureReport>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CaptureShared {
    pub(crate) fn set_position(&self, position: Option<Position>) {
        *lock(&self.position) = position;
    }

    /// The requests whose answers have arrived since this was last asked.
    pub(crate) fn take_confirmed(&self) -> Vec<RequestKey> {
        std::mem::take(&mut *lock(&self.confirmed))
    }

    pub(crate) fn report(&self) -> MutexGuard<'_, CaptureReport> {
        lock(&self.report)
    }
}

/// A source's capture. Clones are the same capture.
#[derive(Debug, Clone)]
pub struct CaptureHandle {
    requests: mpsc::Sender<WriterRequest>,
    shared: Arc<CaptureShared>,
    opened: watch::Receiver<bool>,
}

impl CaptureHandle {
    pub(crate) fn new(
        requests: mpsc::Sender<WriterRequest>,
        shared: Arc<CaptureShared>,
        opened: watch::Receiver<bool>,
    ) -> Self {
        Self {
            requests,
            shared,
            opened,
        }
    }

    /// Appends records, in this order, and the position that the source has after them; without a new one it stays.
    ///
    /// Returns when they are on stable storage, and tries again for as long as it has to: for a source whose records nobody sends
    /// again. It waits while many requests are before it, which is how a source is slowed. Not cancel safe: the records of a
    /// dropped call may be kept, with the position, or not. Ends with [`Refused::Stopped`] only, soon after `stop`.
    pub async fn append_waiting(
        &self,
        records: &[Record],
        position: Option<&Position>,
        stop: &CancellationToken,
    ) -> Result<(), Refused> {
        loop {
            match self.append_once(records, position.cloned(), None).await {
                Err(Refused::Wait { retry_after, .. }) => tokio::select! {
                    () = tokio::time::sleep(retry_after) => {}
                    () = stop.cancelled() => return Err(Refused::Stopped),
                },
                answer => return answer.map(|_| ()),
            }
        }
    }

    /// Appends records as [`Self::append_waiting`] does, unless a request with the key of the receipt was answered before. It does
    /// not try again.
    pub(crate) async fn append_once(
        &self,
        records: &[Record],
        position: Option<Position>,
        receipt: Option<RequestReceipt>,
    ) -> Result<Appended, Refused> {
        let mut lines = Vec::new();
        for record in records {
            record.write_line(&mut lines);
        }
        let (done, answer) = oneshot::channel();
        let request = AppendRequest {
            lines,
            records: records.len() as u64,
            position,
            receipt,
            done,
        };
        let request = WriterRequest::Append(request);
        let sent = self.requests.send(request).await;
        sent.map_err(|_| Refused::Stopped)?;
        answer.await.unwrap_or(Err(Refused::Stopped))
    }

    /// The answer to this request has arrived: an equal one is new from now on. Does not wait.
    pub(crate) fn confirm(&self, key: RequestKey) {
        lock(&self.shared.confirmed).push(key);
        // If the queue is full, the writer comes by anyway.
        let _ = self.requests.try_send(WriterRequest::Confirmed);
    }

    /// The sender may have said what it has shipped. Does not wait: it is asked again soon.
    pub(crate) fn remove_shipped(&self) {
        let _ = self.requests.try_send(WriterRequest::RemoveShipped);
    }

    /// Waits until the capture is open; forever if its disk fails forever. Cancel safe.
    pub(crate) async fn opened(&self) {
        let mut opened = self.opened.clone();
        let _ = opened.wait_for(|is_open| *is_open).await;
    }

    /// The source's position: that of the last records that are kept; `None` if it never gave one.
    pub fn position(&self) -> Option<Position> {
        lock(&self.shared.position).clone()
    }

    /// What the writer tells.
    pub(crate) fn report(&self) -> CaptureReport {
        self.shared.report().clone()
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A capture in memory, for the tests of sources.

    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    /// What was appended, in order, as lines.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct MemoryCapture {
        pub(crate) lines: Arc<Mutex<Vec<u8>>>,
        /// While set, everything is refused with [`Refused::Wait`].
        pub(crate) is_full: Arc<AtomicBool>,
        /// How often something was refused.
        pub(crate) refusals: Arc<AtomicU64>,
    }

    impl MemoryCapture {
        /// The records that were appended, as JSON.
        pub(crate) fn records(&self) -> Vec<serde_json::Value> {
            let lines = lock(&self.lines).clone();
            let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            lines
                .map(|line| serde_json::from_slice(line).expect("JSON"))
                .collect()
        }
    }

    /// A capture that keeps records in memory and begins with this position. Needs a tokio runtime.
    pub(crate) fn memory_capture(position: Option<Position>) -> (CaptureHandle, MemoryCapture) {
        let (requests, mut inbox) = mpsc::channel(16);
        let shared = Arc::new(CaptureShared::default());
        shared.set_position(position);
        let (_, opened) = watch::channel(true);
        let handle = CaptureHandle::new(requests, Arc::clone(&shared), opened);
        let kept = MemoryCapture::default();
        let capture = kept.clone();
        tokio::spawn(async move {
            while let Some(request) = inbox.recv().await {
                let WriterRequest::Append(request) = request else {
                    continue;
                };
                let answer = if capture.is_full.load(Ordering::Relaxed) {
                    capture.refusals.fetch_add(1, Ordering::Relaxed);
                    Err(Refused::Wait {
                        retry_after: Duration::from_millis(5),
                        reason: "the disk is full".to_owned(),
                    })
                } else {
                    lock(&capture.lines).extend(request.lines);
                    if request.position.is_some() {
                        shared.set_position(request.position);
                    }
                    Ok(Appended::Stored)
                };
                let _ = request.done.send(answer);
            }
        });
        (handle, kept)
    }
}
