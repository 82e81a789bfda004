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
    bytes: usize,
    buffers: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// The bytes of one request, with their share of the group's budget. Both go back when it is dropped.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    home: Arc<Mutex<Vec<Vec<u8>>>>,
    share: OwnedSemaphorePermit,
    len_reserved: usize,
}

impl BodyMemory {
    /// Memory for `bytes` of bodies at one time.
    pub(crate) fn new(bytes: usize) -> Self {
        let permits = bytes.min(Semaphore::MAX_PERMITS);
        Self {
            budget: Arc::new(Semaphore::new(permits)),
            bytes: permits,
            buffers: Arc::default(),
        }
    }

    /// Waits for room for a body of `len` bytes and `scratch` bytes to make it with, together at most `u32::MAX`.
    ///
    /// Where all of the memory is less than that, all of it has to do.
    /// Cancel safe: a dropped wait takes nothing.
    pub(crate) async fn reserve(&self, len: usize, scratch: usize) -> Body {
        let permits = len.saturating_add(scratch).min(self.bytes);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let share = Arc::clone(&self.budget).acquire_many_owned(permits).await;
        let share = share.expect("the semaphore is never closed");
        let kept = self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut bytes = kept.unwrap_or_default();
        bytes.clear();
        bytes.reserve(len);
        Body {
            bytes,
            home: Arc::clone(&self.buffers),
            share,
            len_reserved: len,
        }
    }
}

impl Body {
    /// Adds bytes; the caller keeps within what was reserved.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The body is made: what was reserved beside it goes back.
    pub(crate) fn complete(mut self) -> Self {
        let surplus = self.share.num_permits().saturating_sub(self.len_reserved);
        drop(self.share.split(surplus));
        self
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
        let mut first = memory.reserve(80, 0).await;
        first.extend(&[7; 80]);
        let buffer = first.as_ptr();
        let waiting = memory.reserve(50, 0);
        tokio::pin!(waiting);
        assert!(futures_poll(waiting.as_mut()).await.is_none(), "80 + 50 > 100");
        drop(first);
        let second = waiting.await;
        assert!(second.is_empty());
        assert_eq!(second.as_ptr(), buffer);
    }

    #[tokio::test]
    async fn memory_to_make_a_body_with_goes_back_when_it_is_made() {
        let memory = BodyMemory::new(100);
        let made = memory.reserve(40, 30).await.complete();
        let second = memory.reserve(60, 0).await;
        drop((made, second));
        // More than there is would be waited for in vain.
        let all = memory.reserve(90, 30).await;
        assert!(all.complete().is_empty());
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
