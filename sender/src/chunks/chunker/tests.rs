//! Chunks against a model that filters the file line by line.

use logferry_protocol::stream::FINGERPRINT_SPAN;
use proptest::prelude::*;

use super::*;

fn chunker(max_lines: usize, max_line: usize) -> Chunker {
    Chunker {
        rules: ExclusionRules::new(&[vec!["b".to_owned(), "a".to_owned()], vec!["dd".to_owned()]]),
        max_lines,
        max_bytes: usize::MAX,
        max_line,
        slice: 20,
        dropped: Vec::new(),
    }
}

/// All of a file's chunks, read in blocks of `block` bytes.
fn chunks(file: &[u8], chunker: &mut Chunker, block: usize) -> Vec<(usize, ChunkCut, Vec<u8>)> {
    let (mut at, mut all) = (0, Vec::new());
    loop {
        let before = at.min(FINGERPRINT_SPAN);
        let filled = block.min(file.len() - at);
        let mut buffer = file[at - before..at + filled].to_vec();
        buffer.push(b'?');
        let is_last = filled < block;
        let ending = if is_last { FileEnd::Final } else { FileEnd::MayGrow };
        let cut = chunker.cut(&mut buffer, before, filled, filled == block, ending);
        let cut = cut.expect("a full block and the end of a file always give a chunk");
        let body = buffer[before..before + cut.body].to_vec();
        assert!(cut.crc32c.is_none_or(|crc32c| crc32c == crc32c::crc32c(&body)));
        all.push((at, cut, body));
        at += cut.raw;
        if ending == FileEnd::Final && at == file.len() {
            return all;
        }
    }
}

fn model(file: &[u8], max_line: usize) -> (Vec<u8>, LineCounts) {
    let (mut kept, mut counts) = (Vec::new(), LineCounts::default());
    for line in file.split_inclusive(|&byte| byte == b'\n') {
        let has = |text: &[u8]| line.windows(text.len()).any(|window| window == text);
        let length = line.len() + usize::from(line.last() != Some(&b'\n'));
        if length <= max_line && ((has(b"a") && has(b"b")) || has(b"dd")) {
            counts.excluded += 1;
        } else {
            counts.sent += 1;
            kept.extend_from_slice(line);
        }
    }
    // An excluded last line brings no newline with it; a kept one does.
    if !kept.is_empty() && kept.last() != Some(&b'\n') {
        kept.push(b'\n');
    }
    (kept, counts)
}

proptest! {
    #[test]
    fn chunks_are_the_file_without_its_excluded_lines(
        file in "[abcd\n]{0,300}",
        block in 2_usize..80,
        max_lines in 1_usize..6,
        max_line in 1_usize..40,
    ) {
        let file = file.as_bytes();
        let max_line = max_line.min(block);
        let (mut at, mut body, mut counts) = (0, Vec::new(), LineCounts::default());
        for (start, cut, bytes) in chunks(file, &mut chunker(max_lines, max_line), block) {
            prop_assert_eq!(start, at, "ranges are contiguous");
            at += cut.raw;
            prop_assert_eq!(cut.tail, Tail::of(&file[..at]));
            prop_assert!(cut.lines.read() <= max_lines as u64);
            let newline = bytes.last().is_none_or(|&last| last == b'\n');
            prop_assert_eq!(newline, cut.line_end != LineEnd::Open);
            let whole = memchr::memchr_iter(b'\n', &bytes).count() as u64;
            prop_assert_eq!(whole, cut.lines.sent, "a line counts where it ends");
            body.extend_from_slice(&bytes);
            counts = counts.plus(cut.lines);
        }
        prop_assert_eq!(at, file.len());
        let (expected, expected_counts) = model(file, max_line);
        prop_assert_eq!(String::from_utf8(body), String::from_utf8(expected));
        prop_assert_eq!(counts, expected_counts);
    }

    #[test]
    fn any_bytes_pass_unchanged(file in prop::collection::vec(any::<u8>(), 0..2000), block in 2_usize..300) {
        let mut plain = Chunker { rules: ExclusionRules::new(&[]), ..chunker(7, 50.min(block)) };
        let mut body: Vec<u8> = chunks(&file, &mut plain, block).into_iter().flat_map(|(_, _, b)| b).collect();
        if body.len() > file.len() {
            prop_assert_eq!(body.pop(), Some(b'\n'));
        }
        prop_assert_eq!(body, file);
    }
}

/// Cuts a chunk off the block after `before`; the last byte is the room for a newline.
fn cut(buffer: &mut [u8], before: usize, max_line: usize, ending: FileEnd) -> Option<ChunkCut> {
    let filled = buffer.len() - before - 1;
    chunker(10, max_line).cut(buffer, before, filled, false, ending)
}

#[test]
fn half_a_line_waits_for_its_end() {
    let mut buffer = *b"whole\nhalf?";
    let whole = cut(&mut buffer, 0, 100, FileEnd::MayGrow);
    assert_eq!(whole.map(|cut| (cut.raw, cut.body)), Some((6, 6)));
    assert_eq!(cut(&mut buffer, 6, 100, FileEnd::MayGrow), None);
}

#[test]
fn a_piece_of_a_long_line_leaves_a_byte_for_the_end() {
    let mut buffer = *b"xxxxxxxx?";
    let piece = cut(&mut buffer, 0, 8, FileEnd::MayGrow).expect("over the limit");
    assert_eq!((piece.raw, piece.line_end), (7, LineEnd::Open));
    assert_eq!(piece.long_lines, 1);
    let last = cut(&mut buffer, 7, 8, FileEnd::Final).expect("the end");
    assert_eq!((last.raw, last.body, last.line_end), (1, 2, LineEnd::Added));
    assert_eq!(&buffer[7..], b"x\n");
}

#[test]
fn lines_over_the_limit_are_counted_where_they_begin_in_pieces_or_whole() {
    for (text, before, expected) in [
        (&b"12345678\n1234567\nx\n123456789\n\n"[..], 0, 2),
        (b"1234567\n1234567\n", 0, 0),
        (b"abc123456789\n12345678\n", 3, 1),
    ] {
        let mut buffer = [text, b"?"].concat();
        let cut = cut(&mut buffer, before, 8, FileEnd::MayGrow).expect("whole lines");
        assert_eq!(cut.long_lines, expected);
    }
    let last = cut(&mut b"123456789?".to_owned(), 0, 10, FileEnd::Final).expect("the end");
    assert_eq!(last.long_lines, 0);
}

#[test]
fn a_finished_file_closes_with_an_empty_chunk() {
    let cut = cut(&mut b"line\n?".to_owned(), 5, 8, FileEnd::Final).expect("the end");
    assert_eq!((cut.raw, cut.body, cut.line_end), (0, 0, LineEnd::Whole));
    assert_eq!(cut.tail, Tail::of(b"line\n"));
}
