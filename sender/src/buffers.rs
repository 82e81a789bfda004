//! A fixed set of chunk buffers: the bound on the sender's memory. A buffer travels as a request's body and comes home
//! by itself when the last piece of it is dropped.

use std::ops::Range;
use std::sync::mpsc::Sender;

use bytes::Bytes;
use logferry_protocol::stream::FINGERPRINT_SPAN;

use crate::tail::Event;

/// The buffers that are at home.
#[derive(Debug)]
pub(crate) struct Pool {
    free: Vec<Vec<u8>>,
    /// How many more may be made.
    unmade: usize,
    bytes: usize,
    home: Sender<Event>,
}

/// A buffer on its way.
struct Body {
    buffer: Vec<u8>,
    range: Range<usize>,
    home: Sender<Event>,
}

impl Pool {
    /// A pool of `count` buffers, each for blocks of up to `block` bytes.
    ///
    /// They come home as [`Event::Buffer`] through `home`.
    pub(crate) fn new(count: usize, block: usize, home: Sender<Event>) -> Self {
        Self {
            free: Vec::new(),
            unmade: count,
            bytes: FINGERPRINT_SPAN + block + 1,
            home,
        }
    }

    /// A buffer, if one is at home.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        self.free.pop().or_else(|| {
            self.unmade = self.unmade.checked_sub(1)?;
            Some(vec![0; self.bytes])
        })
    }

    /// Takes a buffer back.
    pub(crate) fn put(&mut self, buffer: Vec<u8>) {
        self.free.push(buffer);
    }

    /// Sends a buffer off as the bytes `range` of it.
    pub(crate) fn body(&self, buffer: Vec<u8>, range: Range<usize>) -> Bytes {
        Bytes::from_owner(Body {
            buffer,
            range,
            home: self.home.clone(),
        })
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // Nobody home: the sender has stopped.
        let _ = self.home.send(Event::Buffer(std::mem::take(&mut self.buffer)));
    }
}
