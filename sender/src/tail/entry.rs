//! One file of a log: open or seen, with or without a known stream.

use std::cmp::Ordering;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use logferry_protocol::chunk::StreamEnd;
use logferry_protocol::names::LogName;
use logferry_protocol::stream::{ByteRange, FileKey, Head, Offset, StreamId};

use super::ages::Ages;
use super::orphan::Orphan;
use super::read::{Read, read, skip};
use super::rest::Rest;
use super::stream::{Phase, Stream};
use crate::archive::{Fault, Text};
use crate::checkpoint::{Remembered, Shipped};
use crate::chunker::{Chunker, Cut};
use crate::files::{self, Facts, Files, Handle};
use crate::identity::Contents;
use crate::retry::Retry;
use crate::scan::{self, Role, Sighting};

/// A compressed file without an end is looked at again when it has changed, and then not for so long.
const ARCHIVE_IDLE: Duration = Duration::from_secs(2);

/// The two clocks: one that never jumps, for waiting, and the one that file times are in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) tick: Instant,
    pub(crate) wall: SystemTime,
}

impl Now {
    /// The clocks as they stand.
    pub(crate) fn read() -> Self {
        Self {
            tick: Instant::now(),
            wall: SystemTime::now(),
        }
    }
}

/// Number of a live path within its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneId(pub(crate) usize);

/// What is known of a file's contents.
#[derive(Debug)]
pub(crate) enum What {
    /// It cannot be opened; the next scan tries again.
    Unopened,
    /// It holds neither a whole line nor enough bytes to be told from other files.
    Unnamed,
    /// It begins like this; the relay has to say which streams do.
    Unresolved(Head),
    /// It is a copy of the file that is this stream, so far.
    Copy { head: Head, of: StreamId },
    /// It is compressed, and there is nothing to read in it for now.
    Archived(Archived),
    /// It is this stream.
    Stream(Stream),
}

/// Why nothing is read from a compressed file, as long as it does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Archived {
    /// It has no end yet, as gzip is still writing it. Its lines are still in the file that it is made from.
    Unended,
    /// It does not decompress.
    Damaged,
    /// All of it was shipped.
    Shipped,
}

/// A file of a log.
#[derive(Debug)]
pub(crate) struct Entry<H> {
    pub(crate) what: What,
    /// Held as long as there may be something to read, so that a rename or a deletion loses nothing.
    pub(crate) handle: Option<Text<H>>,
    pub(crate) lane: LaneId,
    pub(crate) path: PathBuf,
    pub(crate) role: Role,
    /// Of the file as it is on disk; see [`Self::size`].
    pub(crate) facts: Facts,
    /// The largest size that this life of the file was seen to have; see [`Self::prove_size`].
    pub(crate) extent: Offset,
    /// As it was when the checkpoint last took note of it.
    pub(crate) extent_noted: Offset,
    /// Since when it has had which size.
    pub(crate) ages: Ages,
    /// It was just found: its size has not been marked yet.
    pub(crate) is_found: bool,
    /// Whether the file and its role still change.
    pub(crate) rest: Rest,
    /// Since when there are bytes to read.
    pub(crate) unread_since: Instant,
    /// `start: end`: what comes before is not shipped if the file turns out to be new.
    pub(crate) skip_to: Option<Offset>,
    /// The back-off of its chunks that are refused; what troubles all chunks waits in one place for all.
    pub(crate) retry: Retry,
    /// Whether the scan that is going on has met it.
    pub(crate) seen: bool,
}

/// What measuring a file showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measured {
    Same,
    /// It changed, as logs do.
    Grown,
    /// It is shorter than what was read of it, compressed anew, or cannot be looked at.
    Shrunk,
}

/// A chunk, cut but not yet numbered.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) stream: StreamId,
    pub(crate) head: Head,
    pub(crate) file: FileKey,
    pub(crate) range: ByteRange,
    pub(crate) cut: Cut,
    pub(crate) stream_end: StreamEnd,
    /// Where its body starts in the buffer.
    pub(crate) body_start: usize,
}

/// What came of trying to read.
#[derive(Debug)]
pub(crate) enum Built {
    Chunk(Draft),
    /// No whole line for now.
    Nothing,
    /// The bytes before the read offset are not what was read there.
    Changed,
    Broken(io::Error),
}

struct Opened<'a, H>(&'a Text<H>);

impl<H: Handle> Contents for Opened<'_, H> {
    fn ending_at(&self, end: Offset) -> io::Result<Option<Vec<u8>>> {
        let ending = files::ending_at(self.0, end);
        // Many files may be looked into before one is read on.
        self.0.rest();
        ending
    }
}

/// Looks into an open file.
pub(crate) fn contents<H: Handle>(text: &Text<H>) -> impl Contents + '_ {
    Opened(text)
}

impl<H: Handle> Entry<H> {
    /// A file that was just found; not yet opened.
    pub(crate) fn new(sighting: Sighting, lane: LaneId, retry: Retry, now: Now) -> Self {
        let age = now
            .wall
            .duration_since(sighting.facts.modified)
            .unwrap_or_default();
        Self {
            what: What::Unopened,
            handle: None,
            lane,
            path: sighting.path,
            role: sighting.role,
            facts: sighting.facts,
            extent: Offset::ZERO,
            extent_noted: Offset::ZERO,
            ages: Ages::default(),
            is_found: true,
            rest: Rest::new(age, now),
            unread_since: now.tick,
            skip_to: None,
            retry,
            seen: true,
        }
    }

    /// Opens the file and looks at its beginning. A file that cannot be opened stays [`What::Unopened`].
    pub(crate) fn open<F: Files<Handle = H>>(&mut self, files: &F) -> io::Result<()> {
        self.what = What::Unopened;
        let handle = files.open(&self.path)?;
        let facts = handle.facts()?;
        // The name may have gone to another file since the scan; the next scan finds that one.
        if facts.key == self.facts.key {
            self.facts = facts;
            self.handle = Some(Text::plain(handle));
            self.examine();
        }
        Ok(())
    }

    /// Looks at what the file begins with, forgetting what it was taken for.
    pub(crate) fn examine(&mut self) {
        let Some(text) = &mut self.handle else { return };
        // What is being written to is never compressed, whatever it begins with.
        let unpacked = if self.role == Role::Live {
            Ok(())
        } else {
            text.unpack()
        };
        match unpacked.and_then(|()| files::beginning(text).map_err(Fault::Unreadable)) {
            Ok(beginning) => {
                self.what = Head::of(&beginning).map_or(What::Unnamed, What::Unresolved);
                self.extent = if self.is_compressed() {
                    self.size()
                } else {
                    Offset::new(beginning.len() as u64)
                };
            }
            Err(Fault::Unended) => {
                tracing::debug!(path = %self.path.display(), "a compressed log has no end yet");
                self.leave(What::Archived(Archived::Unended));
            }
            Err(Fault::Damaged(error)) => {
                tracing::error!(
                    path = %self.path.display(), %error,
                    "a compressed log is damaged and nothing is shipped from it; replace it with a sound copy"
                );
                self.leave(What::Archived(Archived::Damaged));
            }
            Err(Fault::Unreadable(error)) => self.broken(&error),
        }
    }

    /// Bytes of text in the file: what it would have if it were not compressed.
    pub(crate) fn size(&self) -> Offset {
        self.handle
            .as_ref()
            .map_or(self.facts.size, |text| text.size(&self.facts))
    }

    /// Whether it is open, and its text compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.handle.as_ref().is_some_and(Text::is_compressed)
    }

    /// Whether a compressed file that had no end has grown so lately that it will not have one now.
    pub(crate) fn is_being_compressed(&self, facts: &Facts, now: Now) -> bool {
        let age = now.wall.duration_since(facts.modified);
        matches!(self.what, What::Archived(Archived::Unended)) && age.is_ok_and(|age| age < ARCHIVE_IDLE)
    }

    /// Gives up a file that cannot be read; the next scan opens it anew.
    pub(crate) fn broken(&mut self, error: &io::Error) {
        tracing::error!(path = %self.path.display(), %error, "a log cannot be read, it will be opened again");
        self.leave(What::Unopened);
    }

    /// Nothing of a compressed file is left to be shipped.
    pub(crate) fn set_shipped(&mut self) {
        self.leave(What::Archived(Archived::Shipped));
    }

    fn leave(&mut self, what: What) {
        self.what = what;
        self.handle = None;
    }

    /// The file was met again by a scan.
    pub(crate) fn meet<F: Files<Handle = H>>(
        &mut self,
        files: &F,
        sighting: Sighting,
        lane: LaneId,
        now: Now,
    ) {
        (self.seen, self.lane, self.path) = (true, lane, sighting.path);
        self.set_role(sighting.role, now);
        if matches!(self.what, What::Unopened)
            && let Err(error) = self.open(files)
        {
            tracing::debug!(path = %self.path.display(), %error, "a log still cannot be opened");
        }
    }

    /// The file was met again by a scan, or not met any more ([`Role::Gone`]).
    pub(crate) fn set_role(&mut self, role: Role, now: Now) {
        if self.role != role {
            self.role = role;
            self.rest.disturb(now);
        }
    }

    /// Takes the file's size and time anew.
    pub(crate) fn measure(&mut self, now: Now) -> Measured {
        let Some(handle) = &self.handle else {
            return Measured::Same;
        };
        if matches!(
            &self.what,
            What::Stream(Stream {
                phase: Phase::Closing,
                ..
            })
        ) {
            return Measured::Same;
        }
        let facts = match handle.facts() {
            Ok(facts) if facts == self.facts => return Measured::Same,
            Ok(facts) => facts,
            Err(_) => return Measured::Shrunk,
        };
        let (shrunk, resized) = (facts.size < self.facts.size, facts.size != self.facts.size);
        self.facts = facts;
        if self.is_compressed() {
            // Whoever compresses sets the file's time at the end. Another size is another text.
            return if resized { Measured::Shrunk } else { Measured::Same };
        }
        self.rest.disturb(now);
        match &mut self.what {
            What::Stream(stream) if facts.size < stream.read.offset => return Measured::Shrunk,
            // What was not read yet is cut off.
            What::Stream(_) if shrunk && facts.size < self.extent => return Measured::Shrunk,
            What::Stream(stream) if stream.exhausted => {
                stream.exhausted = false;
                self.unread_since = now.tick;
            }
            What::Unnamed => self.examine(),
            What::Unresolved(_) if shrunk => return Measured::Shrunk,
            _ => {}
        }
        Measured::Grown
    }

    /// What the checkpoint keeps of it.
    pub(crate) fn remember(&self, log: &LogName) -> Option<Remembered> {
        let What::Stream(stream) = &self.what else {
            return None;
        };
        let path = self.path.display().to_string();
        let finished = stream.phase == Phase::Finished;
        Some(Remembered {
            log: log.clone(),
            path,
            stream: stream.known(self.facts.key),
            finished,
            seen: self.extent,
        })
    }

    /// The facts of a compressed file that was shipped.
    pub(crate) fn remember_shipped(&self, log: &LogName) -> Option<Shipped> {
        matches!(self.what, What::Archived(Archived::Shipped)).then(|| Shipped {
            log: log.clone(),
            path: self.path.display().to_string(),
            facts: self.facts,
        })
    }

    /// The stream that the file does not hold any more, or perhaps not.
    pub(crate) fn take_orphan(&mut self) -> Option<Orphan> {
        let wanted = if self.is_skipping() {
            Offset::ZERO
        } else {
            self.extent
        };
        match std::mem::replace(&mut self.what, What::Unnamed) {
            What::Stream(stream) => Some(Orphan::new(
                stream,
                self.facts.key,
                self.path.display().to_string(),
                wanted,
            )),
            _ => None,
        }
    }

    /// Whether it was left as there is nothing to read in it.
    pub(crate) fn is_closed(&self) -> bool {
        self.handle.is_none() && !matches!(self.what, What::Unopened)
    }

    /// Whether nothing will ever come of the file any more.
    pub(crate) fn is_over(&self) -> bool {
        self.role == Role::Gone && self.handle.is_none()
    }

    /// The order to read in: what was begun stays first, then comes what was written last longest ago, and last the
    /// live file.
    pub(crate) fn oldest_first(&self, other: &Self) -> Ordering {
        let live = (self.role == Role::Live).cmp(&(other.role == Role::Live));
        live.then_with(|| match (self.is_begun(), other.is_begun()) {
            (true, true) => Ordering::Equal,
            (false, false) => scan::by_age((&self.facts, &self.path), (&other.facts, &other.path)),
            (begun, other_begun) => other_begun.cmp(&begun),
        })
    }

    fn is_begun(&self) -> bool {
        match &self.what {
            What::Stream(stream) => stream.phase != Phase::Reading || stream.read.offset > Offset::ZERO,
            _ => false,
        }
    }

    /// Whether younger files of the same log have to wait for this one, so that lines stay in order.
    pub(crate) fn blocks(&self) -> bool {
        match &self.what {
            What::Unresolved(_) => true,
            What::Stream(stream) => !stream.is_drained(),
            What::Unopened | What::Unnamed | What::Copy { .. } | What::Archived(_) => false,
        }
    }

    /// Whether the relay has to say how far the stream is, and may be asked.
    pub(crate) fn is_to_ask(&self, now: Now) -> bool {
        let What::Stream(stream) = &self.what else {
            return false;
        };
        stream.is_in_doubt() && self.retry.waits_until(now.tick).is_none()
    }

    /// When there is something to read or to close; `None` if something has to happen first.
    pub(crate) fn due(&self, chunk_bytes: usize, max_delay: Duration) -> Option<Instant> {
        let What::Stream(stream) = &self.what else {
            return None;
        };
        if stream.phase != Phase::Reading {
            return None;
        }
        if !stream.exhausted {
            let unread = self.size().since(stream.read.offset);
            let waits = self.role == Role::Live && unread < chunk_bytes as u64;
            return Some(if waits {
                self.unread_since + max_delay
            } else {
                self.unread_since
            });
        }
        // What is over is read once more, to be closed.
        (self.role != Role::Live && stream.is_drained() && self.rest.is_over()).then_some(self.unread_since)
    }

    /// Reads a block where reading stopped and cuts a chunk off it.
    ///
    /// The block comes with the bytes before it in one read, so each read proves that it goes on in the same contents.
    pub(crate) fn build(&mut self, buffer: &mut [u8], chunk_bytes: usize, chunker: &mut Chunker) -> Built {
        let size = self.size();
        let (What::Stream(stream), Some(handle)) = (&mut self.what, &self.handle) else {
            return Built::Nothing;
        };
        let (id, head, offset) = (stream.id, stream.head, stream.read.offset);
        let cut = match self.skip_to.filter(|_| offset == Offset::ZERO) {
            Some(end) => skip(handle, end),
            None => read(handle, stream, buffer, chunk_bytes, chunker),
        };
        if stream.exhausted {
            handle.rest();
        }
        if let Ok(Read::Cut { .. } | Read::Nothing) = cut {
            // The read shows that the size is of this life of the file.
            self.extent = self.extent.max(size);
        }
        match cut {
            Ok(Read::Cut { cut, stream_end }) => {
                let end = offset.plus(cut.raw as u64);
                self.extent = self.extent.max(end);
                let Some(range) = ByteRange::new(offset, end) else {
                    return Built::Nothing;
                };
                let body_start = files::span_before(offset);
                let file = self.facts.key;
                Built::Chunk(Draft {
                    stream: id,
                    head,
                    file,
                    range,
                    cut,
                    stream_end,
                    body_start,
                })
            }
            Ok(Read::Nothing) => Built::Nothing,
            Ok(Read::Changed) => Built::Changed,
            Err(error) => Built::Broken(error),
        }
    }
}
