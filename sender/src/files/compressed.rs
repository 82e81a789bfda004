//! Reads the text of compressed files at an offset of the text.
//!
//! gzip (RFC 1952, any number of members) and zstd (RFC 8878, any number of frames) can only be read from their start.
//! So a file is decompressed once when it is found, which shows that it is complete and how long its text is. Later reads
//! continue where the last one ended, and start again only for earlier offsets.
//!
//! Invariants:
//! - Nothing is read from a file that is incomplete or damaged anywhere.
//! - Memory is a decoder with its window (at most 128 MiB, for files of `zstd --ultra`; 8 MiB up to `-19`) and a copy of
//!   the last block, both only while the file is being read.

use std::cell::RefCell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use logferry_protocol::stream::{FINGERPRINT_SPAN, Offset};

use crate::files::open_writers::OpenWriters;
use crate::files::{self, FileHandle, FileStat};

const INPUT_BYTES: usize = 64 * 1024;
const MEASURE_BYTES: u64 = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompressionFormat {
    Gzip,
    Zstd,
}

impl CompressionFormat {
    /// By the magic number (RFC 1952, 2.3.1; RFC 8878, 3.1.1).
    fn of(beginning: &[u8]) -> Option<Self> {
        if beginning.starts_with(&[0x1f, 0x8b]) {
            Some(Self::Gzip)
        } else if beginning.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Some(Self::Zstd)
        } else {
            None
        }
    }
}

#[derive(Debug)]
pub(crate) enum CompressedFileError {
    /// It ends in the middle: it is still being written, or was truncated.
    Incomplete,
    /// It does not decompress, or a checksum in it is wrong.
    Damaged(io::Error),
    Unreadable(io::Error),
}

impl From<io::Error> for CompressedFileError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Incomplete
        } else if error.raw_os_error().is_some() {
            Self::Unreadable(error)
        } else {
            Self::Damaged(error)
        }
    }
}

/// An open file and the text in it, compressed or not.
pub(crate) struct LogText<H> {
    file: Rc<H>,
    compressed: Option<CompressedText>,
}

impl<H: FileHandle> LogText<H> {
    pub(crate) fn plain(file: H) -> Self {
        Self {
            file: Rc::new(file),
            compressed: None,
        }
    }

    /// Finds out whether the file is compressed. If so, decompresses it once to see that it is complete.
    pub(crate) fn detect_compression(&mut self) -> Result<(), CompressedFileError> {
        self.compressed = None;
        let beginning = files::beginning(&*self.file).map_err(CompressedFileError::Unreadable)?;
        if let Some(format) = CompressionFormat::of(&beginning) {
            self.compressed = Some(CompressedText::measure(&self.file, format)?);
        }
        Ok(())
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.compressed.is_some()
    }

    /// Bytes of text in a file with this stat.
    pub(crate) fn size(&self, stat: &FileStat) -> Offset {
        let compressed = self.compressed.as_ref();
        compressed.map_or(stat.size, |compressed| compressed.size)
    }

    /// Frees the decoder. The next read starts at the beginning.
    pub(crate) fn release_decoder(&self) {
        if let Some(compressed) = &self.compressed {
            compressed.reading.take();
        }
    }
}

impl<H: FileHandle> FileHandle for LogText<H> {
    /// Of the file, not of the text.
    fn stat(&self) -> io::Result<FileStat> {
        self.file.stat()
    }

    fn read_at(&self, buffer: &mut [u8], at: Offset) -> io::Result<usize> {
        match &self.compressed {
            Some(compressed) => compressed.read_at(&self.file, buffer, at),
            None => self.file.read_at(buffer, at),
        }
    }

    fn writers(&self) -> OpenWriters {
        self.file.writers()
    }
}

struct CompressedText {
    format: CompressionFormat,
    size: Offset,
    /// The first and the last bytes, which identify the file without decompressing it again.
    beginning: Vec<u8>,
    ending: Vec<u8>,
    reading: RefCell<Option<DecoderPosition>>,
}

impl CompressedText {
    fn measure<H: FileHandle>(file: &Rc<H>, format: CompressionFormat) -> io::Result<Self> {
        let mut decoder = decoder(file, format)?;
        let (mut size, mut beginning, mut ending) = (0, Vec::new(), Vec::new());
        let mut block = Vec::new();
        while decoder.by_ref().take(MEASURE_BYTES).read_to_end(&mut block)? > 0 {
            size += block.len() as u64;
            if beginning.is_empty() {
                beginning.extend(block.iter().take(FINGERPRINT_SPAN));
            }
            ending.extend(&block[block.len().saturating_sub(FINGERPRINT_SPAN)..]);
            ending.drain(..ending.len().saturating_sub(FINGERPRINT_SPAN));
            block.clear();
        }
        Ok(Self {
            format,
            size: Offset::new(size),
            beginning,
            ending,
            reading: RefCell::default(),
        })
    }

    /// Fills `buffer`, or reads up to the end of the text.
    fn read_at<H: FileHandle>(&self, file: &Rc<H>, buffer: &mut [u8], at: Offset) -> io::Result<usize> {
        let left = usize::try_from(self.size.since(at)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let buffer = &mut buffer[..wanted];
        let ending_at = Offset::new(self.size.get() - self.ending.len() as u64);
        for (start, kept) in [(Offset::ZERO, &self.beginning), (ending_at, &self.ending)] {
            if at >= start && copy_kept(kept, at.since(start), buffer) == wanted {
                return Ok(wanted);
            }
        }
        // After an error the decoder is gone, and the next read starts at the beginning.
        let mut reading = match self.reading.take() {
            Some(reading) if at >= reading.kept_from() => reading,
            _ => DecoderPosition::start(file, self.format)?,
        };
        reading.read_at(buffer, at)?;
        self.reading.replace(Some(reading));
        Ok(wanted)
    }
}

struct DecoderPosition {
    decoder: Box<dyn Read>,
    /// The decoder's offset in the text.
    at: Offset,
    /// The bytes of the last read, before `at`: the next read may begin inside them.
    kept: Vec<u8>,
}

impl DecoderPosition {
    fn start<H: FileHandle>(file: &Rc<H>, format: CompressionFormat) -> io::Result<Self> {
        Ok(Self {
            decoder: decoder(file, format)?,
            at: Offset::ZERO,
            kept: Vec::new(),
        })
    }

    fn kept_from(&self) -> Offset {
        Offset::new(self.at.get() - self.kept.len() as u64)
    }

    /// Fills `buffer`; `at` is not before [`Self::kept_from`].
    fn read_at(&mut self, buffer: &mut [u8], at: Offset) -> io::Result<()> {
        let known = copy_kept(&self.kept, at.since(self.kept_from()), buffer);
        let skipped = at.since(self.at);
        if io::copy(&mut self.decoder.by_ref().take(skipped), &mut io::sink())? < skipped {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let rest = &mut buffer[known..];
        if rest.is_empty() {
            return Ok(());
        }
        self.decoder.read_exact(rest)?;
        self.at = at.plus(buffer.len() as u64);
        self.kept.clear();
        self.kept.extend_from_slice(buffer);
        Ok(())
    }
}

/// Copies the bytes of `kept` from index `from` on to `buffer`. Returns the number of bytes.
pub(crate) fn copy_kept(kept: &[u8], from: u64, buffer: &mut [u8]) -> usize {
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let kept = kept.get(from..).unwrap_or_default();
    let copied = kept.len().min(buffer.len());
    buffer[..copied].copy_from_slice(&kept[..copied]);
    copied
}

fn decoder<H: FileHandle>(file: &Rc<H>, format: CompressionFormat) -> io::Result<Box<dyn Read>> {
    let input = FileReader {
        file: file.clone(),
        at: Offset::ZERO,
    };
    let input = BufReader::with_capacity(INPUT_BYTES, input);
    Ok(match format {
        CompressionFormat::Gzip => Box::new(MultiGzDecoder::new(input)),
        CompressionFormat::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
    })
}

/// A file read from its start; other readers of the handle do not matter.
struct FileReader<H> {
    file: Rc<H>,
    at: Offset,
}

impl<H: FileHandle> Read for FileReader<H> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at = self.at.plus(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
pub(crate) mod tests;
