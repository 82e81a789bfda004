//! One file of a log: the state of its contents, the size it was seen to have, and when it is closed.
//!
//! Files are only read through handles, and time is an argument. When a rotated file is closed (`close_policy`) and how
//! the age of unread lines is measured (`lag_age`) may be changed here without looking elsewhere.

pub(crate) mod close_policy;
mod examine;
pub(crate) mod handle_budget;
pub(crate) mod lag_age;
mod left_out;

use std::cmp::Ordering;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use logferry_protocol::heartbeat::StreamProgress;
use logferry_protocol::names::LogName;
use logferry_protocol::stream::{Head, Offset, StreamId};

use crate::chunks::chunker::Chunker;
use crate::chunks::line_marks::{MARKED_LAG, cut_to, marks_of_file};
use crate::clock::Now;
use crate::files::compressed::{LAYERS_MAX, LogText};
use crate::files::discovery::{self, FileRole, FoundFile};
use crate::files::{FileHandle, FileStat};
use crate::relay_backoff::RelayBackoff;
use crate::streams::orphan::OrphanStream;
use crate::streams::read::{ChunkRead, read_chunk, skip_to_end};
use crate::streams::tracked_stream::{StreamPhase, TrackedStream};
use crate::tail::tracked_file::close_policy::{ABANDONED, ClosePolicy};
use crate::tail::tracked_file::lag_age::LagAge;

pub(crate) use self::left_out::LeftOut;

/// Number of a rotation chain within its log: a live path with its rotated files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChainId(pub(crate) usize);

/// In which order a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadQueue {
    /// After all older files of its chain, and before the younger ones.
    InOrder,
    /// It is one of many old files, which have an order of their own.
    Backlog,
}

impl ReadQueue {
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::InOrder => 0,
            Self::Backlog => 1,
        }
    }
}

#[derive(Debug)]
pub(crate) enum FileState {
    /// It cannot be opened; the next scan tries again.
    Unopened,
    /// It has no whole line, and too few bytes to distinguish it from other files.
    TooShort,
    /// It has this head; the relay has to tell which streams have it too.
    Unidentified(Head),
    /// Until now it is a copy of the file that holds this stream.
    Copy {
        head: Head,
        of: StreamId,
    },
    /// It is compressed, and nothing is read from it now.
    Compressed(CompressedState),
    /// It can be read, but is not shipped until it changes.
    Held(HeldReason),
    Stream(TrackedStream),
}

/// How a rotated file came to its name, or to its present contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileOrigin {
    /// Rotation may have made it.
    Rotation,
    /// It came while the live file stayed as it was.
    Beside,
}

/// Why a file that can be read is not shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeldReason {
    #[error(
        "it is not text: it has a NUL byte in its first KiB; move it out of the folder, or give the log another name there"
    )]
    NotText,
    #[error(
        "it is compressed and ends in the middle, and nobody has written to it for 10 minutes; compress its log again, or delete it"
    )]
    Incomplete,
    #[error("it is compressed more than {LAYERS_MAX} times; decompress it")]
    TooDeep,
    #[error(
        "it appeared beside the log while the sender ran, and rotation did not make it: a log was edited or copied there; move \
         it out of the folder, or ship its lines once with `logferry backfill FILE`"
    )]
    Beside,
    #[error(
        "decompressing it takes more than 128 MiB of memory; compress it again with a smaller window, such as `zstd --long=27`"
    )]
    TooLarge,
}

/// Why nothing is read from a compressed file until it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompressedState {
    /// The compressor is still writing it. Its lines are still in the original file.
    Incomplete,
    Damaged,
    Shipped {
        /// Its stream, if that is known.
        of: Option<StreamId>,
        /// Beginning and size of its text, if this process has read it.
        text: Option<(Head, Offset)>,
    },
}

pub(crate) struct TrackedFile<H> {
    pub(crate) state: FileState,
    /// Kept open while there may be something to read, so that a rename or a deletion loses nothing.
    pub(crate) handle: Option<LogText<H>>,
    pub(crate) chain: ChainId,
    pub(crate) path: PathBuf,
    pub(crate) role: FileRole,
    /// Of the file on disk; for the size of its text see [`Self::size`].
    pub(crate) stat: FileStat,
    /// The largest size that the file was seen to have with its present contents; see [`Self::prove_size`].
    pub(crate) extent: Offset,
    /// The extent in the last checkpoint.
    pub(crate) extent_noted: Offset,
    pub(crate) lag_age: LagAge,
    /// It was just found: its size has not been noted yet.
    pub(crate) is_found: bool,
    pub(crate) close_policy: ClosePolicy,
    pub(crate) unread_since: Instant,
    /// What is not shipped of it if it turns out to be new. Once the relay has acknowledged that, only what it is never to get.
    pub(crate) left_out: Option<LeftOut>,
    /// For refusals of this file's chunks only. Failures that concern all chunks have one back-off for all.
    pub(crate) retry: RelayBackoff,
    pub(crate) queue: ReadQueue,
    /// It was not examined yet: it is open and compressed, or is opened later. Its state is [`FileState::Unopened`].
    pub(crate) is_waiting: bool,
    /// When it is compared again with streams that its lines may be of.
    pub(crate) compare_at: Option<Instant>,
    /// Its size while it held known lines only, and since when.
    pub(crate) contained: Option<(Offset, Instant)>,
    /// Its size when it was compared and was new, and the newest of the streams then.
    pub(crate) compared: Option<(Offset, Option<StreamId>)>,
    pub(crate) origin: FileOrigin,
    /// The reason that was logged last; a file that is held is examined again at each change.
    held_logged: Option<HeldReason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SizeChange {
    Same,
    Grown,
    /// It is shorter than the bytes read of it, was compressed again, or cannot be looked at.
    Shrunk,
}

impl<H: FileHandle> TrackedFile<H> {
    pub(crate) fn new(found: FoundFile, chain: ChainId, retry: RelayBackoff, now: Now) -> Self {
        let age = now.wall.duration_since(found.stat.modified).unwrap_or_default();
        Self {
            state: FileState::Unopened,
            handle: None,
            chain,
            path: found.path,
            role: found.role,
            stat: found.stat,
            extent: Offset::ZERO,
            extent_noted: Offset::ZERO,
            lag_age: LagAge::default(),
            is_found: true,
            close_policy: ClosePolicy::new(age, now),
            unread_since: now.instant,
            left_out: None,
            retry,
            queue: ReadQueue::InOrder,
            is_waiting: false,
            compare_at: None,
            contained: None,
            compared: None,
            origin: FileOrigin::Rotation,
            held_logged: None,
        }
    }

    pub(crate) fn size(&self) -> Offset {
        self.handle
            .as_ref()
            .map_or(self.stat.size, |text| text.size(&self.stat))
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.handle.as_ref().is_some_and(LogText::is_compressed)
    }

    /// Whether it is a compressed file that is read while it is written.
    pub(crate) fn is_growing(&self) -> bool {
        self.handle.as_ref().is_some_and(LogText::is_growing)
    }

    /// The file cannot be read; the next scan opens it again.
    pub(crate) fn read_failed(&mut self, error: &io::Error) {
        tracing::error!(path = %self.path.display(), %error, "the log cannot be read; it is opened again with the next scan");
        self.leave(FileState::Unopened);
    }

    pub(crate) fn set_shipped(&mut self, of: Option<StreamId>) {
        let text = self.beginning_and_size();
        self.leave(FileState::Compressed(CompressedState::Shipped { of, text }));
    }

    /// The file is not shipped until it changes.
    pub(crate) fn hold(&mut self, reason: HeldReason) {
        if self.held_logged.replace(reason) != Some(reason) {
            tracing::warn!(path = %self.path.display(), %reason, "the file is not shipped");
        }
        self.leave(FileState::Held(reason));
    }

    /// Why the file is not shipped, if somebody has to look at it.
    pub(crate) fn held_reason(&self, now: Now) -> Option<HeldReason> {
        let age = now.wall.duration_since(self.stat.modified).unwrap_or_default();
        match self.state {
            FileState::Held(reason) => Some(reason),
            FileState::Compressed(CompressedState::Incomplete) if age >= ABANDONED => {
                Some(HeldReason::Incomplete)
            }
            _ => None,
        }
    }

    fn leave(&mut self, state: FileState) {
        self.is_waiting = false;
        self.state = state;
        self.handle = None;
    }

    pub(crate) fn set_role(&mut self, role: FileRole, now: Now) {
        if self.role != role {
            self.role = role;
            self.close_policy.file_changed(now);
        }
    }

    pub(crate) fn measure(&mut self, now: Now) -> SizeChange {
        let is_closing = self.stream_in(StreamPhase::Closing).is_some();
        let Some(handle) = self.handle.as_mut().filter(|_| !is_closing) else {
            return SizeChange::Same;
        };
        let stat = match handle.stat() {
            Ok(stat) if stat == self.stat => return SizeChange::Same,
            Ok(stat) => stat,
            Err(_) => return SizeChange::Shrunk,
        };
        let (shrunk, resized) = (stat.size < self.stat.size, stat.size != self.stat.size);
        self.stat = stat;
        if handle.is_growing() {
            if shrunk || handle.grow().is_err() {
                return SizeChange::Shrunk;
            }
        } else if handle.is_compressed() {
            // A compressor sets the file's time at the end. Another size is another text.
            return if resized {
                SizeChange::Shrunk
            } else {
                SizeChange::Same
            };
        }
        self.close_policy.file_changed(now);
        let (size, extent) = (self.size(), self.extent);
        match &mut self.state {
            FileState::Stream(stream) if size < stream.read.offset => return SizeChange::Shrunk,
            // Unread bytes were cut off.
            FileState::Stream(_) if shrunk && size < extent => return SizeChange::Shrunk,
            FileState::Stream(stream) if stream.exhausted => {
                stream.exhausted = false;
                self.unread_since = now.instant;
            }
            FileState::TooShort => self.examine(),
            FileState::Unidentified(_) if shrunk => return SizeChange::Shrunk,
            _ => {}
        }
        SizeChange::Grown
    }

    pub(crate) fn is_beside(&self) -> bool {
        self.origin == FileOrigin::Beside
    }

    pub(crate) fn stream(&self) -> Option<&TrackedStream> {
        match &self.state {
            FileState::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    pub(crate) fn stream_mut(&mut self) -> Option<&mut TrackedStream> {
        match &mut self.state {
            FileState::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    pub(crate) fn stream_in(&self, phase: StreamPhase) -> Option<&TrackedStream> {
        self.stream().filter(|stream| stream.phase == phase)
    }

    pub(crate) fn acked(&self) -> Offset {
        self.stream().map_or(Offset::ZERO, |stream| stream.acked.offset)
    }

    pub(crate) fn mark_age(&mut self, now: Now) {
        let is_found = std::mem::take(&mut self.is_found);
        // The bytes that a file held when it was found are as old as its last change, or older.
        let age = now
            .wall
            .duration_since(self.stat.modified)
            .ok()
            .filter(|_| is_found);
        let written = age
            .and_then(|age| now.instant.checked_sub(age))
            .unwrap_or(now.instant);
        self.lag_age.note(self.size(), self.acked(), written);
    }

    pub(crate) fn progress(&self, log: &LogName, now: Now) -> Option<StreamProgress> {
        let stream = self
            .stream()
            .filter(|stream| stream.phase != StreamPhase::Finished)?;
        let (sent, acked) = (stream.read.offset, stream.acked.offset);
        let size = self.size().max(acked);
        // The rest of a drained stream is part of a line.
        let oldest_unread = if stream.is_drained() {
            Duration::ZERO
        } else {
            self.lag_age.oldest_unread(acked, now.instant)
        };
        Some(StreamProgress {
            stream: stream.id,
            log: log.clone(),
            path: self.path.display().to_string(),
            read: if stream.exhausted { size } else { sent },
            sent,
            acked,
            size,
            oldest_unread_ms: u64::try_from(oldest_unread.as_millis()).unwrap_or(u64::MAX),
            lines: stream.lines,
            rotated: self.role != FileRole::Live,
            deleted: self.role == FileRole::Gone,
        })
    }

    /// Takes away the stream that the file does not hold any more.
    pub(crate) fn take_orphan(&mut self) -> Option<OrphanStream> {
        let extent = if self.is_skipping() {
            Offset::ZERO
        } else {
            self.extent
        };
        let path = self.path.display().to_string();
        let mark = self.take_used_mark();
        match std::mem::replace(&mut self.state, FileState::TooShort) {
            FileState::Stream(stream) => {
                let mut orphan = OrphanStream::new(stream, self.stat.key, path, extent);
                orphan.mark = mark;
                Some(orphan)
            }
            _ => None,
        }
    }

    /// Whether it was closed because there is nothing to read in it.
    pub(crate) fn is_closed(&self) -> bool {
        self.handle.is_none() && !matches!(self.state, FileState::Unopened)
    }

    /// Whether the last search found it.
    pub(crate) fn is_present(&self) -> bool {
        self.role != FileRole::Gone
    }

    pub(crate) fn is_over(&self) -> bool {
        self.role == FileRole::Gone && self.handle.is_none()
    }

    /// The order to read in: files already begun, then files by age, the live file last.
    pub(crate) fn oldest_first(&self, other: &Self) -> Ordering {
        let live = (self.role == FileRole::Live).cmp(&(other.role == FileRole::Live));
        live.then_with(|| match (self.is_begun(), other.is_begun()) {
            (true, true) => Ordering::Equal,
            (false, false) => discovery::by_age((&self.stat, &self.path), (&other.stat, &other.path)),
            (begun, other_begun) => other_begun.cmp(&begun),
        })
    }

    fn is_begun(&self) -> bool {
        let is_begun = |stream: &TrackedStream| {
            stream.phase != StreamPhase::Reading || stream.read.offset > Offset::ZERO
        };
        self.stream().is_some_and(is_begun)
    }

    /// Whether younger files of the same chain have to wait for this one, so that lines stay in order.
    pub(crate) fn blocks(&self) -> bool {
        match &self.state {
            FileState::Unidentified(_) => true,
            FileState::Stream(stream) => !stream.is_drained(),
            FileState::Unopened => self.is_postponed(),
            FileState::TooShort | FileState::Copy { .. } | FileState::Compressed(_) | FileState::Held(_) => {
                false
            }
        }
    }

    pub(crate) fn unread(&self) -> u64 {
        let read = self.stream().map_or(Offset::ZERO, |stream| stream.read.offset);
        self.size().since(read)
    }

    /// When there is something to read or to close; `None` if something has to happen first.
    pub(crate) fn due(&self, chunk_bytes: usize, max_delay: Duration) -> Option<Instant> {
        let stream = self.stream_in(StreamPhase::Reading)?;
        if !stream.exhausted {
            let waits = self.role == FileRole::Live && self.unread() < chunk_bytes as u64;
            return Some(self.unread_since + if waits { max_delay } else { Duration::ZERO });
        }
        // A file that may be closed is read once more, for its closing chunk.
        let closes = self.role != FileRole::Live && stream.is_drained() && self.close_policy.may_close();
        closes.then_some(self.unread_since)
    }

    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        chunk_bytes: usize,
        chunker: &mut Chunker,
    ) -> io::Result<ChunkRead> {
        let is_marked = self.role == FileRole::Live;
        let (size, is_held) = (self.size(), self.holds_left_out());
        let (FileState::Stream(stream), Some(handle)) = (&mut self.state, &self.handle) else {
            return Ok(ChunkRead::Nothing);
        };
        let is_at_start = stream.read.offset == Offset::ZERO;
        let read = match self.left_out.as_ref().filter(|_| is_at_start) {
            // What is left out must be what was shipped or marked. The file may be another one by now, of the same size.
            Some(_) if !is_held => ChunkRead::Changed,
            Some(left_out) => match skip_to_end(handle, left_out.end(), left_out.is_exact())? {
                ChunkRead::Chunk(draft) if matches!(left_out, LeftOut::Parted(parted) if draft.contradicts(parted.stream.acked)) => {
                    ChunkRead::Changed
                }
                ChunkRead::Chunk(mut draft) => {
                    if is_marked && draft.range.len() <= MARKED_LAG {
                        draft.marks = marks_of_file(handle, draft.range.end())?;
                        cut_to(&mut draft.marks, draft.range.len());
                    }
                    ChunkRead::Chunk(draft)
                }
                read => read,
            },
            None => {
                let lag = size.since(stream.read.offset).saturating_sub(chunk_bytes as u64);
                let is_marked = is_marked && lag <= MARKED_LAG;
                read_chunk(handle, stream, buffer, chunk_bytes, chunker, is_marked)?
            }
        };
        if stream.exhausted {
            handle.release_decoder();
        }
        // The read proves that the size is of the present contents.
        match &read {
            ChunkRead::Chunk(draft) => self.extent = self.extent.max(size).max(draft.range.end()),
            ChunkRead::Nothing => self.extent = self.extent.max(size),
            ChunkRead::Changed => {}
        }
        Ok(read)
    }
}
