//! The one gzip encoder for batch files, and the one loop that copies them. Memory is a fixed buffer.

use std::io::{self, Read};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzEncoder;
use logferry_durable::{Disk, DiskError, DiskFile, DiskOperation};

use crate::measure::Measure;

/// The level of zlib-rs that makes small files at more than 100 MB/s on one core. Log lines arrive more slowly.
const LEVEL: Compression = Compression::new(6);

/// Bytes read at a time, and between two checks whether to stop. Large enough that system calls do not count.
const BLOCK_BYTES: usize = 128 << 10;

/// A copy did not come to its end.
#[derive(Debug)]
pub enum CopyError<E> {
    /// The input cannot be read or decoded.
    Read(io::Error),
    /// The output cannot be written.
    Write(E),
    /// It was stopped.
    Stopped,
}

/// A reader that returns the gzip of `input`.
pub fn gzip_encoder<R: Read>(input: R) -> GzEncoder<R> {
    GzEncoder::new(input, LEVEL)
}

/// Hands all bytes of `input` to `output`, one block after the other, until the end or until `is_stopped`.
pub fn copy<E>(
    mut input: impl Read,
    is_stopped: impl Fn() -> bool,
    mut output: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), CopyError<E>> {
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        if is_stopped() {
            return Err(CopyError::Stopped);
        }
        match input.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(count) => output(block.get(..count).unwrap_or_default()).map_err(CopyError::Write)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CopyError::Read(error)),
        }
    }
}

/// Adds all bytes of `input`, which is read from `from`, to the file `to`. `see` gets each block. Returns the number of bytes, which
/// are on stable storage then. The error says which of the two files it is about.
pub fn copy_to_file(
    disk: &impl Disk,
    input: impl Read,
    from: &Path,
    to: &Path,
    mut see: impl FnMut(&[u8]),
) -> Result<u64, DiskError> {
    let mut file = disk.open_append(to)?;
    let mut bytes = 0;
    let append = |block: &[u8]| {
        see(block);
        bytes += block.len() as u64;
        file.append(block)
    };
    match copy(input, || false, append) {
        Ok(()) | Err(CopyError::Stopped) => {}
        Err(CopyError::Read(error)) => return Err(DiskError::new(DiskOperation::Read, from, error)),
        Err(CopyError::Write(error)) => return Err(error),
    }
    file.sync()?;
    Ok(bytes)
}

impl Measure {
    /// Adds all bytes of `input`.
    pub fn add_all(&mut self, input: impl Read) -> io::Result<()> {
        let add = |block: &[u8]| {
            self.add(block);
            Ok::<_, io::Error>(())
        };
        match copy(input, || false, add) {
            Ok(()) | Err(CopyError::Stopped) => Ok(()),
            Err(CopyError::Read(error) | CopyError::Write(error)) => Err(error),
        }
    }
}
