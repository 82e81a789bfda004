//! Compares a batch's file with the ledger's row: the one check that `audit` and `fsck` share.

use std::io::{Read, Seek};
use std::path::PathBuf;

use logferry_durable::{Disk, DiskError, DiskOperation};
use logferry_invariants::invariant_file_holds_the_ledgers_bytes;
use logferry_ledger::{Batch, BatchState};

use crate::layout::{Spool, SpoolFile};
use crate::measure::Measure;
use crate::reader::BatchReader;

/// How a batch's file differs from the ledger's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileFault {
    /// There is no such file.
    Missing,
    /// The file holds another number of bytes.
    Size {
        /// The file.
        path: PathBuf,
        /// Its plain bytes.
        bytes: u64,
    },
    /// The file holds as many bytes, but other ones: its CRC-32C differs.
    Content {
        /// The file.
        path: PathBuf,
    },
    /// The file is named `.log.gz` and cannot be decompressed.
    Undecodable {
        /// The file.
        path: PathBuf,
        /// The decoder's error.
        reason: String,
    },
}

impl<D: Disk> Spool<D> {
    /// Finds a batch's file, reads it whole and compares it. `None`: the file is as the ledger says.
    ///
    /// An expired batch need not have a file. An open batch without bytes need not have one either: the ledger gets
    /// its row first.
    pub fn compare(&self, batch: &Batch) -> Result<Option<FileFault>, DiskError> {
        let may_be_absent = batch.state == BatchState::Open && batch.contents.bytes == 0;
        if batch.expired_at.is_some() {
            return Ok(None);
        }
        match self.find_and_open(batch)? {
            Some((file, reader)) => compare_contents(batch, file, reader),
            None => Ok((!may_be_absent).then_some(FileFault::Missing)),
        }
    }

    /// As [`Self::compare`], with the batch's file already found. If it is gone by now, it counts as missing.
    pub fn compare_file(&self, batch: &Batch, file: SpoolFile) -> Result<Option<FileFault>, DiskError> {
        match self.open(&file)? {
            Some(reader) => compare_contents(batch, file, reader),
            None => Ok(Some(FileFault::Missing)),
        }
    }
}

fn compare_contents<F: Read + Seek>(
    batch: &Batch,
    file: SpoolFile,
    reader: BatchReader<F>,
) -> Result<Option<FileFault>, DiskError> {
    let is_compressed = file.is_compressed();
    let path = file.path;
    let expected = batch.contents;
    let mut measure = Measure::default();
    let read = if batch.state == BatchState::Open && !is_compressed {
        // Bytes after the ledger's are not committed yet, or the relay will cut them off.
        measure.add_all(reader.take(expected.bytes))
    } else {
        measure.add_all(reader)
    };
    match read {
        Err(error) if is_compressed => Ok(Some(FileFault::Undecodable {
            path,
            reason: error.to_string(),
        })),
        Err(error) => Err(DiskError::new(DiskOperation::Read, &path, error)),
        Ok(()) if invariant_file_holds_the_ledgers_bytes(batch, measure.contents()).is_ok() => Ok(None),
        Ok(()) if measure.contents().bytes == expected.bytes => Ok(Some(FileFault::Content { path })),
        Ok(()) => Ok(Some(FileFault::Size {
            path,
            bytes: measure.contents().bytes,
        })),
    }
}
