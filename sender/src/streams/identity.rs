//! Decides which stream a found file is, by comparing the file's bytes with fingerprints.
//!
//! The rules, in order:
//! 1. A file with the device and inode of a known stream is that stream if it begins like the stream and holds the
//!    stream's tail at its committed offset. If nothing is committed, rule 2 goes first: inodes are used again.
//! 2. Any other file that begins like a known stream and holds its (non-empty) tail at its committed offset is that
//!    stream, unless a file is it by rule 1. Such a file is a copy left by copytruncate, or was moved or restored.
//!    Streams that another sender wrote last come after all others: this sender may have been copied, or lost its id.
//! 3. A rotated file that holds only bytes that the live file of its log also holds is a copy in progress. Its lines are
//!    the live file's lines, until the live file is truncated and rule 2 applies ([`is_copy`]).
//!    A file that holds what was acknowledged to this sender of a stream, after which another sender wrote to the stream,
//!    is a new stream that leaves those bytes out: one of the two files is a copy of the other (`tail/log/resolve.rs`).
//! 4. Every other file is a new stream ([`new_stream_id`]).
//!
//! Invariants: one stream is never two files, and one file is never two streams.

use std::collections::HashSet;
use std::io;

use logferry_protocol::resolve::KnownStream;
use logferry_protocol::stream::{FileKey, Head, Offset, StreamId};

use crate::files::compressed::LogText;
use crate::files::{self, FileHandle};
use crate::streams::tracked_stream::{StreamPosition, committed};

impl<H: FileHandle> LogText<H> {
    /// The up to [`FINGERPRINT_SPAN`](logferry_protocol::stream::FINGERPRINT_SPAN) bytes that end at `end`; `None` if
    /// the file is shorter than that.
    fn compared_ending(&self, end: Offset) -> io::Result<Option<Vec<u8>>> {
        let ending = files::ending_at(self, end);
        // Many files may be compared before one is read: keep no decoder open.
        self.release_decoder();
        ending
    }

    /// Whether it begins like a stream with this head. A file that cannot be read does not.
    pub(crate) fn begins_with(&self, head: Head) -> bool {
        files::beginning(self).is_ok_and(|beginning| head.matches(&beginning))
    }

    /// Whether the bytes before the position are the stream's.
    pub(crate) fn holds(&self, position: StreamPosition) -> io::Result<bool> {
        let ending = self.compared_ending(position.offset)?;
        Ok(ending.is_some_and(|ending| position.tail.matches(&ending)))
    }
}

pub(crate) struct UnidentifiedFile<'a, H> {
    pub(crate) key: FileKey,
    /// Its first bytes, as many as a head may cover, or all it has.
    pub(crate) beginning: &'a [u8],
    pub(crate) contents: &'a LogText<H>,
}

/// Matches files with the streams in `free`, which no followed file is; rules 1 and 2.
///
/// `files` come oldest first: where two could be the same stream, the older one is. Returns for each file the index of
/// its stream.
pub(crate) fn match_streams<H: FileHandle>(
    files: &[UnidentifiedFile<'_, H>],
    free: &[KnownStream],
) -> io::Result<Vec<Option<usize>>> {
    let mut matches = vec![None; files.len()];
    let mut held: Vec<HeldStreams> = files.iter().map(|_| HeldStreams::default()).collect();
    // The stream with the most committed bytes has the strongest evidence, so it comes first.
    let mut order: Vec<usize> = (0..free.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(free[index].committed));
    // A stream that another sender wrote is one of a copied disk, where files have the same inodes: this sender's own streams
    // come first.
    // That a file has the inode of a stream of which nothing is committed is the weakest evidence: inodes are used again.
    for (by_other, same_file, is_empty) in [false, true].into_iter().flat_map(|by_other| {
        [(true, false), (false, false), (true, true)]
            .map(|(same_file, is_empty)| (by_other, same_file, is_empty))
    }) {
        for &index in &order {
            let stream = &free[index];
            let is_its_turn = stream.by_other == by_other && (stream.committed == Offset::ZERO) == is_empty;
            if matches.contains(&Some(index)) || !is_its_turn {
                continue;
            }
            for ((file, matched), held) in files.iter().zip(&mut matches).zip(&mut held) {
                let is_candidate = matched.is_none() && (!same_file || file.key == stream.file);
                if is_candidate && stream.head.matches(file.beginning) && held.has(index, file, free)? {
                    *matched = Some(index);
                    break;
                }
            }
        }
    }
    Ok(matches)
}

/// Which streams a compressed file holds. It is decompressed once for all of them, when it is first asked for one.
#[derive(Debug, Default)]
struct HeldStreams(Option<HashSet<usize>>);

impl HeldStreams {
    /// Whether the file, which begins like the stream of this index, holds its committed bytes.
    fn has<H: FileHandle>(
        &mut self,
        index: usize,
        file: &UnidentifiedFile<'_, H>,
        free: &[KnownStream],
    ) -> io::Result<bool> {
        if !file.contents.is_compressed() {
            return free
                .get(index)
                .map_or(Ok(false), |stream| file.contents.holds(committed(stream)));
        }
        let held = match self.0.take() {
            Some(held) => held,
            None => held_streams(file, free)?,
        };
        Ok(self.0.insert(held).contains(&index))
    }
}

/// The indices of the streams that begin like the file, and whose committed bytes it holds. Offsets are looked at in ascending order,
/// which takes one pass of one decoder.
fn held_streams<H: FileHandle>(
    file: &UnidentifiedFile<'_, H>,
    free: &[KnownStream],
) -> io::Result<HashSet<usize>> {
    let alike = free.iter().enumerate();
    let mut alike: Vec<_> = alike
        .filter(|(_, stream)| stream.head.matches(file.beginning))
        .collect();
    alike.sort_by_key(|(_, stream)| stream.committed);
    let mut held = HashSet::new();
    for (index, stream) in alike {
        let ending = files::ending_at(file.contents, stream.committed)?;
        if ending.is_some_and(|ending| stream.tail.matches(&ending)) {
            held.insert(index);
        }
    }
    file.contents.release_decoder();
    Ok(held)
}

/// Whether each of the file's `size` bytes is at the same offset in `original` too; rule 3.
pub(crate) fn is_copy<H: FileHandle>(
    file: &LogText<H>,
    size: Offset,
    beginning: &[u8],
    original: &LogText<H>,
    original_head: Head,
) -> io::Result<bool> {
    if !original_head.matches(beginning) {
        return Ok(false);
    }
    let (ours, theirs) = (file.compared_ending(size)?, original.compared_ending(size)?);
    Ok(ours.is_some() && ours == theirs)
}

/// Whether another sender wrote to a stream after the bytes that were acknowledged here, which end at `acked`.
///
/// Then what came after is of that sender's file. It counts for nothing that this file has lines like those: two hosts can
/// log the same at the same time.
pub(crate) fn is_parted(known: &KnownStream, acked: Offset) -> bool {
    known.by_other && known.committed > acked
}

/// The id of a new stream; rule 4. The generation counts up until the id is not `known`.
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
    use logferry_protocol::stream::Tail;
    use proptest::prelude::*;

    use std::cell::Cell;
    use std::fs::File;
    use std::rc::Rc;

    use super::*;
    use crate::files::FileStat;
    use crate::files::compressed::CompressionFormat;
    use crate::files::compressed::tests::{compress, text_file};

    /// An archive that counts the bytes that are read of it.
    struct CountedFile(File, Rc<Cell<usize>>);

    impl FileHandle for CountedFile {
        fn stat(&self) -> io::Result<FileStat> {
            FileHandle::stat(&self.0)
        }

        fn read_at(&self, buffer: &mut [u8], at: Offset) -> io::Result<usize> {
            let read = FileHandle::read_at(&self.0, buffer, at)?;
            self.1.set(self.1.get() + read);
            Ok(read)
        }
    }

    fn key(inode: u64) -> FileKey {
        FileKey { dev: 1, inode }
    }

    fn stream(inode: u64, bytes: &[u8], committed: usize) -> KnownStream {
        let head = Head::of(bytes).expect("a whole line");
        KnownStream {
            stream: StreamId::derive(key(inode), head, 0),
            file: key(inode),
            head,
            committed: Offset::new(committed as u64),
            tail: Tail::of(&bytes[..committed]),
            by_other: false,
        }
    }

    fn matches(files: &[(u64, &str)], free: &[KnownStream]) -> Vec<Option<usize>> {
        let texts = files
            .iter()
            .map(|(_, text)| LogText::plain(text_file(text.as_bytes())));
        matches_of(files, &texts.collect::<Vec<_>>(), free)
    }

    /// The files are compressed.
    fn archive_matches(files: &[(u64, &str)], free: &[KnownStream]) -> Vec<Option<usize>> {
        let texts = files.iter().map(|(_, text)| {
            let bytes = compress(CompressionFormat::Gzip, text.as_bytes());
            archive(text_file(&bytes))
        });
        matches_of(files, &texts.collect::<Vec<_>>(), free)
    }

    fn archive<H: FileHandle>(file: H) -> LogText<H> {
        let mut text = LogText::plain(file);
        text.detect_compression(false).expect("a whole archive");
        text
    }

    fn matches_of<H: FileHandle>(
        files: &[(u64, &str)],
        texts: &[LogText<H>],
        free: &[KnownStream],
    ) -> Vec<Option<usize>> {
        let unknown = files
            .iter()
            .zip(texts)
            .map(|((inode, text), contents)| UnidentifiedFile {
                key: key(*inode),
                beginning: text.as_bytes(),
                contents,
            });
        let unknown: Vec<_> = unknown.collect();
        match_streams(&unknown, free).expect("readable")
    }

    #[test]
    fn a_file_is_the_stream_whose_head_and_tail_it_holds() {
        let known = || vec![stream(1, b"same\na\nb\n", 7)];
        let two_lives = vec![stream(1, b"same\na\n", 7), stream(1, b"same\nb\n", 7)];
        let empty = || vec![stream(1, b"same\n", 0)];
        let check =
            |case: &str, known: Vec<KnownStream>, files: &[(u64, &str)], expected: &[Option<usize>]| {
                assert_eq!(matches(files, &known), expected, "{case}");
            };
        check(
            "renamed",
            known(),
            &[(1, "same\na\nb\nc\n"), (2, "same\n")],
            &[Some(0), None],
        );
        check(
            "copied, truncated",
            known(),
            &[(2, "same\na\nb\n"), (1, "same\nx\ny\n")],
            &[Some(0), None],
        );
        check(
            "original and copy",
            known(),
            &[(2, "same\na\nb\n"), (1, "same\na\nb\n")],
            &[None, Some(0)],
        );
        check("reused inode", known(), &[(1, "other\n1\n2\n3\n")], &[None]);
        check(
            "reused inode, same head",
            known(),
            &[(1, "same\nx\ny\nz\n")],
            &[None],
        );
        check("shorter than committed", known(), &[(1, "same\n")], &[None]);
        check(
            "two lives of an inode",
            two_lives,
            &[(1, "same\nb\nmore\n")],
            &[Some(1)],
        );
        check(
            "nothing committed, another file",
            empty(),
            &[(2, "same\n")],
            &[None],
        );
        check(
            "nothing committed, same file",
            empty(),
            &[(1, "same\n")],
            &[Some(0)],
        );
    }

    #[test]
    fn a_file_is_rather_this_senders_stream_than_another_ones_with_its_inode() {
        // The copy of a log whose disk was copied: the other sender's stream has its inode.
        let other = KnownStream {
            by_other: true,
            ..stream(2, b"same\na\n", 5)
        };
        let own = stream(1, b"same\na\n", 7);
        assert_eq!(matches(&[(2, "same\na\n")], &[other.clone(), own]), [Some(1)]);
        assert_eq!(
            matches(&[(2, "same\na\n")], &[other]),
            [Some(0)],
            "better than none: the id was lost"
        );
    }

    #[test]
    fn a_copy_holds_nothing_that_the_original_does_not() {
        let original = LogText::plain(text_file(b"same\na\nb\n"));
        let head = Head::of(b"same\na\nb\n").expect("a line");
        for (text, copy) in [
            ("same\na", true),
            ("same\na\nb\n", true),
            ("same\nx\n", false),
            ("same\na\nb\nc", false),
        ] {
            let file = LogText::plain(text_file(text.as_bytes()));
            let size = Offset::new(text.len() as u64);
            let found = is_copy(&file, size, text.as_bytes(), &original, head);
            assert_eq!(found.expect("readable"), copy, "{text:?}");
        }
    }

    #[test]
    fn an_archive_is_decompressed_once_however_many_streams_begin_like_it() {
        let lines = (0..20_000_u32).map(|line| line.wrapping_mul(2_654_435_761).to_string());
        let text = format!("same\n{}\n", lines.collect::<Vec<_>>().join("\n"));
        let other = text.replace("1\n", "2\n");
        let free: Vec<KnownStream> = (1..=50)
            .zip((2000..).step_by(2000))
            .map(|(inode, end)| stream(inode, other.as_bytes(), end))
            .collect();
        let bytes = compress(CompressionFormat::Gzip, text.as_bytes());
        let read = Rc::new(Cell::new(0));
        let archive = archive(CountedFile(text_file(&bytes), Rc::clone(&read)));
        read.set(0);
        assert_eq!(matches_of(&[(99, &text)], &[archive], &free), [None]);
        assert!(read.get() <= bytes.len(), "{} of {}", read.get(), bytes.len());
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
            let matched = matches(&files, &free);
            prop_assert_eq!(&matched, &archive_matches(&files, &free), "compressed or not");
            let matched: Vec<usize> = matched.into_iter().flatten().collect();
            let mut distinct = matched.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(matched.len(), distinct.len());
        }
    }
}
