//! A stream whose file is not known: the file was truncated or rewritten, or the stream comes from the checkpoint.

use logferry_protocol::resolve::{AcknowledgedStream, KnownStream};
use logferry_protocol::stream::{FileKey, Head, Offset};

use crate::checkpoint::{CheckpointStream, SkippedStart};
use crate::chunks::line_marks::LineMarks;
use crate::streams::identity;
use crate::streams::tracked_stream::{ShippedAmount, StreamPhase, TrackedStream, committed};

/// The sender before this one did not stop in order: it may have posted more than its last checkpoint says.
const UNKNOWN_SINCE: i64 = 0;

#[derive(Debug)]
pub(crate) struct OrphanStream {
    pub(crate) stream: TrackedStream,
    pub(crate) file: FileKey,
    pub(crate) path: String,
    pub(crate) extent: Offset,
    /// It comes from the checkpoint: the sender did not see how it lost its file.
    pub(crate) is_from_checkpoint: bool,
    /// See [`AcknowledgedStream::certain_until`].
    certain_until: Option<i64>,
    /// Another sender wrote to the stream after the bytes that were acknowledged here.
    pub(crate) is_parted: bool,
    /// What the stream has left out of its file.
    pub(crate) mark: Option<SkippedStart>,
    /// The relay was asked and knows nothing of it, whatever it had acknowledged.
    pub(crate) is_unknown: bool,
    search: OrphanSearch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OrphanSearch {
    /// The folders have to be searched: there may be a copy.
    Started,
    /// They were searched; the relay has to be asked for the committed offset.
    Scanned,
    /// The relay was asked, after the last chunk of the stream was answered.
    Asking,
    Asked,
}

impl OrphanStream {
    pub(crate) fn new(stream: TrackedStream, file: FileKey, path: String, extent: Offset) -> Self {
        Self {
            stream,
            file,
            path,
            extent,
            is_from_checkpoint: false,
            certain_until: None,
            is_parted: false,
            mark: None,
            is_unknown: false,
            search: OrphanSearch::Started,
        }
    }

    /// `stopped_at`: that of the checkpoint.
    pub(crate) fn from_checkpoint(saved: CheckpointStream, stopped_at: Option<i64>) -> Self {
        let mut stream = TrackedStream::known(&saved.stream);
        stream.marks = saved.marks;
        if saved.finished {
            stream.phase = StreamPhase::Finished;
        }
        Self {
            is_from_checkpoint: true,
            certain_until: Some(stopped_at.unwrap_or(UNKNOWN_SINCE)),
            mark: saved.skipped,
            ..Self::new(stream, saved.stream.file, saved.path, saved.seen)
        }
    }

    pub(crate) fn acknowledged(&self) -> AcknowledgedStream {
        // A relay of an earlier version gets the size that the file had when the checkpoint was written, up to a second before the
        // sender ended.
        let sent_until = match self.certain_until {
            Some(UNKNOWN_SINCE) => self.extent,
            _ => self.stream.read.offset,
        };
        AcknowledgedStream {
            certain_until: self.certain_until,
            ..self.stream.acknowledged(self.file, sent_until)
        }
    }

    /// Whether it is known what was posted of the stream.
    pub(crate) fn is_certain(&self) -> bool {
        self.certain_until != Some(UNKNOWN_SINCE) && !self.stream.has_unanswered()
    }

    pub(crate) fn scanned(&mut self) {
        if self.search == OrphanSearch::Started {
            self.search = OrphanSearch::Scanned;
        }
    }

    /// Whether it is too early to ask the relay. While a chunk is in flight the relay cannot know the final offset, and
    /// a copy would be shipped again.
    pub(crate) fn is_waiting(&self) -> bool {
        self.search == OrphanSearch::Started || self.stream.is_awaiting()
    }

    pub(crate) fn is_to_be_asked(&self) -> bool {
        !self.is_waiting() && self.search != OrphanSearch::Asked
    }

    /// The head to ask the relay about, if it is to be asked now.
    pub(crate) fn ask(&mut self) -> Option<Head> {
        if !self.is_to_be_asked() {
            return None;
        }
        self.search = OrphanSearch::Asking;
        Some(self.stream.head)
    }

    /// The folders have to be searched again, and the relay has to be asked again.
    pub(crate) fn ask_again(&mut self) {
        self.search = OrphanSearch::Started;
    }

    /// Whether the relay, which has this much of the stream, has lost acknowledged bytes of it. False unless it was asked, and if
    /// that is known already: it would be asked again without end.
    pub(crate) fn is_forgotten(&self, known: Option<&KnownStream>) -> bool {
        let has = known.map_or(Offset::ZERO, |known| known.committed);
        self.search == OrphanSearch::Asking && !self.is_unknown && has < self.stream.acked.offset
    }

    pub(crate) fn answered(&mut self, known: Option<&KnownStream>) -> ShippedAmount {
        if self.search != OrphanSearch::Asking {
            return ShippedAmount::default();
        }
        self.search = OrphanSearch::Asked;
        self.is_unknown = known.is_none();
        // What came after is not of this stream's file, which may go on where its own bytes end.
        self.is_parted = known.is_some_and(|known| identity::is_parted(known, self.stream.acked.offset));
        if self.is_parted {
            return ShippedAmount::default();
        }
        if known.is_none() {
            // The relay does not have these lines. Its acknowledged bytes still tell which file it is.
            self.stream.marks = LineMarks::default();
        }
        let was_finished = self.stream.phase == StreamPhase::Finished;
        if known.is_some() {
            // The relay has what was posted before, or will never get it: all requests are answered.
            self.certain_until = None;
        }
        let amount = known.map(|known| self.stream.resume(committed(known)));
        if was_finished {
            self.stream.phase = StreamPhase::Finished;
        }
        amount.unwrap_or_default()
    }

    /// Whether the relay has told the committed offset. Until then no file can be identified: it might hold this stream.
    pub(crate) fn is_resolved(&self) -> bool {
        self.search == OrphanSearch::Asked
    }
}
