//! One file of a backfill: opened, identified, cut into chunks.
//!
//! Invariants:
//! - Nothing is cut before the relay was asked which streams have the file's head.
//! - Only bytes that were in the file when it was opened are shipped: a file that changes is refused.

use std::io;
use std::time::{Duration, SystemTime};

use logferry_protocol::chunk::ChunkOutcome;
use logferry_protocol::resolve::KnownStream;
use logferry_protocol::stream::{Head, Offset};

use crate::backfill::report::{FileOutcome, FileRefusal};
use crate::checkpoint::HeldBeside;
use crate::chunks::chunker::Chunker;
use crate::files::compressed::{CompressedFileError, LogText};
use crate::files::open_writers::{OpenWriters, written_files};
use crate::files::{self, FileHandle, FileStat};
use crate::messages::ChunkSeq;
use crate::streams::identity::{self, UnidentifiedFile};
use crate::streams::read::{ChunkDraft, ChunkRead, read_chunk};
use crate::streams::tracked_stream::{ShippedAmount, StreamPhase, TrackedStream, committed, stream_start};

/// A file that ends in the middle of a line counts as finished after this time without a change, if it cannot be seen
/// whether a process has it open for writing.
const QUIET: Duration = Duration::from_secs(30);

pub(super) struct BackfillFile<H> {
    text: LogText<H>,
    pub(super) stat: FileStat,
    beginning: Vec<u8>,
    pub(super) head: Head,
    /// Bytes of text in it.
    pub(super) size: Offset,
    pub(super) stream: Option<TrackedStream>,
    from: Offset,
    /// The amount that became durable by this run.
    pub(super) shipped: ShippedAmount,
    has_duplicate: bool,
    refusal: Option<FileRefusal>,
    /// The sender holds it: it appeared beside its log, and is no part of it.
    is_held: bool,
}

impl<H: FileHandle> BackfillFile<H> {
    /// `None` if the file is empty.
    pub(super) fn new(file: H) -> Result<Option<Self>, FileRefusal> {
        let stat = file.stat().map_err(FileRefusal::Unreadable)?;
        let mut text = LogText::plain(file);
        text.detect_compression(false).map_err(|error| match error {
            CompressedFileError::Incomplete => FileRefusal::Incomplete,
            CompressedFileError::Damaged(error) => FileRefusal::Damaged(error),
            CompressedFileError::TooDeep => FileRefusal::TooDeep,
            CompressedFileError::TooLarge => FileRefusal::TooLarge,
            CompressedFileError::Unreadable(error) => FileRefusal::Unreadable(error),
        })?;
        let beginning = files::beginning(&text).map_err(FileRefusal::Unreadable)?;
        if !files::is_text(&beginning) {
            return Err(FileRefusal::NotText);
        }
        Ok(Head::of_final(&beginning).map(|head| Self {
            size: text.size(&stat),
            text,
            stat,
            beginning,
            head,
            stream: None,
            from: Offset::ZERO,
            shipped: ShippedAmount::default(),
            has_duplicate: false,
            refusal: None,
            is_held: false,
        }))
    }

    /// Notes whether it is one of the files that the sender holds.
    pub(super) fn note_held(&mut self, held: &[HeldBeside]) {
        let is_it = |held: &HeldBeside| {
            let is_same = held.end.offset == self.size && held.head.matches(&self.beginning);
            is_same && self.text.holds(held.end).unwrap_or(false)
        };
        self.is_held = held.iter().any(is_it);
    }

    /// Whether it ends in the middle of a line that may still be completed.
    pub(super) fn may_grow(&self, now: SystemTime) -> io::Result<bool> {
        let ending = files::ending_at(&self.text, self.size)?;
        let is_whole = ending.is_some_and(|ending| ending.ends_with(b"\n"));
        if is_whole || self.text.is_compressed() {
            return Ok(false);
        }
        let age = now.duration_since(self.stat.modified);
        Ok(match written_files().writers_of(self.stat.key) {
            OpenWriters::None => false,
            OpenWriters::Some => true,
            OpenWriters::Unknown => !age.is_ok_and(|age| age >= QUIET),
        })
    }

    pub(super) fn is_copy_of(&self, original: &LogText<H>) -> io::Result<bool> {
        identity::is_copy(&self.text, self.size, &self.beginning, original, self.head)
    }

    /// Whether the relay has to be asked which streams have the file's head, and for their offsets.
    pub(super) fn is_to_ask(&self) -> bool {
        self.stream.as_ref().is_none_or(TrackedStream::is_in_doubt)
    }

    pub(super) fn is_over(&self) -> bool {
        match &self.stream {
            Some(stream) if self.refusal.is_some() => !stream.is_awaiting(),
            Some(stream) => stream.phase == StreamPhase::Finished,
            None => self.refusal.is_some(),
        }
    }

    pub(super) fn into_result(self) -> Result<FileOutcome, FileRefusal> {
        match self.refusal {
            Some(refusal) => Err(refusal),
            None if self.from == self.size => Ok(FileOutcome::AlreadyShipped),
            None => Ok(FileOutcome::Shipped { from: self.from }),
        }
    }

    pub(super) fn refuse(&mut self, refusal: FileRefusal) {
        self.refusal.get_or_insert(refusal);
    }

    /// Takes the relay's answer: the streams with the file's head.
    pub(super) fn resolved(&mut self, candidates: &[KnownStream]) {
        let resolved = match &self.stream {
            None => self.identify(candidates),
            Some(_) => self.resume(candidates),
        };
        if let Err(refusal) = resolved {
            self.refuse(refusal);
        }
        if let Some(stream) = &mut self.stream
            && stream.acked.offset == self.size
            && !stream.is_in_doubt()
        {
            stream.phase = StreamPhase::Finished;
        }
    }

    fn identify(&mut self, candidates: &[KnownStream]) -> Result<(), FileRefusal> {
        let file = UnidentifiedFile {
            key: self.stat.key,
            beginning: &self.beginning,
            contents: &self.text,
        };
        let matches = identity::match_streams(&[file], candidates).map_err(FileRefusal::Unreadable)?;
        let index = matches.into_iter().flatten().next();
        let stream = if let Some(known) = index.and_then(|index| candidates.get(index)) {
            TrackedStream::known(known)
        } else {
            // The file may be a part of a longer stream. It cannot be compared with that: the relay has only the
            // fingerprint of its last bytes.
            let mut longer = candidates.iter().filter(|stream| stream.committed > self.size);
            if let Some(longer) = longer.next().filter(|_| !self.is_held) {
                return Err(FileRefusal::Beginning(longer.committed));
            }
            let is_known = |id| candidates.iter().any(|stream| stream.stream == id);
            let id = identity::new_stream_id(self.stat.key, self.head, is_known);
            TrackedStream::new(id, self.head, stream_start())
        };
        self.from = stream.acked.offset;
        self.stream = Some(stream);
        Ok(())
    }

    /// A chunk failed: continues at the relay's offset. The sender may have shipped some bytes meanwhile.
    fn resume(&mut self, candidates: &[KnownStream]) -> Result<(), FileRefusal> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let known = candidates.iter().find(|known| known.stream == stream.id);
        if known.is_none() && self.has_duplicate {
            return Err(FileRefusal::OfAnotherLog);
        }
        let position = known.map_or_else(stream_start, committed);
        if !self.text.holds(position).map_err(FileRefusal::Unreadable)? {
            return Err(FileRefusal::Changed);
        }
        self.shipped = self.shipped.plus(stream.resume(position));
        self.has_duplicate = false;
        Ok(())
    }

    /// Reads a block at the read position and cuts a chunk off it; `None` if there is nothing to cut now.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        chunk_bytes: usize,
        chunker: &mut Chunker,
    ) -> Option<ChunkDraft> {
        let stream = self.stream.as_mut()?;
        if self.refusal.is_some() || stream.phase != StreamPhase::Reading {
            return None;
        }
        // The file is complete, so it is read like one that is to be closed.
        stream.exhausted = true;
        let read = read_chunk(&self.text, stream, buffer, chunk_bytes, chunker, false);
        let is_same = self.text.stat().is_ok_and(|stat| stat == self.stat);
        let refusal = match read {
            Ok(ChunkRead::Chunk(draft)) if is_same => return Some(draft),
            Ok(_) => FileRefusal::Changed,
            Err(error) => FileRefusal::Unreadable(error),
        };
        self.refuse(refusal);
        None
    }

    /// A chunk's request ended. Without an outcome the relay may have the chunk or not.
    pub(super) fn chunk_ended(&mut self, seq: ChunkSeq, outcome: Option<ChunkOutcome>) {
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.awaits(seq)) else {
            return;
        };
        self.has_duplicate |= outcome == Some(ChunkOutcome::Duplicate);
        let amount = stream.ended(seq, outcome == Some(ChunkOutcome::Stored));
        self.shipped = self.shipped.plus(amount);
    }
}
