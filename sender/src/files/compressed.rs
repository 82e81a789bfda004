//! Reads inside compressed files: the text they hold, at an offset of that text.
//!
//! gzip (RFC 1952, any number of members) and zstd (RFC 8878, any number of frames) can only be read from their start.
//! So a file is decompressed once when it is found, which shows that it is whole and how much it holds; later reads go
//! on where the last one ended, and start over only when something earlier is asked for.
//!
//! Invariants:
//! - Nothing is taken from a file that has no end yet or is damaged anywhere.
//! - Memory is a decoder with its window (at most 128 MiB, for what `zstd --ultra` wrote; 8 MiB up to `-19`) and a copy
//!   of the last block, and both only while the file is being read.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use logferry_protocol::stream::{FINGERPRINT_SPAN, Offset};

use crate::files::open_writers::OpenWriters;
use crate::files::{self, FileHandle, FileStat};

/// Bytes read from a compressed file at once.
const INPUT_BYTES: usize = 64 * 1024;
/// Bytes decompressed at once while a file is measured.
const MEASURE_BYTES: usize = 64 * 1024;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CompressionFormat {
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

/// Why a compressed file is not read.
#[derive(Debug)]
pub(crate) enum CompressedFileError {
    /// It ends in the middle: it is still being written, or was cut.
    Incomplete,
    /// It does not decompress, or a checksum in it is wrong.
    Damaged(io::Error),
    /// The file itself could not be read.
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
#[derive(Debug)]
pub(crate) struct LogText<H> {
    file: Rc<H>,
    /// What it holds, if it is compressed.
    compressed: Option<CompressedText>,
}

impl<H: FileHandle> LogText<H> {
    /// A file whose bytes are the text.
    pub(crate) fn plain(file: H) -> Self {
        Self {
            file: Rc::new(file),
            compressed: None,
        }
    }

    /// Looks whether the file is compressed, and if so decompresses it once to see that it is whole.
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

    /// Bytes of text, in a file of these stat.
    pub(crate) fn size(&self, stat: &FileStat) -> Offset {
        self.compressed
            .as_ref()
            .map_or(stat.size, |compressed| compressed.size)
    }

    /// Frees what reading on would need. The next read starts over.
    pub(crate) fn release_decoder(&self) {
        if let Some(compressed) = &self.compressed {
            compressed.reading.take();
        }
    }
}

impl<H: FileHandle> FileHandle for LogText<H> {
    /// FileStat of the file, not of the text.
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

/// What a compressed file holds.
#[derive(Debug)]
struct CompressedText {
    format: CompressionFormat,
    size: Offset,
    /// The first and the last bytes, which tell what it is without decompressing again.
    beginning: Vec<u8>,
    ending: Vec<u8>,
    reading: RefCell<Option<DecoderPosition>>,
}

impl CompressedText {
    fn measure<H: FileHandle>(file: &Rc<H>, format: CompressionFormat) -> io::Result<Self> {
        let mut decoder = decoder(file, format)?;
        let (mut size, mut beginning, mut ending) = (0, Vec::new(), Vec::new());
        let mut block = vec![0; MEASURE_BYTES];
        loop {
            let filled = read_full(&mut *decoder, &mut block)?;
            let Some(piece) = block.get(..filled).filter(|piece| !piece.is_empty()) else {
                break;
            };
            size += filled as u64;
            if beginning.is_empty() {
                beginning.extend(piece.iter().take(FINGERPRINT_SPAN));
            }
            ending.extend(&piece[filled.saturating_sub(FINGERPRINT_SPAN)..]);
            ending.drain(..ending.len().saturating_sub(FINGERPRINT_SPAN));
        }
        Ok(Self {
            format,
            size: Offset::new(size),
            beginning,
            ending,
            reading: RefCell::default(),
        })
    }

    /// Reads all that is asked for, or all there is.
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
        // After an error the decoder is gone, and the next read starts over.
        let mut reading = match self.reading.take() {
            Some(reading) if at >= reading.kept_from() => reading,
            _ => DecoderPosition::start(file, self.format)?,
        };
        reading.read_at(buffer, at)?;
        self.reading.replace(Some(reading));
        Ok(wanted)
    }
}

/// A decoder on its way through a file.
struct DecoderPosition {
    decoder: Box<dyn Read>,
    /// Offset of the text that the decoder is at.
    at: Offset,
    /// The bytes before that: the last read, as the next one may begin inside it.
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

impl fmt::Debug for DecoderPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecoderPosition")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

/// Copies to `buffer` what `kept` has from its byte `from` on, and says how much that was.
fn copy_kept(kept: &[u8], from: u64, buffer: &mut [u8]) -> usize {
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let kept = kept.get(from..).unwrap_or_default();
    let copied = kept.len().min(buffer.len());
    buffer[..copied].copy_from_slice(&kept[..copied]);
    copied
}

/// Reads until `buffer` is full or the text is at its end.
fn read_full(decoder: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match decoder.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
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

/// A file read from its start, whoever else reads it.
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
mod tests;
