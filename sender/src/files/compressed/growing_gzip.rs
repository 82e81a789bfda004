//! Reads a gzip file that is still being written, as nginx does with `access_log PATH gzip`.
//!
//! nginx writes a whole gzip member at each flush (`ngx_http_log_module`, `flush=`); other writers flush inside a member
//! (`Z_SYNC_FLUSH`). Both are read as far as they are written.
//!
//! Invariant: reading 0 bytes means that there is no more text now. After the file has grown, reading goes on.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};

const INPUT_BYTES: usize = 64 * 1024;
/// The largest window of gzip, as a power of two (RFC 1951, 2).
const WINDOW_BITS: u8 = 15;

/// `R` must be able to read on after its end, as a file can.
pub(super) struct GrowingGzip<R> {
    input: R,
    block: Vec<u8>,
    /// Bytes of the block that are decompressed.
    used: usize,
    inflate: Decompress,
    /// The last member is complete.
    is_between_members: bool,
}

impl<R: Read> GrowingGzip<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            block: Vec::new(),
            used: 0,
            inflate: Decompress::new_gzip(WINDOW_BITS),
            is_between_members: false,
        }
    }

    /// Reads the next block if the last one is used up. Returns whether there is input.
    fn fill(&mut self) -> io::Result<bool> {
        if self.used == self.block.len() {
            self.block.resize(INPUT_BYTES, 0);
            let filled = self
                .input
                .read(&mut self.block)
                .inspect_err(|_| self.block.clear())?;
            self.block.truncate(filled);
            self.used = 0;
        }
        Ok(self.used < self.block.len())
    }
}

impl<R: Read> Read for GrowingGzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let has_input = self.fill()?;
            if self.is_between_members {
                if !has_input {
                    return Ok(0);
                }
                self.inflate = Decompress::new_gzip(WINDOW_BITS);
                self.is_between_members = false;
            }
            let (input, output) = (self.inflate.total_in(), self.inflate.total_out());
            let pending = self.block.get(self.used..).unwrap_or_default();
            let status = self.inflate.decompress(pending, buffer, FlushDecompress::None);
            self.is_between_members = status.map_err(io::Error::from)? == Status::StreamEnd;
            let used = usize::try_from(self.inflate.total_in() - input).unwrap_or(usize::MAX);
            self.used = self.used.saturating_add(used).min(self.block.len());
            let read = usize::try_from(self.inflate.total_out() - output).unwrap_or(usize::MAX);
            if read > 0 || buffer.is_empty() || (used == 0 && !has_input) {
                return Ok(read);
            }
        }
    }
}
