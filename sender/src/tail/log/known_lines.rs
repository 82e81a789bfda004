//! Lines that were shipped from another file, and come back at the beginning of a new one: a log of which somebody kept the
//! last lines, or one that was put back to an older state (a backup, a copy in memory, a power failure). They are left out.
//!
//! The new file has a stream of its own, which begins after the known lines, as with `start: end` (`first_start`). So a crash
//! at any time leaves a mark in the checkpoint, or a file that is compared again.
//!
//! Only streams are compared whose files are gone or were rewritten: their lines are durable at the relay, and no file
//! that is still read has them. And a live file with a rotated one that is still there (`put_back`).

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::time::Duration;

use logferry_protocol::stream::{Offset, StreamId, Tail};

use crate::checkpoint::{CheckpointStream, SkippedStart};
use crate::chunks::line_marks::{self, KnownLines, LineMark, LineMarks, MARKS_MAX};
use crate::clock::Now;
use crate::files::compressed::LogText;
use crate::files::discovery::FileRole;
use crate::files::{self, FileHandle};
use crate::streams::timed_line::time_of;
use crate::streams::tracked_stream::{StreamPhase, StreamPosition, TrackedStream, committed};
use crate::tail::log::{CheckpointNeed, TailedLog};
use crate::tail::tracked_file::{ReadQueue, TrackedFile};

/// Most marks of all streams of a sender; each live file gets its share.
const MARKS_TOTAL: usize = 16 * 1024;
const MARKS_MIN: usize = 16;
/// Most former streams of a log. Together they have as many marks as a live file.
const FORMER_MAX: usize = 4;
/// A file with known lines only may be a copy that is still being made, until it has not changed for this time.
const COPY_QUIET: Duration = Duration::from_secs(2);
/// A live file that begins like a rotated one, and is shorter, waits at most so long for the rest of a copy.
const PUT_BACK_MAX: Duration = Duration::from_secs(10);
/// Bytes of the known lines that are searched for times, at each end.
const TIMED_SPAN: u64 = 16 * 1024;
/// Text of an archive that is compared.
const ARCHIVE_MAX: u64 = 4 << 20;
/// Bytes of a file that are read again for each mark that a crash lost.
const CATCH_UP_LINE: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// What is to be read of the file is new.
    New,
    /// All its lines are known. It is compared again when it changes, or when it has not changed for a while.
    Contained,
}

/// Remembers a stream whose file is gone.
pub(super) fn remember(former: &mut Vec<CheckpointStream>, gone: CheckpointStream, marks_max: usize) {
    if gone.marks.is_empty() {
        return;
    }
    former.retain(|known| known.stream.stream != gone.stream.stream);
    for known in &mut *former {
        known.marks.keep(marks_max / FORMER_MAX);
    }
    former.insert(0, gone);
    former.truncate(FORMER_MAX);
}

/// Lines at the beginning of a file, known from a stream.
struct Recognised {
    /// The end of the known lines in the file.
    end: Offset,
    /// The streams that are acknowledged up to there. Several may end with the same lines.
    ending: Vec<StreamId>,
    is_all: bool,
    from: CheckpointStream,
}

impl<H: FileHandle> TailedLog<H> {
    pub(crate) fn live_count(&self) -> usize {
        self.files
            .iter()
            .filter(|file| file.role == FileRole::Live)
            .count()
    }

    /// Each of the `live` files of the sender gets its share of the marks.
    pub(crate) fn share_marks(&mut self, live: usize) {
        self.marks_max = (MARKS_TOTAL / live.max(1)).clamp(MARKS_MIN, MARKS_MAX);
    }

    pub(crate) fn former(&self) -> impl Iterator<Item = &CheckpointStream> {
        self.former.iter()
    }

    /// The relay has lost lines: what it had is no proof any more.
    pub(super) fn forget_former(&mut self) {
        self.former.clear();
        for orphan in &mut self.orphans {
            orphan.stream.marks = LineMarks::default();
        }
        for file in &mut self.files {
            if file.marked().is_some_and(|mark| mark.known) {
                file.left_out = None;
            }
            if let Some(stream) = file.stream_mut() {
                stream.marks = LineMarks::default();
            }
        }
        self.unassigned.retain(|mark| !mark.known);
    }

    /// Once new files are identified: before streams that lost their files are searched for losses, their lines are searched
    /// in these.
    pub(super) fn leave_out_lost(&mut self, now: Now) {
        if self.orphans.iter().all(|orphan| orphan.stream.marks.is_empty()) {
            return;
        }
        for index in 0..self.files.len() {
            self.leave_out_known(index, now);
        }
    }

    /// Leaves out the known lines of a file of which nothing was read yet.
    pub(super) fn leave_out_known(&mut self, index: usize, now: Now) -> Comparison {
        let is_due = |file: &&TrackedFile<H>| is_new(file) && !self.is_compared(file);
        let Some(file) = self.files.get(index).filter(is_due) else {
            return Comparison::New;
        };
        let path = file.path.display().to_string();
        let found = match self.put_back(file) {
            Ok(None) => self.recognise(file),
            found => found,
        };
        let recognised = match found {
            Ok(Some(recognised)) => recognised,
            Ok(None) if self.is_being_put_back(index, now) => return Comparison::Contained,
            Ok(None) => {
                self.note_compared(index);
                return Comparison::New;
            }
            Err(error) => {
                tracing::debug!(path, %error, "the log cannot be compared with former ones");
                return Comparison::New;
            }
        };
        self.settle_orphans(index, &recognised);
        let Some(file) = self.files.get_mut(index) else {
            return Comparison::New;
        };
        let is_final = file.role != FileRole::Live && file.close_policy.may_close();
        if recognised.is_all && !is_final && !file.is_unchanged_copy(now) {
            if let Some(stream) = file.stream_mut() {
                stream.exhausted = true;
            }
            return Comparison::Contained;
        }
        let end = recognised.end;
        let Ok(Some(tail)) = file.tail_at(end) else {
            return Comparison::New;
        };
        let source = match recognised.from.path.as_str() {
            "" => "a file that is gone or was rewritten",
            path => path,
        };
        tracing::warn!(
            path, bytes = %end, of = %recognised.from.stream.stream,
            "the first {end} bytes of {path} were shipped before, from {source}; they are not shipped again"
        );
        let head = file.stream().map(|stream| stream.head);
        file.mark(SkippedStart {
            log: self.name.clone(),
            path,
            file: file.stat.key,
            head,
            end,
            tail: Some(tail),
            confirmed: true,
            exact: false,
            known: true,
        });
        self.save = CheckpointNeed::BeforeSending;
        Comparison::New
    }

    /// It need not be compared again before it changes, or another stream loses its file.
    fn note_compared(&mut self, index: usize) {
        let known = self.former.first().map(|known| known.stream.stream);
        if let Some(file) = self.files.get_mut(index) {
            file.compared = Some((file.size(), known));
        }
    }

    fn is_compared(&self, file: &TrackedFile<H>) -> bool {
        let known = self.former.first().map(|known| known.stream.stream);
        file.compared == Some((file.size(), known)) && self.orphans.is_empty()
    }

    /// A rotated log that was put back as the live one (`cp access.log.1 access.log`), while it is still there itself.
    ///
    /// The live file begins with all its acknowledged bytes, and with a line with a time, after which later times stand. So
    /// its lines were not written again: a log that began after the rotation has no older time in its first line.
    fn put_back(&self, file: &TrackedFile<H>) -> io::Result<Option<Recognised>> {
        let Some(text) = &file.handle else { return Ok(None) };
        for (original, stream) in self.rotated_alike(file) {
            let StreamPosition { offset: end, .. } = stream.acked;
            if end > file.size() || !text.holds(stream.acked)? {
                continue;
            }
            let (first, times) = (first_time(text)?, times_in(text, 0..end.get(), true)?);
            let is_in_order = times.first() == first.as_ref() && times.last() > first.as_ref();
            if is_in_order {
                let path = original.path.display().to_string();
                let from = stream.to_checkpoint(&self.name, path, original.stat.key, original.extent);
                return Ok(Some(Recognised {
                    end,
                    ending: vec![stream.id],
                    is_all: end == file.size(),
                    from,
                }));
            }
        }
        Ok(None)
    }

    /// The rotated files with the first line of this live file, of which all is acknowledged.
    fn rotated_alike<'a>(
        &'a self,
        file: &'a TrackedFile<H>,
    ) -> impl Iterator<Item = (&'a TrackedFile<H>, &'a TrackedStream)> {
        let head = file.stream().map(|stream| stream.head);
        let is_alike = move |other: &&TrackedFile<H>| {
            file.role == FileRole::Live && other.role == FileRole::Rotated && other.chain == file.chain
        };
        self.files.iter().filter(is_alike).filter_map(move |other| {
            let stream = other.stream().filter(|stream| stream.is_drained())?;
            (Some(stream.head) == head && stream.acked.offset > Offset::ZERO).then_some((other, stream))
        })
    }

    /// Whether a live file may be a rotated log that is being copied there. It is read later, even if it is none.
    fn is_being_put_back(&mut self, index: usize, now: Now) -> bool {
        let is_shorter = |file: &TrackedFile<H>| {
            let mut alike = self.rotated_alike(file);
            let waits = file.lag_age.oldest_unread(Offset::ZERO, now.instant) < PUT_BACK_MAX;
            let is_timed = |text: &LogText<H>| matches!(first_time(text), Ok(Some(_)));
            waits
                && alike.any(|(_, stream)| stream.acked.offset > file.size())
                && file.handle.as_ref().is_some_and(is_timed)
        };
        if !self.files.get(index).is_some_and(is_shorter) {
            return false;
        }
        let Some(file) = self.files.get_mut(index) else {
            return false;
        };
        let is_waiting = !file.is_unchanged_copy(now);
        if let Some(stream) = file.stream_mut().filter(|_| is_waiting) {
            stream.exhausted = true;
        }
        is_waiting
    }

    fn recognise(&self, file: &TrackedFile<H>) -> io::Result<Option<Recognised>> {
        let (Some(text), Some(stream)) = (&file.handle, file.stream()) else {
            return Ok(None);
        };
        let gone = self
            .files
            .iter()
            .filter(|other| other.role == FileRole::Gone && other.stat.key != file.stat.key);
        let gone =
            gone.filter_map(|other| Some((other, other.stream().filter(|stream| stream.is_drained())?)));
        let gone = gone.map(|(other, stream)| {
            stream.to_checkpoint(&self.name, String::new(), other.stat.key, other.extent)
        });
        let orphans = self
            .orphans
            .iter()
            .filter(|orphan| orphan.is_resolved() && !orphan.is_parted);
        let orphans = orphans.map(|orphan| {
            orphan
                .stream
                .to_checkpoint(&self.name, String::new(), orphan.file, orphan.extent)
        });
        let candidates: Vec<_> = gone.chain(orphans).chain(self.former.iter().cloned()).collect();
        let candidates: Vec<_> = candidates
            .into_iter()
            .filter(|known| !known.marks.is_empty())
            .collect();
        if candidates.is_empty() {
            return Ok(None);
        }
        let size = file.size();
        let lines = line_marks::marks_of_file(text, size)?;
        let mut all = Vec::new();
        for candidate in candidates {
            let Some(known) = candidate.marks.find(&lines, candidate.stream.head == stream.head) else {
                continue;
            };
            let times = times_in(text, known.bytes.clone(), true)?;
            if candidate.marks.is_proof(&known, &lines, times.len()) && is_older(text, &known, &times)? {
                all.push(recognised(text, size, &lines, &known, candidate)?);
            }
        }
        text.release_decoder();
        Ok(longest(all))
    }

    /// The file of a stream was not lost, but put back or shortened. If the new file goes on where the acknowledged part of the
    /// stream ends, it has what the stream's file was seen to hold beyond that, if it is long enough.
    fn settle_orphans(&mut self, index: usize, recognised: &Recognised) {
        let size = self.files.get(index).map_or(Offset::ZERO, TrackedFile::size);
        for orphan in &mut self.orphans {
            let (id, acked) = (orphan.stream.id, orphan.stream.acked.offset);
            let ends_there = recognised.ending.contains(&id);
            let covered = if ends_there { size.since(recognised.end) } else { 0 };
            let is_its = ends_there || recognised.from.stream.stream == id;
            if is_its && orphan.extent.since(acked) <= covered {
                orphan.extent = acked;
                orphan.stream.phase = StreamPhase::Finished;
            }
        }
    }
}

fn recognised<H: FileHandle>(
    text: &LogText<H>,
    size: Offset,
    lines: &[LineMark],
    known: &KnownLines,
    from: CheckpointStream,
) -> io::Result<Recognised> {
    let (mut end, mut is_all) = (Offset::new(known.bytes.end), known.lines.end == lines.len());
    let committed = committed(&from.stream);
    // The relay has more than the marks tell: the sender was killed before it saved them.
    let unmarked = committed.offset.since(from.marks.end());
    if known.reaches_end && unmarked > 0 {
        let further = end.plus(unmarked);
        let position = StreamPosition {
            offset: further,
            ..committed
        };
        let is_comparable = further <= size && further.get() >= files::span_before(committed.offset) as u64;
        if is_comparable && holds_span(text, position, committed)? {
            (end, is_all) = (further, further == size);
        }
    }
    let id = from.stream.stream;
    Ok(Recognised {
        end,
        ending: Vec::from_iter(known.reaches_end.then_some(id)),
        is_all,
        from,
    })
}

/// The one with the most known lines, and all streams that end with them.
fn longest(all: Vec<Recognised>) -> Option<Recognised> {
    let end = all.iter().map(|recognised| recognised.end).max()?;
    let mut longest = all.into_iter().filter(|recognised| recognised.end == end);
    let mut first = longest.next()?;
    first.ending.extend(longest.flat_map(|other| other.ending));
    Some(first)
}

/// Whether the bytes before the position are those that end the stream at `committed`.
fn holds_span<H: FileHandle>(
    text: &LogText<H>,
    position: StreamPosition,
    committed: StreamPosition,
) -> io::Result<bool> {
    let span = files::span_before(committed.offset);
    let ending = files::ending_at(text, position.offset)?;
    let ending = ending
        .as_deref()
        .and_then(|ending| ending.get(ending.len().checked_sub(span)?..));
    Ok(ending.is_some_and(|ending| committed.tail.matches(ending)))
}

/// The time in the first line of a file.
fn first_time<H: FileHandle>(text: &LogText<H>) -> io::Result<Option<i64>> {
    let beginning = files::beginning(text)?;
    let first = beginning.split_inclusive(|&byte| byte == b'\n').next();
    Ok(first.and_then(time_of))
}

/// The times of lines in these bytes of a file, at their beginning and end. `at_line`: they begin at the start of a line.
fn times_in<H: FileHandle>(text: &LogText<H>, bytes: Range<u64>, at_line: bool) -> io::Result<BTreeSet<i64>> {
    let Range { start, end } = bytes;
    let mut times = BTreeSet::new();
    let parts = [
        (start, end.min(start + TIMED_SPAN)),
        (end.saturating_sub(TIMED_SPAN).max(start), end),
    ];
    for (from, until) in parts {
        let mut bytes = vec![0; usize::try_from(until - from).unwrap_or(0)];
        let filled = files::fill(text, &mut bytes, Offset::new(from))?;
        let lines = bytes.get(..filled).unwrap_or_default();
        let lines = lines.split_inclusive(|&byte| byte == b'\n');
        // The last part may begin in the middle of a line.
        let whole = lines.skip(usize::from(from != start || !at_line));
        let whole = whole.filter(|line| line.ends_with(b"\n"));
        times.extend(whole.filter_map(time_of));
    }
    Ok(times)
}

/// Whether what stands before the known lines is older than they are, so that it is of the same stream. Other lines may have
/// been written into an empty file before old ones were appended to it.
///
/// Before them may stand the rest of a line, or lines with times.
fn is_older<H: FileHandle>(text: &LogText<H>, known: &KnownLines, times: &BTreeSet<i64>) -> io::Result<bool> {
    if known.bytes.start == 0 {
        return Ok(true);
    }
    let before = times_in(text, 0..known.bytes.start, true)?;
    let (Some(first), true) = (times.first(), times.len() > 1) else {
        return Ok(false);
    };
    let is_rest = known.lines.start == 1;
    Ok((is_rest || !before.is_empty()) && before.iter().all(|time| time <= first))
}

fn is_new<H: FileHandle>(file: &TrackedFile<H>) -> bool {
    let is_unread = |stream: &TrackedStream| {
        stream.phase == StreamPhase::Reading
            && stream.read.offset == Offset::ZERO
            && stream.acked.offset == Offset::ZERO
    };
    // Old archives are many, and large.
    let is_small = !file.is_compressed() || file.size().get() <= ARCHIVE_MAX;
    let is_comparable = file.queue == ReadQueue::InOrder && is_small;
    is_comparable && file.stream().is_some_and(is_unread) && file.left_out.is_none()
}

impl<H: FileHandle> TrackedFile<H> {
    pub(super) fn tail_at(&self, end: Offset) -> io::Result<Option<Tail>> {
        let Some(text) = &self.handle else { return Ok(None) };
        let ending = files::ending_at(text, end)?;
        Ok(ending.map(|ending| Tail::of(&ending)))
    }

    /// Marks up to `max` lines of a live file before the position where its stream goes on. They are in the file, if the
    /// sender was killed before it saved their marks.
    pub(super) fn catch_up_marks(&self, stream: &mut TrackedStream, max: usize) {
        let end = stream.read.offset;
        stream.marks.cut_back(end);
        let (marked, span) = (stream.marks.end(), (max * CATCH_UP_LINE) as u64);
        let Some(text) = self
            .handle
            .as_ref()
            .filter(|_| self.role == FileRole::Live && marked < end)
        else {
            return;
        };
        let from = marked.max(Offset::new(end.get().saturating_sub(span)));
        let mut bytes = vec![0; usize::try_from(end.since(from)).unwrap_or(0)];
        let is_read = files::fill(text, &mut bytes, from).is_ok_and(|filled| filled == bytes.len());
        if !is_read {
            return;
        }
        // The span may begin in the middle of a line.
        let is_cut = from > marked && from > Offset::ZERO;
        let line_start = if is_cut {
            memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |newline| newline + 1)
        } else {
            0
        };
        let marks = line_marks::marks_of(bytes.get(line_start..).unwrap_or_default());
        stream.marks.add(from.plus(line_start as u64), end, &marks);
        stream.marks.keep(max);
    }

    /// Whether a file with known lines only has not changed for a while. Until then it is compared again.
    fn is_unchanged_copy(&mut self, now: Now) -> bool {
        let size = self.size();
        let since = match self.contained {
            Some((known, since)) if known == size => since,
            _ => now.instant,
        };
        self.contained = Some((size, since));
        self.compare_at = Some(since + COPY_QUIET);
        now.instant >= since + COPY_QUIET
    }

    /// Whether it is time to compare the file again.
    pub(super) fn compare_again(&mut self, now: Now) {
        if self.compare_at.is_some_and(|at| now.instant >= at) {
            self.compare_at = None;
            self.unread_since = now.instant;
            if let Some(stream) = self.stream_mut() {
                stream.exhausted = false;
            }
        }
    }
}
