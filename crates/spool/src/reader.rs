//! Reads the plain bytes of a batch's file, whether the file is plain or compressed.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use flate2::bufread::MultiGzDecoder;

/// Compressed bytes read at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// Plain bytes of a compressed file that are skipped at a time: some hundredths of a second.
const SKIPPED_BYTES: u64 = 8 << 20;

/// A batch's file, open for reading: sequentially by [`Read`], or at a position.
///
/// A compressed file is read on from the current position. To go back, it is decompressed again from its beginning.
#[derive(Debug)]
pub struct BatchReader<F> {
    bytes: Bytes<F>,
    /// The position in plain bytes; `None` after an error, and then the next positioned read seeks.
    position: Option<u64>,
}

#[derive(Debug)]
enum Bytes<F> {
    Plain(F),
    /// Absent only while it is replaced.
    Gzip(Option<Box<MultiGzDecoder<BufReader<F>>>>),
}

impl<F: Read + Seek> BatchReader<F> {
    /// Reads a file whose bytes are the plain ones.
    pub fn plain(file: F) -> Self {
        Self {
            bytes: Bytes::Plain(file),
            position: Some(0),
        }
    }

    /// Reads a compressed file, all its gzip members.
    pub fn gzip(file: F) -> Self {
        Self {
            bytes: Bytes::Gzip(Some(decoder(BufReader::with_capacity(BUFFER_BYTES, file)))),
            position: Some(0),
        }
    }

    /// The file's length in plain bytes; `None` if only reading it would tell.
    pub fn plain_len(&mut self) -> io::Result<Option<u64>> {
        match &mut self.bytes {
            Bytes::Plain(file) => {
                self.position = None;
                file.seek(SeekFrom::End(0)).map(Some)
            }
            Bytes::Gzip(_) => Ok(None),
        }
    }

    /// Whether going back in it costs reading it from its beginning.
    pub fn is_compressed(&self) -> bool {
        matches!(self.bytes, Bytes::Gzip(_))
    }

    /// Reads plain bytes from a position on.
    pub fn read_exact_at(&mut self, block: &mut [u8], position: u64) -> io::Result<()> {
        self.seek_to(position)?;
        self.read_exact(block)
    }

    /// As [`Self::seek_to`]. On the way through a compressed file `goes_on` is asked after each 8 MiB; false: it said no.
    pub fn seek_to_while(&mut self, position: u64, mut goes_on: impl FnMut() -> bool) -> io::Result<bool> {
        let mut at = self.position.filter(|now| *now <= position).unwrap_or(0);
        while self.is_compressed() && position - at > SKIPPED_BYTES {
            at += SKIPPED_BYTES;
            self.seek_to(at)?;
            if !goes_on() {
                return Ok(false);
            }
        }
        self.seek_to(position)?;
        Ok(true)
    }

    /// Makes `position` the next plain byte to be read.
    pub fn seek_to(&mut self, position: u64) -> io::Result<()> {
        if self.position == Some(position) {
            return Ok(());
        }
        match &mut self.bytes {
            Bytes::Plain(file) => {
                self.position = None;
                file.seek(SeekFrom::Start(position))?;
                self.position = Some(position);
            }
            Bytes::Gzip(decoder) => {
                if self.position.is_none_or(|now| now > position) {
                    self.position = None;
                    restart(decoder)?;
                    self.position = Some(0);
                }
                let skipped = position - self.position.unwrap_or(position);
                if io::copy(&mut self.by_ref().take(skipped), &mut io::sink())? < skipped {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        Ok(())
    }
}

impl<F: Read> Read for BatchReader<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.bytes {
            Bytes::Plain(file) => file.read(buffer),
            Bytes::Gzip(Some(decoder)) => decoder.read(buffer),
            Bytes::Gzip(None) => Ok(0),
        };
        match &read {
            Ok(count) => {
                let count = u64::try_from(*count).unwrap_or(u64::MAX);
                self.position = self.position.map(|position| position + count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.position = None,
        }
        read
    }
}

fn decoder<F: Read>(file: BufReader<F>) -> Box<MultiGzDecoder<BufReader<F>>> {
    Box::new(MultiGzDecoder::new(file))
}

fn restart<F: Read + Seek>(slot: &mut Option<Box<MultiGzDecoder<BufReader<F>>>>) -> io::Result<()> {
    let Some(old) = slot.take() else {
        return Ok(());
    };
    let mut file = old.into_inner();
    let sought = file.seek(SeekFrom::Start(0));
    *slot = Some(decoder(file));
    sought.map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::tests::gzip;

    #[test]
    fn long_way_through_a_compressed_file_can_be_ended() {
        let text = vec![b'x'; 20 << 20];
        let mut reader = BatchReader::gzip(Cursor::new(gzip(&text[..])));
        let mut asked = 0;
        let sought = reader.seek_to_while(18 << 20, || {
            asked += 1;
            asked < 2
        });
        assert!(!sought.unwrap());
        assert_eq!((asked, reader.position), (2, Some(16 << 20)));
        assert!(reader.seek_to_while(18 << 20, || false).unwrap(), "it is near");
        assert_eq!(reader.position, Some(18 << 20));
        let mut plain = BatchReader::plain(Cursor::new(text));
        assert!(plain.seek_to_while(18 << 20, || false).unwrap());
    }

    #[test]
    fn file_of_either_form_is_read_anywhere() {
        let text: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        let compressed = BatchReader::gzip(Cursor::new(gzip(&text[..])));
        let plain = BatchReader::plain(Cursor::new(text.clone()));
        for (mut reader, len) in [(compressed, None), (plain, Some(200_000))] {
            assert_eq!(reader.plain_len().unwrap(), len);
            let mut block = vec![0; 1000];
            for position in [0, 1000, 150_000, 2000, 199_000, 0] {
                reader.read_exact_at(&mut block, position as u64).unwrap();
                assert!(block == text[position..position + 1000], "{position}");
            }
            reader.read_exact_at(&mut block, 199_500).unwrap_err();
            reader.read_exact_at(&mut block, 500).unwrap();
            assert!(block == text[500..1500], "after an error");
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).unwrap();
            assert!(rest == text[1500..]);
        }
    }
}
