use std::fs::File;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

/// A file on disk without a name.
pub(crate) fn text_file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("room");
    file
}

pub(crate) fn compress(format: CompressionFormat, text: &[u8]) -> Vec<u8> {
    match format {
        CompressionFormat::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text).expect("memory");
            encoder.finish().expect("memory")
        }
        CompressionFormat::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
            encoder.include_checksum(true).expect("an option");
            encoder.write_all(text).expect("memory");
            encoder.finish().expect("memory")
        }
    }
}

fn open(bytes: &[u8]) -> Result<LogText<File>, CompressedFileError> {
    let mut text = LogText::plain(text_file(bytes));
    text.detect_compression().map(|()| text)
}

fn size(text: &LogText<File>) -> u64 {
    text.size(&text.stat().expect("memory")).get()
}

fn whole(text: &LogText<File>) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(size(text)).expect("small") + 1];
    let filled = files::fill(text, &mut bytes, Offset::ZERO).expect("sound");
    bytes.truncate(filled);
    bytes
}

fn lines(count: u32) -> Vec<u8> {
    let line = |line: u32| format!("line {}\n", line.wrapping_mul(2_654_435_761));
    (0..count).flat_map(|number| line(number).into_bytes()).collect()
}

const FORMATS: [CompressionFormat; 2] = [CompressionFormat::Gzip, CompressionFormat::Zstd];

#[test]
fn a_plain_file_is_its_own_text() {
    let text = open(b"line\n").expect("plain");
    assert!(!text.is_compressed());
    assert_eq!(whole(&text), b"line\n");
}

#[test]
fn the_empty_text_is_a_text() {
    for format in FORMATS {
        let text = open(&compress(format, b"")).expect("sound");
        assert_eq!((size(&text), whole(&text)), (0, Vec::new()));
    }
}

#[test]
fn an_archive_or_its_second_member_cut_anywhere_has_no_end() {
    for format in FORMATS {
        let (long, first) = (compress(format, &lines(300)), compress(format, &lines(20)));
        let both = [&first[..], &compress(format, &lines(30))].concat();
        // Shorter than the magic number it is not known to be an archive.
        for (archive, shortest) in [(long, 4), (both, first.len() + 1)] {
            for len in shortest..archive.len() {
                let opened = open(&archive[..len]).map(drop);
                let is_incomplete = matches!(opened, Err(CompressedFileError::Incomplete));
                assert!(is_incomplete, "{format:?} cut to {len}: {opened:?}");
            }
        }
    }
}

#[test]
fn text_of_many_members_and_blocks_is_one_text() {
    for format in FORMATS {
        let parts = [lines(50_000), lines(1), Vec::new(), lines(30_000)];
        let archive: Vec<u8> = parts.iter().flat_map(|part| compress(format, part)).collect();
        let text = open(&archive).expect("sound");
        assert!(whole(&text) == parts.concat(), "{format:?}");
    }
}

#[test]
fn reading_on_never_starts_over() {
    let all = lines(100_000);
    let text = open(&compress(CompressionFormat::Gzip, &all)).expect("sound");
    let (mut at, mut block) = (0, vec![0; 10_000]);
    let decoder = |text: &LogText<File>| {
        let reading = text.compressed.as_ref().expect("compressed").reading.borrow();
        reading
            .as_ref()
            .map(|reading| std::ptr::from_ref(&*reading.decoder).cast::<()>())
    };
    let mut first = None;
    // As a tail reads: each block begins inside the one before.
    while at + block.len() + 2 * FINGERPRINT_SPAN < all.len() {
        let filled = files::fill(&text, &mut block, Offset::new(at as u64)).expect("sound");
        assert_eq!(block[..filled], all[at..at + filled]);
        at += 4000;
        first = first.or(decoder(&text));
        assert_eq!(decoder(&text), first);
    }
    text.release_decoder();
    assert_eq!(decoder(&text), None);
}

proptest! {
    #[test]
    fn text_is_the_same_in_whatever_order_it_is_read(
        zstd in any::<bool>(),
        sizes in prop::collection::vec(0_u32..2000, 1..4),
        reads in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..5000), 1..20),
    ) {
        let format = if zstd { CompressionFormat::Zstd } else { CompressionFormat::Gzip };
        let all: Vec<u8> = sizes.iter().flat_map(|&size| lines(size)).collect();
        let archive: Vec<u8> = sizes.iter().flat_map(|&size| compress(format, &lines(size))).collect();
        let text = open(&archive).expect("sound");
        prop_assert_eq!(size(&text), all.len() as u64);
        for (at, len) in reads {
            let at = at.index(all.len() + 10);
            let mut buffer = vec![0; len];
            let filled = files::fill(&text, &mut buffer, Offset::new(at as u64)).expect("sound");
            let end = (at + len).min(all.len());
            prop_assert_eq!(&buffer[..filled], all.get(at..end).unwrap_or_default());
        }
    }

    #[test]
    fn a_damaged_archive_never_gives_other_text(zstd in any::<bool>(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let format = if zstd { CompressionFormat::Zstd } else { CompressionFormat::Gzip };
        let all = lines(200);
        let mut archive = compress(format, &all);
        let at = 4 + at.index(archive.len() - 4);
        archive[at] ^= flip;
        // A change of a field without a checksum, such as the time in the header, does not change the text.
        if let Ok(text) = open(&archive) {
            prop_assert_eq!(whole(&text), all);
        }
    }
}
