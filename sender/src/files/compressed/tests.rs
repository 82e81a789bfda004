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
        CompressionFormat::Xz => {
            let options = lzma_rust2::XzOptions::with_preset(1);
            let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).expect("an encoder");
            encoder.write_all(text).expect("memory");
            encoder.finish().expect("memory")
        }
        CompressionFormat::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(text).expect("memory");
            encoder.finish().expect("memory")
        }
    }
}

fn open(bytes: &[u8]) -> Result<LogText<File>, CompressedFileError> {
    let mut text = LogText::plain(text_file(bytes));
    text.detect_compression(false).map(|()| text)
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

#[test]
fn zeros_after_a_gzip_member_are_padding_and_other_bytes_are_damage() {
    let text = lines(200);
    let (first, rest) = text.split_at(text.len() / 2);
    let member = |part| compress(CompressionFormat::Gzip, part);
    for zeros in [0, 1, 512, 100_000] {
        let padding = vec![0; zeros];
        let padded = [member(first), member(rest), padding.clone()].concat();
        assert_eq!(whole(&open(&padded).expect("gzip")), text);
        let damaged = [member(&text), padding, b"no gzip".to_vec()].concat();
        assert!(open(&damaged).is_err(), "{zeros} zeros");
    }
}

fn lines(count: u32) -> Vec<u8> {
    let line = |line: u32| format!("line {}\n", line.wrapping_mul(2_654_435_761));
    (0..count).flat_map(|number| line(number).into_bytes()).collect()
}

const FORMATS: [CompressionFormat; 4] = [
    CompressionFormat::Gzip,
    CompressionFormat::Zstd,
    CompressionFormat::Xz,
    CompressionFormat::Bzip2,
];

/// Length of the longest magic number.
const MAGIC_MAX: usize = 10;

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
        // Shorter than the magic number it is not known to be an archive. The xz decoder takes a part of a second magic
        // number for damage.
        let magic = if format == CompressionFormat::Xz { 6 } else { 1 };
        for (archive, shortest) in [(long, MAGIC_MAX), (both, first.len() + magic)] {
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
        format in prop::sample::select(&FORMATS),
        sizes in prop::collection::vec(0_u32..2000, 1..4),
        reads in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..5000), 1..20),
    ) {
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
    fn a_damaged_archive_never_gives_other_text(format in prop::sample::select(&FORMATS), at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let all = lines(200);
        let mut archive = compress(format, &all);
        let at = MAGIC_MAX + at.index(archive.len() - MAGIC_MAX);
        archive[at] ^= flip;
        // A change of a field without a checksum, such as the time in the header, does not change the text.
        if let Ok(text) = open(&archive) {
            prop_assert_eq!(whole(&text), all);
        }
    }
}

/// The text in `layers` layers, the innermost compressed first.
fn nested(text: &[u8], formats: &[CompressionFormat]) -> Vec<u8> {
    formats
        .iter()
        .fold(text.to_vec(), |inner, &format| compress(format, &inner))
}

#[test]
fn a_text_compressed_up_to_three_times_is_one_text() {
    let all = lines(2000);
    for formats in [&FORMATS[..2], &FORMATS[1..], &[CompressionFormat::Gzip; 3]] {
        let archive = nested(&all, formats);
        let text = open(&archive).expect("sound");
        assert!(whole(&text) == all, "{formats:?}");
        let cut = open(&archive[..archive.len() - 1]).map(drop);
        assert!(
            matches!(cut, Err(CompressedFileError::Incomplete)),
            "{formats:?}: {cut:?}"
        );
    }
    let opened = open(&nested(&all, &FORMATS)).map(drop);
    assert!(matches!(opened, Err(CompressedFileError::TooDeep)), "{opened:?}");
}

#[test]
fn a_text_that_only_begins_like_an_archive_is_plain() {
    for text in [&b"BZh9 is a name\n"[..], b"\x1f\x8b is no gzip\n", b"PK\x03\x04"] {
        assert!(!open(text).expect("plain").is_compressed(), "{text:?}");
    }
}

#[test]
fn frames_of_pzstd_and_wide_windows_are_read_and_wider_ones_refused() {
    let all = lines(3000);
    // pzstd writes a skippable frame with the size of the next one before each (RFC 8878, 3.1.2).
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
    let part = compress(CompressionFormat::Zstd, &all);
    let parallel = [&skippable[..], &part, &skippable, &part].concat();
    assert!(whole(&open(&parallel).expect("sound")) == [&all[..], &all].concat());
    for (window_log, is_read) in [(27, true), (28, false)] {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
        encoder.long_distance_matching(true).expect("an option");
        encoder.window_log(window_log).expect("an option");
        encoder.write_all(&all).expect("memory");
        let opened = open(&encoder.finish().expect("memory")).map(drop);
        assert_eq!(opened.is_ok(), is_read, "{window_log}: {opened:?}");
        assert!(
            is_read || matches!(opened, Err(CompressedFileError::TooLarge)),
            "{opened:?}"
        );
    }
}

/// What a live gzip file shows of its text after each part of `bytes` is written.
fn grow(bytes: &[u8], ends: &[usize]) -> Vec<Vec<u8>> {
    let mut file = text_file(b"");
    let (mut written, mut text, mut shown) = (0, None, Vec::new());
    for &end in ends {
        file.write_all(&bytes[written..end]).expect("room");
        written = end;
        let text = text.get_or_insert_with(|| {
            let mut text = LogText::plain(file.try_clone().expect("a handle"));
            text.detect_compression(true).expect("gzip");
            text
        });
        assert!(text.is_growing());
        text.grow().expect("sound");
        shown.push(whole(text));
    }
    shown
}

#[test]
fn a_live_gzip_file_is_read_as_far_as_it_is_flushed() {
    let (first, second) = (lines(300), lines(200));
    // nginx: a member at each flush.
    let members = [
        compress(CompressionFormat::Gzip, &first),
        compress(CompressionFormat::Gzip, &second),
    ];
    let (end, both) = (members[0].len(), members.concat());
    let shown = grow(&both, &[end, end, end + 5, both.len()]);
    assert!(shown[0] == first && shown[1] == first && shown[2] == first);
    assert!(shown[3] == [&first[..], &second].concat());
    // Other writers flush inside a member.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&first).expect("memory");
    encoder.flush().expect("memory");
    let flushed = encoder.get_ref().len();
    encoder.write_all(&second).expect("memory");
    let all = encoder.finish().expect("memory");
    let shown = grow(&all, &[flushed, all.len()]);
    assert!(shown[0] == first && shown[1] == [&first[..], &second].concat());
}

proptest! {
    #[test]
    fn a_live_gzip_file_never_shows_other_text(
        sizes in prop::collection::vec(1_u32..300, 1..5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..10),
    ) {
        let parts: Vec<Vec<u8>> = sizes.iter().map(|&size| lines(size)).collect();
        let (all, bytes) = (parts.concat(), parts.iter().flat_map(|part| compress(CompressionFormat::Gzip, part)).collect::<Vec<u8>>());
        let mut ends: Vec<usize> = cuts.iter().map(|cut| MAGIC_MAX + cut.index(bytes.len() - MAGIC_MAX)).collect();
        ends.sort_unstable();
        ends.push(bytes.len());
        let shown = grow(&bytes, &ends);
        prop_assert!(shown.iter().all(|text| all.starts_with(text)));
        prop_assert!(shown.is_sorted_by_key(Vec::len));
        prop_assert!(shown.last() == Some(&all));
    }
}
