//! One file of a log: open or seen, with or without a known stream.

pub(crate) mod close_policy;
pub(crate) mod lag_age;

use std::cmp::Ordering;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use logferry_protocol::chunk::StreamEnd;
use logferry_protocol::names::LogName;
use logferry_protocol::stream::{ByteRange, FileKey, Head, Offset, StreamId};

use crate::checkpoint::{CheckpointStream, ShippedArchive};
use crate::chunks::chunker::{ChunkCut, Chunker};
use crate::clock::Now;
use crate::files::compressed::{CompressedFileError, LogText};
use crate::files::discovery::{self, FileRole, FoundFile};
use crate::files::{self, FileHandle, FileStat, FileSystem};
use crate::relay_backoff::RelayBackoff;
use crate::streams::orphan::OrphanStream;
use crate::streams::read::{ChunkRead, read_chunk, skip_to_end};
use crate::streams::tracked_stream::{StreamPhase, TrackedStream};
use crate::tail::tracked_file::close_policy::ClosePolicy;
use crate::tail::tracked_file::lag_age::LagAge;

/// A compressed file without an end is looked at again when it has changed, and then not for so long.
const ARCHIVE_IDLE: Duration = Duration::from_secs(2);

/// Number of a live path within its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChainId(pub(crate) usize);

/// What is known of a file's contents.
#[derive(Debug)]
pub(crate) enum FileState {
    /// It cannot be opened; the next scan tries again.
    Unopened,
    /// It holds neither a whole line nor enough bytes to be told from other files.
    TooShort,
    /// It begins like this; the relay has to say which streams do.
    Unidentified(Head),
    /// It is a copy of the file that is this stream, so far.
    Copy { head: Head, of: StreamId },
    /// It is compressed, and there is nothing to read in it for now.
    Compressed(CompressedState),
    /// It is this stream.
    Stream(TrackedStream),
}

/// Why nothing is read from a compressed file, as long as it does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompressedState {
    /// It has no end yet, as gzip is still writing it. Its lines are still in the file that it is made from.
    Incomplete,
    /// It does not decompress.
    Damaged,
    /// All of it was shipped.
    Shipped,
}

/// A file of a log.
#[derive(Debug)]
pub(crate) struct TrackedFile<H> {
    pub(crate) state: FileState,
    /// Held as long as there may be something to read, so that a rename or a deletion loses nothing.
    pub(crate) handle: Option<LogText<H>>,
    pub(crate) chain: ChainId,
    pub(crate) path: PathBuf,
    pub(crate) role: FileRole,
    /// Of the file as it is on disk; see [`Self::size`].
    pub(crate) stat: FileStat,
    /// The largest size that this life of the file was seen to have; see [`Self::prove_size`].
    pub(crate) extent: Offset,
    /// As it was when the checkpoint last took note of it.
    pub(crate) extent_noted: Offset,
    /// Since when it has had which size.
    pub(crate) lag_age: LagAge,
    /// It was just found: its size has not been marked yet.
    pub(crate) is_found: bool,
    /// Whether the file and its role still change.
    pub(crate) rest: ClosePolicy,
    /// Since when there are bytes to read.
    pub(crate) unread_since: Instant,
    /// `start: end`: what comes before is not shipped if the file turns out to be new.
    pub(crate) skip_to: Option<Offset>,
    /// The back-off of its chunks that are refused; what troubles all chunks waits in one place for all.
    pub(crate) retry: RelayBackoff,
    /// Whether the scan that is going on has met it.
    pub(crate) seen: bool,
}

/// What measuring a file showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SizeChange {
    Same,
    /// It changed, as logs do.
    Grown,
    /// It is shorter than what was read of it, compressed anew, or cannot be looked at.
    Shrunk,
}

/// A chunk, cut but not yet numbered.
#[derive(Debug)]
pub(crate) struct ChunkDraft {
    pub(crate) stream: StreamId,
    pub(crate) head: Head,
    pub(crate) file: FileKey,
    pub(crate) range: ByteRange,
    pub(crate) cut: ChunkCut,
    pub(crate) stream_end: StreamEnd,
    /// Where its body starts in the buffer.
    pub(crate) body_start: usize,
}

/// What came of trying to read.
#[derive(Debug)]
pub(crate) enum ReadOutcome {
    Chunk(ChunkDraft),
    /// No whole line for now.
    Nothing,
    /// The bytes before the read offset are not what was read there.
    Changed,
    Broken(io::Error),
}

impl<H: FileHandle> TrackedFile<H> {
    /// A file that was just found; not yet opened.
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
            rest: ClosePolicy::new(age, now),
            unread_since: now.instant,
            skip_to: None,
            retry,
            seen: true,
        }
    }

    /// Opens the file and looks at its beginning. A file that cannot be opened stays [`FileState::Unopened`].
    pub(crate) fn open<F: FileSystem<FileHandle = H>>(&mut self, files: &F) -> io::Result<()> {
        self.state = FileState::Unopened;
        let handle = files.open(&self.path)?;
        let stat = handle.stat()?;
        // The name may have gone to another file since the scan; the next scan finds that one.
        if stat.key == self.stat.key {
            self.stat = stat;
            self.handle = Some(LogText::plain(handle));
            self.examine();
        }
        Ok(())
    }

    /// Looks at what the file begins with, forgetting what it was taken for.
    pub(crate) fn examine(&mut self) {
        let Some(text) = &mut self.handle else { return };
        // What is being written to is never compressed, whatever it begins with.
        let unpacked = if self.role == FileRole::Live {
            Ok(())
        } else {
            text.detect_compression()
        };
        match unpacked.and_then(|()| files::beginning(text).map_err(CompressedFileError::Unreadable)) {
            Ok(beginning) => {
                self.state = Head::of(&beginning).map_or(FileState::TooShort, FileState::Unidentified);
                self.extent = if self.is_compressed() {
                    self.size()
                } else {
                    Offset::new(beginning.len() as u64)
                };
            }
            Err(CompressedFileError::Incomplete) => {
                tracing::debug!(path = %self.path.display(), "a compressed log has no end yet");
                self.leave(FileState::Compressed(CompressedState::Incomplete));
            }
            Err(CompressedFileError::Damaged(error)) => {
                tracing::error!(
                    path = %self.path.display(), %error,
                    "a compressed log is damaged and nothing is shipped from it; replace it with a sound copy"
                );
                self.leave(FileState::Compressed(CompressedState::Damaged));
            }
            Err(CompressedFileError::Unreadable(error)) => self.broken(&error),
        }
    }

    /// Bytes of text in the file: what it would have if it were not compressed.
    pub(crate) fn size(&self) -> Offset {
        self.handle
            .as_ref()
            .map_or(self.stat.size, |text| text.size(&self.stat))
    }

    /// Whether it is open, and its text compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.handle.as_ref().is_some_and(LogText::is_compressed)
    }

    /// Whether a compressed file that had no end has grown so lately that it will not have one now.
    pub(crate) fn is_being_compressed(&self, stat: &FileStat, now: Now) -> bool {
        let age = now.wall.duration_since(stat.modified);
        matches!(self.state, FileState::Compressed(CompressedState::Incomplete))
            && age.is_ok_and(|age| age < ARCHIVE_IDLE)
    }

    /// Gives up a file that cannot be read; the next scan opens it anew.
    pub(crate) fn broken(&mut self, error: &io::Error) {
        tracing::error!(path = %self.path.display(), %error, "a log cannot be read, it will be opened again");
        self.leave(FileState::Unopened);
    }

    /// Nothing of a compressed file is left to be shipped.
    pub(crate) fn set_shipped(&mut self) {
        self.leave(FileState::Compressed(CompressedState::Shipped));
    }

    fn leave(&mut self, state: FileState) {
        self.state = state;
        self.handle = None;
    }

    /// The file was met again by a scan.
    pub(crate) fn meet<F: FileSystem<FileHandle = H>>(
        &mut self,
        files: &F,
        found: FoundFile,
        chain: ChainId,
        now: Now,
    ) {
        (self.seen, self.chain, self.path) = (true, chain, found.path);
        self.set_role(found.role, now);
        if matches!(self.state, FileState::Unopened)
            && let Err(error) = self.open(files)
        {
            tracing::debug!(path = %self.path.display(), %error, "a log still cannot be opened");
        }
    }

    /// The file was met again by a scan, or not met any more ([`FileRole::Gone`]).
    pub(crate) fn set_role(&mut self, role: FileRole, now: Now) {
        if self.role != role {
            self.role = role;
            self.rest.disturb(now);
        }
    }

    /// Takes the file's size and time anew.
    pub(crate) fn measure(&mut self, now: Now) -> SizeChange {
        let Some(handle) = &self.handle else {
            return SizeChange::Same;
        };
        if matches!(
            &self.state,
            FileState::Stream(TrackedStream {
                phase: StreamPhase::Closing,
                ..
            })
        ) {
            return SizeChange::Same;
        }
        let stat = match handle.stat() {
            Ok(stat) if stat == self.stat => return SizeChange::Same,
            Ok(stat) => stat,
            Err(_) => return SizeChange::Shrunk,
        };
        let (shrunk, resized) = (stat.size < self.stat.size, stat.size != self.stat.size);
        self.stat = stat;
        if self.is_compressed() {
            // Whoever compresses sets the file's time at the end. Another size is another text.
            return if resized {
                SizeChange::Shrunk
            } else {
                SizeChange::Same
            };
        }
        self.rest.disturb(now);
        match &mut self.state {
            FileState::Stream(stream) if stat.size < stream.read.offset => return SizeChange::Shrunk,
            // What was not read yet is cut off.
            FileState::Stream(_) if shrunk && stat.size < self.extent => return SizeChange::Shrunk,
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

    /// What the checkpoint keeps of it.
    pub(crate) fn remember(&self, log: &LogName) -> Option<CheckpointStream> {
        let FileState::Stream(stream) = &self.state else {
            return None;
        };
        let path = self.path.display().to_string();
        let finished = stream.phase == StreamPhase::Finished;
        Some(CheckpointStream {
            log: log.clone(),
            path,
            stream: stream.known(self.stat.key),
            finished,
            seen: self.extent,
        })
    }

    /// The stat of a compressed file that was shipped.
    pub(crate) fn remember_shipped(&self, log: &LogName) -> Option<ShippedArchive> {
        matches!(self.state, FileState::Compressed(CompressedState::Shipped)).then(|| ShippedArchive {
            log: log.clone(),
            path: self.path.display().to_string(),
            stat: self.stat,
        })
    }

    /// The stream that the file does not hold any more, or perhaps not.
    pub(crate) fn take_orphan(&mut self) -> Option<OrphanStream> {
        let wanted = if self.is_skipping() {
            Offset::ZERO
        } else {
            self.extent
        };
        match std::mem::replace(&mut self.state, FileState::TooShort) {
            FileState::Stream(stream) => Some(OrphanStream::new(
                stream,
                self.stat.key,
                self.path.display().to_string(),
                wanted,
            )),
            _ => None,
        }
    }

    /// Whether it was left as there is nothing to read in it.
    pub(crate) fn is_closed(&self) -> bool {
        self.handle.is_none() && !matches!(self.state, FileState::Unopened)
    }

    /// Whether nothing will ever come of the file any more.
    pub(crate) fn is_over(&self) -> bool {
        self.role == FileRole::Gone && self.handle.is_none()
    }

    /// The order to read in: what was begun stays first, then comes what was written last longest ago, and last the
    /// live file.
    pub(crate) fn oldest_first(&self, other: &Self) -> Ordering {
        let live = (self.role == FileRole::Live).cmp(&(other.role == FileRole::Live));
        live.then_with(|| match (self.is_begun(), other.is_begun()) {
            (true, true) => Ordering::Equal,
            (false, false) => discovery::by_age((&self.stat, &self.path), (&other.stat, &other.path)),
            (begun, other_begun) => other_begun.cmp(&begun),
        })
    }

    fn is_begun(&self) -> bool {
        match &self.state {
            FileState::Stream(stream) => {
                stream.phase != StreamPhase::Reading || stream.read.offset > Offset::ZERO
            }
            _ => false,
        }
    }

    /// Whether younger files of the same log have to wait for this one, so that lines stay in order.
    pub(crate) fn blocks(&self) -> bool {
        match &self.state {
            FileState::Unidentified(_) => true,
            FileState::Stream(stream) => !stream.is_drained(),
            FileState::Unopened | FileState::TooShort | FileState::Copy { .. } | FileState::Compressed(_) => {
                false
            }
        }
    }

    /// Whether the relay has to say how far the stream is, and may be asked.
    pub(crate) fn is_to_ask(&self, now: Now) -> bool {
        let FileState::Stream(stream) = &self.state else {
            return false;
        };
        stream.is_in_doubt() && self.retry.waits_until(now.instant).is_none()
    }

    /// When there is something to read or to close; `None` if something has to happen first.
    pub(crate) fn due(&self, chunk_bytes: usize, max_delay: Duration) -> Option<Instant> {
        let FileState::Stream(stream) = &self.state else {
            return None;
        };
        if stream.phase != StreamPhase::Reading {
            return None;
        }
        if !stream.exhausted {
            let unread = self.size().since(stream.read.offset);
            let waits = self.role == FileRole::Live && unread < chunk_bytes as u64;
            return Some(if waits {
                self.unread_since + max_delay
            } else {
                self.unread_since
            });
        }
        // What is over is read once more, to be closed.
        (self.role != FileRole::Live && stream.is_drained() && self.rest.is_over())
            .then_some(self.unread_since)
    }

    /// Reads a block where reading stopped and cuts a chunk off it.
    ///
    /// The block comes with the bytes before it in one read, so each read proves that it goes on in the same contents.
    pub(crate) fn build(
        &mut self,
        buffer: &mut [u8],
        chunk_bytes: usize,
        chunker: &mut Chunker,
    ) -> ReadOutcome {
        let size = self.size();
        let (FileState::Stream(stream), Some(handle)) = (&mut self.state, &self.handle) else {
            return ReadOutcome::Nothing;
        };
        let (id, head, offset) = (stream.id, stream.head, stream.read.offset);
        let cut = match self.skip_to.filter(|_| offset == Offset::ZERO) {
            Some(end) => skip_to_end(handle, end),
            None => read_chunk(handle, stream, buffer, chunk_bytes, chunker),
        };
        if stream.exhausted {
            handle.release_decoder();
        }
        if let Ok(ChunkRead::Cut { .. } | ChunkRead::Nothing) = cut {
            // The read shows that the size is of this life of the file.
            self.extent = self.extent.max(size);
        }
        match cut {
            Ok(ChunkRead::Cut { cut, stream_end }) => {
                let end = offset.plus(cut.raw as u64);
                self.extent = self.extent.max(end);
                let Some(range) = ByteRange::new(offset, end) else {
                    return ReadOutcome::Nothing;
                };
                let body_start = files::span_before(offset);
                let file = self.stat.key;
                ReadOutcome::Chunk(ChunkDraft {
                    stream: id,
                    head,
                    file,
                    range,
                    cut,
                    stream_end,
                    body_start,
                })
            }
            Ok(ChunkRead::Nothing) => ReadOutcome::Nothing,
            Ok(ChunkRead::Changed) => ReadOutcome::Changed,
            Err(error) => ReadOutcome::Broken(error),
        }
    }
}
