//! Compressed files on their way to a destination. Memory is a few fixed buffers, whatever the length of the file.
//!
//! A batch is compressed into a file in `outgoing/DESTINATION/`, and that is what is sent, compared and hashed. It goes
//! when the delivery was recorded or failed. After a crash it is still there, and is taken again if it holds the batch's
//! lines: so a file that was published just then compares well, even if the program was upgraded meanwhile and would
//! compress to other bytes. Its name is given to a whole file only.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use logferry_config::{Destination, FileCompression};
use logferry_durable::{Disk, DiskError, DiskFile, RealDisk};
use logferry_ledger::{Batch, BatchContents};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::error::DeliveryError;
use crate::source::batch_reader::BatchReader;
use crate::source::{Sha256Hash, SourceFile};

/// Of the levels of zlib-rs, and of zstd, those that make small files of log lines at more than 100 MB/s on one core.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// Backing read or written at a time, and between two looks whether to stop.
const BUFFER_BYTES: usize = 128 << 10;

/// The folder in the data folder.
const FOLDER: &str = "outgoing";

/// A compressed file; it is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct StagedFile(PathBuf);

impl Drop for StagedFile {
    fn drop(&mut self) {
        if let Err(error) = RealDisk.remove(&self.0) {
            warn!(file = %self.0.display(), %error, "a compressed file is left behind");
        }
    }
}

/// Length and checksums of bytes that passed.
#[derive(Debug, Default)]
struct Measure {
    bytes: u64,
    crc32c: u32,
    sha256: Sha256,
}

impl Measure {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        self.sha256.update(bytes);
    }

    fn is(&self, contents: BatchContents) -> bool {
        (self.bytes, self.crc32c) == (contents.bytes, contents.crc32c)
    }
}

/// Passes bytes through and measures them.
struct MeasuringReader<'a, R> {
    input: R,
    measure: &'a mut Measure,
}

impl<R: Read> Read for MeasuringReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.measure.add(&buffer[..count]);
        Ok(count)
    }
}

/// Opens what is to be sent for a batch whose file is at `path`: that file, or a compressed one that is made of it.
///
/// Blocks while it compresses.
pub(crate) fn open(
    data_dir: &Path,
    destination: &Destination,
    batch: &Batch,
    path: &Path,
    stop: &CancellationToken,
) -> Result<SourceFile, DeliveryError> {
    let compress = destination.publish.compress;
    if compress == FileCompression::None {
        return SourceFile::open(path, batch.contents);
    }
    let folder = data_dir.join(FOLDER).join(destination.name.as_str());
    RealDisk.create_dir_all(&folder).map_err(cannot_make)?;
    let made = folder.join(format!("{}{}", batch.file_name(), compress.extension()));
    let job = StagingJob {
        compress,
        batch: path,
        contents: batch.contents,
        stop,
    };
    let (whole, lines) = match job.found(&made)? {
        Some(found) => found,
        None => job.make(&made)?,
    };
    SourceFile::open_compressed(&made, whole, lines, StagedFile(made.clone()))
}

/// Removes compressed files that nothing will ask for again: of batches that need none, as `is_wanted` says by the names
/// of destination and batch file.
pub(crate) fn remove_unneeded(
    data_dir: &Path,
    is_wanted: impl Fn(&str, &str) -> bool,
) -> Result<(), DiskError> {
    let folder = data_dir.join(FOLDER);
    for destination in RealDisk.list(&folder)? {
        for name in RealDisk.list(&folder.join(&destination))? {
            if !is_wanted(&destination, &name) {
                info!(file = name, "removing a compressed file that a stop left behind");
                RealDisk.remove(&folder.join(&destination).join(&name))?;
            }
        }
    }
    Ok(())
}

/// One batch to be compressed.
struct StagingJob<'a> {
    compress: FileCompression,
    batch: &'a Path,
    contents: BatchContents,
    stop: &'a CancellationToken,
}

/// What a compressed file measures, and the hash of the lines in it.
type StagedSizes = (BatchContents, Sha256Hash);

impl StagingJob<'_> {
    /// A compressed file that is there already, if it holds the batch's lines.
    fn found(&self, made: &Path) -> Result<Option<StagedSizes>, DeliveryError> {
        let Ok(file) = File::open(made) else {
            return Ok(None);
        };
        let (mut packed, mut lines) = (Measure::default(), Measure::default());
        let measured = MeasuringReader {
            input: io::BufReader::with_capacity(BUFFER_BYTES, file),
            measure: &mut packed,
        };
        let mut unpacked: Box<dyn Read + '_> = match self.compress {
            FileCompression::Zstd => match zstd::stream::read::Decoder::new(measured) {
                Ok(decoder) => Box::new(decoder),
                Err(_) => return Ok(None),
            },
            FileCompression::Gzip | FileCompression::None => {
                Box::new(flate2::read::MultiGzDecoder::new(measured))
            }
        };
        let read = self.pump(&mut unpacked, |bytes| {
            lines.add(bytes);
            Ok(())
        });
        drop(unpacked);
        match read {
            Err(DeliveryError::Stopped) => Err(DeliveryError::Stopped),
            Ok(()) if lines.is(self.contents) => Ok(Some(result(&packed, lines))),
            // Cut or spoiled by a crash of the machine.
            _ => Ok(None),
        }
    }

    fn make(&self, made: &Path) -> Result<StagedSizes, DeliveryError> {
        let mut temporary = made.as_os_str().to_owned();
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        RealDisk.remove(&temporary).map_err(cannot_make)?;
        let mut output = RealDisk.open_append(&temporary).map_err(cannot_make)?;
        let done = self.pack(&mut output).and_then(|made_of| {
            RealDisk.rename(&temporary, made).map_err(cannot_make)?;
            Ok(made_of)
        });
        if done.is_err() {
            drop(StagedFile(temporary));
        }
        done
    }

    fn pack(&self, output: &mut impl DiskFile) -> Result<StagedSizes, DeliveryError> {
        let (mut packed, mut lines) = (Measure::default(), Measure::default());
        let original = BatchReader::open(self.batch).map_err(|source| self.read_error(source))?;
        let measured = MeasuringReader {
            input: original.into_reader(),
            measure: &mut lines,
        };
        let mut encoder: Box<dyn Read + '_> = match self.compress {
            FileCompression::Zstd => {
                let encoder = zstd::stream::read::Encoder::new(measured, ZSTD_LEVEL);
                Box::new(encoder.map_err(|source| self.read_error(source))?)
            }
            FileCompression::Gzip | FileCompression::None => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                Box::new(flate2::read::GzEncoder::new(measured, level))
            }
        };
        self.pump(&mut encoder, |bytes| {
            packed.add(bytes);
            output.append(bytes).map_err(cannot_make)
        })?;
        drop(encoder);
        if lines.is(self.contents) {
            return Ok(result(&packed, lines));
        }
        Err(DeliveryError::Altered {
            path: self.batch.to_owned(),
            detail: format!(
                "{} bytes with CRC-32C {:08x}, sealed with {} and {:08x}",
                lines.bytes, lines.crc32c, self.contents.bytes, self.contents.crc32c
            ),
        })
    }

    fn pump(
        &self,
        input: &mut dyn Read,
        mut output: impl FnMut(&[u8]) -> Result<(), DeliveryError>,
    ) -> Result<(), DeliveryError> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            if self.stop.is_cancelled() {
                return Err(DeliveryError::Stopped);
            }
            match input.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => output(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.read_error(error)),
            }
        }
    }

    fn read_error(&self, source: io::Error) -> DeliveryError {
        DeliveryError::LocalFile {
            path: self.batch.to_owned(),
            source,
        }
    }
}

fn result(packed: &Measure, lines: Measure) -> StagedSizes {
    let whole = BatchContents {
        lines: 0,
        bytes: packed.bytes,
        crc32c: packed.crc32c,
    };
    (whole, Sha256Hash::of(lines.sha256))
}

fn cannot_make(source: DiskError) -> DeliveryError {
    DeliveryError::NotCompressed { source }
}

#[cfg(test)]
mod tests;
