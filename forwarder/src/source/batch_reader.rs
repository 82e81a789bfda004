//! A batch's file as it was sealed, whether it lies there plain or the housekeeper has compressed it.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use flate2::read::MultiGzDecoder;

/// Compressed bytes read at a time.
const READ_BUFFER: usize = 64 << 10;

/// Backing passed over at a time.
const SKIP_BUFFER: usize = 16 << 10;

/// A batch's file, open for reading.
#[derive(Debug)]
pub(crate) enum BatchReader {
    Plain(File),
    Gzip(Box<GzipReader>),
}

/// A compressed file. It is read on from where the last reading ended, or else anew from its beginning.
#[derive(Debug)]
pub(crate) struct GzipReader {
    file: File,
    reader: Option<MultiGzDecoder<BufReader<File>>>,
    /// Of the reader, in plain bytes.
    position: u64,
}

impl BatchReader {
    /// Opens a file; one whose name ends in `.gz` is compressed.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(if path.extension().is_some_and(|extension| extension == "gz") {
            Self::Gzip(Box::new(GzipReader {
                file,
                reader: None,
                position: 0,
            }))
        } else {
            Self::Plain(file)
        })
    }

    /// Opens a file whose bytes are taken as they are, whatever its name.
    pub(crate) fn open_raw(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self::Plain)
    }

    /// All its plain bytes, from the first.
    pub(crate) fn into_reader(self) -> Box<dyn Read> {
        match self {
            Self::Plain(file) => Box::new(file),
            Self::Gzip(gzip) => Box::new(MultiGzDecoder::new(BufReader::with_capacity(
                READ_BUFFER,
                gzip.file,
            ))),
        }
    }

    /// Its length in plain bytes, where that can be seen without reading it.
    pub(crate) fn len(&self) -> io::Result<Option<u64>> {
        match self {
            Self::Plain(file) => Ok(Some(file.metadata()?.len())),
            Self::Gzip(_) => Ok(None),
        }
    }

    /// Reads plain bytes from a position on.
    pub(crate) fn read_exact_at(&mut self, block: &mut [u8], position: u64) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.read_exact_at(block, position),
            Self::Gzip(gzip) => gzip.read_exact_at(block, position),
        }
    }
}

impl GzipReader {
    fn read_exact_at(&mut self, block: &mut [u8], position: u64) -> io::Result<()> {
        let mut reader = match self.reader.take() {
            Some(reader) if self.position <= position => reader,
            _ => {
                self.file.seek(SeekFrom::Start(0))?;
                self.position = 0;
                MultiGzDecoder::new(BufReader::with_capacity(READ_BUFFER, self.file.try_clone()?))
            }
        };
        let mut skipped = [0; SKIP_BUFFER];
        while self.position < position {
            let left = usize::try_from(position - self.position).unwrap_or(SKIP_BUFFER);
            let (skipped, _) = skipped.split_at_mut(left.min(SKIP_BUFFER));
            reader.read_exact(skipped)?;
            self.position += skipped.len() as u64;
        }
        reader.read_exact(block)?;
        self.position += block.len() as u64;
        // After an error there is none, and the next reading starts anew.
        self.reader = Some(reader);
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn compressed_file_is_read_anywhere_as_if_it_were_plain() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("batch.log.gz");
        let text: Vec<u8> = (0..50_000u32).flat_map(u32::to_le_bytes).collect();
        let mut encoder = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
        encoder.write_all(&text).unwrap();
        encoder.finish().unwrap();
        let mut original = BatchReader::open(&path).unwrap();
        assert_eq!(original.len().unwrap(), None);
        let mut block = vec![0; 1000];
        for position in [0, 1000, 150_000, 2000, 199_000, 0] {
            original.read_exact_at(&mut block, position as u64).unwrap();
            assert!(block == text[position..position + 1000], "{position}");
        }
        original.read_exact_at(&mut block, 199_500).unwrap_err();
        original.read_exact_at(&mut block, 500).unwrap();
        assert!(block == text[500..1500], "after an error");
    }
}
