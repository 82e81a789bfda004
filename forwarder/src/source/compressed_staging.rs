//! Stages compressed files that are sent to a destination. Uses a few fixed buffers, whatever the length of the file.
//!
//! A batch is compressed into a file in `outgoing/DESTINATION/`, and that file is sent, compared and hashed. It is removed
//! when the delivery is recorded or has failed. After a crash, a stop or a lost connection it still exists, and is used again if
//! it holds the batch's lines: to check that is faster than to compress. So a file that was published just before compares
//! equal, even if an upgrade of the program since then would compress to different bytes. Only a complete file has its final
//! name.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use logferry_config::{Destination, FileCompression};
use logferry_durable::{Disk, DiskError, DiskFile, RealDisk};
use logferry_ledger::{Batch, BatchContents};
use logferry_spool::{CopyError, FileHash, Measure, MeasuredReader, copy, gzip_encoder};
use tokio_util::sync::CancellationToken;
use tracing::info;
use zstd::stream::read::{Decoder as ZstdDecoder, Encoder as ZstdEncoder};

use super::source_file::{BatchFileReader, SourceFile};
use super::staged_file::{StagedBytes, StagedFile};
use crate::error::DeliveryError;

/// The level of zstd with the smallest files of log lines at more than 100 MB/s on one core.
const ZSTD_LEVEL: i32 = 3;

/// Compressed bytes read at a time.
const BUFFER_BYTES: usize = 128 << 10;

/// The folder in the data folder.
const FOLDER: &str = "outgoing";

/// Opens the file to send for a batch: its file in the spool, or a compressed copy of it.
///
/// Blocks while it compresses. The bytes of the copy are counted in `counted` as long as it exists.
pub(crate) fn open(
    data_dir: &Path,
    destination: &Destination,
    batch: &Batch,
    (path, reader): (PathBuf, BatchFileReader),
    counted: &StagedBytes,
    stop: &CancellationToken,
) -> Result<SourceFile, DeliveryError> {
    let compress = destination.publish.compress;
    let format = match compress {
        FileCompression::None => return SourceFile::from_reader(path, reader, batch.contents),
        FileCompression::Gzip => StagedFormat::Gzip,
        FileCompression::Zstd => StagedFormat::Zstd,
    };
    let folder = data_dir.join(FOLDER).join(destination.name.as_str());
    RealDisk
        .create_dir_all(&folder)
        .map_err(DeliveryError::NotCompressed)?;
    let staged = folder.join(format!("{}{}", batch.file_name(), compress.extension()));
    let job = StagingJob {
        format,
        batch: &path,
        contents: batch.contents,
        stop,
    };
    let (whole, lines) = match job.reuse(&staged)? {
        Some(found) => found,
        None => job.make(reader, &staged)?,
    };
    let guard = StagedFile::new(staged.clone(), whole.bytes, counted);
    let Some(file) = RealDisk.open_read(&staged)? else {
        return Err(DeliveryError::Missing(staged));
    };
    let file = SourceFile::from_reader(staged, BatchFileReader::plain(file), whole)?;
    Ok(file.with_staged(lines, guard))
}

/// Removes the compressed files that are no longer needed; `is_wanted` gets the names of destination and file.
pub(crate) fn remove_unneeded(
    data_dir: &Path,
    is_wanted: impl Fn(&str, &str) -> bool,
) -> Result<(), DiskError> {
    let folder = data_dir.join(FOLDER);
    for destination in RealDisk.list(&folder)? {
        for name in RealDisk.list(&folder.join(&destination))? {
            if !is_wanted(&destination, &name) {
                info!(file = name, "removing a compressed file of an earlier run");
                RealDisk.remove(&folder.join(&destination).join(&name))?;
            }
        }
    }
    Ok(())
}

/// How a batch is compressed.
#[derive(Debug, Clone, Copy)]
enum StagedFormat {
    Gzip,
    Zstd,
}

/// One batch to compress.
struct StagingJob<'a> {
    format: StagedFormat,
    batch: &'a Path,
    contents: BatchContents,
    stop: &'a CancellationToken,
}

/// Length and checksum of a compressed file, and the hash of its lines.
type StagedSizes = (BatchContents, FileHash);

impl StagingJob<'_> {
    /// The compressed file of an earlier run, if it holds the batch's lines.
    fn reuse(&self, staged: &Path) -> Result<Option<StagedSizes>, DeliveryError> {
        let Ok(Some(file)) = RealDisk.open_read(staged) else {
            return Ok(None);
        };
        let file = BufReader::with_capacity(BUFFER_BYTES, file);
        let mut packed = MeasuredReader::new(file, Measure::default());
        let mut lines = Measure::with_sha256();
        let add = |bytes: &[u8]| {
            lines.add(bytes);
            Ok::<_, DiskError>(())
        };
        let copied = match self.format {
            StagedFormat::Zstd => match ZstdDecoder::new(&mut packed) {
                Ok(decoder) => self.copy(decoder, add),
                Err(_) => return Ok(None),
            },
            StagedFormat::Gzip => self.copy(MultiGzDecoder::new(&mut packed), add),
        };
        match copied {
            Err(DeliveryError::Stopped) => Err(DeliveryError::Stopped),
            Ok(()) => Ok(self.sizes(packed.measure(), &lines)),
            // Damaged by a crash of the machine.
            Err(_) => Ok(None),
        }
    }

    fn make(&self, reader: BatchFileReader, staged: &Path) -> Result<StagedSizes, DeliveryError> {
        let temporary = staged.with_added_extension("new");
        RealDisk
            .remove(&temporary)
            .map_err(DeliveryError::NotCompressed)?;
        let mut output = RealDisk
            .open_append(&temporary)
            .map_err(DeliveryError::NotCompressed)?;
        let made = self.compress(reader, &mut output).and_then(|sizes| {
            RealDisk
                .rename(&temporary, staged)
                .map_err(DeliveryError::NotCompressed)?;
            Ok(sizes)
        });
        if made.is_err() {
            drop(StagedFile::new(temporary, 0, &StagedBytes::default()));
        }
        made
    }

    fn compress(
        &self,
        reader: BatchFileReader,
        output: &mut impl DiskFile,
    ) -> Result<StagedSizes, DeliveryError> {
        let mut packed = Measure::default();
        let mut lines = MeasuredReader::new(reader, Measure::with_sha256());
        let write = |bytes: &[u8]| {
            packed.add(bytes);
            output.append(bytes)
        };
        match self.format {
            StagedFormat::Zstd => {
                let encoder = ZstdEncoder::new(&mut lines, ZSTD_LEVEL);
                self.copy(encoder.map_err(|source| self.read_error(source))?, write)
            }
            StagedFormat::Gzip => self.copy(gzip_encoder(&mut lines), write),
        }?;
        let found = lines.measure().contents();
        self.sizes(&packed, lines.measure())
            .ok_or_else(|| DeliveryError::Altered {
                path: self.batch.to_owned(),
                detail: format!(
                    "{} bytes with CRC-32C {:08x}, sealed with {} and {:08x}",
                    found.bytes, found.crc32c, self.contents.bytes, self.contents.crc32c
                ),
            })
    }

    /// `None` if the lines are not the batch's.
    fn sizes(&self, packed: &Measure, lines: &Measure) -> Option<StagedSizes> {
        let hash = lines.sha256().filter(|_| lines.matches(self.contents));
        hash.map(|hash| (packed.contents(), hash))
    }

    fn copy(
        &self,
        input: impl Read,
        output: impl FnMut(&[u8]) -> Result<(), DiskError>,
    ) -> Result<(), DeliveryError> {
        copy(input, || self.stop.is_cancelled(), output).map_err(|error| match error {
            CopyError::Stopped => DeliveryError::Stopped,
            CopyError::Read(source) => self.read_error(source),
            CopyError::Write(source) => DeliveryError::NotCompressed(source),
        })
    }

    fn read_error(&self, source: std::io::Error) -> DeliveryError {
        DeliveryError::LocalFile(self.batch.to_owned(), source)
    }
}

#[cfg(test)]
mod tests;
