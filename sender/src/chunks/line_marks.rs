//! Marks of content: length and hash of each of the last lines of a stream that the relay has. By them a file is
//! recognised that begins in the middle of the stream (`tail -n 100 access.log > t; cat t > access.log`), or that was put back
//! to an older state. Head and tail of a stream recognise only files that begin like it and go on from its end.
//!
//! Files are only read through handles. Invariants: the marked lines are contiguous, and end at `end`; their number is bounded.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::io;

use logferry_protocol::stream::Offset;
use serde::{Deserialize, Serialize};

use crate::files::{self, FileHandle};

/// Most lines that are marked in one stream.
pub(crate) const MARKS_MAX: usize = 2048;
/// A stream that is further behind than this gets no marks: they would be replaced before they could be of use.
pub(crate) const MARKED_LAG: u64 = 4 << 20;
/// Most comparisons of two lines; a log of equal lines takes too many, and proves nothing.
const COMPARISONS_MAX: usize = 4_000_000;
/// Bytes of a file that are read at a time for its marks, and in all.
const READ_SPAN: usize = 64 * 1024;
const COMPARED_MAX: u64 = 64 << 20;
/// Most lines of a file that are compared, each with 8 bytes: a file may have only empty lines.
const COMPARED_LINES_MAX: usize = 2 << 20;
/// So many lines that stand once in the file and once in the stream, with a time or without one, prove that a file has the
/// stream's lines.
const TIMED_MIN: usize = 4;
const UNTIMED_MIN: usize = 16;

/// Hex digits of a mark in the checkpoint.
const MARK_DIGITS: usize = 14;

/// Length in bytes, newline included, and CRC-32C of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LineMark {
    length: u32,
    hash: u32,
}

impl LineMark {
    fn of(line: &[u8]) -> Option<Self> {
        let length = u32::try_from(line.len())
            .ok()
            .filter(|&length| length < 1 << 24)?;
        Some(Self {
            length,
            hash: crc32c::crc32c(line),
        })
    }
}

/// Marks of the whole lines of `bytes`, which begins at the start of a line; empty if there is none, or a line is too long.
pub(crate) fn marks_of(bytes: &[u8]) -> Vec<LineMark> {
    let lines = bytes.split_inclusive(|&byte| byte == b'\n');
    let whole = lines.filter(|line| line.ends_with(b"\n"));
    whole.map(LineMark::of).collect::<Option<_>>().unwrap_or_default()
}

/// Drops the marks of lines after the first `bytes` bytes.
pub(crate) fn cut_to(marks: &mut Vec<LineMark>, bytes: u64) {
    let mut end = 0;
    let is_before = |mark: &&LineMark| {
        end += u64::from(mark.length);
        end <= bytes
    };
    let kept = marks.iter().take_while(is_before).count();
    marks.truncate(kept);
}

/// The marks of the lines at the beginning of a file: of all of them, if they are not too many.
pub(crate) fn marks_of_file(file: &impl FileHandle, size: Offset) -> io::Result<Vec<LineMark>> {
    let (mut marks, mut rest, mut at) = (Vec::new(), Vec::new(), Offset::ZERO);
    let mut block = vec![0; READ_SPAN];
    let is_short = |marks: &Vec<_>, at: Offset| at.get() < COMPARED_MAX && marks.len() < COMPARED_LINES_MAX;
    while at < size && is_short(&marks, at) && rest.len() < READ_SPAN * 16 {
        let filled = files::fill(file, &mut block, at)?;
        at = at.plus(filled as u64);
        rest.extend_from_slice(block.get(..filled).unwrap_or_default());
        let whole = memchr::memrchr(b'\n', &rest).map_or(0, |last| last + 1);
        marks.extend(marks_of(rest.get(..whole).unwrap_or_default()));
        rest.drain(..whole);
        if filled < READ_SPAN {
            break;
        }
    }
    Ok(marks)
}

fn length_of(lines: &[LineMark]) -> u64 {
    lines.iter().map(|line| u64::from(line.length)).sum()
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "MarksText", into = "MarksText")]
pub(crate) struct LineMarks {
    end: Offset,
    lines: VecDeque<LineMark>,
}

impl LineMarks {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(crate) fn end(&self) -> Offset {
        self.end
    }

    fn start(&self) -> Offset {
        let bytes = self.lines.iter().map(|line| u64::from(line.length)).sum::<u64>();
        Offset::new(self.end.get().saturating_sub(bytes))
    }

    /// Adds the lines of `[start, end)`. If they are not all of these bytes, the marks begin anew after them.
    pub(crate) fn add(&mut self, start: Offset, end: Offset, lines: &[LineMark]) {
        if start == end {
            return;
        }
        let is_whole = length_of(lines) == end.since(start);
        if start != self.end || !is_whole {
            self.lines.clear();
        }
        self.end = end;
        if is_whole {
            self.lines.extend(lines);
        }
    }

    /// Forgets the oldest lines but the last `max`.
    pub(crate) fn keep(&mut self, max: usize) {
        let surplus = self.lines.len().saturating_sub(max);
        self.lines.drain(..surplus);
    }

    /// The stream ends here: the relay has no more of it.
    pub(crate) fn cut_back(&mut self, end: Offset) {
        while self.end > end {
            match self.lines.pop_back() {
                Some(line) => self.end = Offset::new(self.end.get().saturating_sub(line.length.into())),
                None => self.end = end,
            }
        }
    }

    /// Where `file`, the lines from a file's beginning, are lines of this stream.
    ///
    /// `begins_alike`: the file has the stream's first line.
    pub(crate) fn find(&self, file: &[LineMark], begins_alike: bool) -> Option<KnownLines> {
        let (own, start) = (self.lines.iter().copied().collect::<Vec<_>>(), self.start().get());
        let (mut best, mut comparisons) = (None::<KnownLines>, 0);
        let mut consider = |in_stream: usize, in_file: usize, is_allowed: &dyn Fn(&KnownLines) -> bool| {
            let (ours, theirs) = (own.get(in_stream..)?, file.get(in_file..)?);
            let count = ours
                .iter()
                .zip(theirs)
                .take_while(|(own, other)| own == other)
                .count();
            comparisons += count + 1;
            let before = length_of(file.get(..in_file)?);
            let known = KnownLines {
                lines: in_file..in_file + count,
                bytes: before..before + length_of(theirs.get(..count)?),
                reaches_end: in_stream + count == own.len(),
            };
            let is_better = best
                .as_ref()
                .is_none_or(|best| known.lines.len() > best.lines.len());
            if count > 0 && is_better && is_allowed(&known) {
                best = Some(known);
            }
            (comparisons < COMPARISONS_MAX).then_some(())
        };
        // The file begins at a line of the stream, or in the middle of one.
        for in_stream in 0..own.len() {
            consider(in_stream, 0, &|_| true)?;
            let is_rest = |before: &LineMark| file.first().is_some_and(|rest| rest.length < before.length);
            if in_stream
                .checked_sub(1)
                .and_then(|before| own.get(before))
                .is_some_and(is_rest)
            {
                consider(in_stream, 1, &|known| known.reaches_end)?;
            }
        }
        // It begins before the marked lines, which it must hold all; or it is the stream from its start.
        let mut before = 0;
        for (in_file, line) in file.iter().enumerate().skip(1) {
            before += file.get(in_file - 1).map_or(0, |line| u64::from(line.length));
            if before > start {
                break;
            }
            let is_from_start = begins_alike && before == start;
            if own.first() == Some(line) {
                consider(0, in_file, &|known| known.reaches_end || is_from_start)?;
            }
        }
        best
    }

    /// Whether lines of this stream are proven by what they are. Lines can be written twice in the same second, and texts without
    /// a time can be written again at any time.
    ///
    /// `times`: different times in them.
    pub(crate) fn is_proof(&self, known: &KnownLines, file: &[LineMark], times: usize) -> bool {
        let lines = file.get(known.lines.clone()).unwrap_or_default();
        let (here, there) = (counts(lines.iter()), counts(self.lines.iter()));
        let is_once = |line: &&LineMark| here.get(line) == Some(&1) && there.get(line) == Some(&1);
        let unique = lines.iter().filter(is_once).count();
        match times {
            0 => unique >= UNTIMED_MIN && known.reaches_end,
            1 => unique >= TIMED_MIN,
            // Lines in the order of their times, up to the last one.
            _ => unique >= TIMED_MIN || known.reaches_end && unique >= 2,
        }
    }
}

fn counts<'a>(lines: impl Iterator<Item = &'a LineMark>) -> HashMap<&'a LineMark, usize> {
    let mut counts = HashMap::new();
    for line in lines {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

/// Lines at the beginning of a file that are lines of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownLines {
    /// Which lines of the file were compared.
    pub(crate) lines: std::ops::Range<usize>,
    /// Their bytes in the file. What comes before belongs to the stream too.
    pub(crate) bytes: std::ops::Range<u64>,
    /// The last of them is the last marked line of the stream.
    pub(crate) reaches_end: bool,
}

/// How marks stand in the checkpoint: for each line six hex digits of its length and eight of its hash.
#[derive(Serialize, Deserialize)]
struct MarksText {
    end: Offset,
    lines: String,
}

impl From<LineMarks> for MarksText {
    fn from(marks: LineMarks) -> Self {
        let mut lines = String::with_capacity(marks.lines.len() * MARK_DIGITS);
        for line in &marks.lines {
            // Writing to a string cannot fail.
            let _ = write!(lines, "{:06x}{:08x}", line.length, line.hash);
        }
        Self {
            end: marks.end,
            lines,
        }
    }
}

impl TryFrom<MarksText> for LineMarks {
    type Error = &'static str;

    fn try_from(text: MarksText) -> Result<Self, Self::Error> {
        let line = |digits: &[u8]| {
            let digits = std::str::from_utf8(digits).ok()?;
            let number = |range: std::ops::Range<usize>| u32::from_str_radix(digits.get(range)?, 16).ok();
            Some(LineMark {
                length: number(0..6)?,
                hash: number(6..MARK_DIGITS)?,
            })
        };
        let lines = text.lines.as_bytes().chunks(MARK_DIGITS).map(line);
        let lines: Option<VecDeque<_>> = lines.collect();
        Ok(Self {
            end: text.end,
            lines: lines.ok_or("the marks of a stream's lines are not hex digits")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::files::compressed::tests::text_file;

    fn text(lines: &[u8]) -> Vec<u8> {
        lines.iter().flat_map(|line| [b'a' + line, b'\n']).collect()
    }

    fn marked(text: &[u8]) -> LineMarks {
        let mut marks = LineMarks::default();
        marks.add(Offset::ZERO, Offset::new(text.len() as u64), &marks_of(text));
        marks
    }

    #[test]
    fn marks_begin_anew_after_bytes_that_are_not_marked() {
        let mut marks = marked(b"one\ntwo\n");
        marks.add(Offset::new(8), Offset::new(20), &[]);
        assert!(marks.is_empty() && marks.end() == Offset::new(20));
        marks.add(Offset::new(20), Offset::new(24), &marks_of(b"six\n"));
        assert_eq!((marks.start(), marks.lines.len()), (Offset::new(20), 1));
        marks.add(Offset::new(30), Offset::new(34), &marks_of(b"ten\n"));
        assert_eq!((marks.start(), marks.lines.len()), (Offset::new(30), 1));
    }

    #[test]
    fn a_relay_that_has_less_cuts_marks_off() {
        let mut marks = marked(b"one\ntwo\nthree\n");
        marks.cut_back(Offset::new(9));
        assert_eq!(marks, marked(b"one\ntwo\n"));
        marks.cut_back(Offset::ZERO);
        assert!(marks.is_empty());
    }

    #[test]
    fn marks_in_a_checkpoint_read_back_and_other_text_is_refused() {
        let marks = marked(b"one\n\ntwo\n");
        let json = serde_json::to_string(&marks).expect("JSON");
        assert_eq!(serde_json::from_str::<LineMarks>(&json).expect("marks"), marks);
        for lines in ["0", "00000x00000000", "é0000000000000"] {
            let json = format!(r#"{{"end":1,"lines":"{lines}"}}"#);
            assert!(serde_json::from_str::<LineMarks>(&json).is_err(), "{lines}");
        }
    }

    #[test]
    fn a_log_of_equal_lines_proves_nothing_and_takes_no_time() {
        let marks = marked(&b"tick\n".repeat(MARKS_MAX));
        let file = marks_of(&b"tick\n".repeat(MARKS_MAX));
        let known = marks.find(&file, true);
        assert!(known.is_none_or(|known| !marks.is_proof(&known, &file, 0)));
    }

    #[test]
    fn a_file_of_empty_lines_takes_little_memory() {
        let file = text_file(&vec![b'\n'; COMPARED_LINES_MAX * 2]);
        let size = Offset::new(COMPARED_LINES_MAX as u64 * 2);
        let marks = marks_of_file(&file, size).expect("readable");
        assert!(marks.len() <= COMPARED_LINES_MAX + READ_SPAN, "{}", marks.len());
    }

    #[test]
    fn lines_that_stand_once_are_proof_among_lines_that_stand_often() {
        let lines = (0..8).fold(String::new(), |text, line| text + &format!("GET /{line}\nping\n"));
        let marks = marked(lines.as_bytes());
        let file = marks_of(lines.as_bytes());
        let known = marks.find(&file, true).expect("known lines");
        assert!(marks.is_proof(&known, &file, 1));
        assert!(!marks.is_proof(&known, &file, 0), "fewer than sixteen");
        let pings = marks_of(&b"ping\n".repeat(20));
        let known = marks.find(&pings, true).expect("one line");
        assert!(!marks.is_proof(&known, &pings, 1));
    }

    proptest! {
        /// Of lines that differ, the beginning that the stream has too is found, and ends where the new lines begin.
        #[test]
        fn the_beginning_that_is_known_is_found(
            count in 2_u8..20, from in 0_u8..20, length in 1_u8..20, new in 0_u8..4, kept in 1_usize..20,
        ) {
            let from = from.min(count - 1);
            let until = (from + length).min(count);
            let lines: Vec<u8> = (0..count).collect();
            let mut marks = marked(&text(&lines));
            marks.keep(kept);
            let first_marked = count.saturating_sub(u8::try_from(kept).expect("few"));
            let old: Vec<u8> = (from..until).collect();
            let added: Vec<u8> = (0..new).map(|line| 20 + line).collect();
            let file = [text(&old), text(&added)].concat();
            let known = marks.find(&marks_of(&file), from == 0);
            let is_comparable = if from >= first_marked {
                true
            } else {
                // Lines before the marked ones are believed if the marked ones follow, all of them or from the file's start.
                until > first_marked && (until == count || from == 0)
            };
            match known {
                Some(known) => {
                    prop_assert!(is_comparable);
                    prop_assert_eq!(known.bytes.end, text(&old).len() as u64);
                    prop_assert_eq!(known.reaches_end, until == count);
                }
                None => prop_assert!(!is_comparable),
            }
        }

        #[test]
        fn any_lines_are_compared(
            stream in prop::collection::vec(0_u8..3, 0..12), file in prop::collection::vec(0_u8..3, 0..12), alike in any::<bool>(),
        ) {
            let (stream, file) = (text(&stream), text(&file));
            if let Some(known) = marked(&stream).find(&marks_of(&file), alike) {
                let end = usize::try_from(known.bytes.end).expect("short");
                let start = usize::try_from(known.bytes.start).expect("short");
                let held = &file[start..end];
                prop_assert!(stream.windows(held.len()).any(|part| part == held));
            }
        }
    }
}
