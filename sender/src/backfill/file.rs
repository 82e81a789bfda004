//! One file on its way to the relay: opened, recognised, cut into chunks.
//!
//! Invariants:
//! - Nothing is cut before the relay was asked which streams begin like the file.
//! - What is cut is what was in the file when it was opened: a file that changes is left.

use std::io;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use logferry_protocol::chunk::{ChunkHeader, StreamEnd};
use logferry_protocol::names::LogName;
use logferry_protocol::resolve::KnownStream;
use logferry_protocol::stream::{ByteRange, FileKey, Head, Offset};

use crate::backfill::report::{FileOutcome, FileRefusal};
use crate::chunks::chunker::{ChunkCut, Chunker};
use crate::files::compressed::{CompressedFileError, LogText};
use crate::files::open_writers::OpenWriters;
use crate::files::{self, FileHandle, FileStat};
use crate::messages::ChunkSeq;
use crate::streams::identity::{self, UnidentifiedFile};
use crate::streams::read::{ChunkRead, contents, read_chunk};
use crate::streams::tracked_stream::{
    InFlightChunk, ShippedAmount, StreamPhase, StreamPosition, TrackedStream,
};

/// A file that ends in the middle of a line is taken for finished when it has not changed for so long, where it cannot
/// be seen that nobody has it open for writing.
const QUIET: Duration = Duration::from_secs(30);

/// A file on its way.
#[derive(Debug)]
pub(super) struct BackfillFile<H> {
    text: LogText<H>,
    stat: FileStat,
    beginning: Vec<u8>,
    head: Head,
    /// Bytes of text in it.
    size: Offset,
    /// Known once the relay has answered.
    stream: Option<TrackedStream>,
    /// Where shipping began.
    from: Offset,
    settled: ShippedAmount,
    /// The relay said of a chunk that it had it before.
    is_doubled: bool,
    refusal: Option<FileRefusal>,
}

/// A chunk in the buffer that it was read into.
#[derive(Debug, Clone, Copy)]
pub(super) struct BackfillChunk {
    range: ByteRange,
    cut: ChunkCut,
    stream_end: StreamEnd,
    body_start: usize,
}

impl BackfillChunk {
    /// Where in the buffer its body is.
    pub(super) fn body(&self) -> Range<usize> {
        self.body_start..self.body_start + self.cut.body
    }
}

/// What is known of a chunk that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkResult {
    /// The relay has it by this request.
    Stored,
    /// The relay had it before.
    Duplicate,
    /// The relay may have it or not.
    Unknown,
}

impl<H: FileHandle> BackfillFile<H> {
    /// A file to ship; `None` if there is nothing in it.
    pub(super) fn new(file: H) -> Result<Option<Self>, FileRefusal> {
        let stat = file.stat().map_err(FileRefusal::Unreadable)?;
        let mut text = LogText::plain(file);
        text.detect_compression().map_err(|fault| match fault {
            CompressedFileError::Incomplete => FileRefusal::Incomplete,
            CompressedFileError::Damaged(error) => FileRefusal::Damaged(error),
            CompressedFileError::Unreadable(error) => FileRefusal::Unreadable(error),
        })?;
        let size = text.size(&stat);
        let beginning = files::beginning(&text).map_err(FileRefusal::Unreadable)?;
        let Some(head) = Head::of_final(&beginning) else {
            return Ok(None);
        };
        Ok(Some(Self {
            text,
            stat,
            beginning,
            head,
            size,
            stream: None,
            from: Offset::ZERO,
            settled: ShippedAmount::default(),
            is_doubled: false,
            refusal: None,
        }))
    }

    /// Whether it ends in the middle of a line whose end may still come.
    pub(super) fn may_go_on(&self, now: SystemTime) -> io::Result<bool> {
        let ending = files::ending_at(&self.text, self.size)?;
        let is_whole = ending.is_some_and(|ending| ending.ends_with(b"\n"));
        if is_whole || self.text.is_compressed() {
            return Ok(false);
        }
        let is_quiet = now
            .duration_since(self.stat.modified)
            .is_ok_and(|age| age >= QUIET);
        Ok(match self.text.writers() {
            OpenWriters::None => false,
            OpenWriters::Some => true,
            OpenWriters::Unknown => !is_quiet,
        })
    }

    pub(super) fn key(&self) -> FileKey {
        self.stat.key
    }

    pub(super) fn head(&self) -> Head {
        self.head
    }

    pub(super) fn size(&self) -> Offset {
        self.size
    }

    /// How far it is durable at the relay.
    pub(super) fn acked(&self) -> Offset {
        self.stream
            .as_ref()
            .map_or(Offset::ZERO, |stream| stream.acked.offset)
    }

    /// Lines and bytes that became durable by this run.
    pub(super) fn settled(&self) -> ShippedAmount {
        self.settled
    }

    /// Whether it holds nothing but what `original` holds too.
    pub(super) fn is_copy_of(&self, original: &LogText<H>) -> io::Result<bool> {
        identity::is_copy(
            &contents(&self.text),
            self.size,
            &self.beginning,
            &contents(original),
            self.head,
        )
    }

    /// Whether the relay has to say which streams begin like this file, and how far they are.
    pub(super) fn is_to_ask(&self) -> bool {
        self.stream.as_ref().is_none_or(TrackedStream::is_in_doubt)
    }

    /// Whether nothing more happens with it.
    pub(super) fn is_over(&self) -> bool {
        match &self.stream {
            Some(stream) if self.refusal.is_some() => !stream.is_awaiting(),
            Some(stream) => stream.phase == StreamPhase::Finished,
            None => self.refusal.is_some(),
        }
    }

    /// How it ended.
    pub(super) fn into_result(self) -> Result<FileOutcome, FileRefusal> {
        match self.refusal {
            Some(refusal) => Err(refusal),
            None if self.from == self.size => Ok(FileOutcome::AlreadyShipped),
            None => Ok(FileOutcome::Shipped { from: self.from }),
        }
    }

    /// Nothing more is shipped of it.
    pub(super) fn refuse(&mut self, refusal: FileRefusal) {
        self.refusal.get_or_insert(refusal);
    }

    /// The relay said which streams begin like the file.
    pub(super) fn resolved(&mut self, candidates: &[KnownStream]) {
        let resolved = match &self.stream {
            None => self.recognise(candidates),
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

    /// Which stream is it, and how far is that?
    fn recognise(&mut self, candidates: &[KnownStream]) -> Result<(), FileRefusal> {
        let contents = contents(&self.text);
        let unknown = UnidentifiedFile {
            key: self.stat.key,
            beginning: &self.beginning,
            contents: &contents,
        };
        let claims = identity::match_streams(&[unknown], candidates).map_err(FileRefusal::Unreadable)?;
        let known = claims
            .first()
            .copied()
            .flatten()
            .and_then(|claim| candidates.get(claim));
        let stream = if let Some(known) = known {
            TrackedStream::new(known.stream, known.head, committed(known))
        } else {
            // What was shipped of a longer one cannot be compared with this: only its hash at another place is known.
            if let Some(longer) = candidates.iter().find(|stream| stream.committed > self.size) {
                return Err(FileRefusal::Beginning(longer.committed));
            }
            let is_known = |id| candidates.iter().any(|stream| stream.stream == id);
            let id = identity::new_stream_id(self.stat.key, self.head, is_known);
            TrackedStream::new(id, self.head, StreamPosition::start())
        };
        self.from = stream.acked.offset;
        self.stream = Some(stream);
        Ok(())
    }

    /// A chunk failed: how far is the stream now? The sender may have shipped some of it meanwhile.
    fn resume(&mut self, candidates: &[KnownStream]) -> Result<(), FileRefusal> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let known = candidates.iter().find(|known| known.stream == stream.id);
        if known.is_none() && self.is_doubled {
            return Err(FileRefusal::OfAnotherLog);
        }
        let position = known.map_or_else(StreamPosition::start, committed);
        let ending = files::ending_at(&self.text, position.offset).map_err(FileRefusal::Unreadable)?;
        if !ending.is_some_and(|ending| position.tail.matches(&ending)) {
            return Err(FileRefusal::Changed);
        }
        self.settled = self.settled.plus(stream.resume(position));
        self.is_doubled = false;
        Ok(())
    }

    /// Reads a block where reading stopped and cuts a chunk off it; `None` if there is nothing to cut for now.
    pub(super) fn cut(
        &mut self,
        buffer: &mut [u8],
        chunk_bytes: usize,
        chunker: &mut Chunker,
    ) -> Option<BackfillChunk> {
        let stream = self.stream.as_mut()?;
        if self.refusal.is_some() || stream.phase != StreamPhase::Reading {
            return None;
        }
        let start = stream.read.offset;
        // Nothing comes after what is in the file, so it is read like one that is to be closed.
        stream.exhausted = true;
        let read = read_chunk(&self.text, stream, buffer, chunk_bytes, chunker);
        let is_same = self.text.stat().is_ok_and(|stat| stat == self.stat);
        let piece = match read {
            Ok(ChunkRead::Cut { cut, stream_end }) if is_same => {
                let range = ByteRange::new(start, start.plus(cut.raw as u64));
                range.map(|range| BackfillChunk {
                    range,
                    cut,
                    stream_end,
                    body_start: files::span_before(start),
                })
            }
            Ok(_) => None,
            Err(error) => {
                self.refuse(FileRefusal::Unreadable(error));
                return None;
            }
        };
        if piece.is_none() {
            self.refuse(FileRefusal::Changed);
        }
        piece
    }

    /// What goes before the chunk's `body`. `None` if the file is not recognised yet.
    pub(super) fn header(&self, piece: &BackfillChunk, log: &LogName, body: &[u8]) -> Option<ChunkHeader> {
        let stream = self.stream.as_ref()?;
        let BackfillChunk {
            range,
            cut,
            stream_end,
            ..
        } = *piece;
        Some(ChunkHeader {
            stream: stream.id,
            log: log.clone(),
            file: self.stat.key,
            head: stream.head,
            range,
            tail: cut.tail,
            lines: cut.lines,
            line_end: cut.line_end,
            stream_end,
            crc32c: crc32c::crc32c(body),
        })
    }

    /// The chunk is on its way, and awaited.
    pub(super) fn sent(&mut self, piece: &BackfillChunk, seq: ChunkSeq) {
        let BackfillChunk {
            range,
            cut,
            stream_end,
            ..
        } = *piece;
        let flight = InFlightChunk {
            seq,
            end: StreamPosition {
                offset: range.end(),
                tail: cut.tail,
            },
            bytes: range.len(),
            lines: cut.lines,
            closes: stream_end == StreamEnd::Finished,
        };
        if let Some(stream) = &mut self.stream {
            stream.sent(flight);
        }
    }

    /// The relay has the chunk, or what became of it has to be asked.
    pub(super) fn answered(&mut self, seq: ChunkSeq, answer: ChunkResult) {
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.awaits(seq)) else {
            return;
        };
        let settled = match answer {
            ChunkResult::Stored => stream.stored(seq),
            ChunkResult::Duplicate => {
                self.is_doubled = true;
                stream.failed(seq)
            }
            ChunkResult::Unknown => stream.failed(seq),
        };
        self.settled = self.settled.plus(settled);
    }
}

fn committed(stream: &KnownStream) -> StreamPosition {
    StreamPosition {
        offset: stream.committed,
        tail: stream.tail,
    }
}
