//! The memory that request bodies are held in: bounded, and used again.
//!
//! Buffers of megabytes that come from and go back to the system cost more than everything else done with them, so
//! each group keeps the ones it has.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Buffers kept for the next request. More than this many requests at once is a burst, and its memory goes back.
const KEPT_BUFFERS: usize = 8;

/// The memory of one group.
#[derive(Debug, Clone)]
pub(crate) struct BodyMemory {
    budget: Arc<Semaphore>,
    buffers: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// The bytes of one request, with their share of the group's budget. Both go back when it is dropped.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    home: Arc<Mutex<Vec<Vec<u8>>>>,
    _share: OwnedSemaphorePermit,
}

impl BodyMemory {
    /// Memory for `bytes` of bodies at one time.
    pub(crate) fn new(bytes: usize) -> Self {
        let permits = bytes.min(Semaphore::MAX_PERMITS);
        Self {
            budget: Arc::new(Semaphore::new(permits)),
            buffers: Arc::default(),
        }
    }

    /// Waits for room for a body of `len` bytes, at most `u32::MAX` of them.
    ///
    /// Cancel safe: a dropped wait takes nothing.
    pub(crate) async fn reserve(&self, len: usize) -> Body {
        let permits = u32::try_from(len).unwrap_or(u32::MAX);
        let share = Arc::clone(&self.budget).acquire_many_owned(permits).await;
        let share = share.expect("the semaphore is never closed");
        let kept = self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut bytes = kept.unwrap_or_default();
        bytes.clear();
        bytes.reserve(len);
        Body {
            bytes,
            home: Arc::clone(&self.buffers),
            _share: share,
        }
    }
}

impl Body {
    /// Adds bytes; the caller keeps within what was reserved.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Holds these bytes instead, which are no more than what was reserved.
    pub(crate) fn replace(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.extend(bytes);
    }
}

impl Deref for Body {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut kept = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_BUFFERS {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_waits_until_there_is_room_and_reuses_a_buffer() {
        let memory = BodyMemory::new(100);
        let mut first = memory.reserve(80).await;
        first.extend(&[7; 80]);
        let buffer = first.as_ptr();
        let waiting = memory.reserve(50);
        tokio::pin!(waiting);
        assert!(futures_poll(waiting.as_mut()).await.is_none(), "80 + 50 > 100");
        drop(first);
        let second = waiting.await;
        assert!(second.is_empty());
        assert_eq!(second.as_ptr(), buffer);
    }

    /// Polls once.
    async fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        let mut future = Some(future);
        std::future::poll_fn(move |context| {
            let polled = future.take().map(|future| future.poll(context));
            std::task::Poll::Ready(match polled {
                Some(std::task::Poll::Ready(output)) => Some(output),
                _ => None,
            })
        })
        .await
    }
}
