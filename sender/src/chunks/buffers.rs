//! A fixed set of chunk buffers: the limit of the sender's memory. A buffer becomes a request's body, and comes back when
//! the last part of the body is dropped.

use std::ops::Range;
use std::sync::mpsc::Sender;

use bytes::Bytes;
use logferry_protocol::stream::FINGERPRINT_SPAN;

use crate::messages::SenderEvent;

/// Buffers beyond those in flight: one that is being filled, one that is coming back.
pub(crate) const SPARE_BUFFERS: usize = 2;

#[derive(Debug)]
pub(crate) struct BufferPool {
    free: Vec<Vec<u8>>,
    unallocated: usize,
    buffer_bytes: usize,
    events: Sender<SenderEvent>,
}

struct BufferBody {
    buffer: Vec<u8>,
    range: Range<usize>,
    events: Sender<SenderEvent>,
}

impl BufferPool {
    /// So many buffers for chunks that are cut from blocks of up to `block` bytes. They come back through `events`.
    pub(crate) fn new(buffers: usize, block: usize, events: Sender<SenderEvent>) -> Self {
        Self {
            free: Vec::new(),
            unallocated: buffers,
            buffer_bytes: FINGERPRINT_SPAN + block + 1,
            events,
        }
    }

    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        self.free.pop().or_else(|| {
            self.unallocated = self.unallocated.checked_sub(1)?;
            Some(vec![0; self.buffer_bytes])
        })
    }

    pub(crate) fn give_back(&mut self, buffer: Vec<u8>) {
        self.free.push(buffer);
    }

    pub(crate) fn body(&self, buffer: Vec<u8>, range: Range<usize>) -> Bytes {
        Bytes::from_owner(BufferBody {
            buffer,
            range,
            events: self.events.clone(),
        })
    }
}

impl AsRef<[u8]> for BufferBody {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }
}

impl Drop for BufferBody {
    fn drop(&mut self) {
        // It fails once the sender has stopped.
        let buffer = std::mem::take(&mut self.buffer);
        let _ = self.events.send(SenderEvent::Buffer(buffer));
    }
}
