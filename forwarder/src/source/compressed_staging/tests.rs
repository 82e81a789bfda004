#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::fs::File;

use logferry_config::Publishing;
use tempfile::TempDir;

use logferry_spool::BatchReader;
use sha2::{Digest, Sha256};

use super::*;
use crate::schedule::plan::tests::{batches, destination};

struct Staging {
    dir: TempDir,
    batch: Batch,
    destination: Destination,
    counted: StagedBytes,
    stop: CancellationToken,
}

impl Staging {
    fn new(compress: FileCompression, text: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut batch = batches(&[0]).remove(0);
        batch.contents = BatchContents {
            lines: 1,
            bytes: text.len() as u64,
            crc32c: crc32c::crc32c(text),
        };
        std::fs::write(dir.path().join("batch.log"), text).unwrap();
        let destination = destination(Publishing {
            compress,
            ..Publishing::default()
        });
        Self {
            dir,
            batch,
            destination,
            counted: StagedBytes::default(),
            stop: CancellationToken::new(),
        }
    }

    fn open(&self) -> Result<SourceFile, DeliveryError> {
        let path = self.dir.path().join("batch.log");
        let file = BatchReader::plain(File::open(&path).unwrap());
        open(
            self.dir.path(),
            &self.destination,
            &self.batch,
            (path, file),
            &self.counted,
            &self.stop,
        )
    }

    /// The files in `outgoing/`.
    fn outgoing(&self) -> Vec<PathBuf> {
        let folder = self.dir.path().join("outgoing/edw");
        let names = RealDisk.list(&folder).unwrap();
        names.into_iter().map(|name| folder.join(name)).collect()
    }
}

fn text() -> Vec<u8> {
    (0..100_000u32)
        .flat_map(|n| format!("line {n}\n").into_bytes())
        .collect()
}

fn unpacked(compress: FileCompression, path: &Path) -> Vec<u8> {
    let (file, mut text) = (File::open(path).unwrap(), Vec::new());
    match compress {
        FileCompression::Zstd => zstd::stream::copy_decode(file, &mut text).unwrap(),
        _ => drop(flate2::read::GzDecoder::new(file).read_to_end(&mut text).unwrap()),
    }
    text
}

#[test]
fn compressed_file_holds_the_lines_is_the_same_each_time_and_is_removed_at_the_end() {
    for compress in [FileCompression::Gzip, FileCompression::Zstd] {
        let staging = Staging::new(compress, &text());
        let mut file = staging.open().unwrap();
        assert!(file.len() < staging.batch.contents.bytes / 2);
        let [path] = &staging.outgoing()[..] else {
            panic!("one file")
        };
        assert_eq!(unpacked(compress, path), text());
        let hash = file.read_whole().unwrap();
        let lines = FileHash::of(Sha256::new_with_prefix(text()));
        assert_eq!(file.lines_hash(), Some(lines));
        drop(file);
        assert_eq!(staging.outgoing(), Vec::<PathBuf>::new());
        assert_eq!(staging.open().unwrap().read_whole().unwrap(), hash);
    }
}

#[test]
fn compressed_file_that_a_crash_left_is_used_again_if_it_holds_the_lines() {
    for compress in [FileCompression::Gzip, FileCompression::Zstd] {
        let staging = Staging::new(compress, &text());
        let made = staging.open().unwrap();
        let path = staging.outgoing().remove(0);
        let same = std::fs::read(&path).unwrap();
        drop(made);
        // As an older version might have made it: other bytes, the same lines.
        let other = if compress == FileCompression::Zstd {
            zstd::stream::encode_all(&text()[..], 9).unwrap()
        } else {
            let (text, mut packed) = (text(), Vec::new());
            let level = flate2::Compression::fast();
            let mut encoder = flate2::read::GzEncoder::new(&text[..], level);
            encoder.read_to_end(&mut packed).unwrap();
            packed
        };
        assert_ne!(other, same);
        for (left, expected) in [(&other[..], &other), (&same[..1000], &same), (b"no gzip", &same)] {
            std::fs::write(&path, left).unwrap();
            std::fs::write(path.with_extension("gz.new"), b"half").unwrap();
            let file = staging.open().unwrap();
            assert_eq!(&std::fs::read(&path).unwrap(), expected);
            assert_eq!(file.len(), expected.len() as u64);
        }
    }
}

#[test]
fn altered_batch_is_not_compressed_and_a_stop_ends_it() {
    let mut staging = Staging::new(FileCompression::Gzip, &text());
    staging.batch.contents.crc32c ^= 1;
    let altered = staging.open();
    assert!(
        matches!(altered, Err(DeliveryError::Altered { .. })),
        "{altered:?}"
    );
    assert_eq!(staging.outgoing(), Vec::<PathBuf>::new());
    staging.batch.contents.crc32c ^= 1;
    staging.stop.cancel();
    let stopped = staging.open();
    assert!(matches!(stopped, Err(DeliveryError::Stopped)), "{stopped:?}");
    assert_eq!(staging.outgoing(), Vec::<PathBuf>::new());
}

#[test]
fn file_that_is_not_needed_is_removed() {
    let staging = Staging::new(FileCompression::Gzip, b"line\n");
    let folder = staging.dir.path().join("outgoing/edw");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["a.log.gz", "b.log.gz", "b.log.gz.new"] {
        std::fs::write(folder.join(name), b"").unwrap();
    }
    remove_unneeded(staging.dir.path(), |destination, name| {
        destination == "edw" && name == "a.log.gz"
    })
    .unwrap();
    assert_eq!(staging.outgoing(), [folder.join("a.log.gz")]);
}
