//! Compares a batch's file with what the ledger says of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use logferry_durable::{Disk, DiskError, DiskOperation, RealDisk};
use logferry_ledger::{Batch, BatchState};

/// Read at once; large enough that the calls do not count.
const BLOCK_LEN: usize = 256 << 10;

/// What is wrong with a batch's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is in none of the spool's folders.
    Missing,
    /// It has another size than the ledger says.
    Size { path: PathBuf, bytes: u64 },
    /// It has the right size and other bytes.
    Content { path: PathBuf },
}

/// Where a batch's file is.
enum Found {
    Nowhere,
    Plain { path: PathBuf, bytes: u64 },
    Compressed,
}

/// Looks for a batch's file and reads it.
///
/// What an open file holds beyond the ledger's size is not committed yet and not looked at. A compressed file is
/// taken as it is. An expired one may be gone.
pub(crate) fn fault(data_dir: &Path, batch: &Batch) -> Result<Option<Fault>, DiskError> {
    if batch.expired_at.is_some() {
        return Ok(None);
    }
    let expected = batch.contents;
    let is_open = batch.state == BatchState::Open;
    let (path, bytes) = match find(data_dir, batch)? {
        Found::Compressed => return Ok(None),
        // The ledger knows a batch before its file is made.
        Found::Nowhere if is_open && expected.bytes == 0 => return Ok(None),
        Found::Nowhere => return Ok(Some(Fault::Missing)),
        Found::Plain { path, bytes } => (path, bytes),
    };
    if bytes < expected.bytes || (bytes > expected.bytes && !is_open) {
        return Ok(Some(Fault::Size { path, bytes }));
    }
    match crc32c_of(&path, expected.bytes)? {
        // It was moved in this moment: by its new place it may be judged again.
        None => Ok(Some(Fault::Missing)),
        Some(crc32c) if crc32c == expected.crc32c => Ok(None),
        Some(_) => Ok(Some(Fault::Content { path })),
    }
}

/// Looks in every folder, in the order in which a batch goes through them: it may be on the move.
fn find(data_dir: &Path, batch: &Batch) -> Result<Found, DiskError> {
    for state in BatchState::ALL {
        let folder = data_dir.join(state.as_str()).join(batch.source.as_str());
        let path = folder.join(batch.file_name());
        if let Some(bytes) = RealDisk.len(&path)? {
            return Ok(Found::Plain { path, bytes });
        }
        if state == BatchState::Sent && RealDisk.len(&path.with_added_extension("gz"))?.is_some() {
            return Ok(Found::Compressed);
        }
    }
    Ok(Found::Nowhere)
}

/// CRC-32C of a file's first `len` bytes; `None` if there is no such file.
fn crc32c_of(path: &Path, len: u64) -> Result<Option<u32>, DiskError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DiskError::new(DiskOperation::Open, path, error)),
    };
    let mut reader = file.take(len);
    let mut block = vec![0; BLOCK_LEN];
    let mut crc32c = 0;
    loop {
        match reader.read(&mut block) {
            Ok(0) => return Ok(Some(crc32c)),
            Ok(read) => crc32c = crc32c::crc32c_append(crc32c, block.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(DiskError::new(DiskOperation::Read, path, error)),
        }
    }
}
