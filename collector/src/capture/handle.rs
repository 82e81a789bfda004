//! What a source sees of its capture.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

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

/// What is given to the writer at once.
#[derive(Debug)]
pub(crate) struct AppendRequest {
    pub(crate) records: Vec<Record>,
    pub(crate) position: Option<Position>,
    pub(crate) done: oneshot::Sender<Result<(), Refused>>,
}

/// A source's capture. Clones are the same capture.
#[derive(Debug, Clone)]
pub struct CaptureHandle {
    requests: mpsc::Sender<AppendRequest>,
    position: Arc<Mutex<Option<Position>>>,
}

impl CaptureHandle {
    /// `position`: shared with the writer, which sets it before it answers.
    pub(crate) fn new(requests: mpsc::Sender<AppendRequest>, position: Arc<Mutex<Option<Position>>>) -> Self {
        Self { requests, position }
    }

    /// Appends records, in this order, and the position that the source has after them; without a new one it stays.
    ///
    /// Returns when they are on stable storage, or refused. It waits while many requests are before it, which is how a source
    /// is slowed. Not cancel safe: the records of a dropped call may be kept or not.
    pub async fn append(&self, records: Vec<Record>, position: Option<Position>) -> Result<(), Refused> {
        let (done, answer) = oneshot::channel();
        let request = AppendRequest {
            records,
            position,
            done,
        };
        self.requests.send(request).await.map_err(|_| Refused::Stopped)?;
        answer.await.unwrap_or(Err(Refused::Stopped))
    }

    /// Appends records as [`Self::append`] does, and tries again for as long as it has to: for a source whose records nobody
    /// sends again. Ends with [`Refused::Stopped`] only, soon after `stop`.
    pub async fn append_waiting(
        &self,
        records: &[Record],
        position: Option<&Position>,
        stop: &CancellationToken,
    ) -> Result<(), Refused> {
        loop {
            match self.append(records.to_vec(), position.cloned()).await {
                Err(Refused::Wait { retry_after, .. }) => tokio::select! {
                    () = tokio::time::sleep(retry_after) => {}
                    () = stop.cancelled() => return Err(Refused::Stopped),
                },
                answer => return answer,
            }
        }
    }

    /// The source's position: that of the last records that are kept; `None` if it never gave one.
    pub fn position(&self) -> Option<Position> {
        let position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        position.clone()
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A capture in memory, for the tests of sources.

    use super::*;

    /// What was appended, in order.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct MemoryCapture {
        pub(crate) records: Arc<Mutex<Vec<Record>>>,
        /// While set, everything is refused with [`Refused::Wait`].
        pub(crate) is_full: Arc<std::sync::atomic::AtomicBool>,
    }

    /// A capture that keeps records in memory and begins with this position. Needs a tokio runtime.
    pub(crate) fn memory_capture(position: Option<Position>) -> (CaptureHandle, MemoryCapture) {
        let (requests, mut inbox) = mpsc::channel::<AppendRequest>(16);
        let position = Arc::new(Mutex::new(position));
        let (handle, kept) = (
            CaptureHandle::new(requests, Arc::clone(&position)),
            MemoryCapture::default(),
        );
        let capture = kept.clone();
        tokio::spawn(async move {
            while let Some(request) = inbox.recv().await {
                if capture.is_full.load(std::sync::atomic::Ordering::Relaxed) {
                    let retry_after = Duration::from_millis(5);
                    let reason = "the disk is full".to_owned();
                    let _ = request.done.send(Err(Refused::Wait { retry_after, reason }));
                    continue;
                }
                capture
                    .records
                    .lock()
                    .expect("not poisoned")
                    .extend(request.records);
                if request.position.is_some() {
                    *position.lock().expect("not poisoned") = request.position;
                }
                let _ = request.done.send(Ok(()));
            }
        });
        (handle, kept)
    }
}
