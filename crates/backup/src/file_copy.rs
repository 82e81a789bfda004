//! Copies bytes into a new file, durably.

use std::io::Read;
use std::path::Path;

use logferry_durable::{Disk, DiskError, DiskFile, DiskOperation, RealDisk};
use logferry_spool::CopyError;

/// Copies all bytes of `input`, which is read from `from`, to the new file `to`. `see` gets each block. Returns the number of
/// bytes, which are on stable storage then.
pub(crate) fn copy_bytes(
    input: impl Read,
    from: &Path,
    to: &Path,
    mut see: impl FnMut(&[u8]),
) -> Result<u64, DiskError> {
    let mut file = RealDisk.open_append(to)?;
    let mut bytes = 0;
    let copied = logferry_spool::copy(
        input,
        || false,
        |block| {
            see(block);
            bytes += block.len() as u64;
            file.append(block)
        },
    );
    match copied {
        Ok(()) | Err(CopyError::Stopped) => {}
        Err(CopyError::Read(error)) => return Err(DiskError::new(DiskOperation::Read, from, error)),
        Err(CopyError::Write(error)) => return Err(error),
    }
    file.sync()?;
    Ok(bytes)
}

/// Copies a whole file; `None` if there is none.
pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<Option<u64>, DiskError> {
    match RealDisk.open_read(from)? {
        Some(input) => copy_bytes(input, from, to, |_| {}).map(Some),
        None => Ok(None),
    }
}
