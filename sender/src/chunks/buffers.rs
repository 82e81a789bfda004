//! A fixed set of chunk buffers: the bound on the sender's memory. A buffer travels as a request's body and comes home
//! by itself when the last piece of it is dropped.

use std::ops::Range;
use std::sync::mpsc::Sender;

use crate::messages::SenderEvent;
use bytes::Bytes;
use logferry_protocol::stream::FINGERPRINT_SPAN;

/// The buffers that are at events.
#[derive(Debug)]
pub(crate) struct BufferPool {
    free: Vec<Vec<u8>>,
    /// How many more may be made.
    unallocated: usize,
    bytes: usize,
    events: Sender<SenderEvent>,
}

/// A buffer on its way.
struct PooledBody {
    buffer: Vec<u8>,
    range: Range<usize>,
    events: Sender<SenderEvent>,
}

impl BufferPool {
    /// A pool of `count` buffers, each for blocks of up to `block` bytes.
    ///
    /// They come events as [`SenderEvent::Buffer`] through `home`.
    pub(crate) fn new(count: usize, block: usize, events: Sender<SenderEvent>) -> Self {
        Self {
            free: Vec::new(),
            unallocated: count,
            bytes: FINGERPRINT_SPAN + block + 1,
            events,
        }
    }

    /// A buffer, if one is at events.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        self.free.pop().or_else(|| {
            self.unallocated = self.unallocated.checked_sub(1)?;
            Some(vec![0; self.bytes])
        })
    }

    /// Takes a buffer back.
    pub(crate) fn put(&mut self, buffer: Vec<u8>) {
        self.free.push(buffer);
    }

    /// Sends a buffer off as the bytes `range` of it.
    pub(crate) fn body(&self, buffer: Vec<u8>, range: Range<usize>) -> Bytes {
        Bytes::from_owner(PooledBody {
            buffer,
            range,
            events: self.events.clone(),
        })
    }
}

impl AsRef<[u8]> for PooledBody {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }
}

impl Drop for PooledBody {
    fn drop(&mut self) {
        // Nobody events: the sender has stopped.
        let _ = self
            .events
            .send(SenderEvent::Buffer(std::mem::take(&mut self.buffer)));
    }
}
