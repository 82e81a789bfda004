//! Reads the text of compressed files at an offset of the text.
//!
//! gzip (RFC 1952), zstd (RFC 8878), xz and bzip2 can only be read from their start. So a file is decompressed once when it is
//! found, which shows that it is complete and how long its text is. Later reads continue where the last one ended, and
//! start again only for earlier offsets. A text that is compressed itself, as by a rotation that compresses twice, is
//! decompressed too, up to [`LAYERS_MAX`] times.
//!
//! Invariants:
//! - Nothing is read from a file that is incomplete or damaged anywhere. The exception is a live gzip file, which is read as
//!   far as it is written.
//! - Memory is a decoder with its window for each layer (at most 128 MiB, for files of `zstd --ultra`; 8 MiB up to `-19`) and
//!   a copy of the last block, both only while the file is being read.

mod format;
mod growing_gzip;
mod gzip_members;

use std::cell::RefCell;
use std::io::{self, Read};
use std::rc::Rc;

use logferry_protocol::stream::{FINGERPRINT_SPAN, Offset};

pub(crate) use self::format::CompressionFormat;
use self::growing_gzip::GrowingGzip;
use crate::files::{self, FileHandle, FileStat};

/// A file that is compressed more often is not read.
pub(crate) const LAYERS_MAX: usize = 3;

const MEASURE_BYTES: u64 = 64 * 1024;

#[derive(Debug)]
pub(crate) enum CompressedFileError {
    /// It ends in the middle: it is still being written, or was truncated.
    Incomplete,
    /// It does not decompress, or a checksum in it is wrong.
    Damaged(io::Error),
    /// It is compressed more than [`LAYERS_MAX`] times.
    TooDeep,
    /// Its decoder needs more memory than a log file may take.
    TooLarge,
    Unreadable(io::Error),
}

impl From<io::Error> for CompressedFileError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Incomplete
        } else if error.raw_os_error().is_some() {
            Self::Unreadable(error)
        } else if format::is_too_large(&error) {
            Self::TooLarge
        } else {
            Self::Damaged(error)
        }
    }
}

/// An open file and the text in it, compressed or not.
pub(crate) struct LogText<H> {
    file: Rc<H>,
    compressed: Option<CompressedText>,
    /// A compressed file that is being decompressed for the first time, a part at a time.
    detecting: Option<(CompressedText, Box<dyn Read>)>,
}

impl<H: FileHandle> LogText<H> {
    pub(crate) fn plain(file: H) -> Self {
        Self {
            file: Rc::new(file),
            compressed: None,
            detecting: None,
        }
    }

    /// Whether the file begins like a compressed one.
    pub(crate) fn looks_compressed(&self) -> bool {
        let beginning = files::beginning(&*self.file);
        beginning.is_ok_and(|beginning| CompressionFormat::of(&beginning).is_some())
    }

    /// As [`Self::detect_compression`] of a file that is not live, but decompresses only about `bytes_max` bytes of its text.
    /// Returns whether it is done; otherwise it must be called again.
    pub(crate) fn detect_some(&mut self, bytes_max: u64) -> Result<bool, CompressedFileError> {
        let (mut text, mut decoder) = if let Some(detecting) = self.detecting.take() {
            detecting
        } else {
            self.compressed = None;
            let beginning = files::beginning(&*self.file).map_err(CompressedFileError::Unreadable)?;
            let Some(outermost) = CompressionFormat::of(&beginning) else {
                return Ok(true);
            };
            let layers = Layers::Complete(layers(&self.file, outermost)?);
            let decoder = layers.decoder(&self.file)?;
            (CompressedText::new(layers), decoder)
        };
        let until = text.size.plus(bytes_max);
        while text.size < until {
            if !text.measure_block(&mut decoder)? {
                self.compressed = Some(text);
                return Ok(true);
            }
        }
        self.detecting = Some((text, decoder));
        Ok(false)
    }

    /// Finds out whether the file is compressed. If so, decompresses it once to see that it is complete.
    ///
    /// Of a live file only gzip is recognised, and it is read as far as it is written.
    pub(crate) fn detect_compression(&mut self, is_live: bool) -> Result<(), CompressedFileError> {
        (self.compressed, self.detecting) = (None, None);
        let beginning = files::beginning(&*self.file).map_err(CompressedFileError::Unreadable)?;
        let layers = match CompressionFormat::of(&beginning) {
            None => return Ok(()),
            Some(CompressionFormat::Gzip) if is_live => Layers::GrowingGzip,
            Some(outermost) => Layers::Complete(layers(&self.file, outermost)?),
        };
        self.compressed = Some(CompressedText::measure(&self.file, layers)?);
        Ok(())
    }

    /// Whether it is a compressed file that is read while it is written.
    pub(crate) fn is_growing(&self) -> bool {
        let compressed = self.compressed.as_ref();
        compressed.is_some_and(|compressed| compressed.measuring.is_some())
    }

    /// Takes notice of the text that was appended to a growing file.
    pub(crate) fn grow(&mut self) -> Result<(), CompressedFileError> {
        Ok(self.compressed.as_mut().map_or(Ok(()), CompressedText::grow)?)
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
        // A growing file is read again soon.
        if let Some(compressed) = self.compressed.as_ref().filter(|_| !self.is_growing()) {
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
}

/// How a file is compressed.
enum Layers {
    /// The outermost format first.
    Complete(Vec<CompressionFormat>),
    /// A gzip file that is still being written.
    GrowingGzip,
}

impl Layers {
    fn decoder<H: FileHandle>(&self, file: &Rc<H>) -> io::Result<Box<dyn Read>> {
        match self {
            Self::Complete(formats) => decoder(file, formats),
            Self::GrowingGzip => Ok(Box::new(GrowingGzip::new(FileReader::new(file)))),
        }
    }
}

/// The formats of a file's layers, the outermost first.
fn layers<H: FileHandle>(
    file: &Rc<H>,
    outermost: CompressionFormat,
) -> Result<Vec<CompressionFormat>, CompressedFileError> {
    let mut formats = vec![outermost];
    loop {
        let mut beginning = Vec::new();
        let mut text = decoder(file, &formats)?.take(FINGERPRINT_SPAN as u64);
        // Of an incomplete file the beginning is enough here.
        if let Err(error) = text.read_to_end(&mut beginning)
            && beginning.is_empty()
        {
            return Err(error.into());
        }
        match CompressionFormat::of(&beginning) {
            None => return Ok(formats),
            Some(_) if formats.len() == LAYERS_MAX => return Err(CompressedFileError::TooDeep),
            Some(format) => formats.push(format),
        }
    }
}

fn decoder<H: FileHandle>(file: &Rc<H>, formats: &[CompressionFormat]) -> io::Result<Box<dyn Read>> {
    let input: Box<dyn Read> = Box::new(FileReader::new(file));
    formats
        .iter()
        .try_fold(input, |input, format| format.decoder(input))
}

struct CompressedText {
    layers: Layers,
    size: Offset,
    /// The first and the last bytes, which identify the file without decompressing it again.
    beginning: Vec<u8>,
    ending: Vec<u8>,
    /// Of a growing file: the decoder that has reached the end of what is written.
    measuring: Option<Box<dyn Read>>,
    reading: RefCell<Option<DecoderPosition>>,
}

impl CompressedText {
    fn new(layers: Layers) -> Self {
        Self {
            layers,
            size: Offset::ZERO,
            beginning: Vec::new(),
            ending: Vec::new(),
            measuring: None,
            reading: RefCell::default(),
        }
    }

    fn measure<H: FileHandle>(file: &Rc<H>, layers: Layers) -> io::Result<Self> {
        let mut decoder = layers.decoder(file)?;
        let mut text = Self::new(layers);
        text.measure_rest(&mut decoder)?;
        text.measuring = matches!(text.layers, Layers::GrowingGzip).then_some(decoder);
        Ok(text)
    }

    fn grow(&mut self) -> io::Result<()> {
        // After an error the file is examined again.
        if let Some(mut decoder) = self.measuring.take() {
            self.measure_rest(&mut decoder)?;
            self.measuring = Some(decoder);
        }
        Ok(())
    }

    fn measure_rest(&mut self, decoder: &mut impl Read) -> io::Result<()> {
        while self.measure_block(decoder)? {}
        Ok(())
    }

    /// Takes the next bytes of the text; false at its end.
    fn measure_block(&mut self, decoder: &mut impl Read) -> io::Result<bool> {
        let mut block = Vec::new();
        if decoder.by_ref().take(MEASURE_BYTES).read_to_end(&mut block)? == 0 {
            return Ok(false);
        }
        self.size = self.size.plus(block.len() as u64);
        let missing = FINGERPRINT_SPAN - self.beginning.len();
        self.beginning.extend(block.iter().take(missing));
        self.ending
            .extend(&block[block.len().saturating_sub(FINGERPRINT_SPAN)..]);
        self.ending
            .drain(..self.ending.len().saturating_sub(FINGERPRINT_SPAN));
        Ok(true)
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
            _ => DecoderPosition::start(self.layers.decoder(file)?),
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
    fn start(decoder: Box<dyn Read>) -> Self {
        Self {
            decoder,
            at: Offset::ZERO,
            kept: Vec::new(),
        }
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

/// A file read from its start; other readers of the handle do not matter.
struct FileReader<H> {
    file: Rc<H>,
    at: Offset,
}

impl<H> FileReader<H> {
    fn new(file: &Rc<H>) -> Self {
        Self {
            file: file.clone(),
            at: Offset::ZERO,
        }
    }
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
