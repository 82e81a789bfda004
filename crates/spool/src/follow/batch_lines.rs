//! Reads the whole lines of one batch, block by block, up to what the ledger has.

use std::io::{self, Read};
use std::path::PathBuf;

use logferry_durable::{Disk, DiskError, DiskOperation};
use logferry_ledger::{Batch, BatchState};
use memchr::memrchr;

use crate::find::OpenedFile;
use crate::layout::{FileForm, Spool};
use crate::reader::BatchReader;

/// Bytes read at a time; the longest line that is given in one piece. Whoever else reads a batch cuts its lines here too: a piece
/// is named by its first byte.
pub const BLOCK_LEN: usize = 1 << 20;

/// The lines of a batch from a position on. It stays open while the file is moved, compressed or deleted.
#[derive(Debug)]
pub struct BatchLines<F> {
    file: BatchReader<F>,
    path: PathBuf,
    /// Bytes before the block.
    position: u64,
    block: Vec<u8>,
    /// Bytes of the block that were given.
    given: usize,
    is_short: bool,
}

impl<F: io::Read + io::Seek> BatchLines<F> {
    /// Opens the batch's file at a position; `None` if it is nowhere. `plain_only`: a compressed file does not count.
    pub fn open<D: Disk<Reader = F>>(
        spool: &Spool<D>,
        batch: &Batch,
        position: u64,
        plain_only: bool,
    ) -> Result<Option<Self>, DiskError> {
        let found = spool.find_and_open(batch)?;
        let opened = found.filter(|(file, _)| !plain_only || file.form == FileForm::Plain);
        let Some((file, reader)): Option<OpenedFile<F>> = opened else {
            return Ok(None);
        };
        let mut lines = Self {
            file: reader,
            path: file.path,
            position,
            block: Vec::new(),
            given: 0,
            is_short: false,
        };
        match lines.file.seek_to(position) {
            // A compressed file that ends before.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => lines.is_short = true,
            sought => sought.map_err(|error| lines.error(error))?,
        }
        Ok(Some(lines))
    }

    /// The next lines; `None` if there are none yet. `batch`: as it stands in the ledger now. All lines are whole, except
    /// lines longer than a block, and the last one of a sealed batch.
    pub fn next(&mut self, batch: &Batch) -> Result<Option<&[u8]>, DiskError> {
        self.block.drain(..self.given);
        self.position = self.position();
        self.given = 0;
        let held = u64::try_from(self.block.len()).unwrap_or(0);
        let unread = batch.contents.bytes.saturating_sub(self.position + held);
        let room = u64::try_from(BLOCK_LEN - self.block.len())
            .unwrap_or(0)
            .min(unread);
        let read = self.file.by_ref().take(room).read_to_end(&mut self.block);
        let read = read.map_err(|error| self.error(error))?;
        let is_end = u64::try_from(read).unwrap_or(0) == unread;
        self.is_short = u64::try_from(read).unwrap_or(0) < room;
        // An unfinished line waits for its end. It is given as it is if it is too long, or if its batch is sealed.
        self.given = match memrchr(b'\n', &self.block) {
            Some(newline) => newline + 1,
            None if self.block.len() == BLOCK_LEN || (is_end && batch.state != BatchState::Open) => {
                self.block.len()
            }
            None => 0,
        };
        Ok(self.block.get(..self.given).filter(|lines| !lines.is_empty()))
    }

    /// The first byte of the batch that was not given.
    pub fn position(&self) -> u64 {
        self.position + u64::try_from(self.given).unwrap_or(0)
    }

    /// Whether the file ended before the bytes that the ledger has.
    pub fn is_short(&self) -> bool {
        self.is_short
    }

    fn error(&self, error: io::Error) -> DiskError {
        DiskError::new(DiskOperation::Read, &self.path, error)
    }
}
