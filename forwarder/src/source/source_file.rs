//! A file to be published, from disk or from memory. It is read from its beginning to its end while its checksums are
//! computed: the bytes that are sent or compared are the bytes that are hashed.

use std::io;
use std::path::PathBuf;

use logferry_durable::{Disk, RealDisk};
use logferry_ledger::BatchContents;
use logferry_spool::{BatchReader, FileHash, Measure};

use super::staged_file::StagedFile;
use crate::error::DeliveryError;

/// Bytes read at a time when the whole file is read.
const BLOCK_BYTES: usize = 128 << 10;

/// The plain bytes of a batch's file.
pub(crate) type BatchFileReader = BatchReader<<RealDisk as Disk>::Reader>;

/// The source of the bytes.
#[derive(Debug)]
enum Backing {
    OnDisk(BatchFileReader),
    InMemory(Vec<u8>),
}

impl Backing {
    fn read_exact_at(&mut self, block: &mut [u8], position: u64) -> io::Result<()> {
        match self {
            Self::OnDisk(file) => file.read_exact_at(block, position),
            Self::InMemory(text) => {
                let rest = usize::try_from(position).ok().and_then(|at| text.get(at..));
                let wanted = rest.and_then(|rest| rest.get(..block.len()));
                block.copy_from_slice(wanted.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

/// A file to be published, open for reading.
#[derive(Debug)]
pub(crate) struct SourceFile {
    path: PathBuf,
    bytes: Backing,
    /// The expected contents; the number of lines is not used.
    expected: BatchContents,
    /// Of a compressed file: the hash of its lines, and the file itself.
    compressed: Option<(FileHash, StagedFile)>,
    /// Of the bytes read since the beginning.
    measure: Measure,
}

impl SourceFile {
    /// A file in memory. `path`: its name in messages.
    pub(crate) fn from_bytes(path: &str, text: Vec<u8>) -> Self {
        let mut measure = Measure::default();
        measure.add(&text);
        Self {
            path: path.into(),
            bytes: Backing::InMemory(text),
            expected: measure.contents(),
            compressed: None,
            measure: Measure::with_sha256(),
        }
    }

    /// A sealed batch's file. Refuses a file whose size differs from the sealed one.
    pub(crate) fn from_reader(
        path: PathBuf,
        mut reader: BatchFileReader,
        expected: BatchContents,
    ) -> Result<Self, DeliveryError> {
        match reader.plain_len() {
            Err(source) => return Err(DeliveryError::LocalFile(path, source)),
            Ok(Some(len)) if len != expected.bytes => {
                let detail = format!("{len} bytes, sealed with {}", expected.bytes);
                return Err(DeliveryError::Altered { path, detail });
            }
            Ok(_) => {}
        }
        Ok(Self {
            path,
            bytes: Backing::OnDisk(reader),
            expected,
            compressed: None,
            measure: Measure::with_sha256(),
        })
    }

    /// Marks the file as a staged compressed one. `lines`: the hash of its lines.
    pub(crate) fn with_staged(mut self, lines: FileHash, staged: StagedFile) -> Self {
        self.compressed = Some((lines, staged));
        self
    }

    /// The hash of the lines in a compressed file.
    pub(crate) fn lines_hash(&self) -> Option<FileHash> {
        self.compressed.as_ref().map(|(lines, _)| *lines)
    }

    /// The compressed file, if it is one.
    pub(crate) fn into_staged(self) -> Option<StagedFile> {
        self.compressed.map(|(_, staged)| staged)
    }

    /// The length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.expected.bytes
    }

    /// The error for a failed read.
    pub(crate) fn read_error(&self, source: io::Error) -> DeliveryError {
        DeliveryError::LocalFile(self.path.clone(), source)
    }

    /// Goes back to the beginning, to read again.
    pub(crate) fn rewind(&mut self) {
        self.measure = Measure::with_sha256();
    }

    /// Bytes read since the beginning.
    pub(crate) fn position(&self) -> u64 {
        self.measure.contents().bytes
    }

    /// Reads the next bytes.
    pub(crate) fn read_next(&mut self, block: &mut [u8]) -> io::Result<()> {
        self.bytes.read_exact_at(block, self.position())?;
        self.measure.add(block);
        Ok(())
    }

    /// If the next bytes are equal to `theirs`, reads over them; otherwise does not move and returns false.
    pub(crate) fn read_same(&mut self, theirs: &[u8]) -> io::Result<bool> {
        if self.len() - self.position() < theirs.len() as u64 {
            return Ok(false);
        }
        let mut ours = vec![0; theirs.len()];
        self.bytes.read_exact_at(&mut ours, self.position())?;
        let same = ours == theirs;
        if same {
            self.measure.add(theirs);
        }
        Ok(same)
    }

    /// Reads the whole file to get its hash.
    pub(crate) fn read_whole(&mut self) -> Result<FileHash, DeliveryError> {
        self.rewind();
        let mut block = vec![0; BLOCK_BYTES];
        while self.position() < self.len() {
            let left = usize::try_from(self.len() - self.position()).unwrap_or(BLOCK_BYTES);
            let (block, _) = block.split_at_mut(left.min(BLOCK_BYTES));
            self.read_next(block).map_err(|source| self.read_error(source))?;
        }
        self.finish()
    }

    /// The hash, after everything was read; an error if the bytes are not the sealed ones.
    pub(crate) fn finish(&self) -> Result<FileHash, DeliveryError> {
        let hash = self.measure.sha256();
        hash.filter(|_| self.measure.matches(self.expected))
            .ok_or_else(|| {
                let (found, sealed) = (self.measure.contents().crc32c, self.expected.crc32c);
                DeliveryError::Altered {
                    path: self.path.clone(),
                    detail: format!("CRC-32C {found:08x}, sealed with {sealed:08x}"),
                }
            })
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use std::path::Path;

    use sha2::{Digest, Sha256};

    use super::*;

    fn sealed(dir: &Path, bytes: &[u8]) -> (PathBuf, BatchContents) {
        let path = dir.join("batch.log");
        std::fs::write(&path, bytes).unwrap();
        let contents = BatchContents {
            lines: 1,
            bytes: bytes.len() as u64,
            crc32c: crc32c::crc32c(bytes),
        };
        (path, contents)
    }

    fn open(path: &Path, contents: BatchContents) -> Result<SourceFile, DeliveryError> {
        let file = RealDisk.open_read(path).unwrap().unwrap();
        SourceFile::from_reader(path.to_owned(), BatchReader::plain(file), contents)
    }

    fn read_whole(path: &Path, contents: BatchContents) -> Result<FileHash, DeliveryError> {
        open(path, contents)?.read_whole()
    }

    fn hash_of(bytes: &[u8]) -> FileHash {
        FileHash::of(Sha256::new_with_prefix(bytes))
    }

    #[test]
    fn hash_is_that_of_the_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, contents) = sealed(dir.path(), b"one line\n");
        let hash = read_whole(&path, contents).unwrap();
        assert_eq!(hash, hash_of(b"one line\n"));
        assert_eq!(hash.hex().len(), 64);
        let (path, contents) = sealed(dir.path(), b"");
        let hash = read_whole(&path, contents).unwrap().hex();
        assert!(hash.starts_with("e3b0c44298fc1c14"), "{hash}");
        let text = vec![b'x'; BLOCK_BYTES * 2 + 1];
        let (path, contents) = sealed(dir.path(), &text);
        let made = SourceFile::from_bytes("made", text).read_whole().unwrap();
        assert_eq!(read_whole(&path, contents).unwrap(), made);
    }

    #[test]
    fn reading_continues_after_equal_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (path, contents) = sealed(dir.path(), b"one line\n");
        let mut file = open(&path, contents).unwrap();
        assert!(file.read_same(b"one ").unwrap());
        assert!(!file.read_same(b"lime").unwrap());
        assert!(!file.read_same(b"line\nmore").unwrap());
        assert_eq!(file.position(), 4);
        assert!(
            matches!(file.finish(), Err(DeliveryError::Altered { .. })),
            "not read whole"
        );
        file.read_next(&mut [0; 5]).unwrap();
        assert_eq!(file.finish().unwrap(), hash_of(b"one line\n"));
        file.rewind();
        assert!(file.read_same(b"one line\n").unwrap());
        assert_eq!(file.finish().unwrap(), hash_of(b"one line\n"));
    }

    #[test]
    fn file_of_another_length_or_with_other_bytes_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, contents) = sealed(dir.path(), b"one line\n");
        std::fs::write(&path, b"one line\nmore").unwrap();
        let longer = open(&path, contents);
        assert!(matches!(longer, Err(DeliveryError::Altered { .. })), "{longer:?}");
        std::fs::write(&path, b"one lime\n").unwrap();
        let changed = read_whole(&path, contents);
        assert!(
            matches!(changed, Err(DeliveryError::Altered { .. })),
            "{changed:?}"
        );
    }
}
