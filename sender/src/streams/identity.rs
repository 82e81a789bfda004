//! Decides which stream a found file is, from what the file holds.
//!
//! The rules, in order:
//! 1. A file with the device and inode of a known stream that begins like it, and holds its tail at its committed
//!    offset, is that stream.
//! 2. Any other file that begins like a known stream and holds its (non-empty) tail at its committed offset is that
//!    stream, if no file is it by rule 1: a copy left by copytruncate, or a file that was moved or restored.
//! 3. A rotated file that holds nothing but what the live file of its log holds too is a copy in the making: its lines
//!    are the live file's lines, until that one is truncated and rule 2 applies ([`is_copy`]).
//! 4. Every other file is a new stream ([`new_stream_id`]).
//!
//! Invariants: one stream is never two files, and one file is never two streams.

use std::io;

use logferry_protocol::resolve::KnownStream;
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId};

/// A way to look into a file.
pub(crate) trait FileContents {
    /// The up to [`FINGERPRINT_SPAN`](logferry_protocol::stream::FINGERPRINT_SPAN) bytes that end at `end`; `None` if
    /// the file is shorter than that.
    fn ending_at(&self, end: Offset) -> io::Result<Option<Vec<u8>>>;
}

/// A file whose stream is sought.
pub(crate) struct UnidentifiedFile<'a> {
    pub(crate) key: FileKey,
    /// Its first bytes, as many as a head may cover, or all it has.
    pub(crate) beginning: &'a [u8],
    pub(crate) contents: &'a dyn FileContents,
}

impl UnidentifiedFile<'_> {
    /// Whether the file begins like the stream and holds its tail where the stream is committed.
    fn holds(&self, stream: &KnownStream) -> io::Result<bool> {
        if !stream.head.matches(self.beginning) {
            return Ok(false);
        }
        let ending = self.contents.ending_at(stream.committed)?;
        Ok(ending.is_some_and(|ending| stream.tail.matches(&ending)))
    }
}

/// Matches files with the streams in `free`, those that no followed file is; rules 1 and 2.
///
/// `files` come oldest first: where two could be the same stream, the older one is. The answer has, for each file, the
/// index of its stream.
pub(crate) fn match_streams(
    files: &[UnidentifiedFile<'_>],
    free: &[KnownStream],
) -> io::Result<Vec<Option<usize>>> {
    let mut claims = vec![None; files.len()];
    // What is committed furthest has the strongest evidence, so it chooses first.
    let mut order: Vec<usize> = (0..free.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(free[index].committed));
    for same_file in [true, false] {
        for &index in &order {
            if claims.contains(&Some(index)) {
                continue;
            }
            let stream = &free[index];
            for (file, claim) in files.iter().zip(&mut claims) {
                let may = if same_file {
                    file.key == stream.file
                } else {
                    stream.committed > Offset::ZERO
                };
                if claim.is_none() && may && file.holds(stream)? {
                    *claim = Some(index);
                    break;
                }
            }
        }
    }
    Ok(claims)
}

/// Whether a file of `size` bytes holds nothing but what `original` holds at the same place; rule 3.
pub(crate) fn is_copy(
    file: &dyn FileContents,
    size: Offset,
    beginning: &[u8],
    original: &dyn FileContents,
    original_head: Head,
) -> io::Result<bool> {
    if !original_head.matches(beginning) {
        return Ok(false);
    }
    let (ours, theirs) = (file.ending_at(size)?, original.ending_at(size)?);
    Ok(ours.is_some() && ours == theirs)
}

/// The id of a stream never seen before; rule 4. The generation counts up past the ids that are `known` already.
pub(crate) fn new_stream_id(key: FileKey, head: Head, known: impl Fn(StreamId) -> bool) -> StreamId {
    let mut generation = 0;
    loop {
        let id = StreamId::derive(key, head, generation);
        if !known(id) {
            return id;
        }
        generation += 1;
    }
}

#[cfg(test)]
mod tests {
    use logferry_protocol::stream::{FINGERPRINT_SPAN, Tail};
    use proptest::prelude::*;

    use super::*;

    impl FileContents for Vec<u8> {
        fn ending_at(&self, end: Offset) -> io::Result<Option<Vec<u8>>> {
            let end = usize::try_from(end.get()).expect("test files are small");
            Ok(self
                .get(end.saturating_sub(FINGERPRINT_SPAN)..end)
                .map(<[u8]>::to_vec))
        }
    }

    fn key(inode: u64) -> FileKey {
        FileKey { dev: 1, inode }
    }

    /// The stream of a file that was committed up to `committed`.
    fn stream(inode: u64, bytes: &[u8], committed: usize) -> KnownStream {
        let head = Head::of(bytes).expect("a whole line");
        KnownStream {
            stream: StreamId::derive(key(inode), head, 0),
            file: key(inode),
            head,
            committed: Offset::new(committed as u64),
            tail: Tail::of(&bytes[..committed]),
        }
    }

    fn claims(files: &[(u64, &str)], free: &[KnownStream]) -> Vec<Option<usize>> {
        let files: Vec<(FileKey, Vec<u8>)> = files
            .iter()
            .map(|(inode, text)| (key(*inode), text.as_bytes().to_vec()))
            .collect();
        let unknown: Vec<UnidentifiedFile<'_>> = files
            .iter()
            .map(|(key, bytes)| UnidentifiedFile {
                key: *key,
                beginning: bytes,
                contents: bytes,
            })
            .collect();
        match_streams(&unknown, free).expect("memory reads")
    }

    #[test]
    fn a_renamed_file_stays_its_stream_and_the_new_one_is_new() {
        let known = [stream(1, b"same\na\nb\n", 7)];
        assert_eq!(
            claims(&[(1, "same\na\nb\nc\n"), (2, "same\n")], &known),
            [Some(0), None]
        );
    }

    #[test]
    fn a_copy_is_the_stream_once_the_original_was_truncated() {
        let known = [stream(1, b"same\na\nb\n", 7)];
        assert_eq!(
            claims(&[(2, "same\na\nb\n"), (1, "same\nx\ny\n")], &known),
            [Some(0), None]
        );
    }

    #[test]
    fn the_original_goes_before_a_copy_of_it() {
        let known = [stream(1, b"same\na\nb\n", 7)];
        assert_eq!(
            claims(&[(2, "same\na\nb\n"), (1, "same\na\nb\n")], &known),
            [None, Some(0)]
        );
    }

    #[test]
    fn a_reused_inode_is_not_the_stream_it_was() {
        let known = [stream(1, b"same\na\nb\n", 7)];
        assert_eq!(claims(&[(1, "other\n1\n2\n3\n")], &known), [None]);
        assert_eq!(claims(&[(1, "same\nx\ny\nz\n")], &known), [None]);
        assert_eq!(
            claims(&[(1, "same\n")], &known),
            [None],
            "shorter than what is committed"
        );
    }

    #[test]
    fn of_two_lives_of_one_inode_the_one_whose_tail_fits_is_meant() {
        let (old, new) = (stream(1, b"same\na\n", 7), stream(1, b"same\nb\n", 7));
        assert_eq!(claims(&[(1, "same\nb\nmore\n")], &[old, new]), [Some(1)]);
    }

    #[test]
    fn nothing_committed_is_no_evidence_for_another_file() {
        let known = [stream(1, b"same\n", 0)];
        assert_eq!(claims(&[(2, "same\n")], &known), [None]);
        assert_eq!(claims(&[(1, "same\n")], &known), [Some(0)]);
    }

    #[test]
    fn a_copy_holds_nothing_that_the_original_does_not() {
        let original = b"same\na\nb\n".to_vec();
        let head = Head::of(&original).expect("a line");
        for (text, copy) in [
            ("same\na", true),
            ("same\na\nb\n", true),
            ("same\nx\n", false),
            ("same\na\nb\nc", false),
        ] {
            let file = text.as_bytes().to_vec();
            let size = Offset::new(file.len() as u64);
            assert_eq!(
                is_copy(&file, size, &file, &original, head).expect("memory"),
                copy,
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_new_stream_never_takes_a_known_id() {
        let head = Head::of(b"same\n").expect("a line");
        let taken: Vec<StreamId> = (0..3)
            .map(|generation| StreamId::derive(key(1), head, generation))
            .collect();
        let id = new_stream_id(key(1), head, |id| taken.contains(&id));
        assert_eq!(id, StreamId::derive(key(1), head, 3));
    }

    proptest! {
        #[test]
        fn a_stream_is_at_most_one_file_and_a_file_at_most_one_stream(
            files in prop::collection::vec((1_u64..4, "[ab\n]{0,6}"), 0..5),
            streams in prop::collection::vec((1_u64..4, "[ab]{0,2}\n[ab\n]{0,4}", 0_usize..4), 0..5),
        ) {
            let free: Vec<KnownStream> = streams
                .iter()
                .map(|(inode, text, cut)| stream(*inode, text.as_bytes(), (*cut).min(text.len())))
                .collect();
            let files: Vec<(u64, &str)> = files.iter().map(|(inode, text)| (*inode, text.as_str())).collect();
            let claimed: Vec<usize> = claims(&files, &free).into_iter().flatten().collect();
            let mut distinct = claimed.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(claimed.len(), distinct.len());
        }
    }
}
